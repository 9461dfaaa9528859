// SPDX-License-Identifier: BSD-3-Clause
// Another process's region, as a writer on the same machine sees it: its control cells and its
// ring.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pmem/backing_file.hpp"
#include "pmem/manifest.hpp"
#include "pmem/ring_mapping.hpp"

namespace caisson::pmem {

// Thread: one. The owner may re-home segments at any time; the mapping follows only in refresh().
class PeerMapping {
 public:
  // `persistence` must be what the owner's is. Codes: amnesia · wrong_version · damaged · denied ·
  // io. Maps everything and touches every page: not for a critical path.
  static Result<std::unique_ptr<PeerMapping>> open(const std::string& path,
                                                   Persistence persistence);

  // Follows the newest manifest: remaps the segments that have moved, nothing else. Fast where the
  // new slots had been prepared by warm(). Code::again: the owner was writing just now. Code::io:
  // some segments may still be the old ones; the mapping must not be stored to.
  [[nodiscard]] Code refresh();

  // refresh(), and prepares the slots that the owner is likely to use next.
  [[nodiscard]] Code warm();

  // Generation of the manifest that the mapping shows.
  uint64_t manifest_generation() const { return generation_; }
  // The newest generation that the owner has written: differs while a refresh() is due.
  uint64_t owner_generation() const;

  const Geometry& geometry() const { return geometry_; }
  const std::array<uint8_t, 16>& uuid() const { return uuid_; }
  std::byte* ring_data() const { return ring_.data(); }
  // A page of it could not be had: nothing that was read from it or stored to it counts.
  bool poisoned() const { return mark_.found(); }
  std::span<std::byte> control() const { return {header_.data() + kControlAt, kControlBytes}; }

 private:
  PeerMapping() = default;
  Result<void> load_identity();
  Result<Manifest> read_manifest(uint64_t& generation);

  BackingFile file_;
  Persistence persistence_ = Persistence::none;
  Geometry geometry_;
  std::array<uint8_t, 16> uuid_{};
  uint64_t manifest_slot_bytes_ = 0;
  PoisonMark mark_;
  HeaderMapping header_;
  SlotFile slots_;
  RingMapping ring_;
  std::unique_ptr<PreparedSlots> prepared_;
  std::vector<uint32_t> mapped_slots_;
  std::vector<std::byte> manifest_copy_;
  uint64_t generation_ = 0;
  uint64_t warmed_generation_ = 0;  // what warm() has prepared for
  uint64_t warmed_bytes_ = 0;
};

}  // namespace caisson::pmem
