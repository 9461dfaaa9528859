// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/history.hpp"

#include <array>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace caisson::simtest {

namespace {

constexpr std::array<std::string_view, 21> kNames = {
    "submit",  "ack",  "refuse", "expose", "unreadable", "skip",   "trim",
    "applied", "lead", "replay", "loss",   "damage",     "reborn", "ask",
    "read",    "end",  "stall",  "attach", "apology",    "taken",  "takeover"};

using Field = std::pair<std::string_view, uint64_t*>;

std::array<Field, 13> fields(Event& e) {
  return {{{"replica", &e.replica},
           {"life", &e.life},
           {"position", &e.position},
           {"term", &e.term},
           {"kind", &e.kind},
           {"client", &e.id.client},
           {"incarnation", &e.id.incarnation},
           {"sequence", &e.id.sequence},
           {"digest", &e.digest},
           {"level", &e.level},
           {"group", &e.group},
           {"count", &e.count},
           {"at_ns", &e.at_ns}}};
}

[[noreturn]] void reject(const std::string& line) {
  throw std::runtime_error("not an event of a history: " + line);
}

void set_field(Event& event, const std::string& word, const std::string& line) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos) reject(line);
  for (const auto& [field, value] : fields(event)) {
    if (field != std::string_view(word).substr(0, equals)) continue;
    *value = std::stoull(word.substr(equals + 1));
    return;
  }
  reject(line);
}

}  // namespace

std::string_view name(What what) { return kNames[static_cast<size_t>(what)]; }

std::string to_text(const Event& event) {
  std::string text(name(event.what));
  Event copy = event;
  for (const auto& [field, value] : fields(copy)) {
    if (*value != 0) text += " " + std::string(field) + "=" + std::to_string(*value);
  }
  return text;
}

History parse_history(std::istream& in) {
  History history;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    if (!(words >> word)) continue;
    Event event;
    size_t what = 0;
    while (what < kNames.size() && kNames[what] != word) ++what;
    if (what == kNames.size()) reject(line);
    event.what = static_cast<What>(what);
    while (words >> word) set_field(event, word, line);
    history.push_back(event);
  }
  return history;
}

}  // namespace caisson::simtest
