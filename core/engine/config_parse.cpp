// SPDX-License-Identifier: BSD-3-Clause
// From TOML to EngineOptions: types and names are judged here, values by config_rules.cpp.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <exception>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>

namespace caisson::engine {
// toml++ 3.3 asserts what a hostile file can break ("[[|log]]"): an error like any other here.
[[noreturn]] static void refuse_broken_toml() {
  throw std::runtime_error("not valid TOML, in a key or a table's name");
}
}  // namespace caisson::engine

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 1
#define TOML_ASSERT(expr) ((expr) ? void() : ::caisson::engine::refuse_broken_toml())
#include <toml++/toml.h>

#include "core/engine/config.hpp"

namespace caisson::engine {
namespace {

constexpr const char* kExampleHint = "; see docs/configuration.md for an example";

// Where keys stand, and the first thing that is wrong.
class Findings {
 public:
  Findings(std::string_view source, const std::filesystem::path& base)
      : source_(source), base_(base) {}

  bool failed() const { return error_.has_value(); }
  Error take() { return std::move(*error_); }
  const std::filesystem::path& base() const { return base_; }

  void place(const std::string& key, const toml::source_region& region) {
    if (region.begin.line != 0) lines_[key] = region.begin.line;  // 0: not in the file
  }

  void refuse(const std::string& key, const std::string& sentence, Code code = Code::invalid) {
    if (error_) return;
    error_ =
        Error{code, source_ + ":" + std::to_string(line_of(key)) + ": " + key + ": " + sentence};
  }

 private:
  // A key that the file does not name is reported at its table.
  uint32_t line_of(std::string key) const {
    while (true) {
      if (const auto found = lines_.find(key); found != lines_.end()) return found->second;
      const size_t dot = key.rfind('.');
      if (dot == std::string::npos) return 1;
      key.resize(dot);
    }
  }

