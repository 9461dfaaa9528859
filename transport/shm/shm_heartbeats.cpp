// SPDX-License-Identifier: BSD-3-Clause
#include "transport/shm/shm_heartbeats.hpp"

#include <linux/futex.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/shm/cells.hpp"

namespace caisson::transport::shm {
namespace {

// The futex word of the C library's mutex: the owner's thread id, and the kernel's
// FUTEX_OWNER_DIED.
static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0);

uint32_t death_word(const HeartbeatPage& page) {
  auto& word = const_cast<int&>(page.death.mutex.__data.__lock);
  return static_cast<uint32_t>(std::atomic_ref<int>(word).load(std::memory_order_acquire));
}

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
  auto taken = heartbeats->take_over(OwnFile::open(options.own_path, kHeartbeatFileBytes));
  if (!taken) return tl::unexpected(taken.error());
  heartbeats->counter_ = load_word(heartbeats->own_.load()->beat.counter);
  heartbeats->connect();
  return heartbeats;
}

Result<void> ShmHeartbeats::take_over(Result<OwnFile> file) {
  if (!file) return tl::unexpected(file.error());
  auto& page = file->mapping().as<HeartbeatPage>();
  // The lock is ours, so nobody holds the mutex: its last owner is dead.
  if (!make_robust(page.death.mutex)) {
    return fail(Code::io, "cannot make a robust mutex in " + options_.own_path);
  }
  write_process(page.head.process, pmem::this_process());
  store_word(page.head.left, 0);
  store_word(page.head.magic, kHeartbeatMagic);
  files_.push_back(std::move(*file));
  own_.store(&page, std::memory_order_release);
  return {};
}

Result<bool> ShmHeartbeats::mend() {
  OwnFile& own = files_.back();
  const bool ours = load_word(own.mapping().as<HeartbeatPage>().head.magic) == kHeartbeatMagic;
  if (ours && own.sound()) return false;
  if (auto taken = take_over(own.successor()); !taken) return tl::unexpected(taken.error());
  return true;
}

ShmHeartbeats::~ShmHeartbeats() {
  if (files_.empty()) return;
  HeartbeatPage& own = *own_.load(std::memory_order_acquire);
  if (armed_ && ::gettid() == poller_thread_) {
    store_word(own.head.left, 1);
    if (tied_ == &own) ::pthread_mutex_unlock(&own.death.mutex);
    armed_ = tied_ != &own;
  }
  // A living thread's list of robust mutexes must not lead into unmapped memory. It leads through
  // all that it ever locked here and could not give back: of a page that is lost, nothing is left.
  const bool held = armed_ && tied_ == &own && (death_word(own) & FUTEX_OWNER_DIED) == 0;
  for (OwnFile& file : files_) {
    const bool last = &file == &files_.back();
    if (last ? held || file.mapping().lost() : poller_thread_ != 0) file.keep_mapped();
  }
}

void ShmHeartbeats::beat() {
  HeartbeatPage& own = *own_.load(std::memory_order_acquire);
  if (tied_ != &own) [[unlikely]]
    tie_to_this_thread(own);
  store_word(own.beat.counter, ++counter_);
}

void ShmHeartbeats::tie_to_this_thread(HeartbeatPage& page) {
  tied_ = &page;
  poller_thread_ = ::gettid();
  armed_ = ::pthread_mutex_trylock(&page.death.mutex) == 0 &&
           (death_word(page) & FUTEX_TID_MASK) == static_cast<uint32_t>(poller_thread_);
}

Beat ShmHeartbeats::read(ReplicaId peer) const {
  const NodeMapping* const file = peers_.of(peer);
  if (file == nullptr) return {};
  const auto& page = file->as<const HeartbeatPage>();
  if (load_word(page.head.magic) != kHeartbeatMagic) return {};
  const bool died = (death_word(page) & FUTEX_OWNER_DIED) != 0;
  const Beat beat{load_word(page.beat.counter), died || load_word(page.head.left) != 0, true};
  return file->lost() ? Beat{} : beat;
}

size_t ShmHeartbeats::connect() { return peers_.connect(options_.peers, options_.own_path); }

}  // namespace caisson::transport::shm
