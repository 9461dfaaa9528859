// SPDX-License-Identifier: BSD-3-Clause
#include "transport/verbs/paths.hpp"

#include <pthread.h>

#include <cstring>

#include "transport/verbs/device.hpp"

namespace caisson::transport::verbs {

namespace {

constexpr size_t kPathsMax = 1024;  // a peer may say of itself what it likes

}  // namespace

Paths::Paths(const Device& device) : device_(device) {}

Paths::~Paths() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

// On InfiniBand the LID leads there; to itself an adapter needs to ask nobody.
bool Paths::needs_none(const Address& to) const {
  return !device_.ethernet() ||
         std::memcmp(to.gid.raw, device_.address().gid.raw, sizeof to.gid.raw) == 0;
}

Code Paths::find(const Address& to) {
  if (needs_none(to)) return Code::ok;
  Gid gid;
  std::memcpy(gid.data(), to.gid.raw, gid.size());
  const std::lock_guard lock(mutex_);
  if (paths_.size() >= kPathsMax && !paths_.contains(gid)) return Code::no_space;
  Path& path = paths_[gid];
  if (path.found) return Code::ok;
  if (!path.queued) {
    path.queued = true;
    queue_.push_back(gid);
    if (!thread_.joinable()) {
      thread_ = std::thread([this] { run(); });
      pthread_setname_np(thread_.native_handle(), "caisson-paths");
    }
    wake_.notify_one();
  }
  return path.missed ? Code::io : Code::again;
}

void Paths::forget(const Address& to) {
  if (needs_none(to)) return;
  Gid gid;
  std::memcpy(gid.data(), to.gid.raw, gid.size());
  const std::lock_guard lock(mutex_);
  if (const auto path = paths_.find(gid); path != paths_.end()) path->second.found = false;
}

void Paths::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    if (stop_) return;
    const Gid gid = queue_.front();
    queue_.pop_front();
    lock.unlock();
    const bool found = look_for(gid);
    lock.lock();
    paths_[gid] = {found, !found, false};
  }
}

// An address handle is made the way that a queue pair is connected, lookup included.
bool Paths::look_for(const Gid& gid) {
  if (!domain_) domain_.reset(::ibv_alloc_pd(device_.context()));
  if (!domain_) return false;
  ibv_ah_attr attributes{};
  std::memcpy(attributes.grh.dgid.raw, gid.data(), gid.size());
  attributes.grh.sgid_index = device_.gid_index();
  attributes.grh.hop_limit = 64;
  attributes.grh.traffic_class = device_.traffic_class();
  attributes.is_global = 1;
  attributes.port_num = device_.port();
  const Owned<ibv_ah> handle(::ibv_create_ah(domain_.get(), &attributes));
  return handle != nullptr;
}

}  // namespace caisson::transport::verbs
