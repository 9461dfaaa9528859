// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/shadow_region.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>

#include "pmem/region_format.hpp"

namespace caisson::pmem {
namespace {

constexpr uint64_t kLine = kCacheLineBytes;

// A line is written back at any time; more old contents than these add nothing but cost.
constexpr size_t kVersionsMax = 4;

// splitmix64: small, seedable, the same everywhere.
class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}
  uint64_t roll() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t limit) { return roll() % limit; }

 private:
  uint64_t state_;
};

// A test fixture that cannot get memory has nothing to report to.
void require(bool held) {
  if (!held) std::abort();
}

std::byte* map_twice(uint64_t ring_bytes) {
  const int fd = ::memfd_create("caisson-shadow", MFD_CLOEXEC);
  require(fd >= 0 && ::ftruncate(fd, static_cast<off_t>(ring_bytes)) == 0);
  void* reserved = ::mmap(nullptr, 2 * ring_bytes, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(reserved != MAP_FAILED);
  auto* begin = static_cast<std::byte*>(reserved);
  for (std::byte* mirror : {begin, begin + ring_bytes}) {
    require(::mmap(mirror, ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) !=
            MAP_FAILED);
  }
  ::close(fd);
  return begin;
}

}  // namespace

class ShadowRegion::Medium final : public SlotMedium {
 public:
  explicit Medium(ShadowRegion& region) : region_(region) {}
  std::span<const std::byte> bytes(uint64_t at, uint64_t n) const override {
    return {region_.visible(at), n};
  }
  void store(uint64_t at, const void* source, size_t n) override {
    region_.pass_point(PointKind::store);
    region_.store(at, source, n);
  }
  void persist(uint64_t at, uint64_t n) override { region_.persist(at, n); }

 private:
  ShadowRegion& region_;
};

ShadowRegion::ShadowRegion(const Geometry& geometry, Persistence persistence, bool formatted)
    : geometry_(geometry), persistence_(persistence) {
  require(std::has_single_bit(geometry.ring_bytes) && geometry.ring_bytes % kPageBytes == 0 &&
          geometry.salvage_bytes % kPageBytes == 0);
  ring_ = map_twice(geometry.ring_bytes);
  rest_ = std::make_unique<std::byte[]>(space_bytes() - geometry.ring_bytes);
  media_.resize(space_bytes());
  if (formatted) require(write_superblock({}, Slots::both) == Code::ok);
  points_ = 0;
}

ShadowRegion::~ShadowRegion() { ::munmap(ring_, 2 * geometry_.ring_bytes); }

uint64_t ShadowRegion::salvage_at() const { return superblock_at() + 2 * kSuperblockSlotBytes; }

// ---- Region -------------------------------------------------------------------------------------

void ShadowRegion::store_ring(Offset at, const void* source, size_t n) {
  pass_point(PointKind::store);
  store_wrapped(at, source, n);
}

void ShadowRegion::remote_store(Offset at, const void* source, size_t n) {
  store_wrapped(at, source, n);
}

void ShadowRegion::store_wrapped(Offset at, const void* source, size_t n) {
  require(n <= geometry_.ring_bytes);
  const uint64_t begin = at.value & (geometry_.ring_bytes - 1);
  const size_t first = std::min<uint64_t>(n, geometry_.ring_bytes - begin);
  store(begin, source, first);
  if (first < n) store(0, static_cast<const std::byte*>(source) + first, n - first);
}

void ShadowRegion::persist_ring(Offset at, uint64_t n) {
  require(n <= geometry_.ring_bytes);
  pass_point(PointKind::flush);
  pass_point(PointKind::fence);
  const uint64_t begin = at.value & (geometry_.ring_bytes - 1);
  const uint64_t first = std::min(n, geometry_.ring_bytes - begin);
  settle(begin, first);
  settle(0, n - first);
}

Result<std::vector<std::byte>> ShadowRegion::read_superblock() const {
  const AbSlots slots(SlotKind::superblock, superblock_at(), kSuperblockSlotBytes);
  const auto found = slots.read(Medium(const_cast<ShadowRegion&>(*this)));
  if (!found) return tl::unexpected(found.error());
  return std::vector<std::byte>(found->payload.begin(), found->payload.end());
}

Code ShadowRegion::write_superblock(std::span<const std::byte> payload, Slots slots) {
  if (payload.size() > kSuperblockPayloadBytesMax) return Code::too_large;
  Medium medium(*this);
  const AbSlots pair(SlotKind::superblock, superblock_at(), kSuperblockSlotBytes);
  const auto written = pair.write(medium, payload, slots);
  return written ? Code::ok : written.error().code;
}

std::span<const std::byte> ShadowRegion::salvage() const {
  return {visible(salvage_at()), geometry_.salvage_bytes};
}

