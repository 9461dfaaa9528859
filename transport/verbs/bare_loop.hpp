// SPDX-License-Identifier: BSD-3-Clause
// The floor of replication over RDMA: a loop that posts a write of as many bytes, and whatever
// makes them persistent, to every follower, signalled, and counts an operation when as many
// followers have completed it as a quorum needs. No log, no header, no checks. Followers lend
// memory for it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "caisson/types.hpp"
#include "transport/verbs/queue_pair.hpp"

namespace caisson::transport::verbs {

inline constexpr uint64_t kBareBytes = 16ull << 20;  // of each memory, walked from end to end

// Half of a connection, as it is told to who has the other one.
struct BareHalf {
  Remote remote;
  // Of a target: its memory, and whether RDMA FLUSH makes it persistent.
  uint64_t at = 0;
  uint32_t key = 0;
  bool flushes = false;
};
std::vector<std::byte> encode(const BareHalf& half);
Result<BareHalf> decode_bare_half(std::span<const std::byte> bytes);

// Memory of a follower, and its half of a connection.
class BareTarget {
 public:
  // On a devdax device, whose content is lost, or in a new file.
  static Result<std::unique_ptr<BareTarget>> open(std::shared_ptr<Device> device,
                                                  const std::string& path, bool on_device);
  virtual ~BareTarget() = default;
  // Connects to the other half; tells its own.
  virtual Result<BareHalf> connect(const BareHalf& theirs) = 0;
};

class BareLoop {
 public:
  static Result<std::unique_ptr<BareLoop>> open(std::shared_ptr<Device> device,
                                                const Patience& patience);
  virtual ~BareLoop() = default;

  // One more half, for a target.
  virtual Result<BareHalf> offer() = 0;
  // … which answered so.
  virtual Result<void> connect(const BareHalf& theirs) = 0;

  // What follows each write: FLUSH where all targets have it, else a read.
  virtual bool flushes() const = 0;
  // For about `slice_ns`: operations of `bytes`, `inflight` at a time, each done when `needed` of
  // the targets have completed it; `took` is told the time of each, in ticks of the processor's
  // clock. How many were done.
  virtual Result<uint64_t> run(uint64_t bytes, uint32_t inflight, uint32_t needed,
                               uint64_t slice_ns, const std::function<void(uint64_t)>& took) = 0;
};

}  // namespace caisson::transport::verbs
