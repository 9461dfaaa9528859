// SPDX-License-Identifier: BSD-3-Clause
// A ring of segment slots of one file, mapped twice in a row (R6). The address never changes; what
// lies beneath may (P5). No mapping is inherited by fork(): a forgotten child would keep storing,
// and its death would not be its parent's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "caisson/types.hpp"
#include "pmem/poison_guard.hpp"

namespace caisson::pmem {

// How and where the slots of one file are mapped.
struct SlotFile {
  int fd = -1;
  uint64_t slots_at = 0;
  uint64_t segment_bytes = 0;
  int protection = 0;          // PROT_*
  int map_flags = 0;           // MAP_SHARED, or MAP_SHARED_VALIDATE | MAP_SYNC
  PoisonMark* mark = nullptr;  // of what is mapped; null: not guarded
};

// Slots mapped twice and touched ahead of time, so that putting one under a ring moves page tables
// and faults on nothing. Plain files need that: a first store into each page of ext4 costs 10 us.
class PreparedSlots {
 public:
  explicit PreparedSlots(const SlotFile& file) : file_(file) {}
  ~PreparedSlots();
  PreparedSlots(const PreparedSlots&) = delete;
  PreparedSlots& operator=(const PreparedSlots&) = delete;

  struct Prepared {
    uint32_t slot = 0;
    std::byte* first = nullptr;  // two mappings of the same slot
    std::byte* second = nullptr;
    GuardedRange first_guard;  // good until the mapping is moved
    GuardedRange second_guard;
  };

  [[nodiscard]] Code prepare(uint32_t slot);
  size_t size() const { return prepared_.size(); }
  bool holds(uint32_t slot) const;

  // Hands a prepared slot over; the caller unmaps it or moves it. nullptr mappings: not prepared.
  Prepared take(uint32_t slot);
  Prepared take_any();

  // Unmaps every prepared slot that is not in `keep`.
  void retain(std::span<const uint32_t> keep);

 private:
  [[nodiscard]] Code guard(Prepared& prepared);
  void unmap(Prepared& prepared);

  SlotFile file_;
  std::vector<Prepared> prepared_;
};

class RingMapping {
 public:
  RingMapping() = default;
  ~RingMapping() { unmap(); }
  RingMapping(const RingMapping&) = delete;
  RingMapping& operator=(const RingMapping&) = delete;

  enum class Pages : uint8_t {
    as_needed,
    touched,   // every one, now
    gathered,  // the same, into large pages first where that is possible. The file's owner only
  };
  // Maps the ring described by slot_of_segment.
  [[nodiscard]] Code map(const SlotFile& file, std::span<const uint32_t> slot_of_segment,
                         Pages pages);
  void unmap();

  bool mapped() const { return data_ != nullptr; }
  std::byte* data() const { return data_; }
  uint64_t ring_bytes() const { return ring_bytes_; }

  // Puts other slots beneath one segment, at both of its addresses. A thread that touches the
  // segment meanwhile sees the old slot or the new one, never a hole.
  [[nodiscard]] Code remap(uint32_t segment, const PreparedSlots::Prepared& prepared);
  [[nodiscard]] Code remap(uint32_t segment, uint32_t slot);

  // Replaces everything by private zero pages and forgets the address: whoever still holds a
  // pointer into it stores into scratch memory until the process ends (P1).
  [[nodiscard]] Code abandon_to_scratch();

 private:
  SlotFile file_;
  GuardedRange guard_;
  std::byte* data_ = nullptr;
  uint64_t ring_bytes_ = 0;
};

}  // namespace caisson::pmem
