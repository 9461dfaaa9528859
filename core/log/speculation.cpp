// SPDX-License-Identifier: BSD-3-Clause
#include "core/log/speculation.hpp"

#include <algorithm>

namespace caisson::log {

// P14: term and position name an entry, and with it everything before it.
bool Speculation::stands(const LogState& log) const {
  const Position last = before_.position;
  if (last <= certain_) return true;
  return last <= log.batch_tail().position && log.term_at(last) == terms_.back().term;
}

void Speculation::confirm(const LogState& log) {
  certain_ = std::max(certain_, std::min(before_.position, log.committed()));
  // The run that `certain_` lies in is kept: later ones are compared with it.
  while (terms_.size() > 1 && terms_[1].first <= certain_) terms_.erase(terms_.begin());
}

// To the last entry handed out that the log still has.
Code Speculation::go_back(const LogState& log) {
  Position end = before_.position;  // of the run
  Position common = certain_;
  while (!terms_.empty()) {
    const TermRun run = terms_.back();
    Position last = std::min(end, log.batch_tail().position);
    while (last >= run.first && log.term_at(last) != run.term) last = Position{last.value - 1};
    if (last >= run.first) {
      common = std::max(common, last);
      break;
    }
    terms_.pop_back();
    end = Position{run.first.value - 1};
  }
  before_.position = common;
  found_ = false;
  return Code::revoked;
}

Code Speculation::next(const LogState& log, EntryView& out) {
  if (before_.position < log.trimmed()) return Code::trimmed;
  if (!stands(log)) return go_back(log);
  confirm(log);
  if (before_.position >= log.batch_tail().position) return Code::not_yet;
  if (!found_) {
    const auto cursor = log.cursor_at(before_.position);
    if (!cursor) return cursor.error().code;
    before_ = *cursor;
    found_ = true;
  }
  const Step step = log::step(log.ring(), before_, log.batch_tail().end);
  if (step.reason != Break::none) return Code::damaged;
  out.header = step.header;
  out.payload = payload(log.ring(), before_.end, step.header);
  out.cursor = before_ = step.next;
  const Term term{step.header.term};
  if (terms_.empty() || terms_.back().term != term) terms_.push_back({term, before_.position});
  return Code::ok;
}

Code Speculation::settled(const LogState& log) {
  if (before_.position <= certain_) return Code::ok;
  if (before_.position < log.trimmed()) return Code::trimmed;
  if (!stands(log)) return go_back(log);
  confirm(log);
  return before_.position <= certain_ ? Code::ok : Code::not_yet;
}

}  // namespace caisson::log
