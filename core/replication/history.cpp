// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/history.hpp"

#include <algorithm>

namespace caisson::replication {

namespace {

auto run_of(const std::vector<control::Epoch>& epochs, Position p) {
  const auto after = std::upper_bound(
      epochs.begin(), epochs.end(), p,
      [](Position position, const control::Epoch& epoch) { return position < epoch.first; });
  return after == epochs.begin() ? epochs.end() : after - 1;
}

}  // namespace

Term History::term_at(Position p) const {
  if (p == trim.position) return trim.term;
  if (p < trim.position || p > tail.position) return Term{0};
  const auto run = run_of(epochs, p);
  return run == epochs.end() ? Term{0} : run->term;
}

Position History::run_start(Position p) const {
  if (p <= trim.position) return p;
  const auto run = run_of(epochs, p);
  return run == epochs.end() ? p : run->first;
}

History history_of(const log::LogState& state) {
  History history{state.trim_cursor(), state.batch_tail(), {}};
  history.epochs.reserve(state.terms().size());
  for (const log::TermRun& run : state.terms()) {
    if (run.first <= history.tail.position) history.epochs.push_back({run.term, run.first});
  }
  return history;
}

bool consistent(const History& h) {
  if (h.tail.position < h.trim.position || h.tail.end < h.trim.end) return false;
  if (h.epochs.empty()) return h.tail.position == h.trim.position;
  if (h.epochs.front().first != h.trim.position + 1) return false;
  Term term = h.trim.term;
  Position before = h.trim.position;
  for (const control::Epoch& epoch : h.epochs) {
    if (epoch.first <= before || epoch.first > h.tail.position || epoch.term < term) return false;
    if (&epoch != &h.epochs.front() && epoch.term == term) return false;
    before = epoch.first;
    term = epoch.term;
  }
  return h.tail.term == term;
}

std::optional<Position> last_common(const History& a, const History& b) {
  const Position floor = std::max(a.trim.position, b.trim.position);
  Position p = std::min(a.tail.position, b.tail.position);
  while (p >= floor) {
    if (a.term_at(p) == b.term_at(p)) return p;
    const Position start = std::max(a.run_start(p), b.run_start(p));
    if (start.value == 0 || start <= floor) break;
    p = Position{start.value - 1};
  }
  return std::nullopt;
}

}  // namespace caisson::replication
