// SPDX-License-Identifier: BSD-3-Clause
// The floor of replication over RDMA: a loop that posts a write of as many bytes, and whatever
// makes them persistent, to every follower, signalled, and counts an operation when as many
// followers have completed it as a quorum needs. No log, no header, no checks. Followers lend
// memory for it.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/samples.hpp"
#include "caisson/options.hpp"
#include "caisson/types.hpp"

namespace caisson::bench {

inline constexpr uint64_t kBareBytes = 16ull << 20;  // of each memory, walked from end to end

// Memory of a follower, and its half of a connection.
class BareTarget {
 public:
  // On a devdax device, whose content is lost, or in a new file.
  static Result<std::unique_ptr<BareTarget>> open(const VerbsOptions& verbs,
                                                  const std::string& path, bool device);
  virtual ~BareTarget() = default;
  // Connects to the half that `theirs` names; tells its own, and where the memory is.
  virtual Result<nlohmann::json> connect(const nlohmann::json& theirs) = 0;
};

class BareLoop {
 public:
  // `round_trip_ns`: of the network, for its patience.
  static Result<std::unique_ptr<BareLoop>> open(const VerbsOptions& verbs, uint64_t round_trip_ns);
  virtual ~BareLoop() = default;

  // One more half, and what it tells its target.
  virtual Result<nlohmann::json> offer() = 0;
  // … which answered so.
  virtual Result<void> connect(const nlohmann::json& theirs) = 0;

  // "flush" or "read": what follows each write.
  virtual std::string persists_by() const = 0;
  // For about `slice_ns`: operations of `bytes`, `inflight` at a time, each done when `needed` of
  // the targets have completed it; times go to `samples`, in ticks. How many were done.
  virtual Result<uint64_t> run(uint64_t bytes, uint32_t inflight, uint32_t needed,
                               uint64_t slice_ns, Samples& samples) = 0;
};

}  // namespace caisson::bench
