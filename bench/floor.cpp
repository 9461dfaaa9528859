// SPDX-License-Identifier: BSD-3-Clause
#include "bench/floor.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>

#include "bench/floor_stores.hpp"
#include "bench/ticks.hpp"
#include "tools/files.hpp"

namespace caisson::bench {

namespace {

// Maps a file of ring_bytes as a replica's ring is mapped; its name is gone at once.
Result<void> map_ring(const std::filesystem::path& path, uint64_t ring_bytes,
                      pmem::RingMapping& ring) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const auto failed = [&](const char* what) -> Result<void> {
    return tl::unexpected(
        tools::system_error(std::string(what) + " '" + path.string() + "'", errno));
  };
  if (fd < 0) return failed("cannot make");
  unlink(path.c_str());
  errno = posix_fallocate(fd, 0, static_cast<off_t>(ring_bytes));
  auto made = errno != 0 ? failed("no room for") : Result<void>{};
  const pmem::SlotFile file{fd, 0, ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED};
  const uint32_t only = 0;
  if (made && ring.map(file, {&only, 1}, pmem::RingMapping::Pages::gathered) != Code::ok) {
    made = failed("cannot map");
  }
  close(fd);
  return made;
}

}  // namespace

double FloorVariant::entries_per_s() const {
  const double seconds = static_cast<double>(elapsed_ticks) / ticks_per_ns() * 1e-9;
  return seconds > 0 ? static_cast<double>(entries) / seconds : 0;
}

Floor::Floor(const FloorOptions& options)
    : options_(options),
      entry_bytes_(kFloorHeaderBytes + (options.payload_bytes + kFloorLineBytes - 1) /
                                           kFloorLineBytes * kFloorLineBytes),
      source_(entry_bytes_ + kFloorLineBytes) {
  std::mt19937 random(1);
  for (std::byte& byte : source_) byte = static_cast<std::byte>(random());
  const auto address = reinterpret_cast<uintptr_t>(source_.data());
  aligned_source_ =
      source_.data() + (kFloorLineBytes - address % kFloorLineBytes) % kFloorLineBytes;
}

Result<std::unique_ptr<Floor>> Floor::create(const FloorOptions& options) {
  if (options.regions == 0 || options.regions > kFloorRegionsMax) {
    return fail(Code::invalid, "the floor places into 1 to 7 regions");
  }
  std::unique_ptr<Floor> floor(new Floor(options));
  for (const NamedStore& named : stores_for(options.regions)) {
    floor->variants_.push_back({named.name, named.store, Samples(options.samples_max), 0, 0});
  }
  if (floor->variants_.empty()) {
    return fail(Code::unsupported, "this processor has neither AVX2 nor clflushopt");
  }
  if (const auto mapped = floor->map(); !mapped) return tl::unexpected(mapped.error());
  return floor;
}

Result<void> Floor::map() {
  for (size_t i = 0; i < options_.regions; ++i) {
    const auto path = options_.directory /
                      ("floor-" + std::to_string(getpid()) + "-" + std::to_string(i) + ".region");
    if (const auto mapped = map_ring(path, options_.ring_bytes, rings_[i]); !mapped) return mapped;
  }
  return {};
}

void Floor::place(const FloorVariant& variant) {
  std::byte* targets[kFloorRegionsMax];
  for (uint64_t entry = 0; entry < options_.batch; ++entry) {
    for (size_t i = 0; i < options_.regions; ++i) targets[i] = rings_[i].data() + cursor_;
    variant.store(targets, aligned_source_, entry_bytes_);
    cursor_ += entry_bytes_;
    if (cursor_ >= options_.ring_bytes) cursor_ -= options_.ring_bytes;
  }
  // Orders the stores above before whatever an acknowledgement would be.
  _mm_sfence();
}

void Floor::run(size_t index, uint64_t slice_ns, uint64_t warm_up) {
  FloorVariant& variant = variants_[index];
  for (uint64_t i = 0; i < warm_up; ++i) place(variant);
  const auto slice_ticks = static_cast<uint64_t>(static_cast<double>(slice_ns) * ticks_per_ns());
  const uint64_t start = ticks();
  uint64_t before = start;
  do {
    place(variant);
    const uint64_t after = ticks();
    variant.samples.add(after - before);
    variant.entries += options_.batch;
    before = after;
  } while (before - start < slice_ticks);
  variant.elapsed_ticks += before - start;
}

const FloorVariant& Floor::lowest_latency() const {
  return *std::min_element(variants_.begin(), variants_.end(), [](const auto& a, const auto& b) {
    return a.samples.quantile_ns(0.5) < b.samples.quantile_ns(0.5);
  });
}

const FloorVariant& Floor::highest_rate() const {
  return *std::max_element(variants_.begin(), variants_.end(), [](const auto& a, const auto& b) {
    return a.entries_per_s() < b.entries_per_s();
  });
}

}  // namespace caisson::bench
