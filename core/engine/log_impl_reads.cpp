// SPDX-License-Identifier: BSD-3-Clause
// Reads that are fresh in a stated way (R31).
#include <algorithm>

#include "core/engine/log_impl_await.hpp"

namespace caisson {

std::string_view name(ReadPath path) {
  switch (path) {
    case ReadPath::log: return "log";
    case ReadPath::leader: return "leader";
    case ReadPath::proof: return "proof";
  }
  return "unknown";
}

}  // namespace caisson

namespace caisson::engine {

void LogImpl::read_point_here(ReadPath path, uint64_t timeout_ns, uint64_t now_ns,
                              OnReadPoint done) {
  if (closed_.load(std::memory_order_relaxed)) return done({0, Code::closed, {}});
  const uint64_t tag = ++read_tag_;
  const replication::ReadPoint point = replica_->read_point(path, tag, timeout_ns, now_ns);
  if (point.code != Code::not_yet) return done(point);
  reading_.push_back({tag, std::move(done)});
}

void LogImpl::read_point(ReadPath path, uint64_t timeout_ns, OnReadPoint done) {
  if (poller_.runs_inline()) {
    return read_point_here(path, timeout_ns, poller_.look_at_clock(), std::move(done));
  }
  const auto shared = std::make_shared<OnReadPoint>(std::move(done));
  const bool posted =
      poller_.mailbox().post_function([this, path, timeout_ns, shared](uint64_t now_ns) {
        read_point_here(path, timeout_ns, now_ns, std::move(*shared));
      });
  if (!posted) (*shared)({0, Code::closed, {}});
}

uint32_t LogImpl::answer_reads() {
  std::array<replication::ReadPoint, 16> points;
  uint32_t total = 0;
  for (;;) {
    const size_t count = replica_->take_read_points(points);
    for (size_t i = 0; i < count; ++i) {
      const auto found =
          std::find_if(reading_.begin(), reading_.end(),
                       [&](const ReadingPoint& reading) { return reading.tag == points[i].tag; });
      if (found == reading_.end()) continue;
      const OnReadPoint done = std::move(found->done);
      reading_.erase(found);
      done(points[i]);
    }
    total += static_cast<uint32_t>(count);
    if (count < points.size()) return total;
  }
}

Result<Position> LogImpl::read_point_and_wait(ReadPath path, uint64_t timeout_ns) {
  struct Answer {
    std::atomic<bool> here{false};
    replication::ReadPoint point;
  } answer;
  // One pointer: it needs no memory of its own. Every read is answered, at the latest by close().
  const bool ran = poller_.call([&, to = &answer](uint64_t now_ns) {
    read_point_here(path, timeout_ns, now_ns, [to](const replication::ReadPoint& point) {
      to->point = point;
      to->here.store(true, std::memory_order_release);
    });
  });
  if (!ran) return fail(Code::closed, "the engine is closed");
  (void)await([&] { return answer.here.load(std::memory_order_acquire); }, kNever);
  if (answer.point.code == Code::ok) return answer.point.position;
  return fail(answer.point.code, why_unread(answer.point.code));
}

std::string LogImpl::why_unread(Code code) const {
  const std::string log = "log '" + name() + "': ";
  switch (code) {
    case Code::no_quorum:
      return log +
             "nobody could prove in time to be leading it: look at the status of its voters, "
             "or read what is here without a proof, as stale";
    case Code::timed_out:
      return log +
             "what has to be read has not arrived here in time: ask the leader, or allow more "
             "time";
    case Code::again: return log + "it is full, or too many read at a time: try again";
    default: return log + std::string(caisson::name(code));
  }
}

Code LogImpl::read_at_least(Position position, const ReadOptions& options,
                            std::vector<std::byte>& out, Token* token) const {
  if (state_.committed() < options.minimum) {
    const Code code = wait_for(options.minimum, options.timeout_ns);
    if (code != Code::ok) return code == Code::timed_out ? Code::not_yet : code;
  }
  return read(position, out, token);
}

}  // namespace caisson::engine
