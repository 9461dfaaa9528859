// SPDX-License-Identifier: BSD-3-Clause
// Reads TOML of strangers: whatever is wrong in it becomes one sentence with file, line, key and
// cure. The only place that includes toml++: it must be told alike everywhere what to do with a
// broken file.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caisson/types.hpp"
#include "core/engine/config.hpp"

namespace caisson::engine {
// toml++ 3.3 asserts what a hostile file can break ("[[|log]]"): an error like any other here.
[[noreturn]] void refuse_broken_toml();
}  // namespace caisson::engine

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 1
#define TOML_ASSERT(expr) ((expr) ? void() : ::caisson::engine::refuse_broken_toml())
#include <toml++/toml.h>

namespace caisson::engine {

// What stands there, for a message.
std::string found_text(const toml::node& node);

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

  void refuse(const std::string& key, const std::string& sentence, Code code = Code::invalid);

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

  // … and these are judged here.
  template <class T>
  void number_within(std::string_view name, T& out, uint64_t least, uint64_t most) {
    T value = out;
    if (!number(name, value, least, most)) return;
    if (value >= least && value <= most) {
      out = value;
      return;
    }
    findings_.refuse(key(name), std::to_string(value) +
                                    " is not allowed: use a whole number from " +
                                    std::to_string(least) + " to " + std::to_string(most));
  }

  bool replica(std::string_view name, ReplicaId& out) {
    return number(name, out.value, 1, kReplicaIdMax);
  }

  bool bytes(std::string_view name, uint64_t& out);  // a number, or "256 MiB"
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

// `read` takes the keys of the whole file, and calls finish(). `source`: the file's name, for
// messages; `base`: where its relative paths begin; `manual`: the page that explains it. The first
// thing that is wrong: invalid, or what `read` calls it · too_large.
Result<void> read_toml(std::string_view text, std::string_view source,
                       const std::filesystem::path& base, std::string_view manual,
                       const std::function<void(Table& root)>& read);

}  // namespace caisson::engine
