// SPDX-License-Identifier: BSD-3-Clause
// Our own ring, lent to the application under addresses that can be taken back (P1).
#pragma once

#include "pmem/file_region.hpp"
#include "pmem/ring_mapping.hpp"

namespace caisson::transport {

// Thread: the region's owner. Maps in the first lend() after a revoke().
class Claims {
 public:
  explicit Claims(pmem::FileRegion& region)
      : region_(region), mask_(region.geometry().ring_bytes - 1) {}

  // Null: it cannot be mapped again.
  std::byte* lend(Offset at) {
    if (!mapping_.mapped() && region_.map_again(mapping_) != Code::ok) return nullptr;
    lent_ = true;
    return mapping_.data() + (at.value & mask_);
  }
  // Puts private scratch memory beneath every address that was lent.
  void revoke() {
    if (lent_ && mapping_.abandon_to_scratch() != Code::ok) {
      stuck_ = true;
      return;
    }
    lent_ = false;
    mapping_.unmap();
  }
  // Somebody may still store into the ring: its replica must answer no seal.
  bool stuck() const { return stuck_; }

 private:
  pmem::FileRegion& region_;
  const uint64_t mask_;
  pmem::RingMapping mapping_;
  bool lent_ = false;
  bool stuck_ = false;
};

}  // namespace caisson::transport
