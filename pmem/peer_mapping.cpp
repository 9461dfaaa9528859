// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/peer_mapping.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "pmem/region_format.hpp"

namespace caisson::pmem {
namespace {

// Free slots that are mapped ahead of their use: what an owner keeps ready, twice over.
constexpr size_t kPreparedMax = 8;

// Copied slots, so that what is checked is what is used.
class CopiedSlots final : public SlotMedium {
 public:
  explicit CopiedSlots(std::span<const std::byte> copy) : copy_(copy) {}
  std::span<const std::byte> bytes(uint64_t at, uint64_t n) const override {
    return copy_.subspan(at, n);
  }
  void store(uint64_t, const void*, size_t) override {}
  void persist(uint64_t, uint64_t) override {}

 private:
  std::span<const std::byte> copy_;
};

}  // namespace

Result<std::unique_ptr<PeerMapping>> PeerMapping::open(const std::string& path,
                                                       Persistence persistence) {
  auto file = BackingFile::open(path, BackingFile::Access::peer);
  if (!file) return tl::unexpected(file.error());
  std::unique_ptr<PeerMapping> peer(new PeerMapping());
  peer->file_ = std::move(*file);
  peer->persistence_ = persistence;
  if (auto loaded = peer->load_identity(); !loaded) return tl::unexpected(loaded.error());
  uint64_t generation = 0;
  auto manifest = peer->read_manifest(generation);
  if (!manifest) return tl::unexpected(manifest.error());
  if (peer->ring_.map(peer->slots_, manifest->slot_of_segment, RingMapping::Pages::touched) !=
      Code::ok) {
    return tl::unexpected(os_error("cannot map the ring of", path, errno));
  }
  peer->mapped_slots_ = std::move(manifest->slot_of_segment);
  peer->generation_ = generation;
  peer->prepared_ = std::make_unique<PreparedSlots>(peer->slots_);
  return peer;
}

Result<void> PeerMapping::load_identity() {
  const std::string& path = file_.path();
  if (file_.bytes() < kManifestAt) return fail(Code::amnesia, path + " is no region");
  {
    HeaderMapping front;
    if (auto mapped = front.map(file_, kManifestAt, PROT_READ, persistence_); !mapped) {
      return mapped;
    }
    const auto found = AbSlots(SlotKind::identity, kIdentityAt, kIdentitySlotBytes).read(front);
    if (!found) return fail(found.error().code, path + ": identity: " + found.error().message);
    RegionIdentity identity;
    if (found->payload.size() != sizeof identity) {
      return fail(Code::damaged, path + ": identity: unexpected length");
    }
    std::memcpy(&identity, found->payload.data(), sizeof identity);
    uuid_ = identity.uuid;
    geometry_ = {identity.ring_bytes, identity.segment_bytes, identity.salvage_bytes};
  }
  if (const char* fault = geometry_fault(geometry_)) {
    return fail(Code::damaged, path + ": identity: " + fault);
  }
  const RegionLayout layout(geometry_);
  if (file_.bytes() < layout.slots_at + geometry_.ring_bytes) {
    return fail(Code::damaged, path + " has been cut short");
  }
  manifest_slot_bytes_ = layout.manifest_slot_bytes;
  manifest_copy_.resize(2 * manifest_slot_bytes_);
  slots_ = {file_.fd(),
            layout.slots_at,
            geometry_.segment_bytes,
            PROT_READ | PROT_WRITE,
            map_flags_for(persistence_),
            &mark_};
  return header_.map(file_, layout.slots_at, PROT_READ | PROT_WRITE, persistence_, &mark_);
}

uint64_t PeerMapping::owner_generation() const {
  uint64_t newest = 0;
  for (const uint64_t at : {kManifestAt, kManifestAt + manifest_slot_bytes_}) {
    auto& word = *reinterpret_cast<uint64_t*>(header_.data() + at);
    newest = std::max(newest, std::atomic_ref<uint64_t>(word).load(std::memory_order_acquire));
  }
  return newest;
}

Result<Manifest> PeerMapping::read_manifest(uint64_t& generation) {
  std::memcpy(manifest_copy_.data(), header_.data() + kManifestAt, manifest_copy_.size());
  const CopiedSlots copy(manifest_copy_);
  const auto found = AbSlots(SlotKind::manifest, 0, manifest_slot_bytes_).read(copy);
  if (!found) return fail(found.error().code, file_.path() + ": " + found.error().message);
  // The owner grows its file before it writes a manifest that needs the room.
  if (auto sized = file_.refresh_size(); !sized) return tl::unexpected(sized.error());
  const uint64_t slots = (file_.bytes() - slots_.slots_at) / slots_.segment_bytes;
  generation = found->generation;
  return decode_manifest(found->payload, geometry_.ring_bytes / geometry_.segment_bytes, slots);
}

Code PeerMapping::refresh() {
  if (owner_generation() == generation_) return Code::ok;
  uint64_t generation = 0;
  const auto manifest = read_manifest(generation);
  if (!manifest || generation < generation_) return Code::again;
  for (uint32_t segment = 0; segment < mapped_slots_.size(); ++segment) {
    const uint32_t slot = manifest->slot_of_segment[segment];
    if (slot == mapped_slots_[segment]) continue;
    const auto prepared = prepared_->take(slot);
    const Code code =
        prepared.first != nullptr ? ring_.remap(segment, prepared) : ring_.remap(segment, slot);
    if (code != Code::ok) return code;
    mapped_slots_[segment] = slot;
  }
  generation_ = generation;
  return Code::ok;
}

Code PeerMapping::warm() {
  if (const Code code = refresh(); code != Code::ok) return code;
  if (!file_.refresh_size()) return Code::io;
  if (warmed_generation_ == generation_ && warmed_bytes_ == file_.bytes()) return Code::ok;
  uint64_t generation = 0;
  const auto manifest = read_manifest(generation);
  if (!manifest || generation != generation_) return Code::again;
  auto free = manifest->free_slots((file_.bytes() - slots_.slots_at) / slots_.segment_bytes);
  if (free.size() > kPreparedMax) free.resize(kPreparedMax);
  prepared_->retain(free);
  for (const uint32_t slot : free) {
    if (prepared_->holds(slot)) continue;
    if (const Code code = prepared_->prepare(slot); code != Code::ok) return code;
  }
  warmed_generation_ = generation_;
  warmed_bytes_ = file_.bytes();
  return Code::ok;
}

}  // namespace caisson::pmem
