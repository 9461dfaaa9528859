// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/toml_reader.hpp"

#include <cctype>
#include <charconv>
#include <exception>
#include <sstream>
#include <stdexcept>

#include "core/engine/utf8.hpp"

namespace caisson::engine {

namespace {

constexpr size_t kSentenceMax = 2'000;

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

// toml++ 3.3 looks for the end of what it does not understand in a table that has holes beyond
// ASCII (U+00E9, U+FCFF): what happens then is undefined. So it is shown other characters, higher
// by this, which lie behind that table; texts and messages are put back.
constexpr char32_t kAside = 0x100000;

// Every character of valid UTF-8 as `change` has it.
template <class Change>
std::string changed(std::string_view text, Change change) {
  std::string out;
  while (!text.empty()) {
    const Character next = first_character(text);
    append_utf8(out, change(next.code));
    text.remove_prefix(next.bytes);
  }
  return out;
}

std::string set_aside(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  return changed(
      text, [](char32_t code) { return code >= 0x80 && code < 0x10000 ? code + kAside : code; });
}

std::string put_back(std::string_view text) {
  if (!is_utf8(text)) return std::string(text);
  return changed(text, [](char32_t code) { return code >= kAside + 0x80 ? code - kAside : code; });
}

void put_back(toml::node& node) {
  if (toml::value<std::string>* const text = node.as_string()) {
    text->get() = put_back(text->get());
  } else if (toml::array* const array = node.as_array()) {
    for (toml::node& each : *array) put_back(each);
  } else if (toml::table* const table = node.as_table()) {
    for (auto&& [key, value] : *table) put_back(value);
  }
}

// A line that is no UTF-8, or has one of the characters that others are shown as.
bool is_beyond_text(std::string_view line) {
  while (!line.empty()) {
    const Character next = first_character(line);
    if (next.bytes == 0 || next.code >= kAside || line.starts_with("\\U0010")) return true;
    line.remove_prefix(next.bytes);
  }
  return false;
}

struct BrokenLine {
  size_t number = 0;
  const char* why = "";
};

// What toml++ 3.3 does not survive. It refuses every other malformed file.
std::optional<BrokenLine> line_toml_cannot_read(std::string_view text) {
  for (size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (is_beyond_text(line)) {
      return BrokenLine{number, "not UTF-8, or a character for private use beyond U+100000"};
    }
    if (opens_nameless_table(line)) {
      return BrokenLine{number,
                        "not valid TOML: names of tables are made of A-Z a-z 0-9 - _, anything "
                        "else is quoted"};
    }
  }
  return std::nullopt;
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

// What a file says goes to a terminal: on one line, whatever stands in it.
std::string one_line(std::string text) {
  text = put_back(text);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; }, '?');
  return text.size() <= kSentenceMax ? text : text.substr(0, kSentenceMax) + "…";
}

std::string hint(std::string_view manual) {
  return "; see " + std::string(manual) + " for an example";
}

}  // namespace

void refuse_broken_toml() {
  throw std::runtime_error("not valid TOML, in a key or a table's name");
}

std::string found_text(const toml::node& node) {
  if (node.is_table()) return "a table";
  if (node.is_array()) return "an array";
  std::string text;
  if (const auto* string = node.as_string()) {
    text = '"' + string->get() + '"';
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
  text = one_line(std::move(text));
  return text.size() <= 100 ? text : text.substr(0, 97) + "…";
}

void Findings::refuse(const std::string& key, const std::string& sentence, Code code) {
  if (error_) return;
  error_ = Error{
      code, source_ + ':' + std::to_string(line_of(key)) + ": " + one_line(key + ": " + sentence)};
}

bool Table::bytes(std::string_view name, uint64_t& out) {
  const toml::node* node = find(name);
  if (node == nullptr) return false;
  std::optional<uint64_t> value;
  if (const auto whole = node->value_exact<int64_t>(); whole && *whole >= 0) {
    value = static_cast<uint64_t>(*whole);
  } else if (const auto text = node->value_exact<std::string_view>()) {
    value = bytes_of(*text);
  }
  if (!value) {
    findings_.refuse(key(name),
                     found_text(*node) +
                         " is no size: use a number of bytes, or a number with B, KiB, MiB, GiB or "
                         "TiB, for example \"256 MiB\"");
    return false;
  }
  out = *value;
  return true;
}

Result<void> read_toml(std::string_view text, std::string_view source,
                       const std::filesystem::path& base, std::string_view manual,
                       const std::function<void(Table& root)>& read) try {
  if (text.size() > kConfigBytesMax) {
    return fail(Code::too_large,
                std::string(source) + ": longer than 1 MiB: is it the right file?");
  }
  if (const auto line = line_toml_cannot_read(text)) {
    return fail(Code::invalid, std::string(source) + ':' + std::to_string(line->number) + ": " +
                                   line->why + hint(manual));
  }
  toml::table document = toml::parse(set_aside(text), source);
  put_back(document);
  Findings findings(source, base);
  Table root(document, "", findings);
  read(root);
  if (findings.failed()) return tl::unexpected(findings.take());
  return {};
} catch (const toml::parse_error& error) {
  return fail(Code::invalid, std::string(source) + ':' + std::to_string(error.source().begin.line) +
                                 ": not valid TOML: " + one_line(std::string(error.description())) +
                                 hint(manual));
} catch (const std::exception& error) {
  return fail(Code::invalid, std::string(source) + ": " + one_line(error.what()) + hint(manual));
}

}  // namespace caisson::engine
