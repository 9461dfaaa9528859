// SPDX-License-Identifier: BSD-3-Clause
#include <optional>
#include <utility>

#include "core/log/superblock_format.hpp"
#include "tests/points/board.hpp"
#include "tests/points/points_seam.hpp"

namespace caisson::points {

namespace {

class AnyRegion : public pmem::Region {
 public:
  explicit AnyRegion(std::unique_ptr<pmem::Region> under) : under_(std::move(under)) {}
  const pmem::Geometry& geometry() const override { return under_->geometry(); }
  Persistence persistence() const override { return under_->persistence(); }
  std::byte* ring_data() const override { return under_->ring_data(); }
  void store_ring(Offset at, const void* source, size_t n) override {
    under_->store_ring(at, source, n);
  }
  void persist_ring(Offset at, uint64_t n) override { under_->persist_ring(at, n); }
  Result<std::vector<std::byte>> read_superblock() const override {
    return under_->read_superblock();
  }
  Code write_superblock(std::span<const std::byte> payload, Slots slots) override {
    return under_->write_superblock(payload, slots);
  }
  std::span<const std::byte> salvage() const override { return under_->salvage(); }
  void store_salvage(uint64_t at, const void* source, size_t n) override {
    under_->store_salvage(at, source, n);
  }
  void persist_salvage(uint64_t at, uint64_t n) override { under_->persist_salvage(at, n); }
  bool poisoned() const override { return under_->poisoned(); }
  pmem::Poison poison() const override { return under_->poison(); }

 protected:
  std::unique_ptr<pmem::Region> under_;
};

// A replica's own.
class ReplicaRegion final : public AnyRegion {
 public:
  using AnyRegion::AnyRegion;

  Result<std::vector<std::byte>> read_superblock() const override {
    if (pass(at("region.open"))) return fail(Code::io, "the superblock cannot be read");
    return AnyRegion::read_superblock();
  }

  Code write_superblock(std::span<const std::byte> payload, Slots slots) override {
    auto next = log::decode_superblock(payload);
    const Point point = next ? what_changes(*next) : at("region.superblock.cursors");
    if (pass(point)) return Code::io;
    if (slots == Slots::both) {
      // The interface says that one slot is written after the other.
      const Code code = AnyRegion::write_superblock(payload, Slots::one);
      if (code != Code::ok) return code;
      (void)pass(at("region.superblock.between"));
    }
    const Code code = AnyRegion::write_superblock(payload, Slots::one);
    if (code == Code::ok && next) last_ = *next;
    return code;
  }

  // Outside of the fabric, a replica stores what ends a repair, and little else.
  void store_ring(Offset to, const void* source, size_t n) override {
    (void)pass(at("region.blank"));
    AnyRegion::store_ring(to, source, n);
  }
  void persist_ring(Offset from, uint64_t n) override {
    (void)pass(at("region.persist"));
    AnyRegion::persist_ring(from, n);
  }
  void store_salvage(uint64_t to, const void* source, size_t n) override {
    (void)pass(at("region.salvage.store"));
    AnyRegion::store_salvage(to, source, n);
  }
  void persist_salvage(uint64_t from, uint64_t n) override {
    (void)pass(at("region.salvage.persist"));
    AnyRegion::persist_salvage(from, n);
  }

 private:
  Point what_changes(const log::Superblock& next) const {
    if (!last_ || next.incarnation != last_->incarnation) return at("region.superblock.opened");
    if (next.promised != last_->promised) return at("region.superblock.promise");
    if (next.trim != last_->trim) return at("region.superblock.trim");
    return at("region.superblock.cursors");
  }

  std::optional<log::Superblock> last_;
};

// One that is being made.
class NewRegion final : public AnyRegion {
 public:
  using AnyRegion::AnyRegion;
  void store_ring(Offset to, const void* source, size_t n) override {
    (void)pass(at("create.entries"));
    AnyRegion::store_ring(to, source, n);
  }
  Code write_superblock(std::span<const std::byte> payload, Slots slots) override {
    return pass(at("create.superblock")) ? Code::io : AnyRegion::write_superblock(payload, slots);
  }
};

class BackupRegion final : public AnyRegion {
 public:
  using AnyRegion::AnyRegion;
  void store_ring(Offset to, const void* source, size_t n) override {
    (void)pass(at("backup.entries"));
    AnyRegion::store_ring(to, source, n);
  }
  void persist_ring(Offset from, uint64_t n) override {
    (void)pass(at("backup.persist"));
    AnyRegion::persist_ring(from, n);
  }
  Code write_superblock(std::span<const std::byte> payload, Slots slots) override {
    return pass(at("backup.superblock")) ? Code::io : AnyRegion::write_superblock(payload, slots);
  }
};

}  // namespace

std::unique_ptr<pmem::Region> PointsSeam::region(std::unique_ptr<pmem::Region> made,
                                                 engine::RegionUse use) {
  switch (use) {
    case engine::RegionUse::creation: return std::make_unique<NewRegion>(std::move(made));
    case engine::RegionUse::backup: return std::make_unique<BackupRegion>(std::move(made));
    case engine::RegionUse::replica: break;
  }
  return std::make_unique<ReplicaRegion>(std::move(made));
}

}  // namespace caisson::points
