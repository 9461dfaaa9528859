// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/canary.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <vector>

#include "transport/sim/sim_random.hpp"

namespace caisson::simtest {

namespace {

constexpr std::array<std::string_view, kCanaries> kNames = {"none",    "lost", "early",
                                                            "changed", "hole", "stale"};

using Where = std::function<bool(const Event&)>;

std::optional<size_t> pick(const History& history, const Where& where,
                           transport::sim::Random& random) {
  std::vector<size_t> all;
  for (size_t i = 0; i < history.size(); ++i) {
    if (where(history[i])) all.push_back(i);
  }
  if (all.empty()) return std::nullopt;
  return all[random.below(all.size())];
}

// Every entry is shown at the end again; whoever shows nothing else of it has forgotten it.
bool lose(History& history, transport::sim::Random& random) {
  const auto at = pick(
      history, [](const Event& e) { return e.what == What::ack && e.level >= kPersisted; }, random);
  if (!at) return false;
  const Event told = history[*at];
  std::erase_if(history, [&](const Event& e) {
    return e.what == What::expose && e.position >= told.position;
  });
  return true;
}

}  // namespace

std::string_view name(Canary canary) { return kNames[static_cast<size_t>(canary)]; }

std::optional<Canary> canary_of(std::string_view name) {
  for (size_t i = 0; i < kCanaries; ++i) {
    if (kNames[i] == name) return static_cast<Canary>(i);
  }
  return std::nullopt;
}

bool spoil(History& history, Canary canary, uint64_t seed) {
  transport::sim::Random random(seed * 13 + 7);
  const auto shown = [](const Event& e) { return e.what == What::expose && e.kind == kDataKind; };
  switch (canary) {
    case Canary::none: return false;
    case Canary::lost: return lose(history, random);
    case Canary::early: {
      // Not of what a standby gave up when it took over.
      uint64_t since_ns = 0;
      for (const Event& e : history) {
        if (e.what == What::takeover) since_ns = e.at_ns;
      }
      const auto told = [since_ns](const Event& e) {
        return e.what == What::ack && e.level >= kPersisted && e.at_ns > since_ns;
      };
      const auto at = pick(history, told, random);
      if (at) history[*at].position += 1;
      return at.has_value();
    }
    case Canary::changed: {
      const auto at = pick(history, shown, random);
      if (at) history[*at].digest ^= 1;
      return at.has_value();
    }
    case Canary::hole: {
      // Of the final reading, where nothing else explains it: not the last one a replica shows.
      const auto end = std::find_if(history.begin(), history.end(),
                                    [](const Event& e) { return e.what == What::end; });
      const auto begin = static_cast<size_t>(end - history.begin());
      std::vector<size_t> inner;
      for (size_t i = begin + 2; i + 1 < history.size(); ++i) {
        const bool within = history[i - 1].replica == history[i].replica &&
                            history[i + 1].replica == history[i].replica;
        if (history[i].what == What::expose && within) inner.push_back(i);
      }
      if (inner.empty()) return false;
      const size_t at = inner[random.below(inner.size())];
      history.erase(history.begin() + static_cast<std::ptrdiff_t>(at));
      return true;
    }
    case Canary::stale: {
      // Asked for and answered when everything has been seen, with what was there before.
      Event asked;
      asked.what = What::ask;
      asked.replica = asked.life = 1;
      asked.group = UINT64_MAX;
      asked.at_ns = history.back().at_ns + 1;
      Event answered = asked;
      answered.what = What::read;
      history.push_back(asked);
      history.push_back(answered);
      return true;
    }
  }
  return false;
}

}  // namespace caisson::simtest
