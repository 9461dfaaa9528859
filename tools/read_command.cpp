// SPDX-License-Identifier: BSD-3-Clause
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <optional>

#include "tools/command.hpp"
#include "tools/encoding.hpp"
#include "tools/options.hpp"
#include "tools/read_session.hpp"

namespace caisson::tools {

namespace {

struct ReadOptions {
  LogChoice choice;
  unsigned replica = 0;
  uint64_t from = 0;
  uint64_t to = UINT64_MAX;
  uint64_t wait_for = 0;
  uint64_t minimum = 0;
  std::string linearizable;
  bool follow = false;
  bool positions = false;
  double timeout_s = 30;
  std::string history;
  Framing framing = Framing::lines;
};

// Set by SIGINT and SIGTERM: what was read is still written out.
std::atomic<bool> interrupted{false};

void end_on_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted.store(true); };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

// What a reader may rely on: all that was acknowledged before it asked, all that its session has
// seen before, or nothing of that kind.
std::string freshness_of(const ReadOptions& options) {
  if (!options.linearizable.empty()) return "linearizable";
  return options.minimum != 0 || options.wait_for != 0 ? "session" : "stale";
}

std::optional<ReadPath> path_of(const std::string& text) {
  for (const ReadPath path : {ReadPath::log, ReadPath::leader, ReadPath::proof}) {
    if (text == name(path)) return path;
  }
  return std::nullopt;
}

Json entry_object(const protocol::ReadEntry& entry, const std::string& freshness) {
  Json row{{"position", entry.position.value},
           {"term", entry.term.value},
           {"client", entry.identity.client},
           {"incarnation", entry.identity.incarnation},
           {"sequence", entry.identity.sequence},
           {"payload_bytes", entry.payload.size()},
           {"freshness", freshness}};
  add_payload(row, std::as_bytes(std::span(entry.payload.data(), entry.payload.size())));
  return row;
}

Exit run_read(const ReadOptions& options, bool json) {
  if (options.positions && options.framing == Framing::length32) {
    return report_usage("--positions goes with lines, not with --frame length32: use --json", json);
  }
  const auto cluster = load_cluster(options.choice.directory);
  if (!cluster) return report(cluster.error(), json);
  const auto log = cluster->log(options.choice.log);
  if (!log) return report(log.error(), json);
  ReadSessionOptions session_options;
  session_options.log = (*log)->name;
  session_options.replica = ReplicaId{static_cast<uint8_t>(options.replica)};
  session_options.from = Position{options.from};
  session_options.to = Position{options.to};
  session_options.wait_for = Position{std::max(options.wait_for, options.minimum)};
  session_options.linearizable = path_of(options.linearizable);
  session_options.follow = options.follow;
  session_options.timeout = milliseconds_of(options.timeout_s);
  const auto history = open_history(options.history);
  if (!history) return report(history.error(), json);
  session_options.history = history->get();
  if (options.follow) end_on_signals();
  ReadSession session(*cluster, session_options);
  const std::string freshness = freshness_of(options);
  FrameWriter writer(STDOUT_FILENO, options.framing);
  const auto take = [&](const protocol::ReadEntry& entry) -> Result<bool> {
    const auto payload = std::as_bytes(std::span(entry.payload.data(), entry.payload.size()));
    Result<void> written;
    if (json) {
      const std::string text = entry_object(entry, freshness)
                                   .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
                               "\n";
      written = writer.write_raw(text);
    } else {
      const std::string prefix =
          options.positions ? std::to_string(entry.position.value) + "\t" : std::string();
      written = writer.write(payload, prefix);
    }
    if (!written) return tl::unexpected(written.error());
    return !interrupted.load();
  };
  const auto pause = [&]() -> Result<bool> {
    if (const auto flushed = writer.flush(); !flushed) return tl::unexpected(flushed.error());
    return !interrupted.load();
  };
  const auto ended = session.run(take, pause);
  const auto flushed = writer.flush();
  const auto kept = *history ? (*history)->flush() : Result<void>{};
  if (ended && !kept) return report(kept.error(), json);
  if (interrupted.load()) return Exit::ok;
  if (!ended) return report(ended.error(), json);
  if (!flushed) return report(flushed.error(), json);
  return Exit::ok;
}

}  // namespace

void add_read(Commands& commands) {
  auto options = std::make_shared<ReadOptions>();
  CLI::App* command = commands.add(
      commands.app, "read", "write the payloads of committed entries to standard output",
      "  caisson read --dir D > FILE\n"
      "  caisson read --dir D --replica 3 --wait-for 50000 --to 50000\n"
      "  caisson read --dir D --follow --positions\n"
      "  caisson read --dir D --linearizable leader\n"
      "  caisson read --dir D --replica 2 --linearizable proof\n"
      "  caisson read --dir D --replica 3 --min-position 50000\n\n"
      "How fresh it is: with --linearizable, everything that was acknowledged before is there; "
      "with\n"
      "--min-position (or --wait-for), everything up to there; else it may be stale, also from "
      "the\n"
      "leader, who may have been deposed without knowing. With --json each entry says which, in\n"
      "\"freshness\": linearizable, session or stale.\n\n"
      "Each payload is followed by a newline, except that an input whose last line had none comes "
      "back\n"
      "without one: what was appended is read back byte for byte. With --json: one object an "
      "entry.\n",
      options, run_read);
  add_log_choice(command, options->choice);
  command
      ->add_option("--replica", options->replica,
                   "ask this one, and what it knows; else the leader")
      ->check(CLI::Range(1, 63));
  add_position(command, "--from", options->from, "first position; the first one held if not given");
  add_position(command, "--to", options->to, "last position");
  add_position(command, "--wait-for", options->wait_for, "wait until this position is committed");
  add_position(command, "--min-position", options->minimum,
               "a session read: not before the one asked has committed this position");
  command
      ->add_option("--linearizable", options->linearizable,
                   "read all that was acknowledged before: through the log, by asking the leader "
                   "for a proof that it still leads, or by a proof of the one asked")
      ->check(CLI::IsMember({"log", "leader", "proof"}));
  command->add_flag("--follow", options->follow,
                    "go on as entries are committed, until interrupted");
  command->add_flag("--positions", options->positions,
                    "write the position and a tab before each line");
  add_timeout(command, options->timeout_s,
              "how long to wait for --wait-for, or for somebody who serves");
  add_history(command, options->history);
  add_framing(command, options->framing);
}

}  // namespace caisson::tools
