// SPDX-License-Identifier: BSD-3-Clause
// A region in a plain file, a file on an fsdax file system, or a devdax device; media layout in
// region_format.hpp. It is created once, with its cluster or by a join, and never overwritten
// (P17).
#pragma once

#include <sys/file.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pmem/backing_file.hpp"
#include "pmem/manifest.hpp"
#include "pmem/persist.hpp"
#include "pmem/region.hpp"
#include "pmem/region_format.hpp"
#include "pmem/ring_mapping.hpp"

namespace caisson::pmem {

// Configured, never guessed (P22).
enum class PersistenceChoice : uint8_t {
  emulated,  // any file: survives the death of every process, not the loss of power
  real,      // fsdax with MAP_SYNC or devdax; anything else is refused
};

// Slots kept ready for re-homing beyond those of the ring.
inline constexpr uint32_t kSpareSlotsDefault = 4;

struct CreateOptions {
  Geometry geometry;
  PersistenceChoice persistence = PersistenceChoice::emulated;
  uint32_t spare_slots = kSpareSlotsDefault;
  std::span<const std::byte> superblock;  // the first superblock payload; in both slots
};

// A process whose mappings have followed the manifest up to a generation, and which has no store
// under way to any slot that left the ring by then.
struct Drained {
  ProcessIdentity writer;
  uint64_t manifest_generation = 0;
};

// Thread: as Region. Additionally rehome() and maintain() belong to the owner thread.
class FileRegion final : public Region {
 public:
  // Creates, locks and opens. Either the whole region exists afterwards, or nothing of it does.
  // Codes: exists · invalid (geometry) · no_space · denied · not_found (directory) · unsupported
  // (real persistence not established) · io.
  static Result<std::unique_ptr<FileRegion>> create(const std::string& path,
                                                    const CreateOptions& options);

  // Of a device. exists: it holds a region, or what is left of one · invalid: no devdax device.
  static Result<void> expect_blank(const std::string& device);
  // The region on the device is gone, persistently, if there is one and `may_go` says so of its
  // superblock, empty where it has none yet; else exists. Other codes as open().
  static Result<void> erase(const std::string& device,
                            const std::function<bool(std::span<const std::byte>)>& may_go);

  // Takes the owner's lock and maps. Codes: busy, naming the holder (P7) · amnesia: no file, or no
  // valid slot (P17) · wrong_version · damaged · denied · unsupported · no_space · io.
  static Result<std::unique_ptr<FileRegion>> open(const std::string& path, PersistenceChoice choice,
                                                  uint32_t spare_slots = kSpareSlotsDefault);

  // For offline inspection: writes nothing, refuses while an owner lives, keeps owners out
  // meanwhile.
  static Result<std::unique_ptr<const FileRegion>> open_read_only(const std::string& path);

  const Geometry& geometry() const override { return geometry_; }
  Persistence persistence() const override { return persistence_; }
  std::byte* ring_data() const override { return ring_.data(); }
  void store_ring(Offset at, const void* source, size_t n) override;
  void persist_ring(Offset at, uint64_t n) override;
  Result<std::vector<std::byte>> read_superblock() const override;
  Code write_superblock(std::span<const std::byte> payload, Slots slots) override;
  std::span<const std::byte> salvage() const override;
  void store_salvage(uint64_t at, const void* source, size_t n) override;
  void persist_salvage(uint64_t at, uint64_t n) override;
  bool poisoned() const override { return mark_.found(); }
  Poison poison() const override;

  // Looks whether the file still has a name. What is stored in one that somebody has deleted is
  // gone with its last mapping: the region is as good as poisoned from then on. [any thread]
  void look_at_name();
  bool deleted() const { return deleted_.load(std::memory_order_acquire); }

  // The owner is done: gives its lock back while the mapping stays, for those who still read it.
  // From here on nothing may be stored through this object.
  void release_lock() { (void)::flock(file_.fd(), LOCK_UN); }

  const std::string& path() const { return file_.path(); }
  const std::array<uint8_t, 16>& uuid() const { return uuid_; }
  const Kernels& kernels() const { return kernels_; }

  // Shared cells of the fabric: zero in a new region, kept over the death of processes, zero again
  // after a restart of the machine.
  std::span<std::byte> control() const { return {header_.data() + kControlAt, kControlBytes}; }

  const Manifest& manifest() const { return manifest_; }
  uint64_t manifest_generation() const { return manifest_generation_; }

  // Moves ring segments to fresh slots, so that no store to the old ones shows in the ring any
  // more: copies what is there now, persists copy and manifest, then replaces the mappings at the
  // same addresses. The old slots stay out of use until every one of `writers` is proven dead or
  // drained; an empty list means that the writer is not known. Allocates and grows nothing while
  // maintain() has been keeping up. Code::no_space: nothing was moved. Code::io: the move is
  // incomplete; it may be repeated.
  [[nodiscard]] Code rehome(std::span<const uint32_t> segments,
                            std::span<const ProcessIdentity> writers);

  // Off the critical path: takes back slots whose writers are dead or drained, grows the file if it
  // runs out, and prepares spare slots for the next rehome(). Code::no_space if spares could not be
  // had.
  [[nodiscard]] Code maintain(std::span<const Drained> drained = {});

  size_t spare_slots_ready() const { return prepared_ ? prepared_->size() : 0; }

  // A second mapping of the ring as it is now, at an address of its own (P1).
  [[nodiscard]] Code map_again(RingMapping& mapping) const;

 private:
  FileRegion(BackingFile file, Persistence persistence, uint32_t spare_slots);

  static Result<std::unique_ptr<FileRegion>> attach(BackingFile file, Persistence persistence,
                                                    uint32_t spare_slots, bool writable);
  Result<void> load_identity(bool writable);
  Result<void> load_manifest();
  void take_ownership();
  [[nodiscard]] Code write_manifest();
  [[nodiscard]] Code prepare_spares(size_t wanted);
  bool still_written(const TaintedSlot& tainted, std::span<const Drained> drained) const;
  uint64_t slots_in_file() const;
  SlotFile slot_file() const;
  std::byte* ring_at(Offset at) const {
    return ring_.data() + (at.value & (geometry_.ring_bytes - 1));
  }

  BackingFile file_;
  Persistence persistence_;
  uint32_t spare_target_;
  Kernels kernels_;
  // Constant after construction.
  Geometry geometry_;
  std::optional<RegionLayout> layout_;
  std::array<uint8_t, 16> uuid_{};
  bool writable_ = false;

  mutable PoisonMark mark_;
  std::atomic<bool> deleted_{false};
  HeaderMapping header_;
  RingMapping ring_;
  std::unique_ptr<PreparedSlots> prepared_;
  Manifest manifest_;
  uint64_t manifest_generation_ = 0;
  std::vector<std::byte> manifest_payload_;  // kept, so that rehome() does not allocate
};

}  // namespace caisson::pmem
