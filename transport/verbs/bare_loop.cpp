// SPDX-License-Identifier: BSD-3-Clause
#include "transport/verbs/bare_loop.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>

#include "transport/verbs/clock.hpp"

namespace caisson::transport::verbs {

namespace {

constexpr uint32_t kDepth = 4096;    // work requests toward one target
constexpr uint32_t kWorks = 2;       // of one operation
constexpr uint32_t kTargetsMax = 6;  // of the largest cluster
constexpr uint64_t kStuckNs = 10'000'000'000;
constexpr uint64_t kLookEvery = 64;
constexpr uint64_t kMagic = 0x3165726162736961;

struct HalfBytes {
  uint64_t magic;
  std::array<uint8_t, 16> gid;
  uint16_t lid;
  uint16_t reads;
  uint32_t mtu;
  uint32_t pair;
  uint32_t key;
  uint64_t at;
  uint64_t flushes;
};
static_assert(sizeof(HalfBytes) == 56);

Error system_error(const std::string& what, int error) {
  const Code code = error == EACCES || error == EPERM ? Code::denied
                    : error == ENOENT                 ? Code::not_found
                    : error == ENOSPC                 ? Code::no_space
                                                      : Code::io;
  return {code, what + ": " + std::strerror(error)};
}

// Memory that adapters may reach, until it ends.
class Memory {
 public:
  ~Memory() {
    if (at_ != MAP_FAILED) ::munmap(at_, kBareBytes);
  }
  // "": of no file.
  static Result<std::unique_ptr<Memory>> map(const std::string& path, bool device) {
    auto memory = std::make_unique<Memory>();
    int fd = -1;
    if (!path.empty()) {
      fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | (device ? 0 : O_CREAT), 0600);
      if (fd < 0 || (!device && ::ftruncate(fd, kBareBytes) != 0)) {
        const int error = errno;
        if (fd >= 0) ::close(fd);
        return tl::unexpected(system_error("'" + path + "' cannot be opened", error));
      }
    }
    memory->at_ = ::mmap(nullptr, kBareBytes, PROT_READ | PROT_WRITE,
                         MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    const int error = errno;
    if (fd >= 0) ::close(fd);
    if (memory->at_ == MAP_FAILED) {
      return tl::unexpected(system_error("'" + path + "' cannot be mapped", error));
    }
    std::memset(memory->at_, 1, kBareBytes);
    return memory;
  }
  void* at() const { return at_; }

 private:
  void* at_ = MAP_FAILED;
};

struct Registered {
  Owned<ibv_pd> domain;
  Owned<ibv_cq> completions;
  Owned<ibv_mr> memory;
};

Result<Registered> prepare(const Device& device, void* at, unsigned access, uint32_t completions,
                           const std::string& what) {
  Registered made;
  made.domain.reset(::ibv_alloc_pd(device.context()));
  made.completions.reset(
      ::ibv_create_cq(device.context(), static_cast<int>(completions), nullptr, nullptr, 0));
  if (!made.domain || !made.completions) {
    return fail(Code::no_space, device.name() + " has no room for a bare connection");
  }
  auto memory = device.register_memory(made.domain.get(), at, kBareBytes, access, what);
  if (!memory) return tl::unexpected(memory.error());
  made.memory = std::move(*memory);
  return made;
}

class Target final : public BareTarget {
 public:
  Result<void> open(std::shared_ptr<Device> device, const std::string& path, bool on_device) {
    device_ = std::move(device);
    auto memory = Memory::map(path, on_device);
    if (!memory) return tl::unexpected(memory.error());
    memory_ = std::move(*memory);
    access_ = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
#ifdef CAISSON_HAVE_RDMA_FLUSH
    if (on_device && device_->limits().flush) {
      flushes_ = true;
      access_ |= IBV_ACCESS_FLUSH_PERSISTENT | IBV_ACCESS_FLUSH_GLOBAL;
    }
#endif
    auto made =
        prepare(*device_, memory_->at(), access_ | unsigned{IBV_ACCESS_LOCAL_WRITE}, 16, path);
    if (!made) return tl::unexpected(made.error());
    registered_ = std::move(*made);
    return {};
  }

  Result<BareHalf> connect(const BareHalf& theirs) override {
    auto half = QueuePair::create(*device_, registered_.domain.get(), registered_.completions.get(),
                                  {1, 0, false, {}});
    if (!half) return tl::unexpected(half.error());
    half_ = std::move(*half);
    if (half_.listen(theirs.remote, 0, access_) != Code::ok || half_.speak(0) != Code::ok) {
      return fail(Code::io, device_->name() + " cannot be connected to the leader's adapter");
    }
    return BareHalf{{device_->address(), half_.number()},
                    reinterpret_cast<uint64_t>(memory_->at()),
                    registered_.memory->rkey,
                    flushes_};
  }

