// SPDX-License-Identifier: BSD-3-Clause
#include "transport/shm/shm_postbox.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "transport/shm/cells.hpp"

namespace caisson::transport::shm {
namespace {

static_assert(sizeof(std::atomic<uint64_t>) == sizeof(uint64_t));

std::atomic_ref<uint64_t> bell_of(PostFile& file) { return std::atomic_ref<uint64_t>(file.bell); }

}  // namespace

ShmPostbox::ShmPostbox(const PostboxOptions& options)
    : options_(options), peers_(sizeof(PostFile), PROT_READ | PROT_WRITE) {}

Result<std::unique_ptr<ShmPostbox>> ShmPostbox::open(const PostboxOptions& options) {
  std::unique_ptr<ShmPostbox> box(new ShmPostbox(options));
  auto taken = box->take_over(OwnFile::open(options.own_path, sizeof(PostFile)));
  if (!taken) return tl::unexpected(taken.error());
  box->connect();
  return box;
}

Result<void> ShmPostbox::take_over(Result<OwnFile> file) {
  if (!file) return tl::unexpected(file.error());
  auto& own = file->mapping().as<PostFile>();
  bell_of(own).store(0, std::memory_order_relaxed);
  for (PostSlot& slot : own.slots) store_word(slot.taken, load_word(slot.posted));
  store_word(own.magic, kPostboxMagic);
  files_.push_back(std::move(*file));
  own_.store(&own, std::memory_order_release);
  return {};
}

Result<bool> ShmPostbox::mend() {
  OwnFile& own = files_.back();
  const bool ours = load_word(own.mapping().as<PostFile>().magic) == kPostboxMagic;
  if (ours && own.sound()) return false;
  if (auto taken = take_over(own.successor()); !taken) return tl::unexpected(taken.error());
  return true;
}

ShmPostbox::~ShmPostbox() = default;

size_t ShmPostbox::connect() { return peers_.connect(options_.peers, options_.own_path); }

Code ShmPostbox::post(ReplicaId to, std::span<const std::byte> message) {
  if (message.empty() || message.size() > kPostBytesMax) return Code::too_large;
  const NodeMapping* const mapping = peers_.of(to);
  if (mapping == nullptr) return Code::not_found;
  auto& file = mapping->as<PostFile>();
  if (load_word(file.magic) != kPostboxMagic) return Code::not_found;
  PostSlot& slot = file.slots[options_.self.value];
  const uint64_t posted = load_word(slot.posted);
  const bool free = load_word(slot.taken) == posted;
  if (free) {
    std::memcpy(slot.message, message.data(), message.size());
    store_word(slot.bytes, message.size());
    store_word(slot.posted, posted + 1);
  }
  // Also if it is not: whoever posted that may have died before it rang.
  bell_of(file).fetch_or(uint64_t{1} << options_.self.value, std::memory_order_release);
  // It may lie in a page of zeros that only we see.
  if (mapping->lost()) return Code::not_found;
  return free ? Code::ok : Code::again;
}

const std::atomic<uint64_t>& ShmPostbox::bell() const {
  return *reinterpret_cast<const std::atomic<uint64_t>*>(
      &own_.load(std::memory_order_acquire)->bell);
}

size_t ShmPostbox::take(ReplicaId& from, std::span<std::byte> out) {
  PostFile& own = *own_.load(std::memory_order_acquire);
  const auto bell = bell_of(own);
  uint64_t rung = std::rotr(bell.load(std::memory_order_acquire), next_);
  for (const int first = next_; rung != 0; rung &= rung - 1) {
    const int id = (first + std::countr_zero(rung)) % static_cast<int>(kReplicaIdMax + 1);
    next_ = id + 1;  // each in turn
    // Before the look: who posts after it rings again.
    bell.fetch_and(~(uint64_t{1} << id), std::memory_order_acq_rel);
    PostSlot& slot = own.slots[static_cast<size_t>(id)];
    const uint64_t posted = load_word(slot.posted);
    if (posted == load_word(slot.taken)) continue;
    const uint64_t bytes = load_word(slot.bytes);
    const size_t n = bytes <= std::min(kPostBytesMax, out.size()) ? bytes : 0;
    // Whoever may write here may do so at any time: what is judged is this copy.
    std::memcpy(out.data(), slot.message, n);
    store_word(slot.taken, posted);
    if (n == 0) continue;
    from = ReplicaId{static_cast<uint8_t>(id)};
    return n;
  }
  return 0;
}

}  // namespace caisson::transport::shm
