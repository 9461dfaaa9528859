// SPDX-License-Identifier: BSD-3-Clause
// The power-cut model: a region in memory that remembers what a power cut would leave (S4, S5).
//
// It keeps two images. `Visible` is what processors and adapters see. `Media` is what has been
// persisted. A 64-byte line stored to since its last persist is *unpersisted*: at a power cut it
// may hold any of the contents it has had since, torn at 8-byte words. Everything is decided by the
// seed that is passed in: no clock, no global state. Cheap to make, thousands of times a test.
//
// How a simulation uses it:
//  - One ShadowRegion per log replica, handed to the code under test as pmem::Region. The simulated
//    fabric lands remote bytes with remote_store(): visible, not persistent. It acknowledges them
//    as persisted only after persist_ring() of the range.
//  - power_cut(seed): the machine loses power and comes back; open the replica again from this
//  region.
//    A process that merely dies loses nothing: open again without a cut.
//  - To cut at *every* persistence point: run once and read points(); then, for each k below that,
//  run the
//    same steps on a fresh region with arm_cut(k, seed), and call power_cut() at the end. Nothing
//    that happens from point k on reaches the media, though the code runs on undisturbed.
//  - set_hook() is told each point before it takes effect, e.g. to stop a node there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "pmem/ab_slots.hpp"
#include "pmem/region.hpp"

namespace caisson::pmem {

class ShadowRegion final : public Region {
 public:
  // ring_bytes: a power of two and a multiple of 4096. The region starts with two empty
  // superblocks, unless `formatted` is false: then it has amnesia.
  explicit ShadowRegion(const Geometry& geometry, Persistence persistence = Persistence::adr,
                        bool formatted = true);
  ~ShadowRegion() override;
  ShadowRegion(const ShadowRegion&) = delete;
  ShadowRegion& operator=(const ShadowRegion&) = delete;

  const Geometry& geometry() const override { return geometry_; }
  Persistence persistence() const override { return persistence_; }
  std::byte* ring_data() const override { return ring_; }
  void store_ring(Offset at, const void* source, size_t n) override;
  void persist_ring(Offset at, uint64_t n) override;
  Result<std::vector<std::byte>> read_superblock() const override;
  Code write_superblock(std::span<const std::byte> payload, Slots slots) override;
  std::span<const std::byte> salvage() const override;
  void store_salvage(uint64_t at, const void* source, size_t n) override;
  void persist_salvage(uint64_t at, uint64_t n) override;
  bool poisoned() const override { return poison_.pages != 0; }
  Poison poison() const override { return poison_; }

  // ---- What the simulated fabric does to a ring -------------------------------------------------

  // As store_ring, but counted as no point of this replica's own code.
  void remote_store(Offset at, const void* source, size_t n);

  // Bytes written straight through ring_data(), by a claim of the application: marks them
  // unpersisted. `before` are the n bytes that stood there.
  void note_direct_store(Offset at, const void* before, size_t n);

  // ---- Power ------------------------------------------------------------------------------------

  enum class PointKind : uint8_t { store, flush, fence };
  struct Point {
    uint64_t number = 0;
    PointKind kind = PointKind::store;
  };
  // Called before each point of this replica's own code takes effect.
  void set_hook(std::function<void(const Point&)> hook) { hook_ = std::move(hook); }
  // How many points have passed since construction.
  uint64_t points() const { return points_; }

  // Power is lost just before point `point` takes effect. What the media hold is decided then, by
  // `seed`.
  void arm_cut(uint64_t point, uint64_t seed);
  // True once an armed cut has been passed.
  bool cut_passed() const { return cut_media_.has_value(); }

  // The machine comes back: visible and media are what the cut left. Without a passed armed cut,
  // power is lost now. Disarms.
  void power_cut(uint64_t seed = 0);

  // ---- Every image a cut may leave, one by one --------------------------------------------------

