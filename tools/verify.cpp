// SPDX-License-Identifier: BSD-3-Clause
#include "tools/verify.hpp"

#include <algorithm>

#include "core/log/ring.hpp"

namespace caisson::tools {

namespace {

// A torn entry still shows where it was meant to go; what an earlier lap left there does not.
bool meant_for(const log::EntryHeader& header, const log::Cursor& tail) {
  return header.position == tail.position.value + 1 &&
         header.offset_line == log::offset_line(tail.end);
}

class Walk {
 public:
  Walk(const log::Ring& ring, LogReport& report) : ring_(ring), report_(report) {
    report_.tail = report_.batch_tail = report.superblock.trim;
    report_.committed = std::max(report.superblock.committed, report.superblock.trim.position);
    window_end_ = report.superblock.trim.end + ring.bytes();
  }

  // The step that does not continue the chain; false: the visitor has seen enough.
  bool run(const Visit& visit, log::Step& last) {
    for (;;) {
      last = log::step(ring_, report_.tail, window_end_);
      if (last.reason != log::Break::none) return true;
      const auto bytes = log::payload(ring_, report_.tail.end, last.header);
      take(last);
      if (visit && !visit(last.header, bytes)) return false;
    }
  }

  Offset window_end() const { return window_end_; }

 private:
  void take(const log::Step& step) {
    const log::EntryHeader& header = step.header;
    report_.tail = step.next;
    if ((header.flags & log::kFlagBatchEnd) != 0) report_.batch_tail = step.next;
    if (report_.terms.empty() || report_.terms.back().term.value != header.term) {
      report_.terms.push_back({Term{header.term}, Position{header.position}});
    }
    report_.committed = std::max(report_.committed, log::commit_hint(header));
    ++report_.entries;
    if (static_cast<log::Kind>(header.kind) == log::Kind::data) {
      ++report_.data_entries;
      report_.payload_bytes += header.payload_bytes;
    }
  }

  const log::Ring& ring_;
  LogReport& report_;
  Offset window_end_;
};

std::string at_position(Position position) { return "position " + std::to_string(position.value); }

void judge(const log::Ring& ring, const log::Step& last, Offset window_end, LogReport& report) {
  const Position broken = report.tail.position + 1;
  const std::string how = "at " + at_position(broken) + ", " + std::string(log::name(last.reason));
  const Position promised = std::max(report.committed, report.superblock.validated.position);
  const Position beyond = log::committed_beyond(ring, report.tail, window_end);
  const auto damaged = [&](const std::string& why) {
    report.verdict = Verdict::damaged;
    report.position = broken;
    report.reason = "the chain breaks " + how + ": " + why;
  };
  if (report.tail.position < promised) {
    return damaged("but the log was good up to " + at_position(promised));
  }
  if (beyond > report.tail.position) {
    return damaged("but a later entry says that " + at_position(beyond) + " is committed");
  }
  if (report.superblock.damaged_through == log::kDamagedForGood) {
    return damaged("the replica was poisoned: a page of its memory was gone");
  }
  if (report.superblock.damaged_through > report.tail.position) {
    return damaged("the replica knows it is damaged up to " +
                   at_position(report.superblock.damaged_through));
  }
  const bool torn = last.reason == log::Break::chain ||
                    (last.reason == log::Break::header && meant_for(last.header, report.tail));
  if (torn) {
    report.verdict = Verdict::unfinished;
    report.position = broken;
    report.reason = "a torn entry " + how + "; it was never acknowledged";
  } else if (report.batch_tail != report.tail) {
    report.verdict = Verdict::unfinished;
    report.position = report.batch_tail.position + 1;
    report.reason = "the batch that begins at " + at_position(report.position) +
                    " has no end; it was never acknowledged";
  }
}

}  // namespace

Result<LogReport> examine_log(const pmem::Region& region, const Visit& visit) {
  const auto bytes = region.read_superblock();
  if (!bytes) return tl::unexpected(bytes.error());
  auto superblock = log::decode_superblock(*bytes);
  if (!superblock) return tl::unexpected(superblock.error());
  LogReport report;
  report.superblock = *superblock;
  report.ring_bytes = region.geometry().ring_bytes;
  const log::Ring ring(region.ring_data(), report.ring_bytes);
  Walk walk(ring, report);
  log::Step last;
  if (walk.run(visit, last)) judge(ring, last, walk.window_end(), report);
  // Zeros that stand in for a page look like the end of the log (R44).
  if (region.poisoned() && report.verdict != Verdict::damaged) {
    report.verdict = Verdict::damaged;
    report.position = report.tail.position + 1;
    report.reason = "a page of the region cannot be read any more";
  }
  return report;
}

}  // namespace caisson::tools
