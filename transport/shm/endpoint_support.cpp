// SPDX-License-Identifier: BSD-3-Clause
#include "transport/shm/endpoint_support.hpp"

#include <sys/random.h>

#include <cstring>

#include "transport/shm/asymmetric_fence.hpp"
#include "transport/shm/cells.hpp"

namespace caisson::transport::shm {
namespace {

// A generation that no earlier life of this region has used, even before a restart of the machine:
// random above, counted below.
uint64_t first_generation() {
  uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) random = 1;
  return (random | uint64_t{1} << 62) & ~uint64_t{0xffffffff} & ~(uint64_t{1} << 63);
}

}  // namespace

void prepare_control(Control& control) {
  if (load_word(control.header.magic) != kControlMagic) {
    std::memset(static_cast<void*>(&control), 0, sizeof control);
    store_word(control.grant.last, first_generation());
  }
  const bool available = heavy_half_available();
  // Writers of a grant that is still open may rely on what they were told when they took it up.
  const bool promised =
      load_word(control.header.revoker_fences) != 0 && load_word(control.grant.open) != 0;
  store_word(control.header.revoker_fences, available || promised ? 1 : 0);
  store_word(control.header.magic, kControlMagic);
}

SegmentSet::SegmentSet(const pmem::Geometry& geometry)
    : members_(geometry.ring_bytes / geometry.segment_bytes) {
  list_.reserve(members_.size() < 16 ? members_.size() : 16);
}

void SegmentSet::add(Allowance allowance) {
  const auto total = static_cast<uint32_t>(members_.size());
  if (allowance.first >= total || allowance.count > total) allowance = {0, total};
  for (uint32_t i = 0; i < allowance.count; ++i) {
    const uint32_t segment = (allowance.first + i) % total;
    if (!members_[segment]) list_.push_back(segment);
    members_[segment] = true;
  }
}

}  // namespace caisson::transport::shm
