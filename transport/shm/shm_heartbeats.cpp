// SPDX-License-Identifier: BSD-3-Clause
#include "transport/shm/shm_heartbeats.hpp"

#include <linux/futex.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/shm/cells.hpp"
#include "transport/shm/node_file.hpp"

namespace caisson::transport::shm {
namespace {

// The futex word of the C library's mutex: the owner's thread id, and the kernel's
// FUTEX_OWNER_DIED.
static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0);

uint32_t death_word(const HeartbeatPage& page) {
  auto& word = const_cast<int&>(page.death.mutex.__data.__lock);
  return static_cast<uint32_t>(std::atomic_ref<int>(word).load(std::memory_order_acquire));
}

void unmap_page(const HeartbeatPage* page) { unmap_node_file(page, kHeartbeatFileBytes); }

bool make_robust(pthread_mutex_t& mutex) {
  std::memset(&mutex, 0, sizeof mutex);
  pthread_mutexattr_t attributes;
  if (::pthread_mutexattr_init(&attributes) != 0) return false;
  const bool made = ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0 &&
                    ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0 &&
                    ::pthread_mutex_init(&mutex, &attributes) == 0;
  ::pthread_mutexattr_destroy(&attributes);
  return made;
}

}  // namespace

ShmHeartbeats::ShmHeartbeats(const HeartbeatOptions& options)
    : options_(options), peers_(kHeartbeatFileBytes, PROT_READ) {}

Result<std::unique_ptr<ShmHeartbeats>> ShmHeartbeats::open(const HeartbeatOptions& options) {
  std::unique_ptr<ShmHeartbeats> heartbeats(new ShmHeartbeats(options));
  if (auto taken = heartbeats->take_over(); !taken) return tl::unexpected(taken.error());
  heartbeats->connect();
  return heartbeats;
}

Result<void> ShmHeartbeats::take_over() {
  auto file = open_or_create(options_.own_path, kHeartbeatFileBytes);
  if (!file) return tl::unexpected(file.error());
  file_ = std::move(*file);
  own_ = static_cast<HeartbeatPage*>(
      map_node_file(file_, kHeartbeatFileBytes, PROT_READ | PROT_WRITE));
  if (own_ == nullptr) {
    return fail(Code::io, "cannot map the heartbeat file " + options_.own_path + ": remove it");
  }
  // The lock is ours, so nobody holds the mutex: its last owner is dead.
  if (!make_robust(own_->death.mutex)) {
    return fail(Code::io, "cannot make a robust mutex in " + options_.own_path);
  }
  counter_ = load_word(own_->beat.counter);
  write_process(own_->head.process, pmem::this_process());
  store_word(own_->head.left, 0);
  store_word(own_->head.magic, kHeartbeatMagic);
  return {};
}

ShmHeartbeats::~ShmHeartbeats() {
  if (own_ == nullptr) return;
  if (armed_ && ::gettid() == poller_thread_) {
    store_word(own_->head.left, 1);
    ::pthread_mutex_unlock(&own_->death.mutex);
    armed_ = false;
  }
  // A living thread's list of robust mutexes must not lead into unmapped memory.
  const bool held = armed_ && (death_word(*own_) & FUTEX_OWNER_DIED) == 0;
  if (!held) unmap_page(own_);
}

void ShmHeartbeats::beat() {
  if (poller_thread_ == 0) [[unlikely]]
    tie_to_this_thread();
  store_word(own_->beat.counter, ++counter_);
}

void ShmHeartbeats::tie_to_this_thread() {
  poller_thread_ = ::gettid();
  if (::pthread_mutex_trylock(&own_->death.mutex) != 0) return;
  armed_ = (death_word(*own_) & FUTEX_TID_MASK) == static_cast<uint32_t>(poller_thread_);
}

Beat ShmHeartbeats::read(ReplicaId peer) const {
  const HeartbeatPage* const page = peers_.of(peer);
  if (page == nullptr || load_word(page->head.magic) != kHeartbeatMagic) return {};
  const bool died = (death_word(*page) & FUTEX_OWNER_DIED) != 0;
  return {load_word(page->beat.counter), died || load_word(page->head.left) != 0, true};
}

size_t ShmHeartbeats::connect() { return peers_.connect(options_.peers, options_.own_path); }

}  // namespace caisson::transport::shm