  std::string source_;
  std::filesystem::path base_;
  std::map<std::string, uint32_t> lines_;
  std::optional<Error> error_;
};

std::string found_text(const toml::node& node) {
  if (node.is_table()) return "a table";
  if (node.is_array()) return "an array";
  std::string text;
  if (const auto* string = node.as_string()) {
    text = '"' + string->get() + '"';
    std::replace_if(
        text.begin(), text.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; }, '?');
  } else {
    // Not by toml's formatter, which computes what is undefined for some numbers.
    std::ostringstream out;
    out << std::boolalpha;
    node.visit([&out](const auto& value) {
      if constexpr (toml::is_value<decltype(value)>) out << value.get();
    });
    text = out.str();
    if (node.is_floating_point() && text.find_first_not_of("-0123456789") == std::string::npos) {
      text += ".0";
    }
  }
  return text.size() <= 100 ? text : text.substr(0, 97) + "…";
}

// "256 MiB", "4096 B".
std::optional<uint64_t> bytes_of(std::string_view text) {
  uint64_t number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (status != std::errc{}) return std::nullopt;
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  static constexpr std::pair<std::string_view, int> kUnits[] = {
      {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
  for (const auto& [suffix, shift] : kUnits) {
    if (unit != suffix) continue;
    if (number > std::numeric_limits<uint64_t>::max() >> shift) return std::nullopt;
    return number << shift;
  }
  return std::nullopt;
}

// Reads the keys of one table; whatever is left over in the end is unknown.
class Table {
 public:
  Table(const toml::table& table, std::string path, Findings& findings)
      : table_(table), path_(std::move(path)), findings_(findings) {
    if (!path_.empty()) findings_.place(path_, table.source());
  }

  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  std::string key(std::string_view name) const {
    return path_.empty() ? std::string(name) : path_ + '.' + std::string(name);
  }

  const toml::node* find(std::string_view name) {
    known_.push_back(name);
    const toml::node* node = table_.get(name);
    if (node != nullptr) findings_.place(key(name), node->source());
    return node;
  }

  void missing(std::string_view name, std::string_view cure) {
    findings_.refuse(key(name), "is missing: " + std::string(cure));
  }

  // `least` to `most` are for the message: values within T are judged by the rules.
  template <class T>
  bool number(std::string_view name, T& out, uint64_t least, uint64_t most) {
    const toml::node* node = find(name);
    if (node == nullptr) return false;
    const auto value = node->value_exact<int64_t>();
    if (!value || *value < 0 || static_cast<uint64_t>(*value) > std::numeric_limits<T>::max()) {
      findings_.refuse(key(name), found_text(*node) + " is not allowed: use a whole number from " +
                                      std::to_string(least) + " to " + std::to_string(most));
      return false;
    }
    out = static_cast<T>(*value);
    return true;
  }

  bool replica(std::string_view name, ReplicaId& out) {
    return number(name, out.value, 1, kReplicaIdMax);
  }

  bool bytes(std::string_view name, uint64_t& out) {
    const toml::node* node = find(name);
    if (node == nullptr) return false;
    std::optional<uint64_t> value;
    if (const auto whole = node->value_exact<int64_t>(); whole && *whole >= 0) {
      value = static_cast<uint64_t>(*whole);
    } else if (const auto text = node->value_exact<std::string_view>()) {
      value = bytes_of(*text);
    }
    if (!value) {
      findings_.refuse(
          key(name), found_text(*node) +
                         " is no size: use a number of bytes, or a number with B, KiB, MiB, GiB or "
                         "TiB, for example \"256 MiB\"");
      return false;
    }
    out = *value;
    return true;
  }

  bool text(std::string_view name, std::string& out) {
    const toml::node* node = find(name);
    if (node == nullptr) return false;
    const auto value = node->value_exact<std::string>();
    if (!value) {
      findings_.refuse(key(name), found_text(*node) + " is no text: put it in double quotes");
      return false;
    }
    out = *value;
    return true;
  }

  bool path(std::string_view name, std::string& out) {
    std::string value;
    if (!text(name, value)) return false;
    if (value.empty() || value.find('\0') != std::string::npos) {
      findings_.refuse(key(name),
                       "is no path: write at least one character, and none that is zero");
      return false;
    }
    const std::filesystem::path given(value);
    out = (given.is_absolute() || findings_.base().empty() ? given : findings_.base() / given)
              .lexically_normal()
              .string();
    return true;
  }

  void flag(std::string_view name, bool& out) {
    const toml::node* node = find(name);
    if (node == nullptr) return;
    const auto value = node->value_exact<bool>();
    if (!value) {
      findings_.refuse(key(name), found_text(*node) + " is not allowed: use true or false");
      return;
    }
    out = *value;
  }

  // One of the values' names.
  template <class T>
  bool choice(std::string_view name_of_key, T& out, std::initializer_list<T> values) {
    const toml::node* node = find(name_of_key);
    if (node == nullptr) return false;
    const auto text = node->value_exact<std::string_view>();
    std::string allowed;
    for (const T value : values) {
      if (text && *text == name(value)) {
        out = value;
        return true;
      }
      allowed += (allowed.empty() ? "\"" : ", \"") + std::string(name(value)) + '"';
    }
    findings_.refuse(key(name_of_key),
                     found_text(*node) + " is not allowed: use one of " + allowed);
    return false;
  }

  void finish() {
    for (const auto& [found, node] : table_) {
      const std::string_view found_name = found.str();
      if (std::find(known_.begin(), known_.end(), found_name) != known_.end()) continue;
      std::string allowed;
      for (const std::string_view name : known_) {
        allowed += (allowed.empty() ? "" : ", ") + std::string(name);
      }
      findings_.place(key(found_name), found.source());
      findings_.refuse(key(found_name), "is no known key: remove it, or use one of " + allowed);
    }
  }

  Findings& findings() { return findings_; }

 private:
  const toml::table& table_;
  std::string path_;
  Findings& findings_;
  std::vector<std::string_view> known_;
};

// Calls `read` with the sub-table `name`, or with an empty one if the file has none.
template <class Read>
void with_table(Table& parent, std::string_view name, Read read) {
  static const toml::table kEmpty;
  const toml::node* node = parent.find(name);
  if (node != nullptr && !node->is_table()) {
    parent.findings().refuse(parent.key(name), found_text(*node) + " is no table: write [" +
                                                   std::string(name) + "] on a line of its own");
    return;
  }
  if (node == nullptr) {
    Findings& findings = parent.findings();
    Table table(kEmpty, parent.key(name), findings);
    read(table);
    return;
  }
  Table table(*node->as_table(), parent.key(name), parent.findings());
  read(table);
  table.finish();
}

// Calls `read` for every [[name]].
template <class Read>
void for_each_table(Table& parent, std::string_view name, size_t most, Read read) {
  const toml::node* node = parent.find(name);
  if (node == nullptr) return;
  const toml::array* array = node->as_array();
  if (array == nullptr || !array->is_homogeneous(toml::node_type::table)) {
    parent.findings().refuse(parent.key(name), found_text(*node) +
                                                   " is no list of tables: write [[" +
                                                   std::string(name) + "]] before each");
    return;
  }
  if (array->size() > most) {
    parent.findings().refuse(parent.key(name), "is listed " + std::to_string(array->size()) +
                                                   " times: at most " + std::to_string(most) +
                                                   " are allowed");
    return;
  }
  for (size_t i = 0; i < array->size(); ++i) {
    Table table(*array->get(i)->as_table(), parent.key(name) + '[' + std::to_string(i) + ']',
                parent.findings());
    read(table);
    table.finish();
  }
}

void read_cluster(Table& table, EngineOptions& options) {
  std::string text;
  if (!table.text("uuid", text)) {
    table.missing("uuid", "write 32 hexadecimal digits, the same on every node");
    return;
  }
  const auto uuid = parse_cluster_uuid(text);
  if (!uuid) {
    table.findings().refuse(table.key("uuid"), uuid.error().message);
    return;
  }
  options.cluster = *uuid;
}

void read_node(Table& table, EngineOptions& options) {
  if (!table.replica("replica", options.replica)) {
    table.missing("replica", "write this node's number, 1 to 63");
  }
  if (!table.path("directory", options.directory)) {
    table.missing("directory", "name the directory that holds this node's data");
  }
  table.text("listen_host", options.listen_host);
  if (table.number("listen_port", options.listen_port, 1, UINT16_MAX) && options.listen_port == 0) {
    table.findings().refuse(table.key("listen_port"),
                            "0 is not allowed: use a whole number from 1 to 65535, or leave it out "
                            "for the port of this node's [[peer]]");
  }
  table.choice("persistence", options.persistence,
               {PersistenceMode::emulated, PersistenceMode::real});
  table.choice("fabric", options.fabric, {FabricKind::shm, FabricKind::verbs});
}

void read_verbs(Table& table, VerbsOptions& verbs) {
  table.text("address", verbs.address);
  table.text("device", verbs.device);
  table.number("port", verbs.port, 1, kVerbsPortMax);
  uint32_t gid_index = 0;
  if (table.number("gid_index", gid_index, 0, kGidIndexMax)) {
    verbs.gid_index = static_cast<int>(std::min(gid_index, kGidIndexMax + 1));
  }
  table.number("traffic_class", verbs.traffic_class, 0, kTrafficClassMax);
  table.flag("past_caches", verbs.past_caches);
  table.choice("persists_by", verbs.persists_by,
               {RemotePersistence::automatic, RemotePersistence::flush,
                RemotePersistence::read_after_write, RemotePersistence::target_flush});
}

void read_peer(Table& table, EngineOptions& options) {
  PeerOptions peer;
  if (!table.replica("id", peer.id)) table.missing("id", "write the node's number, 1 to 63");
  if (!table.text("host", peer.host)) table.missing("host", "write its name or address");
  if (!table.number("port", peer.port, 1, UINT16_MAX))
    table.missing("port", "write its listen_port");
  table.path("directory", peer.directory);
  table.flag("spare", peer.spare);
  options.peers.push_back(std::move(peer));
}

void read_tls(Table& table, EngineOptions& options) {
  table.flag("enabled", options.tls.enabled);
  table.path("ca", options.tls.ca_file);
  table.path("certificate", options.tls.certificate_file);
  table.path("key", options.tls.key_file);
}

void read_log(Table& table, EngineOptions& options) {
  LogOptions log;
  if (!table.text("name", log.name)) table.missing("name", "name the log, for example \"main\"");
  if (!table.number("id", log.id, 1, UINT32_MAX))
    table.missing("id", "number the log, the same on every node");
  table.path("device", log.device);
  table.bytes("ring_bytes", log.ring_bytes);
  table.bytes("segment_bytes", log.segment_bytes);
  table.bytes("salvage_bytes", log.salvage_bytes);
  uint64_t entry_bytes_max = 0;
  if (table.bytes("entry_bytes_max", entry_bytes_max)) {
    log.entry_bytes_max = static_cast<uint32_t>(std::min<uint64_t>(entry_bytes_max, UINT32_MAX));
  }
  table.number("outstanding_max", log.outstanding_max, kOutstandingMin, kOutstandingMax);
  table.flag("auto_apply", log.auto_apply);
  table.choice("quorum", log.quorum, {Quorums::majority, Quorums::all, Quorums::flexible});
  table.number("commit_quorum", log.commit_quorum, 2, kVotersMax);
  table.choice("slow", log.slow, {SlowPolicy::back_pressure, SlowPolicy::demote});
  table.number("slow_patience_ms", log.slow_patience_ms, 1, kSlowPatienceMsMax);
  table.number("voters_min", log.voters_min, 1, kVotersMax);
  table.bytes("catch_up_bytes_per_s", log.catch_up_bytes_per_s);
  table.bytes("scrub_bytes_per_s", log.scrub_bytes_per_s);
  table.choice("standby_policy", log.standby_policy, {StandbyPolicy::stall, StandbyPolicy::error});
  table.bytes("standby_lag_bytes", log.standby_lag.bytes);
  table.number("standby_lag_entries", log.standby_lag.entries, 1, kStandbyLagEntriesMax);
  table.number("standby_lag_ms", log.standby_lag.ms, 1, kStandbyLagMsMax);
  options.logs.push_back(std::move(log));
}

void read_cores(Table& table, std::vector<int>& cores) {
  const toml::node* node = table.find("cores");
  if (node == nullptr) return;
  if (const auto word = node->value_exact<std::string_view>(); word && *word == "auto") return;
  const toml::array* array = node->as_array();
  if (array == nullptr || array->empty()) {
    table.findings().refuse(table.key("cores"),
                            found_text(*node) + " is not allowed: use \"auto\" or a list, [0, 1]");
    return;
  }
  for (const toml::node& item : *array) {
    const auto core = item.value_exact<int64_t>();
    if (!core || *core < -1 || *core > kCoreMax) {
      table.findings().refuse(table.key("cores"), found_text(item) + " is no core: use 0 to " +
                                                      std::to_string(kCoreMax) +
                                                      ", or -1 for no pinning");
      return;
    }
    cores.push_back(static_cast<int>(*core));
  }
}

void read_poller(Table& table, EngineOptions& options) {
  table.flag("inline", options.inline_poller);
  read_cores(table, options.poller_cores);
  table.flag("cross_numa", options.cross_numa);
  table.choice("idle", options.idle, {Idle::busy, Idle::yield, Idle::adaptive});
  table.number("spin_us", options.spin_us, 0, kSpinUsMax);
  table.number("priority", options.poller_priority, 0, kPriorityMax);
}

void read_failure_detection(Table& table, EngineOptions& options) {
  table.number("suspect_after_us", options.suspect_after_us, kSuspectUsMin, kSuspectUsMax);
  if (!table.number("link_hint_us", options.link_hint_us, 0, kSuspectUsMax)) {
    options.link_hint_us = std::min(options.link_hint_us, options.suspect_after_us);
  }
  table.number("round_trip_us", options.round_trip_us, kRoundTripUsMin, kRoundTripUsMax);
}

void read_logging(Table& table, EngineOptions& options) {
  table.text("level", options.log_level);
  table.path("file", options.log_file);
}

void read_all(const toml::table& document, Findings& findings, EngineOptions& options) {
  Table root(document, "", findings);
  with_table(root, "cluster", [&](Table& table) { read_cluster(table, options); });
  with_table(root, "node", [&](Table& table) { read_node(table, options); });
  with_table(root, "verbs", [&](Table& table) { read_verbs(table, options.verbs); });
  for_each_table(root, "peer", kPeersMax, [&](Table& table) { read_peer(table, options); });
  with_table(root, "tls", [&](Table& table) { read_tls(table, options); });
  for_each_table(root, "log", kLogsMax, [&](Table& table) { read_log(table, options); });
  with_table(root, "poller", [&](Table& table) { read_poller(table, options); });
  with_table(root, "failure_detection",
             [&](Table& table) { read_failure_detection(table, options); });
  with_table(root, "logging", [&](Table& table) { read_logging(table, options); });
  root.finish();
}

// Listening where one's own [[peer]] says is so usual that it need not be repeated.
void fill_listen(EngineOptions& options) {
  for (const PeerOptions& peer : options.peers) {
    if (peer.id != options.replica) continue;
    if (options.listen_host.empty()) options.listen_host = peer.host;
    if (options.listen_port == 0) options.listen_port = peer.port;
  }
}

bool begins_key(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '"' ||
         c == '\'' || c == ']';
}

// "[[|log]]": opens a table but names none.
bool opens_nameless_table(std::string_view line) {
  const auto visible = [](char c) { return c > ' ' && c < 0x7f; };
  const auto first = std::find_if(line.begin(), line.end(), visible);
  if (first == line.end() || *first != '[') return false;
  line.remove_prefix(static_cast<size_t>(first - line.begin()) + 1);
  const auto skip_blanks = [&line] {
    line.remove_prefix(std::min(line.size(), line.find_first_not_of(" \t")));
  };
  skip_blanks();
  if (line.starts_with('[')) line.remove_prefix(1);
  skip_blanks();
  return line.empty() || !begins_key(line.front());
}

// A letter beyond ASCII that stands neither in a text, quoted where a text may begin, nor in a
// comment; or the beginning of a text of several lines, in which such a letter breaks toml++, too.
bool has_bare_letter_or_long_text(std::string_view line) {
  char quote = 0;
  char before = '=';  // the last visible character outside of quotes
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote == '"' && c == '\\') {
      ++i;
    } else if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '#') {
      return false;
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      return true;
    } else if ((c == '"' || c == '\'') &&
               std::string_view("=[{,.").find(before) != std::string_view::npos) {
      if (line.substr(i).starts_with(std::string(3, c))) return true;
      quote = c;
      before = c;
    } else if (c > ' ') {
      before = c;
    }
  }
  return false;
}

