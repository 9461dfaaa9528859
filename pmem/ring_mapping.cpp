// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/ring_mapping.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace caisson::pmem {
namespace {

// Large pages need the address and the file offset to agree.
constexpr uint64_t kLargePageBytes = 2 * 1024 * 1024;

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

// Gathers the pages into large ones: fewer misses of the translation cache while appending, and a
// process that dies is taken apart in a hundredth of the time. A wish: where the file system or the
// kernel has none, small ones do. Best when the file is made: whoever has mapped small pages by
// then faults once for each large one.
void gather(std::byte* at, uint64_t n) {
  if (n >= kLargePageBytes) (void)::madvise(at, n, MADV_COLLAPSE);
}

std::byte* map_range(const SlotFile& file, std::byte* where, uint32_t slot, uint64_t count) {
  const uint64_t n = count * file.segment_bytes;
  const auto offset = static_cast<off_t>(file.slots_at + slot * file.segment_bytes);
  const int fixed = where == nullptr ? 0 : MAP_FIXED;
  void* got = ::mmap(where, n, file.protection, file.map_flags | fixed, file.fd, offset);
  if (got == MAP_FAILED) return nullptr;
  ::madvise(got, n, MADV_DONTFORK);
  return static_cast<std::byte*>(got);
}

// Faults pages in for stores, too: a shared file page first mapped by a load faults again on a
// store.
bool touch(const SlotFile& file, std::byte* at, uint64_t n) {
  const int advice = file.protection & PROT_WRITE ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  return ::madvise(at, n, advice) == 0;
}

// n bytes of addresses, of which the first is as far behind a large page's begin as `phase`.
std::byte* reserve(uint64_t n, uint64_t phase) {
  const uint64_t slack = n + kLargePageBytes;
  void* got = ::mmap(nullptr, slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (got == MAP_FAILED) return nullptr;
  auto* begin = static_cast<std::byte*>(got);
  const auto address = reinterpret_cast<uintptr_t>(begin);
  const uint64_t head = (phase - address) % kLargePageBytes;
  if (head > 0) ::munmap(begin, head);
  if (slack - head > n) ::munmap(begin + head + n, slack - head - n);
  return begin + head;
}

}  // namespace

PreparedSlots::~PreparedSlots() {
  for (Prepared& prepared : prepared_) unmap(prepared);
}

void PreparedSlots::unmap(Prepared& prepared) {
  prepared.first_guard.release();
  prepared.second_guard.release();
  ::munmap(prepared.first, file_.segment_bytes);
  ::munmap(prepared.second, file_.segment_bytes);
}

Code PreparedSlots::prepare(uint32_t slot) {
  Prepared prepared{slot, map_range(file_, nullptr, slot, 1), nullptr, {}, {}};
  if (prepared.first == nullptr) return Code::io;
  prepared.second = map_range(file_, nullptr, slot, 1);
  if (prepared.second == nullptr) {
    ::munmap(prepared.first, file_.segment_bytes);
    return Code::io;
  }
  if (!touch(file_, prepared.first, file_.segment_bytes) ||
      !touch(file_, prepared.second, file_.segment_bytes)) {
    unmap(prepared);
    return Code::io;
  }
  if (const Code code = guard(prepared); code != Code::ok) {
    unmap(prepared);
    return code;
  }
  prepared_.push_back(std::move(prepared));
  return Code::ok;
}

Code PreparedSlots::guard(Prepared& prepared) {
  if (file_.mark == nullptr) return Code::ok;
  const Code code = prepared.first_guard.guard(prepared.first, file_.segment_bytes, *file_.mark);
  if (code != Code::ok) return code;
  return prepared.second_guard.guard(prepared.second, file_.segment_bytes, *file_.mark);
}

bool PreparedSlots::holds(uint32_t slot) const {
  return std::any_of(prepared_.begin(), prepared_.end(),
                     [slot](const Prepared& each) { return each.slot == slot; });
}

PreparedSlots::Prepared PreparedSlots::take(uint32_t slot) {
  const auto found = std::find_if(prepared_.begin(), prepared_.end(),
                                  [slot](const Prepared& each) { return each.slot == slot; });
  if (found == prepared_.end()) return Prepared{};
  Prepared prepared = std::move(*found);
  prepared_.erase(found);
  return prepared;
}

PreparedSlots::Prepared PreparedSlots::take_any() {
  return prepared_.empty() ? Prepared{} : take(prepared_.front().slot);
}

void PreparedSlots::retain(std::span<const uint32_t> keep) {
  std::erase_if(prepared_, [&](Prepared& each) {
    if (std::find(keep.begin(), keep.end(), each.slot) != keep.end()) return false;
    unmap(each);
    return true;
  });
}

Code RingMapping::map(const SlotFile& file, std::span<const uint32_t> slot_of_segment,
                      Pages pages) {
  unmap();
  const uint64_t ring_bytes = slot_of_segment.size() * file.segment_bytes;
  std::byte* data = reserve(2 * ring_bytes, file.slots_at);
  if (data == nullptr) return Code::io;
  data_ = data;
  ring_bytes_ = ring_bytes;
  file_ = file;
  // Runs of neighbouring slots share a mapping, so a fresh ring is two of them.
  for (size_t begin = 0; begin < slot_of_segment.size();) {
    size_t end = begin + 1;
    while (end < slot_of_segment.size() && slot_of_segment[end] == slot_of_segment[end - 1] + 1) {
      ++end;
    }
    for (std::byte* mirror : {data, data + ring_bytes}) {
      if (map_range(file, mirror + begin * file.segment_bytes, slot_of_segment[begin],
                    end - begin) == nullptr) {
        unmap();
        return Code::io;
      }
    }
    begin = end;
  }
  if (file.mark != nullptr) {
    const Code code = guard_.guard(data, 2 * ring_bytes, *file.mark);
    if (code != Code::ok) {
      unmap();
      return code;
    }
  }
  if (pages == Pages::gathered) gather(data, ring_bytes);
  if (pages != Pages::as_needed && !touch(file, data, 2 * ring_bytes)) {
    const Code code = page_is_lost(errno) ? Code::damaged : Code::io;
    unmap();
    return code;
  }
  return Code::ok;
}

void RingMapping::unmap() {
  guard_.release();
  if (data_ != nullptr) ::munmap(data_, 2 * ring_bytes_);
  data_ = nullptr;
}

Code RingMapping::remap(uint32_t segment, const PreparedSlots::Prepared& prepared) {
  const uint64_t n = file_.segment_bytes;
  std::byte* first = data_ + segment * n;
  // Moves the page tables along; a fault of another thread waits until the move is complete.
  const bool moved =
      ::mremap(prepared.first, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, first) != MAP_FAILED &&
      ::mremap(prepared.second, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, first + ring_bytes_) !=
          MAP_FAILED;
  return moved ? Code::ok : remap(segment, prepared.slot);
}

Code RingMapping::remap(uint32_t segment, uint32_t slot) {
  const uint64_t n = file_.segment_bytes;
  std::byte* first = data_ + segment * n;
  for (std::byte* mirror : {first, first + ring_bytes_}) {
    if (map_range(file_, mirror, slot, 1) == nullptr || !touch(file_, mirror, n)) return Code::io;
  }
  return Code::ok;
}

Code RingMapping::abandon_to_scratch() {
  if (data_ == nullptr) return Code::ok;
  guard_.release();
  void* got = ::mmap(data_, 2 * ring_bytes_, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  if (got == MAP_FAILED) return Code::io;
  data_ = nullptr;
  return Code::ok;
}

}  // namespace caisson::pmem
