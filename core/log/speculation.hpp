// SPDX-License-Identifier: BSD-3-Clause
// A reader that does not wait for the commit (R32): it is handed every entry that this replica
// holds, and told when some of them turn out not to be in the log after all. Owner thread.
#pragma once

#include <vector>

#include "core/log/log_state.hpp"

namespace caisson::log {

class Speculation {
 public:
  // Begins behind `before`.
  explicit Speculation(Position before) : certain_(before) { before_.position = before; }

  // The next entry of the log as it stands; out.cursor, header and payload as of LogState::read,
  // but good for this turn only: an entry that is not committed may be overwritten.
  // not_yet: nothing new · revoked: what was handed out behind last() is not in the log; the next
  // call goes on from there · trimmed: the log no longer holds what follows last(), and says
  // nothing about what was handed out and not certain() · damaged.
  Code next(const LogState& log, EntryView& out);
  // ok: everything handed out is committed, and will never be revoked · not_yet · revoked, trimmed:
  // as next.
  Code settled(const LogState& log);
  Position last() const { return before_.position; }
  // Nothing up to here will ever be revoked; what follows it must not be trimmed meanwhile.
  Position certain() const { return certain_; }

 private:
  bool stands(const LogState& log) const;
  Code go_back(const LogState& log);
  void confirm(const LogState& log);

  Cursor before_;  // behind the entry handed out last; only its position while `found_` is false
  bool found_ = false;
  Position certain_;            // of those handed out, these are committed
  std::vector<TermRun> terms_;  // whose terms wrote those behind it, ascending
};

}  // namespace caisson::log
