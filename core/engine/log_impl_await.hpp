// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "core/engine/log_impl.hpp"
#include "core/engine/poller.hpp"

namespace caisson::engine {

template <class Done>
Code LogImpl::await(Done&& done, uint64_t deadline_ns) const {
  Waiter waiter(deadline_ns);
  for (;;) {
    if (done()) return Code::ok;
    if (closed()) return done() ? Code::ok : Code::closed;
    if (poller_.runs_inline()) {
      if (poller_.turn() == 0) give_way();
      if (poller_.now_ns() >= deadline_ns) return done() ? Code::ok : Code::timed_out;
    } else if (!waiter.step()) {
      return done() ? Code::ok : Code::timed_out;
    }
  }
}

}  // namespace caisson::engine
