// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/toml_reader.hpp"

#include <cctype>
#include <charconv>
#include <exception>
#include <sstream>
#include <stdexcept>

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
    return fail(Code::invalid,
                std::string(source) + ':' + std::to_string(*line) +
                    ": not valid TOML, or not read here: keys and names of tables are made of "
                    "A-Z a-z 0-9 - _, anything else is quoted, and a text stands on one line" +
                    hint(manual));
  }
  const toml::table document = toml::parse(text, source);
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
