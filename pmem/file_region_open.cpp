// SPDX-License-Identifier: BSD-3-Clause
// How a region file comes into being, and how it is found again.
#include <sys/mman.h>
#include <sys/random.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "pmem/checksum.hpp"
#include "pmem/file_region.hpp"

namespace caisson::pmem {
namespace {

constexpr AbSlots kSuperblock(SlotKind::superblock, kSuperblockAt, kSuperblockSlotBytes);
constexpr AbSlots kIdentity(SlotKind::identity, kIdentityAt, kIdentitySlotBytes);

AbSlots manifest_slots(const RegionLayout& layout) {
  return AbSlots(SlotKind::manifest, kManifestAt, layout.manifest_slot_bytes);
}

// Adds the path to an error of the slot codec.
Error named(const Error& error, const std::string& path, const char* part) {
  const char* cure =
      error.code == Code::amnesia || error.code == Code::damaged
          ? ": this replica has lost its memory and may not take part: move the file away, have it "
            "come back empty, with caisson node --create --join, and be admitted anew, with "
            "caisson member replace"
          : "";
  return {error.code, "region " + path + ": " + part + ": " + error.message + cure};
}

Result<Persistence> persistence_of(const BackingFile& file, PersistenceChoice choice) {
  if (choice == PersistenceChoice::emulated) return Persistence::emulated;
  return established_persistence(file);
}

Result<RegionIdentity> new_identity(const Geometry& geometry) {
  RegionIdentity identity{};
  identity.ring_bytes = geometry.ring_bytes;
  identity.segment_bytes = geometry.segment_bytes;
  identity.salvage_bytes = geometry.salvage_bytes;
  if (::getrandom(identity.uuid.data(), identity.uuid.size(), 0) !=
      static_cast<ssize_t>(identity.uuid.size())) {
    return fail(Code::io, "cannot draw a random region number from the kernel");
  }
  return identity;
}

// On a device old bytes may stand where a new region begins.
Result<void> refuse_old_region(const BackingFile& file, Persistence persistence) {
  if (!file.device()) return {};
  HeaderMapping header;
  if (auto mapped = header.map(file, kManifestAt, PROT_READ, persistence); !mapped) return mapped;
  const auto found = kIdentity.read(header);
  if (!found && found.error().code == Code::amnesia) return {};
  return fail(Code::exists, file.path() +
                                " already holds a region, which is never overwritten: "
                                "wipe the device yourself if it may go");
}

Result<BackingFile> open_device(const std::string& device) {
  auto file = BackingFile::open(device, BackingFile::Access::owner);
  if (!file && file.error().code == Code::amnesia) {
    return fail(Code::not_found, "there is no device " + device + ": daxctl list names them");
  }
  if (file && !file->device()) {
    return fail(Code::invalid, device + " is no devdax device, such as /dev/dax0.0");
  }
  return file;
}

// A file is made of zeros; a device holds whatever it held. An old ring's entries are sound in
// themselves: none of them may be found behind the first ones of a new ring.
Result<void> blank(const BackingFile& file, uint64_t bytes) {
  if (!file.device()) return {};
  HeaderMapping all;
  if (auto mapped = all.map(file, bytes, PROT_READ | PROT_WRITE, Persistence::adr); !mapped) {
    return mapped;
  }
  std::memset(all.data(), 0, bytes);
  all.persist(0, bytes);
  return {};
}

Result<void> write_first_contents(const BackingFile& file, Persistence persistence,
                                  const CreateOptions& options, uint64_t bytes) {
  const RegionLayout layout(options.geometry);
  if (auto blanked = blank(file, bytes); !blanked) return blanked;
  HeaderMapping header;
  if (auto mapped = header.map(file, layout.slots_at, PROT_READ | PROT_WRITE, persistence);
      !mapped) {
    return mapped;
  }
  const auto identity = new_identity(options.geometry);
  if (!identity) return tl::unexpected(identity.error());
  std::vector<std::byte> manifest;
  encode_manifest(Manifest::identity_map(layout.segments), manifest);

  // The identity last: until it stands, a device holds no region.
  for (const auto& [slots, payload] :
       {std::pair{kSuperblock, options.superblock},
        std::pair{manifest_slots(layout), std::span<const std::byte>(manifest)},
        std::pair{kIdentity, std::as_bytes(std::span(&*identity, 1))}}) {
    if (auto written = slots.write(header, payload, Region::Slots::both); !written) {
      return tl::unexpected(named(written.error(), file.path(), "creation"));
    }
  }
  return {};
}

}  // namespace

const char* geometry_fault(const Geometry& geometry) {
  const auto [ring, segment, salvage] = geometry;
  if (!std::has_single_bit(segment) || segment < kSegmentBytesMin) {
    return "segment_bytes must be a power of two and at least 65536";
  }
  if (!std::has_single_bit(ring) || ring < segment || ring > kRingBytesMax) {
    return "ring_bytes must be a power of two, at least segment_bytes, and at most 1 TiB";
  }
  if (salvage % kPageBytes != 0 || salvage > kRingBytesMax) {
    return "salvage_bytes must be a multiple of 4096, and at most 1 TiB";
  }
  return nullptr;
}

Result<std::unique_ptr<FileRegion>> FileRegion::create(const std::string& path,
                                                       const CreateOptions& options) {
  if (const char* fault = geometry_fault(options.geometry)) {
    return fail(Code::invalid, "region " + path + ": " + fault);
  }
  if (options.superblock.size() > kSuperblockPayloadBytesMax) {
    return fail(Code::too_large, "region " + path + ": the first superblock is too large");
  }
  const RegionLayout layout(options.geometry);
  const uint64_t slots = layout.segments + options.spare_slots;
  const uint64_t bytes = layout.slots_at + slots * options.geometry.segment_bytes;
  auto file = BackingFile::create(path, bytes);
  if (!file) return tl::unexpected(file.error());
  if (file->device() && options.geometry.segment_bytes < kDeviceAlignBytes) {
    return fail(Code::invalid, "region " + path + ": on a device segment_bytes must be at least " +
                                   std::to_string(kDeviceAlignBytes));
  }
  const auto persistence = persistence_of(*file, options.persistence);
  if (!persistence) return tl::unexpected(persistence.error());
  const auto created =
      refuse_old_region(*file, *persistence)
          .and_then([&] { return write_first_contents(*file, *persistence, options, bytes); })
          .and_then([&] { return file->publish(); });
  if (!created) return tl::unexpected(created.error());
  return attach(std::move(*file), *persistence, options.spare_slots, true);
}

Result<void> FileRegion::expect_blank(const std::string& device) {
  const auto file = open_device(device);
  if (!file) return tl::unexpected(file.error());
  return refuse_old_region(*file, Persistence::emulated);
}

Result<void> FileRegion::erase(const std::string& device,
                               const std::function<bool(std::span<const std::byte>)>& may_go) {
  const auto file = open_device(device);
  if (!file) return tl::unexpected(file.error());
  HeaderMapping front;
  if (auto mapped = front.map(*file, kManifestAt, PROT_READ | PROT_WRITE, Persistence::adr);
      !mapped) {
    return mapped;
  }
  const auto identity = kIdentity.read(front);
  if (!identity && identity.error().code == Code::amnesia) return {};
  const auto superblock = kSuperblock.read(front);
  if (superblock && !may_go(superblock->payload)) {
    return fail(Code::exists, device +
                                  " holds a region that is not what a creation here has left: "
                                  "correct log.device");
  }
  std::memset(front.data() + kIdentityAt, 0, 2 * kIdentitySlotBytes);
  front.persist(kIdentityAt, 2 * kIdentitySlotBytes);
  return {};
}

Result<std::unique_ptr<FileRegion>> FileRegion::open(const std::string& path,
                                                     PersistenceChoice choice,
                                                     uint32_t spare_slots) {
  auto file = BackingFile::open(path, BackingFile::Access::owner);
  if (!file) return tl::unexpected(file.error());
  const auto persistence = persistence_of(*file, choice);
  if (!persistence) return tl::unexpected(persistence.error());
  return attach(std::move(*file), *persistence, spare_slots, true);
}

Result<std::unique_ptr<const FileRegion>> FileRegion::open_read_only(const std::string& path) {
  auto file = BackingFile::open(path, BackingFile::Access::read_only);
  if (!file) return tl::unexpected(file.error());
  auto region = attach(std::move(*file), Persistence::none, 0, false);
  if (!region) return tl::unexpected(region.error());
  return std::unique_ptr<const FileRegion>(std::move(*region));
}

FileRegion::FileRegion(BackingFile file, Persistence persistence, uint32_t spare_slots)
    : file_(std::move(file)),
      persistence_(persistence),
      spare_target_(spare_slots),
      kernels_(choose_kernels(persistence)) {}

Result<std::unique_ptr<FileRegion>> FileRegion::attach(BackingFile file, Persistence persistence,
                                                       uint32_t spare_slots, bool writable) {
  std::unique_ptr<FileRegion> region(new FileRegion(std::move(file), persistence, spare_slots));
  if (auto loaded = region->load_identity(writable); !loaded) {
    return tl::unexpected(loaded.error());
  }
  if (auto found = kSuperblock.read(region->header_); !found) {
    return tl::unexpected(named(found.error(), region->path(), "superblock"));
  }
  if (auto loaded = region->load_manifest(); !loaded) return tl::unexpected(loaded.error());
  const SlotFile slots = region->slot_file();
  const auto pages = writable ? RingMapping::Pages::gathered : RingMapping::Pages::as_needed;
  if (const Code code = region->ring_.map(slots, region->manifest_.slot_of_segment, pages);
      code == Code::damaged || region->poisoned()) {
    return tl::unexpected(named({Code::damaged, "a page of it cannot be read any more"},
                                region->path(), "memory poison, or a file cut short"));
  } else if (code != Code::ok) {
    return tl::unexpected(os_error("cannot map the ring of", region->path(), errno));
  }
  if (!writable) return region;
  region->take_ownership();
  region->prepared_ = std::make_unique<PreparedSlots>(slots);
  // Without spares the region is whole, only its next revocation is slower: no reason to stay away.
  if (const Code code = region->maintain(); code != Code::ok && code != Code::no_space) {
    return tl::unexpected(os_error("cannot prepare spare slots of", region->path(), errno));
  }
  return region;
}

Result<void> FileRegion::load_identity(bool writable) {
  writable_ = writable;
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  if (file_.bytes() < kManifestAt) {
    if (!writable) return fail(Code::amnesia, path() + " is no region file: it is too short");
    return tl::unexpected(
        named({Code::amnesia, "the file is too short to be one"}, path(), "identity"));
  }
  RegionIdentity identity;
  {
    HeaderMapping front;
    if (auto mapped = front.map(file_, kManifestAt, PROT_READ, persistence_); !mapped) {
      return mapped;
    }
    const auto found = kIdentity.read(front);
    if (!found && !writable && found.error().code == Code::amnesia) {
      return fail(Code::amnesia, path() +
                                     " is no region file, or has lost its identity: name a file "
                                     "DIR/data/logs/NAME/region");
    }
    if (!found) return tl::unexpected(named(found.error(), path(), "identity"));
    if (found->payload.size() != sizeof identity) {
      return tl::unexpected(named({Code::damaged, "unexpected length"}, path(), "identity"));
    }
    std::memcpy(&identity, found->payload.data(), sizeof identity);
  }
  geometry_ = {identity.ring_bytes, identity.segment_bytes, identity.salvage_bytes};
  if (const char* fault = geometry_fault(geometry_)) {
    return tl::unexpected(named({Code::damaged, fault}, path(), "identity"));
  }
  uuid_ = identity.uuid;
  layout_.emplace(geometry_);
  if (file_.bytes() < layout_->slots_at + geometry_.ring_bytes) {
    return tl::unexpected(named({Code::damaged, "the file has been cut short"}, path(), "ring"));
  }
  return header_.map(file_, layout_->slots_at, protection, persistence_, &mark_);
}

Result<void> FileRegion::load_manifest() {
  const auto found = manifest_slots(*layout_).read(header_);
  if (!found) return tl::unexpected(named(found.error(), path(), "segment manifest"));
  auto decoded = decode_manifest(found->payload, layout_->segments, slots_in_file());
  if (!decoded) return tl::unexpected(named(decoded.error(), path(), "segment manifest"));
  manifest_ = std::move(*decoded);
  manifest_generation_ = found->generation;
  manifest_.tainted.reserve(kTaintedSlotsMax);
  manifest_payload_.reserve(layout_->manifest_slot_bytes);
  return {};
}

void FileRegion::take_ownership() {
  const ProcessIdentity before = recorded_owner(file_);
  OwnerRecord record{};
  record.process = this_process();
  record.crc = checksum(kChecksumSeed, &record.process, sizeof record.process);
  // What an earlier boot left in the shared cells may be torn, and nobody who wrote it lives. A
  // record that does not verify says nothing of the kind: its writer was killed, and grants may be
  // open (H9).
  if (before.known() && record.process.known() && before.boot != record.process.boot) {
    std::memset(control().data(), 0, control().size());
  }
  std::memcpy(header_.data() + kOwnerAt, &record, sizeof record);
  header_.persist(kOwnerAt, sizeof record);
}

}  // namespace caisson::pmem
