// SPDX-License-Identifier: BSD-3-Clause
// Appends what was displaced again, by the normal append path, each entry at most once however
// often it is tried (R15, R30).
//
// The entries of one leader's term are a stream of their own, named by where the first of them
// stood: the same one whenever, and from whichever replica's salvage area, it is done. Its
// sequences are the entries of that term in order; resuming skips what the log has. A record is
// discarded only when every one of its entries is acknowledged.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/append_session.hpp"
#include "tools/orphan_source.hpp"

namespace caisson::tools {

struct ResubmissionOptions {
  std::string log;
  bool again = false;  // also if some of it is in the log, or may be
  std::chrono::milliseconds timeout{60'000};
};

class Resubmission {
 public:
  Resubmission(const Cluster& cluster, OrphanSource& source, const ResubmissionOptions& options)
      : cluster_(cluster), source_(source), options_(options) {}

  // exists: some of it is in the log again, and `again` is false · damaged: it cannot be read whole
  // · not_found: it is gone · what an append may end with.
  Result<void> run(uint64_t record);

  uint64_t entries() const { return entries_; }    // data entries of the record
  uint64_t appended() const { return appended_; }  // by this run; the others were before
  Position first() const { return first_; }
  Position last() const { return last_; }

 private:
  // Data entries that the leader of one term sealed.
  struct Run {
    Term term;
    Position first;
    uint64_t entries = 0;
  };
  Result<void> survey(uint64_t record);
  Result<void> append(uint64_t record);
  Result<void> open(const Run& run);
  Result<void> close();
  Result<void> discard(uint64_t record);

  const Cluster& cluster_;
  OrphanSource& source_;
  const ResubmissionOptions options_;
  std::vector<Run> runs_;
  uint64_t entries_ = 0;
  uint64_t doubtful_ = 0;  // in the log again, or nobody can tell
  std::optional<AppendSession> session_;
  bool begun_ = false;
  uint64_t appended_ = 0;
  Position first_;
  Position last_;
};

}  // namespace caisson::tools
