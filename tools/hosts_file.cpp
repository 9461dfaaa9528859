// SPDX-License-Identifier: BSD-3-Clause
#include "tools/hosts_file.hpp"

#include <poll.h>
#include <sys/wait.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <set>
#include <string_view>
#include <utility>

#include "core/engine/config.hpp"
#include "tools/files.hpp"

namespace caisson::tools {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr size_t kHostsMax = engine::kVotersMax;
constexpr size_t kLastWords = 2'000;
constexpr size_t kFileBytesMax = size_t{1} << 20;

// Takes keys out of a table, and in the end complains of those that nobody took.
class Keys {
 public:
  Keys(const toml::table& table, std::string file, std::string where)
      : table_(table), file_(std::move(file)), where_(std::move(where)) {}

  void text(const std::string& key, std::string& to) {
    if (const toml::node* const node = take(key)) {
      const auto value = node->value_exact<std::string>();
      if (!value || value->empty()) return complain(*node, key, "is no text: use \"…\"");
      to = *value;
    }
  }
  void flag(const std::string& key, bool& to) {
    if (const toml::node* const node = take(key)) {
      const auto value = node->value_exact<bool>();
      if (!value) return complain(*node, key, "is neither true nor false");
      to = *value;
    }
  }
  template <class Number>
  void number(const std::string& key, Number& to, int64_t least, int64_t most) {
    const toml::node* const node = take(key);
    if (node == nullptr) return;
    const auto value = node->value_exact<int64_t>();
    if (value && *value >= least && *value <= most) {
      to = static_cast<Number>(*value);
    } else {
      complain(*node, key,
               "is no whole number from " + std::to_string(least) + " to " + std::to_string(most));
    }
  }
  template <class Choice>
  void choice(const std::string& key, Choice& to, std::initializer_list<Choice> choices) {
    std::string text;
    const toml::node* const node = table_.get(key);
    this->text(key, text);
    if (node == nullptr || error_) return;
    std::string known;
    for (const Choice each : choices) {
      if (text == engine::name(each)) {
        to = each;
        return;
      }
      known += (known.empty() ? "\"" : ", \"") + std::string(engine::name(each)) + '"';
    }
    complain(*node, key, "= \"" + text + "\" is not known: use one of " + known);
  }
  void words(const std::string& key, std::vector<std::string>& to, const std::string& such_as) {
    const toml::node* const node = take(key);
    if (node == nullptr) return;
    const toml::array* const list = node->as_array();
    std::vector<std::string> read;
    for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
      const auto word = list->get(i)->value_exact<std::string>();
      if (word) read.push_back(*word);
    }
    if (list == nullptr || read.size() != list->size() || read.empty()) {
      return complain(*node, key, "is no list of words: use " + such_as);
    }
    to = std::move(read);
  }
  // As text; it goes into commands for a shell.
  void word(const std::string& key, std::string& to) {
    text(key, to);
    const toml::node* const node = table_.get(key);
    const bool plain = std::all_of(to.begin(), to.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 ||
             std::string_view("/._-:%@").find(static_cast<char>(c)) != std::string_view::npos;
    });
    if (node != nullptr && !plain) {
      complain(*node, key, "has characters that mean something to a shell: use others");
    }
  }
  const toml::node* take(const std::string& key) {
    taken_.insert(key);
    return table_.get(key);
  }
  void complain(const toml::node& node, const std::string& key, const std::string& what) {
    if (error_) return;
    error_ = Error{Code::invalid, file_ + ":" + std::to_string(node.source().begin.line) + ": " +
                                      where_ + key + " " + what};
  }
  Result<void> end() {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      if (!taken_.contains(name)) complain(node, name, "is not known here: see docs/benchmarks.md");
    }
    return error_ ? Result<void>(tl::unexpected(*error_)) : Result<void>{};
  }

 private:
  const toml::table& table_;
  const std::string file_;
  const std::string where_;
  std::set<std::string> taken_;
  std::optional<Error> error_;
};

