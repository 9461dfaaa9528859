// SPDX-License-Identifier: BSD-3-Clause
// Which term each position of a log belongs to, and where two logs part (P14: identity is (term,
// position); the chain is integrity only).
#pragma once

#include <optional>
#include <vector>

#include "caisson/types.hpp"
#include "core/control/messages.hpp"
#include "core/log/log_state.hpp"

namespace caisson::replication {

struct History {
  log::Cursor trim;  // nothing below is held
  log::Cursor tail;
  std::vector<control::Epoch> epochs;  // of trim+1 … tail, ascending

  Term term_at(Position p) const;        // 0 if not held
  Position run_start(Position p) const;  // first held position of p's term
};

History history_of(const log::LogState& state);

// True if the parts fit together; what a peer sends is judged by this before it is used.
bool consistent(const History& history);

// The last position at which both logs hold the same entry. Nothing: one was trimmed beyond it, so
// that only a state transfer could bring them together.
std::optional<Position> last_common(const History& a, const History& b);

}  // namespace caisson::replication