  // The whole space in lines: ring, superblocks, salvage area. What is persistent of it.
  std::span<const std::byte> media() const { return media_; }
  // The numbers of the lines that a cut may leave either way, ascending; and what is visible there.
  std::vector<uint64_t> unpersisted() const;
  const std::byte* visible_line(uint64_t line) const { return visible(line * kCacheLineBytes); }
  // The machine comes back with this on its media. `image`: as large as media().
  void load(std::span<const std::byte> image);
  // The same again: only what was changed since is copied.
  void reload(std::span<const std::byte> image);
  // Another content of a line, on the media and visible.
  void place(uint64_t line, const std::byte* content);

  // Lines of the cache may be written back at any time: persists a random subset of the
  // unpersisted.
  void evict_some(uint64_t seed);

  // Everything visible is persistent from here on, as after a clean shutdown.
  void persist_all();
  size_t unpersisted_lines() const { return unpersisted_.size(); }

  // ---- Damage, of visible and media alike (S17, H13, H14) ---------------------------------------

  void flip_ring_bit(Offset at, unsigned bit);
  void flip_salvage_bit(uint64_t at, unsigned bit);
  // Flips a bit of superblock slot 0 or 1.
  void flip_superblock_bit(unsigned slot, uint64_t at, unsigned bit);
  // The slot reads as zeros.
  void erase_superblock(unsigned slot);
  // The newest superblock slot reads as zeros: the replica has forgotten its last write (H14).
  void erase_newest_superblock();
  // What stands in the ring, and what is to stand there, for whoever looks: writes that never got
  // to the medium, or went to another place.
  std::vector<std::byte> ring_bytes_at(Offset at, uint64_t n) const;
  void overwrite_ring(Offset at, std::span<const std::byte> bytes);
  // The page that holds ring offset `at` is gone for good, and somebody has met it.
  void poison_ring_page(Offset at);
  // All zeros: amnesia (P17).
  void wipe();

 private:
  // One address space for everything: the ring, two superblock slots, the salvage area.
  using Line = std::array<std::byte, kCacheLineBytes>;
  class Medium;

  uint64_t superblock_at() const { return geometry_.ring_bytes; }
  uint64_t salvage_at() const;
  uint64_t space_bytes() const { return salvage_at() + geometry_.salvage_bytes; }
  std::byte* visible(uint64_t at) const {
    return at < geometry_.ring_bytes ? ring_ + at : rest_.get() + (at - geometry_.ring_bytes);
  }

  void pass_point(PointKind kind);
  void store(uint64_t at, const void* source, size_t n);
  void store_wrapped(Offset at, const void* source, size_t n);
  void persist(uint64_t at, uint64_t n);
  void settle(uint64_t at, uint64_t n);
  void remember(uint64_t line);
  std::vector<std::byte> media_after_cut(uint64_t seed) const;
  // What a power cut leaves of those lines, drawn from `seed`.
  void write_back_some(uint64_t seed, const std::vector<uint64_t>& lines,
                       std::vector<std::byte>& media) const;
  void come_back(std::span<const std::byte> image);
  void put(uint64_t line, const std::byte* content);
  void forget_cut();
  void flip(uint64_t at, unsigned bit);
  void damage(uint64_t at, uint64_t n, const std::function<void(std::byte*)>& change);

  Geometry geometry_;
  Persistence persistence_;
  std::byte* ring_ = nullptr;          // mapped twice
  std::unique_ptr<std::byte[]> rest_;  // superblocks and salvage
  std::vector<std::byte> media_;
  Poison poison_;
  // What an unpersisted line has held since its last persist, oldest first, without the visible
  // one.
  std::unordered_map<uint64_t, std::vector<Line>> unpersisted_;
  std::optional<std::vector<uint64_t>> changed_;  // lines, since an image was loaded

  uint64_t points_ = 0;
  std::function<void(const Point&)> hook_;
  std::optional<uint64_t> armed_point_;
  uint64_t armed_seed_ = 0;
  std::optional<std::vector<std::byte>> cut_media_;
};

}  // namespace caisson::pmem