Result<void> read_host(const toml::table& table, const std::string& file, HostsFile& hosts) {
  Keys keys(table, file, "host.");
  BenchHost host;
  keys.text("name", host.name);
  keys.word("address", host.address);
  keys.word("device", host.device);
  keys.word("scratch_device", host.scratch_device);
  if (host.name.empty())
    keys.complain(table, "name", "is missing: write what the launcher calls it");
  if (host.address.empty()) host.address = host.name;
  if (host.scratch_device == host.device && !host.device.empty()) {
    keys.complain(table, "scratch_device", "is the device of the ring: name another one");
  }
  hosts.hosts.push_back(host);
  return keys.end();
}

Result<void> read_hosts(const toml::table& root, const std::string& file, HostsFile& hosts) {
  Keys keys(root, file, "");
  keys.words("launcher", hosts.launcher, "[\"ssh\", \"{host}\", \"{command}\"]");
  keys.text("program", hosts.program);
  keys.word("directory", hosts.directory);
  if (hosts.directory.front() != '/') {
    keys.complain(root, "directory", "= \"" + hosts.directory + "\" does not begin with /");
  }
  keys.number("port", hosts.port, 1024, 65'000);
  keys.choice("fabric", hosts.fabric, {FabricKind::shm, FabricKind::verbs});
  keys.choice("persistence", hosts.persistence, {PersistenceMode::emulated, PersistenceMode::real});
  keys.choice("persists_by", hosts.verbs.persists_by,
              {RemotePersistence::automatic, RemotePersistence::flush,
               RemotePersistence::read_after_write, RemotePersistence::target_flush});
  keys.flag("past_caches", hosts.verbs.past_caches);
  keys.number("traffic_class", hosts.verbs.traffic_class, 0, engine::kTrafficClassMax);
  keys.number("round_trip_us", hosts.round_trip_us, int64_t{engine::kRoundTripUsMin},
              int64_t{engine::kRoundTripUsMax});
  keys.words("ib_write_bw", hosts.bandwidth, "[\"-D\", \"8\"]");
  const toml::node* const list = keys.take("host");
  if (const auto sound = keys.end(); !sound) return sound;
  const toml::array* const tables = list != nullptr ? list->as_array() : nullptr;
  if (tables == nullptr || tables->empty() || tables->size() > kHostsMax) {
    return fail(Code::invalid, file + ": one to " + std::to_string(kHostsMax) +
                                   " machines are needed: write a [[host]] for each");
  }
  for (const toml::node& each : *tables) {
    if (!each.is_table()) return fail(Code::invalid, file + ": [[host]] is no table");
    if (const auto read = read_host(*each.as_table(), file, hosts); !read) return read;
  }
  const auto named = [&](const std::string& what) {
    return std::any_of(hosts.launcher.begin(), hosts.launcher.end(), [&](const std::string& word) {
      return word.find(what) != std::string::npos;
    });
  };
  if (named("{command}")) return {};
  return fail(Code::invalid, file + ": launcher has no word {command}: say where the command goes");
}

std::string replaced(std::string word, const std::string& what, const std::string& by) {
  for (size_t at = word.find(what); at != std::string::npos; at = word.find(what, at + by.size())) {
    word.replace(at, what.size(), by);
  }
  return word;
}

}  // namespace

Result<HostsFile> load_hosts(const std::filesystem::path& path) {
  const auto text = read_text(path);
  if (!text) return tl::unexpected(text.error());
  const std::string file = path.string();
  if (text->size() > kFileBytesMax) return fail(Code::too_large, file + " is no list of hosts");
  HostsFile hosts;
  try {
    const toml::table root = toml::parse(*text);
    if (const auto read = read_hosts(root, file, hosts); !read) return tl::unexpected(read.error());
  } catch (const toml::parse_error& error) {
    return fail(Code::invalid, file + ":" + std::to_string(error.source().begin.line) + ": " +
                                   std::string(error.description()));
  }
  return hosts;
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
