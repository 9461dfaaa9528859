// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/file_region.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cassert>
#include <utility>

namespace caisson::pmem {
namespace {

constexpr AbSlots kSuperblock(SlotKind::superblock, kSuperblockAt, kSuperblockSlotBytes);

}  // namespace

void FileRegion::store_ring(Offset at, const void* source, size_t n) {
  assert(writable_ && n <= geometry_.ring_bytes);
  kernels_.copy(ring_at(at), source, n);
}

void FileRegion::persist_ring(Offset at, uint64_t n) {
  kernels_.flush_lines(ring_at(at), n);
  store_fence();
}

Result<std::vector<std::byte>> FileRegion::read_superblock() const {
  const auto found = kSuperblock.read(header_);
  if (!found)
    return fail(found.error().code, "region " + path() + ": superblock: " + found.error().message);
  return std::vector<std::byte>(found->payload.begin(), found->payload.end());
}

Code FileRegion::write_superblock(std::span<const std::byte> payload, Slots slots) {
  if (!writable_) return Code::denied;
  if (payload.size() > kSuperblockPayloadBytesMax) return Code::too_large;
  const auto written = kSuperblock.write(header_, payload, slots);
  return written ? Code::ok : written.error().code;
}

std::span<const std::byte> FileRegion::salvage() const {
  return {header_.data() + layout_->salvage_at, geometry_.salvage_bytes};
}

void FileRegion::store_salvage(uint64_t at, const void* source, size_t n) {
  assert(writable_ && at <= geometry_.salvage_bytes && n <= geometry_.salvage_bytes - at);
  kernels_.copy(header_.data() + layout_->salvage_at + at, source, n);
}

void FileRegion::persist_salvage(uint64_t at, uint64_t n) {
  header_.persist(layout_->salvage_at + at, n);
}

uint64_t FileRegion::slots_in_file() const {
  const uint64_t fit = (file_.bytes() - layout_->slots_at) / geometry_.segment_bytes;
  return std::min<uint64_t>(fit, UINT32_MAX);
}

SlotFile FileRegion::slot_file() const {
  return {file_.fd(),
          layout_->slots_at,
          geometry_.segment_bytes,
          writable_ ? PROT_READ | PROT_WRITE : PROT_READ,
          map_flags_for(persistence_),
          &mark_};
}

Poison FileRegion::poison() const {
  const std::byte* const first = mark_.first();
  Poison poison{mark_.pages(), 0};
  if (first == nullptr) return poison;
  const auto inside = [first](const std::byte* begin, uint64_t n) {
    return begin != nullptr && first >= begin && first < begin + n;
  };
  if (inside(header_.data(), header_.size())) {
    poison.at = static_cast<uint64_t>(first - header_.data());
  } else if (inside(ring_.data(), 2 * geometry_.ring_bytes)) {
    const uint64_t at = static_cast<uint64_t>(first - ring_.data()) & (geometry_.ring_bytes - 1);
    const uint64_t slot = manifest_.slot_of_segment[at / geometry_.segment_bytes];
    poison.at = layout_->slots_at + slot * geometry_.segment_bytes + at % geometry_.segment_bytes;
  } else {
    poison.at = layout_->slots_at;  // in a spare slot, or met through a mapping that was lent
  }
  return poison;
}

// Re-homing moves segments within the file, so its name is its own from creation on. Where it was
// moved to is nobody's business: it can be brought back.
void FileRegion::look_at_name() {
  struct stat now {};
  if (file_.device() || deleted() || ::fstat(file_.fd(), &now) != 0 || now.st_nlink != 0) return;
  deleted_.store(true, std::memory_order_release);
  mark_.set(nullptr);
}

Code FileRegion::map_again(RingMapping& mapping) const {
  return mapping.map(slot_file(), manifest_.slot_of_segment, RingMapping::Pages::as_needed);
}

Code FileRegion::write_manifest() {
  encode_manifest(manifest_, manifest_payload_);
  const AbSlots slots(SlotKind::manifest, kManifestAt, layout_->manifest_slot_bytes);
  const auto written = slots.write(header_, manifest_payload_, Slots::one);
  if (!written) return written.error().code;
  manifest_generation_ = *written;
  return Code::ok;
}

Code FileRegion::rehome(std::span<const uint32_t> segments,
                        std::span<const ProcessIdentity> writers) {
  if (!writable_) return Code::denied;
  if (segments.empty()) return Code::ok;
  static constexpr ProcessIdentity kUnknownWriter{};
  if (writers.empty()) writers = {&kUnknownWriter, 1};
  if (manifest_.tainted.size() + segments.size() * writers.size() > kTaintedSlotsMax) {
    return Code::no_space;
  }
  if (prepared_->size() < segments.size()) {
    if (const Code code = prepare_spares(segments.size()); code != Code::ok) return code;
  }

  // Allocation of a few pointers is bounded by the segments at stake; the slots stand ready.
  std::vector<PreparedSlots::Prepared> fresh;
  fresh.reserve(segments.size());
  for (const uint32_t segment : segments) {
    fresh.push_back(prepared_->take_any());
    kernels_.copy(fresh.back().first, ring_.data() + segment * geometry_.segment_bytes,
                  geometry_.segment_bytes);
  }
  store_fence();

  for (size_t i = 0; i < segments.size(); ++i) {
    uint32_t& slot = manifest_.slot_of_segment[segments[i]];
    for (const ProcessIdentity& writer : writers) {
      manifest_.tainted.push_back({slot, 0, manifest_generation_ + 1, writer});
    }
    slot = fresh[i].slot;
  }
  if (const Code code = write_manifest(); code != Code::ok) return code;

  Code result = Code::ok;
  for (size_t i = 0; i < segments.size(); ++i) {
    if (ring_.remap(segments[i], fresh[i]) != Code::ok) result = Code::io;
  }
  return result;
}

bool FileRegion::still_written(const TaintedSlot& tainted, std::span<const Drained> drained) const {
  for (const Drained& each : drained) {
    if (each.writer == tainted.writer && each.manifest_generation >= tainted.vacated_by) {
      return false;
    }
  }
  return !proven_dead(tainted.writer);
}

Code FileRegion::maintain(std::span<const Drained> drained) {
  if (!writable_) return Code::denied;
  const size_t released = std::erase_if(
      manifest_.tainted, [&](const TaintedSlot& each) { return !still_written(each, drained); });
  if (released > 0) {
    if (const Code code = write_manifest(); code != Code::ok) return code;
  }
  return prepare_spares(spare_target_);
}

Code FileRegion::prepare_spares(size_t wanted) {
  if (prepared_->size() >= wanted) return Code::ok;
  auto free = manifest_.free_slots(slots_in_file());
  std::erase_if(free, [&](uint32_t slot) { return prepared_->holds(slot); });
  const size_t missing = wanted - prepared_->size();
  if (free.size() < missing) {
    const uint64_t slots = slots_in_file();
    const uint64_t more = missing - free.size();
    const auto grown = file_.grow(layout_->slots_at + (slots + more) * geometry_.segment_bytes);
    if (!grown) {
      if (grown.error().code == Code::damaged) mark_.set(nullptr);
      return grown.error().code;
    }
    for (uint64_t i = 0; i < more; ++i) free.push_back(static_cast<uint32_t>(slots + i));
  }
  for (size_t i = 0; i < missing; ++i) {
    if (const Code code = prepared_->prepare(free[i]); code != Code::ok) return code;
  }
  return Code::ok;
}

}  // namespace caisson::pmem
