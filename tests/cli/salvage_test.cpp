// SPDX-License-Identifier: BSD-3-Clause
// What a killed leader held and the log went on without, on real processes: listed, exported,
// resubmitted once however often it is asked for, discarded (R15, S18).
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "tests/support/program.hpp"
#include "tests/support/small_disk.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

using ::testing::HasSubstr;
using tools::Exit;
namespace fs = std::filesystem;

int code(Exit exit) { return static_cast<int>(exit); }

constexpr uint64_t kLines = 60'000;

// Lines `from` to `to` of a text, counted from 1.
std::string lines_of(const std::string& text, uint64_t from, uint64_t to) {
  std::istringstream in(text);
  std::string out, line;
  for (uint64_t i = 1; i <= to && std::getline(in, line); ++i) {
    if (i >= from) out += line + "\n";
  }
  return out;
}
uint64_t count_lines(const std::string& text) {
  return static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

// A leader's followers are killed while a client appends, then client and leader; the followers go
// on without what only the leader had, and it comes back.
class Salvage : public testing::Test {
 protected:
  void SetUp() override {
    text_ = some_lines(kLines, 5);
    const fs::path pipe = replicas_.scratch() / "in";
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    const int fd = open(pipe.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    Background append(
        {"append", "--json", "--stream", "7", "--dir", replicas_.directory().string()}, pipe,
        replicas_.scratch() / "out");
    size_t fed = 0;
    const auto feed = [&](size_t until) {
      ssize_t n = 1;
      for (; n > 0 && fed < until; fed += static_cast<size_t>(std::max<ssize_t>(n, 0))) {
        n = write(fd, text_.data() + fed, std::min<size_t>(until - fed, 4096));
      }
    };
    // The input never ends before the followers do.
    ASSERT_TRUE(eventually([&] {
      feed(text_.size() / 2);
      return replicas_.status()["logs"][0]["committed"].get<uint64_t>() > 2'000;
    }));
    const Json status = replicas_.status();
    old_ = replicas_.await_leader();
    const auto pid_of = [&](int id) {
      return status["replicas"][static_cast<size_t>(id - 1)]["pid"].get<pid_t>();
    };
    for (int id = 1; id <= 3; ++id) {
      if (id == old_) continue;
      ASSERT_EQ(kill(pid_of(id), SIGKILL), 0);
    }
    for (int i = 0; i < 10; ++i) {
      feed(text_.size());
      pause_ms(3);
    }
    append.signal(SIGKILL);
    (void)append.wait();
    close(fd);
    ASSERT_EQ(kill(pid_of(old_), SIGKILL), 0);
    // The first one finds no leader before the second one runs.
    const std::string one = std::to_string(old_ % 3 + 1);
    const std::string other = std::to_string((old_ + 1) % 3 + 1);
    ASSERT_EQ(replicas_({"cluster", "start", "--replica", one, "--timeout", "0"}).exit,
              code(Exit::timed_out));
    const Outcome started = replicas_({"cluster", "start", "--replica", other});
    ASSERT_EQ(started.exit, 0) << started.errors;
    ASSERT_EQ(replicas_.append("after\n").exit, 0);
    log_ = replicas_({"read"}).output;
    ASSERT_TRUE(log_.ends_with("after\n"));
    kept_ = count_lines(log_) - 1;
    const Outcome back = replicas_({"cluster", "start", "--replica", std::to_string(old_)});
    ASSERT_EQ(back.exit, 0) << back.errors;
    ASSERT_TRUE(eventually([&] { return !records().empty(); }));
    ASSERT_EQ(records().size(), 1u);
    record_ = records()[0];
    orphans_ = lines_of(text_, kept_ + 1, kept_ + record_["data_entries"].get<uint64_t>());
  }

  std::string old() const { return std::to_string(old_); }
  std::string id() const { return std::to_string(record_["record"].get<uint64_t>()); }
  Outcome salvage(Arguments arguments) const {
    arguments.insert(arguments.begin(), "salvage");
    return replicas_(arguments);
  }
  Json records() const {
    const Outcome listed = salvage({"list", "--replica", old(), "--json"});
    EXPECT_EQ(listed.exit, 0) << listed.output << listed.errors;
    return listed.exit == 0 ? listed.json()["logs"][0]["replicas"][0]["records"] : Json::array();
  }
  Outcome resubmit() const {
    return salvage({"resubmit", "--replica", old(), "--record", id(), "--json"});
  }

  const Replicas replicas_{{"--ring-bytes", "64MiB"}};
  std::string text_;
  std::string log_;      // as the others went on
  uint64_t kept_ = 0;    // lines of the input in it
  std::string orphans_;  // the lines that only the old leader had
  int old_ = 0;
  Json record_;
};

TEST_F(Salvage, OrphansAreListedExportedResubmittedOnceAndGone) {
  // Listed, by the one that held them alone.
  ASSERT_GT(record_["data_entries"].get<uint64_t>(), 0u);
  EXPECT_EQ(record_["absent"], record_["data_entries"]) << "nobody has appended them again";
  EXPECT_EQ(record_["damaged"], false);
  uint64_t sequence = kept_;
  for (const Json& entry : record_["entries"]) {
    if (!entry["data"].get<bool>()) continue;
    EXPECT_EQ(entry["client"], 7);
    EXPECT_EQ(entry["sequence"], ++sequence);
    EXPECT_EQ(entry["fate"], "absent");
  }
  const Json everybody = salvage({"list", "--json"}).json()["logs"][0]["replicas"];
  for (const Json& replica : everybody) {
    EXPECT_EQ(replica["records"].size(), replica["replica"] == old_ ? 1u : 0u);
  }
  EXPECT_THAT(salvage({"list"}).output, HasSubstr("not in the log"));
  // The status says that they wait.
  const auto of_old = static_cast<size_t>(old_ - 1);
  EXPECT_EQ(replicas_.status()["replicas"][of_old]["logs"][0]["orphans"]["records"], 1);
  EXPECT_THAT(replicas_({"status"}).output, HasSubstr("salvage list --dir"));
  EXPECT_THAT(read_file(replicas_.directory() / ("replica-" + old()) / "log"),
              HasSubstr("caisson salvage list"));

  // Exported, running or stopped.
  EXPECT_EQ(salvage({"export", "--replica", old()}).output, orphans_);
  EXPECT_EQ(salvage({"export", "--replica", old(), "--missing", "--record", id()}).output,
            orphans_);
  const fs::path file = replicas_.scratch() / "exported";
  ASSERT_EQ(salvage({"export", "--replica", old(), "--out", file.string()}).exit, 0);
  EXPECT_EQ(read_file(file), orphans_);
  EXPECT_EQ(salvage({"export", "--replica", old(), "--out", file.string()}).exit,
            code(Exit::exists));
  if (const SmallDisk disk(replicas_.scratch() / "disk", "4k"); disk.mounted()) {
    const fs::path small = disk.path() / "exported";
    const Outcome full = salvage({"export", "--replica", old(), "--out", small.string()});
    EXPECT_EQ(full.exit, code(Exit::no_space)) << full.errors;
    EXPECT_THAT(full.errors, HasSubstr(small.string()));
    EXPECT_FALSE(fs::exists(small)) << "half of it would be taken for all of it";
  }
  const Outcome json = salvage({"export", "--replica", old(), "--json"});
  EXPECT_EQ(count_lines(json.output), record_["data_entries"].get<uint64_t>());
  const std::string data = replicas_.data(old_).string();
  EXPECT_EQ(run({"salvage", "list", "--file", data}).exit, code(Exit::busy)) << "it runs";
  ASSERT_EQ(replicas_({"cluster", "kill", "--replica", old()}).exit, 0);
  const Outcome offline = run({"salvage", "list", "--file", data, "--json"});
  ASSERT_EQ(offline.exit, 0) << offline.errors;
  EXPECT_EQ(offline.json()["logs"][0]["replicas"][0]["records"][0], record_);
  EXPECT_EQ(run({"salvage", "export", "--file", data}).output, orphans_);
  EXPECT_EQ(salvage({"export", "--replica", old()}).exit, code(Exit::unreachable));
  ASSERT_EQ(replicas_({"cluster", "start", "--replica", old()}).exit, 0);
  EXPECT_EQ(records(), Json::array({record_})) << "listed until somebody decides";

  // Resubmitted, and gone.
  const Outcome done = resubmit();
  ASSERT_EQ(done.exit, 0) << done.output << done.errors;
  EXPECT_EQ(done.json()["appended"], record_["data_entries"]);
  EXPECT_EQ(replicas_({"read"}).output, log_ + orphans_);
  EXPECT_EQ(resubmit().exit, code(Exit::not_found));
  EXPECT_EQ(replicas_({"read"}).output, log_ + orphans_);
  EXPECT_TRUE(records().empty());
  ASSERT_EQ(replicas_({"cluster", "kill", "--replica", old()}).exit, 0);
  ASSERT_EQ(replicas_({"cluster", "start", "--replica", old()}).exit, 0);
  EXPECT_TRUE(records().empty()) << "never listed again";
}

TEST_F(Salvage, AKilledResubmissionGoesOnWhereItWas) {
  for (uint64_t kills = 0; kills < 6; ++kills) {
    Background attempt({"salvage", "resubmit", "--replica", old(), "--record", id(), "--dir",
                        replicas_.directory().string()},
                       "", replicas_.scratch() / "resubmitted");
    pause_ms(4 + 6 * kills);
    attempt.signal(SIGKILL);
    if (attempt.wait() == 0) break;
  }
  const int ended = resubmit().exit;
  EXPECT_TRUE(ended == 0 || ended == code(Exit::not_found)) << ended;
  EXPECT_EQ(replicas_({"read"}).output, log_ + orphans_);
  EXPECT_TRUE(records().empty());
}

TEST_F(Salvage, WhatItsClientHasAppendedAgainIsSaidAndNotAppendedTwice) {
  const Outcome again = replicas_.append(text_, {"--stream", "7", "--resume"});
  ASSERT_EQ(again.exit, 0) << again.errors;
  const std::string whole = replicas_({"read"}).output;
  const std::string last = std::to_string(again.json()["last_position"].get<uint64_t>());
  (void)replicas_.read(old_, {"--wait-for", last, "--to", last});
  const Json now = records()[0];
  // Of what was long ago it can only be said that it may be there.
  EXPECT_EQ(now["present"].get<uint64_t>() + now["unknown"].get<uint64_t>(), now["data_entries"]);
  EXPECT_EQ(salvage({"export", "--replica", old(), "--missing"}).output, "");
  const Outcome refused = resubmit();
  EXPECT_EQ(refused.exit, code(Exit::exists)) << refused.output;
  EXPECT_THAT(refused.output, HasSubstr("discard"));
  EXPECT_EQ(replicas_({"read"}).output, whole);
  const Outcome discarded = salvage({"discard", "--replica", old(), "--record", id(), "--json"});
  ASSERT_EQ(discarded.exit, 0) << discarded.output;
  EXPECT_TRUE(records().empty());
  EXPECT_EQ(salvage({"discard", "--replica", old(), "--record", id()}).exit, code(Exit::not_found));
  EXPECT_EQ(salvage({"discard", "--replica", old(), "--all"}).exit, 0) << "there is nothing";
  EXPECT_EQ(replicas_({"read"}).output, whole);
}

TEST(SalvageArguments, WhatIsMissingIsSaid) {
  EXPECT_EQ(run({"salvage", "list"}).exit, code(Exit::usage));
  EXPECT_EQ(run({"salvage", "list", "--dir", "/nowhere"}).exit, code(Exit::not_found));
  EXPECT_EQ(run({"salvage", "export", "--dir", "/nowhere"}).exit, code(Exit::usage));
  EXPECT_EQ(run({"salvage", "export", "--file", "/nowhere"}).exit, code(Exit::not_found));
  EXPECT_EQ(run({"salvage", "resubmit", "--dir", "/nowhere", "--replica", "1"}).exit,
            code(Exit::usage));
  EXPECT_EQ(run({"salvage", "discard", "--dir", "/nowhere", "--replica", "1"}).exit,
            code(Exit::usage));
  for (const char* verb : {"list", "export", "resubmit", "discard"}) {
    const Outcome help = run({"salvage", verb, "--help"});
    EXPECT_EQ(help.exit, 0);
    EXPECT_THAT(help.output, HasSubstr("--json"));
    EXPECT_THAT(help.output, HasSubstr("Examples:\n  caisson salvage "));
  }
}

}  // namespace
}  // namespace caisson::test