void ShadowRegion::store_salvage(uint64_t at, const void* source, size_t n) {
  require(at <= geometry_.salvage_bytes && n <= geometry_.salvage_bytes - at);
  pass_point(PointKind::store);
  store(salvage_at() + at, source, n);
}

void ShadowRegion::persist_salvage(uint64_t at, uint64_t n) { persist(salvage_at() + at, n); }

// ---- Lines --------------------------------------------------------------------------------------

void ShadowRegion::pass_point(PointKind kind) {
  const Point point{points_, kind};
  if (armed_point_ == point.number) cut_media_ = media_after_cut(armed_seed_);
  if (hook_) hook_(point);
  ++points_;
}

void ShadowRegion::remember(uint64_t line) {
  if (changed_) changed_->push_back(line);
  const auto [found, fresh] = unpersisted_.try_emplace(line);
  if (fresh) return;  // what stood here before is on the media
  std::vector<Line>& versions = found->second;
  if (versions.size() == kVersionsMax) versions.erase(versions.begin());
  std::memcpy(versions.emplace_back().data(), visible(line * kLine), kLine);
}

void ShadowRegion::store(uint64_t at, const void* source, size_t n) {
  if (n == 0) return;
  for (uint64_t line = at / kLine; line <= (at + n - 1) / kLine; ++line) remember(line);
  std::memcpy(visible(at), source, n);
}

void ShadowRegion::note_direct_store(Offset at, const void* before, size_t n) {
  const uint64_t begin = at.value & (geometry_.ring_bytes - 1);
  std::vector<std::byte> after(ring_ + begin, ring_ + begin + n);
  std::memcpy(ring_ + begin, before, n);
  store_wrapped(at, after.data(), n);
}

void ShadowRegion::persist(uint64_t at, uint64_t n) {
  pass_point(PointKind::flush);
  pass_point(PointKind::fence);
  settle(at, n);
}

// Persists every line that [at, at + n) touches.
void ShadowRegion::settle(uint64_t at, uint64_t n) {
  if (n == 0) return;
  const uint64_t first = at / kLine;
  const uint64_t last = (at + n - 1) / kLine;
  const auto write_back = [this](uint64_t line) {
    std::memcpy(media_.data() + line * kLine, visible(line * kLine), kLine);
  };
  if (last - first < unpersisted_.size()) {
    for (uint64_t line = first; line <= last; ++line) {
      if (unpersisted_.erase(line) > 0) write_back(line);
    }
    return;
  }
  // A seal persists the whole ring, of which little is unpersisted.
  std::erase_if(unpersisted_, [&](const auto& each) {
    if (each.first < first || each.first > last) return false;
    write_back(each.first);
    return true;
  });
}

// ---- Power --------------------------------------------------------------------------------------

void ShadowRegion::arm_cut(uint64_t point, uint64_t seed) {
  armed_point_ = point;
  armed_seed_ = seed;
  cut_media_.reset();
}

std::vector<std::byte> ShadowRegion::media_after_cut(uint64_t seed) const {
  std::vector<std::byte> media = media_;
  write_back_some(seed, unpersisted(), media);
  return media;
}

void ShadowRegion::write_back_some(uint64_t seed, const std::vector<uint64_t>& lines,
                                   std::vector<std::byte>& media) const {
  Dice dice(seed);
  // Some cuts lose nearly everything, some nearly nothing.
  const uint64_t survive_of_8 = dice.below(9);
  for (const uint64_t line : lines) {
    if (dice.below(8) >= survive_of_8) continue;
    const std::vector<Line>& versions = unpersisted_.at(line);
    const size_t version = dice.below(versions.size() + 1);
    const std::byte* content =
        version < versions.size() ? versions[version].data() : visible(line * kLine);
    const uint64_t words = dice.below(2) == 0 ? 0xff : dice.below(256);
    for (uint64_t word = 0; word < kLine / 8; ++word) {
      if ((words >> word) & 1) {
        std::memcpy(media.data() + line * kLine + word * 8, content + word * 8, 8);
      }
    }
  }
}

std::vector<uint64_t> ShadowRegion::unpersisted() const {
  std::vector<uint64_t> lines;
  lines.reserve(unpersisted_.size());
  for (const auto& each : unpersisted_) lines.push_back(each.first);
  std::sort(lines.begin(), lines.end());  // the map's order is nobody's promise
  return lines;
}

void ShadowRegion::power_cut(uint64_t seed) {
  if (cut_media_) return come_back(std::vector<std::byte>(std::move(*cut_media_)));
  const std::vector<uint64_t> lines = unpersisted();
  write_back_some(seed, lines, media_);
  for (const uint64_t line : lines) {
    std::memcpy(visible(line * kLine), media_.data() + line * kLine, kLine);
  }
  forget_cut();
}

