// SPDX-License-Identifier: BSD-3-Clause
// The ways in which an adapter can take a writer's rights to a region back, and give them, each
// tried on a connection of the adapter with itself (R19). The fabric uses `flags`, and behind it
// `reset`; the others are here to be compared. Each revocation is tried out: the write that follows
// it must fail, and must not show.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "caisson/types.hpp"
#include "transport/verbs/device.hpp"

namespace caisson::transport::verbs {

enum class RevocationWay : uint8_t {
  flags,         // the connection's rights are changed; what has passed may still be written
  reset,         // the connection is moved through ERR to RESET; nothing more is written after it
  window,        // a memory window of type 2 is invalidated
  registration,  // the region is deregistered
};
inline constexpr RevocationWay kRevocationWays[] = {
    RevocationWay::flags, RevocationWay::reset, RevocationWay::window, RevocationWay::registration};
std::string_view name(RevocationWay way);

class RevocationTrial {
 public:
  // no_space: as Device::register_memory().
  static Result<std::unique_ptr<RevocationTrial>> open(std::shared_ptr<Device> device,
                                                       size_t region_bytes);
  ~RevocationTrial();
  RevocationTrial(const RevocationTrial&) = delete;
  RevocationTrial& operator=(const RevocationTrial&) = delete;

  struct Times {
    uint64_t grant_ns = 0;   // until the writer may write
    uint64_t revoke_ns = 0;  // until it may no more
  };
  // Grants, writes, revokes, and writes once more. unsupported: the adapter has no such way ·
  // internal: the write after the revocation was let through · io.
  Result<Times> run(RevocationWay way);

 private:
  struct Parts;
  explicit RevocationTrial(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace caisson::transport::verbs