 private:
  std::shared_ptr<Device> device_;
  std::unique_ptr<Memory> memory_;
  Registered registered_;
  unsigned access_ = 0;
  bool flushes_ = false;
  QueuePair half_;
};

class Loop final : public BareLoop {
 public:
  Result<void> open(std::shared_ptr<Device> device, const Patience& patience) {
    device_ = std::move(device);
    patience_ = patience;
    auto memory = Memory::map("", false);
    if (!memory) return tl::unexpected(memory.error());
    memory_ = std::move(*memory);
    auto made =
        prepare(*device_, memory_->at(), IBV_ACCESS_LOCAL_WRITE, kDepth * kTargetsMax, "memory");
    if (!made) return tl::unexpected(made.error());
    registered_ = std::move(*made);
    return {};
  }

  Result<BareHalf> offer() override {
    auto half = QueuePair::create(*device_, registered_.domain.get(), registered_.completions.get(),
                                  {kDepth, 0, device_->limits().flush, patience_});
    if (!half) return tl::unexpected(half.error());
    peers_.push_back({std::move(*half), 0, 0, 0});
    BareHalf ours;
    ours.remote = {device_->address(), peers_.back().half.number()};
    return ours;
  }

  Result<void> connect(const BareHalf& theirs) override {
    Peer& peer = peers_.back();
    peer.at = theirs.at;
    peer.key = theirs.key;
    flushes_ = device_->limits().flush && theirs.flushes && (peers_.size() == 1 || flushes_);
    if (peer.half.listen(theirs.remote, 0, 0) != Code::ok || peer.half.speak(0) != Code::ok) {
      return fail(Code::io, device_->name() + " cannot be connected to a follower's adapter");
    }
    return {};
  }

  bool flushes() const override { return flushes_; }

  Result<uint64_t> run(uint64_t bytes, uint32_t inflight, uint32_t needed, uint64_t slice_ns,
                       const std::function<void(uint64_t)>& took) override {
    const uint64_t until = now_ns() + slice_ns;
    const uint32_t room = std::min(inflight, kDepth / kWorks / 2);
    uint64_t done = 0;
    uint64_t turns = 0;
    bool more = true;
    uint64_t moved = now_ns();
    while (more || !operations_.empty()) {
      while (more && operations_.size() < room && may_post()) {
        if (!post(bytes)) return fail(Code::io, "a bare write could not be posted");
      }
      if (const auto reaped = reap(); !reaped) return tl::unexpected(reaped.error());
      while (!operations_.empty() && operations_.front().completed >= needed) {
        took(__rdtsc() - operations_.front().since);
        operations_.pop_front();
        ++first_;
        ++done;
        moved = 0;
      }
      if (++turns % kLookEvery != 0) continue;
      const uint64_t now = now_ns();
      if (moved == 0) moved = now;
      if (now - moved > kStuckNs) return fail(Code::timed_out, "a bare write is not completed");
      more = now < until;
    }
    return done;
  }

 private:
  struct Peer {
    QueuePair half;
    uint64_t at;
    uint32_t key;
    uint32_t outstanding;  // operations
  };
  struct Operation {
    uint64_t since;
    uint32_t completed = 0;
  };

  bool may_post() const {
    return std::all_of(peers_.begin(), peers_.end(),
                       [](const Peer& peer) { return peer.outstanding < kDepth / kWorks; });
  }

  bool post(uint64_t bytes) {
    if (cursor_ + bytes > kBareBytes) cursor_ = 0;
    operations_.push_back({__rdtsc()});
    const uint64_t number = first_ + operations_.size() - 1;
    for (size_t i = 0; i < peers_.size(); ++i) {
      if (!(flushes_ ? post_flushing(i, number, bytes) : post_reading(i, number, bytes))) {
        return false;
      }
      ++peers_[i].outstanding;
    }
    cursor_ += (bytes + 63) / 64 * 64;
    return true;
  }

  bool post_reading(size_t index, uint64_t number, uint64_t bytes) {
    const Peer& peer = peers_[index];
    const auto own = reinterpret_cast<uint64_t>(memory_->at());
    std::array<ibv_sge, 2> pieces{
        ibv_sge{own + cursor_, static_cast<uint32_t>(bytes), registered_.memory->lkey},
        ibv_sge{own, 8, registered_.memory->lkey}};
    std::array<ibv_send_wr, 2> works{};
    for (size_t i = 0; i < works.size(); ++i) {
      works[i].wr_id = number << 8 | index;
      works[i].sg_list = &pieces[i];
      works[i].num_sge = 1;
      works[i].wr.rdma.rkey = peer.key;
      works[i].wr.rdma.remote_addr = peer.at + cursor_;
    }
    works[0].opcode = IBV_WR_RDMA_WRITE;
    works[0].next = &works[1];
    works[1].opcode = IBV_WR_RDMA_READ;
    works[1].send_flags = IBV_SEND_SIGNALED;
    ibv_send_wr* bad = nullptr;
    return ::ibv_post_send(peer.half.get(), works.data(), &bad) == 0;
  }