// What toml++ 3.3 does not survive, as the line that holds it. It refuses every other malformed
// file.
std::optional<size_t> line_toml_cannot_read(std::string_view text) {
  for (size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (opens_nameless_table(line) || has_bare_letter_or_long_text(line)) return number;
  }
  return std::nullopt;
}

}  // namespace

Result<EngineOptions> parse_config(std::string_view text, std::string_view source,
                                   const std::filesystem::path& base) try {
  if (text.size() > kConfigBytesMax) {
    return fail(Code::too_large,
                std::string(source) + ": longer than 1 MiB: is it the right file?");
  }
  if (const auto line = line_toml_cannot_read(text)) {
    return fail(Code::invalid,
                std::string(source) + ':' + std::to_string(*line) +
                    ": not valid TOML, or not read here: keys and names of tables are made of "
                    "A-Z a-z 0-9 - _, anything else is quoted, and a text stands on one line; see "
                    "docs/configuration.md for an example");
  }
  const toml::table document = toml::parse(text, source);
  Findings findings(source, base);
  EngineOptions options;
  options.listen_host.clear();
  read_all(document, findings, options);
  if (!findings.failed()) {
    fill_listen(options);
    if (const auto found = find_violation(options)) {
      findings.refuse(found->key, found->sentence, found->code);
    }
  }
  if (findings.failed()) return tl::unexpected(findings.take());
  std::sort(options.peers.begin(), options.peers.end(),
            [](const PeerOptions& a, const PeerOptions& b) { return a.id < b.id; });
  return options;
} catch (const toml::parse_error& error) {
  return fail(Code::invalid, std::string(source) + ':' + std::to_string(error.source().begin.line) +
                                 ": not valid TOML: " + std::string(error.description()) +
                                 kExampleHint);
} catch (const std::exception& error) {
  return fail(Code::invalid, std::string(source) + ": " + error.what() + kExampleHint);
}

}  // namespace caisson::engine
