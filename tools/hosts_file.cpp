// SPDX-License-Identifier: BSD-3-Clause
#include "tools/hosts_file.hpp"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <string_view>
#include <utility>

#include "core/engine/config.hpp"
#include "core/engine/toml_reader.hpp"
#include "tools/files.hpp"

namespace caisson::tools {

namespace {

using Clock = std::chrono::steady_clock;
using engine::Table;
using std::chrono::milliseconds;

constexpr size_t kHostsMax = engine::kVotersMax;
constexpr size_t kLastWords = 2'000;

void read_words(Table& table, std::string_view name, std::vector<std::string>& to,
                const std::string& such_as) {
  const toml::node* const node = table.find(name);
  if (node == nullptr) return;
  const toml::array* const list = node->as_array();
  std::vector<std::string> read;
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    if (const auto word = list->get(i)->value_exact<std::string>()) read.push_back(*word);
  }
  if (list == nullptr || read.size() != list->size() || read.empty()) {
    table.findings().refuse(table.key(name),
                            engine::found_text(*node) + " is no list of words: use " + such_as);
    return;
  }
  to = std::move(read);
}

void read_text_of_some(Table& table, std::string_view name, std::string& to) {
  std::string text;
  if (!table.text(name, text)) return;
  if (text.empty()) {
    table.findings().refuse(table.key(name), "is empty: write something, or leave it out");
  } else {
    to = text;
  }
}

// It goes into commands for a shell.
bool is_plain(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("/._-:%@").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

void read_plain(Table& table, std::string_view name, std::string& to) {
  read_text_of_some(table, name, to);
  if (is_plain(to)) return;
  table.findings().refuse(table.key(name),
                          "has characters that mean something to a shell: use letters, digits and "
                          "/ . _ - : % @");
}

void read_host(Table& table, BenchHost& host) {
  read_text_of_some(table, "name", host.name);
  if (host.name.empty()) table.missing("name", "write what the launcher calls it");
  read_plain(table, "address", host.address);
  if (host.address.empty()) {
    host.address = host.name;
    if (!is_plain(host.name)) table.missing("address", "the name can be none: write it");
  }
  read_plain(table, "device", host.device);
  read_plain(table, "scratch_device", host.scratch_device);
  if (host.scratch_device == host.device && !host.device.empty()) {
    table.findings().refuse(table.key("scratch_device"),
                            "is the device of the ring: name another one");
  }
}

void read_hosts(Table& root, HostsFile& hosts) {
  const auto refuse = [&](std::string_view name, const std::string& sentence) {
    root.findings().refuse(root.key(name), sentence);
  };
  read_words(root, "launcher", hosts.launcher, R"(["ssh", "{host}", "{command}"])");
  if (std::none_of(hosts.launcher.begin(), hosts.launcher.end(), [](const std::string& word) {
        return word.find("{command}") != std::string::npos;
      })) {
    refuse("launcher", "has no word {command}: say where the command goes");
  }
  read_text_of_some(root, "program", hosts.program);
  read_plain(root, "directory", hosts.directory);
  if (hosts.directory.front() != '/') {
    refuse("directory", "does not begin with /: write the whole path");
  }
  root.number_within("port", hosts.port, 1024, 65'000);
  root.choice("fabric", hosts.fabric, {FabricKind::shm, FabricKind::verbs});
  root.choice("persistence", hosts.persistence, {PersistenceMode::emulated, PersistenceMode::real});
  root.choice("persists_by", hosts.verbs.persists_by,
              {RemotePersistence::automatic, RemotePersistence::flush,
               RemotePersistence::read_after_write, RemotePersistence::target_flush});
  root.flag("past_caches", hosts.verbs.past_caches);
  root.number_within("traffic_class", hosts.verbs.traffic_class, 0, engine::kTrafficClassMax);
  root.number_within("round_trip_us", hosts.round_trip_us, engine::kRoundTripUsMin,
                     engine::kRoundTripUsMax);
  read_words(root, "ib_write_bw", hosts.bandwidth, R"(["-D", "8"])");
  engine::for_each_table(root, "host", kHostsMax, [&](Table& table) {
    BenchHost host;
    read_host(table, host);
    hosts.hosts.push_back(std::move(host));
  });
  if (hosts.hosts.empty()) {
    refuse("host", "is missing: write a [[host]] for each of one to " + std::to_string(kHostsMax) +
                       " machines");
  }
  root.finish();
}

std::string replaced(std::string word, const std::string& what, const std::string& by) {
  for (size_t at = word.find(what); at != std::string::npos; at = word.find(what, at + by.size())) {
    word.replace(at, what.size(), by);
  }
  return word;
}

}  // namespace

Result<HostsFile> parse_hosts(std::string_view text, std::string_view source) {
  HostsFile hosts;
  const auto read = engine::read_toml(text, source, {}, "docs/benchmarks.md",
                                      [&](Table& root) { read_hosts(root, hosts); });
  if (!read) return tl::unexpected(read.error());
  return hosts;
}

Result<HostsFile> load_hosts(const std::filesystem::path& path) {
  const auto text = read_text(path);
  if (!text) return tl::unexpected(text.error());
  return parse_hosts(*text, path.string());
}

Result<RemoteCommand> RemoteCommand::start(const HostsFile& hosts, const BenchHost& host,
                                           const std::string& command,
                                           const std::filesystem::path& errors) {
  SpawnOptions options;
  options.arguments = {"/usr/bin/env"};
  for (const std::string& word : hosts.launcher) {
    options.arguments.push_back(
        replaced(replaced(word, "{host}", host.name), "{command}", command));
  }
  options.error_file = errors;
  options.detached = false;
  auto spawned = spawn(options);
  if (!spawned) return tl::unexpected(spawned.error());
  return RemoteCommand(host.name, std::move(*spawned), errors);
}

RemoteCommand::RemoteCommand(RemoteCommand&& other) noexcept
    : host_(std::move(other.host_)),
      spawned_(std::exchange(other.spawned_, Spawned{})),
      errors_(std::move(other.errors_)) {}

RemoteCommand::~RemoteCommand() {
  if (spawned_.output_fd >= 0) close(spawned_.output_fd);
  if (spawned_.process.pid <= 0) return;
  (void)send_signal(spawned_.process, SIGKILL);
  (void)waitpid(spawned_.process.pid, nullptr, 0);
}

Result<std::string> RemoteCommand::wait(milliseconds timeout) {
  const auto until = Clock::now() + timeout;
  std::string output;
  std::array<char, 65'536> piece;
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now()).count();
    pollfd waiting{spawned_.output_fd, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, left > 0 ? static_cast<int>(left) : 0);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      return fail(Code::timed_out, host_ + " has not ended a command within " +
                                       std::to_string(timeout.count() / 1000) + " s");
    }
    const ssize_t n = ::read(spawned_.output_fd, piece.data(), piece.size());
    if (n <= 0) break;
    output.append(piece.data(), static_cast<size_t>(n));
  }
  int status = 0;
  const pid_t ended = waitpid(spawned_.process.pid, &status, 0);
  spawned_.process.pid = 0;
  if (ended > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) return output;
  std::string words = read_text(errors_).value_or("") + output;
  if (words.size() > kLastWords) words = words.substr(words.size() - kLastWords);
  // Cut anywhere, in any encoding.
  std::replace_if(
      words.begin(), words.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; },
      '?');
  return fail(Code::io, "a command on " + host_ + " failed" +
                            (ended > 0 && WIFEXITED(status)
                                 ? " with exit code " + std::to_string(WEXITSTATUS(status))
                                 : std::string()) +
                            (words.empty() ? "" : ": " + words));
}

Result<std::string> run_on(const HostsFile& hosts, const BenchHost& host,
                           const std::string& command, milliseconds timeout,
                           const std::filesystem::path& errors) {
  auto started = RemoteCommand::start(hosts, host, command, errors);
  if (!started) return tl::unexpected(started.error());
  return started->wait(timeout);
}

std::string shell_word(const std::string& text) { return "'" + replaced(text, "'", "'\\''") + "'"; }

}  // namespace caisson::tools