  bool post_flushing([[maybe_unused]] size_t index, [[maybe_unused]] uint64_t number,
                     [[maybe_unused]] uint64_t bytes) {
#ifdef CAISSON_HAVE_RDMA_FLUSH
    const Peer& peer = peers_[index];
    ibv_qp_ex* const pair = ::ibv_qp_to_qp_ex(peer.half.get());
    ::ibv_wr_start(pair);
    pair->wr_id = number << 8 | index;
    pair->wr_flags = 0;
    ::ibv_wr_rdma_write(pair, peer.key, peer.at + cursor_);
    ::ibv_wr_set_sge(pair, registered_.memory->lkey,
                     reinterpret_cast<uint64_t>(memory_->at()) + cursor_,
                     static_cast<uint32_t>(bytes));
    pair->wr_flags = IBV_SEND_SIGNALED;
    ::ibv_wr_flush(pair, peer.key, peer.at + cursor_, bytes, IBV_FLUSH_PERSISTENT, IBV_FLUSH_RANGE);
    return ::ibv_wr_complete(pair) == 0;
#else
    return false;
#endif
  }

  Result<void> reap() {
    std::array<ibv_wc, 32> done;
    const int n =
        ::ibv_poll_cq(registered_.completions.get(), static_cast<int>(done.size()), done.data());
    for (int i = 0; i < n; ++i) {
      const ibv_wc& wc = done[static_cast<size_t>(i)];
      if (wc.status != IBV_WC_SUCCESS) {
        return fail(Code::io,
                    std::string("a bare write ended in error: ") + ::ibv_wc_status_str(wc.status));
      }
      --peers_[wc.wr_id & 0xff].outstanding;
      const uint64_t number = wc.wr_id >> 8;
      if (number >= first_) ++operations_[number - first_].completed;
    }
    return n < 0 ? Result<void>(fail(Code::io, "the adapter's completions cannot be read"))
                 : Result<void>{};
  }

  std::shared_ptr<Device> device_;
  Patience patience_;
  std::unique_ptr<Memory> memory_;
  Registered registered_;
  std::vector<Peer> peers_;
  bool flushes_ = false;
  uint64_t cursor_ = 0;
  std::deque<Operation> operations_;
  uint64_t first_ = 0;  // number of the oldest operation
};

}  // namespace

std::vector<std::byte> encode(const BareHalf& half) {
  HalfBytes out{};
  out.magic = kMagic;
  std::memcpy(out.gid.data(), half.remote.address.gid.raw, out.gid.size());
  out.lid = half.remote.address.lid;
  out.reads = half.remote.address.reads;
  out.mtu = half.remote.address.mtu;
  out.pair = half.remote.number;
  out.key = half.key;
  out.at = half.at;
  out.flushes = half.flushes;
  const auto bytes = std::as_bytes(std::span(&out, 1));
  return {bytes.begin(), bytes.end()};
}

Result<BareHalf> decode_bare_half(std::span<const std::byte> bytes) {
  HalfBytes in;
  if (bytes.size() != sizeof in) return fail(Code::invalid, "not a half of a bare connection");
  std::memcpy(&in, bytes.data(), sizeof in);
  if (in.magic != kMagic || in.reads == 0 || in.reads > UINT8_MAX || in.mtu < IBV_MTU_256 ||
      in.mtu > IBV_MTU_4096 || in.pair == 0 || in.pair > 0xffffff ||
      in.at > UINT64_MAX - kBareBytes || in.flushes > 1) {
    return fail(Code::invalid, "not a half of a bare connection");
  }
  BareHalf half;
  std::memcpy(half.remote.address.gid.raw, in.gid.data(), in.gid.size());
  half.remote.address.lid = in.lid;
  half.remote.address.reads = static_cast<uint8_t>(in.reads);
  half.remote.address.mtu = static_cast<ibv_mtu>(in.mtu);
  half.remote.number = in.pair;
  half.at = in.at;
  half.key = in.key;
  half.flushes = in.flushes == 1;
  return half;
}

Result<std::unique_ptr<BareTarget>> BareTarget::open(std::shared_ptr<Device> device,
                                                     const std::string& path, bool on_device) {
  auto target = std::make_unique<Target>();
  if (const auto opened = target->open(std::move(device), path, on_device); !opened) {
    return tl::unexpected(opened.error());
  }
  return target;
}

Result<std::unique_ptr<BareLoop>> BareLoop::open(std::shared_ptr<Device> device,
                                                 const Patience& patience) {
  auto loop = std::make_unique<Loop>();
  if (const auto opened = loop->open(std::move(device), patience); !opened) {
    return tl::unexpected(opened.error());
  }
  return loop;
}

}  // namespace caisson::transport::verbs