void ShadowRegion::load(std::span<const std::byte> image) {
  require(image.size() == media_.size());
  come_back(image);
  changed_.emplace();
}

void ShadowRegion::reload(std::span<const std::byte> image) {
  require(image.size() == media_.size() && changed_.has_value());
  for (const uint64_t line : *changed_) put(line, image.data() + line * kLine);
  changed_->clear();
  forget_cut();
}

void ShadowRegion::place(uint64_t line, const std::byte* content) {
  put(line, content);
  if (changed_) changed_->push_back(line);
}

void ShadowRegion::put(uint64_t line, const std::byte* content) {
  std::memcpy(media_.data() + line * kLine, content, kLine);
  std::memcpy(visible(line * kLine), content, kLine);
}

void ShadowRegion::forget_cut() {
  cut_media_.reset();
  armed_point_.reset();
  unpersisted_.clear();
}

void ShadowRegion::come_back(std::span<const std::byte> image) {
  std::memcpy(media_.data(), image.data(), image.size());
  forget_cut();
  std::memcpy(ring_, media_.data(), geometry_.ring_bytes);
  std::memcpy(rest_.get(), media_.data() + geometry_.ring_bytes,
              space_bytes() - geometry_.ring_bytes);
}

void ShadowRegion::evict_some(uint64_t seed) {
  Dice dice(seed);
  for (const uint64_t line : unpersisted()) {
    if (dice.below(2) == 0) settle(line * kLine, kLine);
  }
}

void ShadowRegion::persist_all() { settle(0, space_bytes()); }

// ---- Damage -------------------------------------------------------------------------------------

void ShadowRegion::damage(uint64_t at, uint64_t n, const std::function<void(std::byte*)>& change) {
  for (uint64_t i = 0; i < n; ++i) {
    change(visible(at + i));
    change(media_.data() + at + i);
  }
  if (!changed_) return;
  for (uint64_t line = at / kLine; line * kLine < at + n; ++line) changed_->push_back(line);
}

void ShadowRegion::flip(uint64_t at, unsigned bit) {
  damage(at, 1, [bit](std::byte* byte) { *byte ^= std::byte{1} << (bit % 8); });
}

void ShadowRegion::flip_ring_bit(Offset at, unsigned bit) {
  flip(at.value & (geometry_.ring_bytes - 1), bit);
}

void ShadowRegion::flip_salvage_bit(uint64_t at, unsigned bit) {
  require(at < geometry_.salvage_bytes);
  flip(salvage_at() + at, bit);
}

void ShadowRegion::flip_superblock_bit(unsigned slot, uint64_t at, unsigned bit) {
  require(slot < 2 && at < kSuperblockSlotBytes);
  flip(superblock_at() + slot * kSuperblockSlotBytes + at, bit);
}

void ShadowRegion::erase_superblock(unsigned slot) {
  require(slot < 2);
  damage(superblock_at() + slot * kSuperblockSlotBytes, kSuperblockSlotBytes,
         [](std::byte* byte) { *byte = std::byte{0}; });
}

void ShadowRegion::erase_newest_superblock() {
  uint64_t generation[2] = {0, 0};
  for (unsigned slot = 0; slot < 2; ++slot) {
    const std::span<const std::byte> bytes(visible(superblock_at() + slot * kSuperblockSlotBytes),
                                           kSuperblockSlotBytes);
    if (const auto view = decode_slot(bytes, SlotKind::superblock)) {
      generation[slot] = view->generation;
    }
  }
  erase_superblock(generation[1] > generation[0] ? 1 : 0);
}

std::vector<std::byte> ShadowRegion::ring_bytes_at(Offset at, uint64_t n) const {
  require(n <= geometry_.ring_bytes);
  const std::byte* begin = ring_ + (at.value & (geometry_.ring_bytes - 1));
  return {begin, begin + n};
}

void ShadowRegion::overwrite_ring(Offset at, std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) {
    damage(at.value & (geometry_.ring_bytes - 1), 1, [byte](std::byte* here) { *here = byte; });
    at = at + 1;
  }
}

void ShadowRegion::poison_ring_page(Offset at) {
  const uint64_t page = (at.value & (geometry_.ring_bytes - 1)) / kPageBytes * kPageBytes;
  damage(page, kPageBytes, [](std::byte* byte) { *byte = std::byte{0}; });
  if (poison_.pages == 0) poison_.at = page;
  ++poison_.pages;
}

void ShadowRegion::wipe() {
  damage(0, space_bytes(), [](std::byte* byte) { *byte = std::byte{0}; });
  unpersisted_.clear();
}

}  // namespace caisson::pmem
