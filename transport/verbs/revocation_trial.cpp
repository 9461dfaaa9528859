// SPDX-License-Identifier: BSD-3-Clause
#include "transport/verbs/revocation_trial.hpp"

#include <sys/mman.h>

#include <chrono>
#include <utility>

#include "transport/cells.hpp"
#include "transport/verbs/queue_pair.hpp"

namespace caisson::transport::verbs {

namespace {

constexpr uint32_t kDepth = 16;
constexpr unsigned kWrites = IBV_ACCESS_REMOTE_WRITE;
constexpr auto kPatience = std::chrono::seconds(5);

uint64_t since_ns(std::chrono::steady_clock::time_point start) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start)
          .count());
}

struct Unmapped {
  size_t bytes = 0;
  void operator()(void* at) const { (void)::munmap(at, bytes); }
};
struct WindowGone {
  void operator()(ibv_mw* window) const { (void)::ibv_dealloc_mw(window); }
};

tl::unexpected<Error> broken(const Device& device, const char* what) {
  return fail(Code::io, device.name() + ": " + what);
}

}  // namespace

std::string_view name(RevocationWay way) {
  switch (way) {
    case RevocationWay::flags: return "flags";
    case RevocationWay::reset: return "reset";
    case RevocationWay::window: return "window";
    case RevocationWay::registration: return "registration";
  }
  return "unknown";
}

struct RevocationTrial::Parts {
  std::shared_ptr<Device> device;
  std::unique_ptr<void, Unmapped> region;
  uint64_t word = 0;  // what is written from
  Owned<ibv_pd> domain;
  Owned<ibv_cq> completions;
  Owned<ibv_mr> source;
  Owned<ibv_mr> target;
  std::unique_ptr<ibv_mw, WindowGone> window;
  QueuePair writer;
  QueuePair owner;
  uint64_t number = 0;

  uint64_t& shown() { return *static_cast<uint64_t*>(region.get()); }
  Result<Owned<ibv_mr>> registered() {
    return device->register_memory(
        domain.get(), region.get(), region.get_deleter().bytes,
        IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_MW_BIND, "memory");
  }
  // Both halves anew, the owner's with these rights.
  Code connect(unsigned rights) {
    Code code = owner.listen({device->address(), writer.number()}, 0, rights);
    if (code == Code::ok) code = owner.speak(0);
    if (code == Code::ok) code = writer.listen({device->address(), owner.number()}, 0, 0);
    return code == Code::ok ? writer.speak(0) : code;
  }
  Code listen_again() {
    const Code code = owner.listen({device->address(), writer.number()}, 0, kWrites);
    return code == Code::ok ? owner.speak(0) : code;
  }
  // The status of what was posted last on either half; IBV_WC_GENERAL_ERR: it did not come back.
  ibv_wc_status await(uint64_t id) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < until) {
      ibv_wc done;
      if (::ibv_poll_cq(completions.get(), 1, &done) == 1 && done.wr_id == id) return done.status;
    }
    return IBV_WC_GENERAL_ERR;
  }
  ibv_wc_status write(uint32_t key, uint64_t value) {
    store_word(word, value);
    ibv_sge piece{reinterpret_cast<uint64_t>(&word), sizeof word, source->lkey};
    ibv_send_wr request{};
    request.wr_id = ++number;
    request.sg_list = &piece;
    request.num_sge = 1;
    request.opcode = IBV_WR_RDMA_WRITE;
    request.send_flags = IBV_SEND_SIGNALED;
    request.wr.rdma.remote_addr = reinterpret_cast<uint64_t>(region.get());
    request.wr.rdma.rkey = key;
    ibv_send_wr* bad = nullptr;
    if (::ibv_post_send(writer.get(), &request, &bad) != 0) return IBV_WC_FATAL_ERR;
    return await(request.wr_id);
  }
  bool bind() {
    ibv_send_wr request{};
    request.wr_id = ++number;
    request.opcode = IBV_WR_BIND_MW;
    request.send_flags = IBV_SEND_SIGNALED;
    request.bind_mw.mw = window.get();
    request.bind_mw.rkey = ::ibv_inc_rkey(window->rkey);
    request.bind_mw.bind_info = {target.get(), reinterpret_cast<uint64_t>(region.get()),
                                 region.get_deleter().bytes, kWrites};
    ibv_send_wr* bad = nullptr;
    if (::ibv_post_send(owner.get(), &request, &bad) != 0) return false;
    if (await(request.wr_id) != IBV_WC_SUCCESS) return false;
    window->rkey = request.bind_mw.rkey;
    return true;
  }
  bool invalidate() {
    ibv_send_wr request{};
    request.wr_id = ++number;
    request.opcode = IBV_WR_LOCAL_INV;
    request.send_flags = IBV_SEND_SIGNALED;
    request.invalidate_rkey = window->rkey;
    ibv_send_wr* bad = nullptr;
    if (::ibv_post_send(owner.get(), &request, &bad) != 0) return false;
    return await(request.wr_id) == IBV_WC_SUCCESS;
  }

  // Each leaves the key under which the writer may write in `key`.
  Code grant(RevocationWay way, uint32_t& key) {
    switch (way) {
      case RevocationWay::flags: key = target->rkey; return owner.allow(kWrites);
      case RevocationWay::reset: key = target->rkey; return listen_again();
      case RevocationWay::window: {
        const bool bound = bind();
        key = window->rkey;
        return bound ? Code::ok : Code::io;
      }
      case RevocationWay::registration: {
        auto made = registered();
        if (!made) return made.error().code;
        target = std::move(*made);
        key = target->rkey;
        return Code::ok;
      }
    }
    return Code::internal;
  }
  Code revoke(RevocationWay way) {
    switch (way) {
      case RevocationWay::flags: return owner.refuse();
      case RevocationWay::reset: return owner.close();
      case RevocationWay::window: return invalidate() ? Code::ok : Code::io;
      case RevocationWay::registration: target.reset(); return Code::ok;
    }
    return Code::internal;
  }
};

RevocationTrial::RevocationTrial(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
RevocationTrial::~RevocationTrial() = default;

Result<std::unique_ptr<RevocationTrial>> RevocationTrial::open(std::shared_ptr<Device> device,
                                                               size_t region_bytes) {
  auto parts = std::make_unique<Parts>();
  Parts& p = *parts;
  p.device = std::move(device);
  void* const at = ::mmap(nullptr, region_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (at == MAP_FAILED)
    return fail(Code::no_space, "no memory for the region: choose a smaller one");
  p.region = {at, Unmapped{region_bytes}};
  p.domain.reset(::ibv_alloc_pd(p.device->context()));
  p.completions.reset(::ibv_create_cq(p.device->context(), 4 * kDepth, nullptr, nullptr, 0));
  if (!p.domain || !p.completions) return broken(*p.device, "no room for another connection");
  auto source = p.device->register_memory(p.domain.get(), &p.word, sizeof p.word,
                                          IBV_ACCESS_LOCAL_WRITE, "memory");
  if (!source) return tl::unexpected(source.error());
  p.source = std::move(*source);
  for (QueuePair* half : {&p.writer, &p.owner}) {
    // A connection that is no more answers nothing: the writer gives up soon.
    auto made = QueuePair::create(*p.device, p.domain.get(), p.completions.get(),
                                  {kDepth, 0, false, Patience{12, 1}});
    if (!made) return tl::unexpected(made.error());
    *half = std::move(*made);
  }
  return std::unique_ptr<RevocationTrial>(new RevocationTrial(std::move(parts)));
}

Result<RevocationTrial::Times> RevocationTrial::run(RevocationWay way) {
  Parts& p = *parts_;
  if (!p.target && way != RevocationWay::registration) {
    auto made = p.registered();
    if (!made) return tl::unexpected(made.error());
    p.target = std::move(*made);
  }
  if (way == RevocationWay::registration) p.target.reset();
  if (way == RevocationWay::window && !p.window) {
    p.window.reset(::ibv_alloc_mw(p.domain.get(), IBV_MW_TYPE_2));
    if (!p.window) {
      return fail(Code::unsupported, p.device->name() + " has no memory windows of type 2");
    }
  }
  const bool rights_first = way == RevocationWay::window || way == RevocationWay::registration;
  if (p.connect(rights_first ? kWrites : 0) != Code::ok) return broken(*p.device, "no connection");
  if (way == RevocationWay::reset && p.owner.close() != Code::ok)
    return broken(*p.device, "a connection cannot be closed");

  Times times;
  uint32_t key = 0;
  auto start = std::chrono::steady_clock::now();
  if (const Code code = p.grant(way, key); code != Code::ok) {
    return fail(code, p.device->name() + " gives no rights by " + std::string(name(way)));
  }
  times.grant_ns = since_ns(start);
  const uint64_t before = p.number + 1;
  if (p.write(key, before) != IBV_WC_SUCCESS || load_word(p.shown()) != before) {
    return broken(*p.device, "a write that was let did not arrive");
  }
  start = std::chrono::steady_clock::now();
  if (const Code code = p.revoke(way); code != Code::ok) {
    return fail(code, p.device->name() + " takes no rights back by " + std::string(name(way)));
  }
  times.revoke_ns = since_ns(start);
  if (p.write(key, ~before) == IBV_WC_SUCCESS) {
    return fail(Code::internal, p.device->name() + " let a writer write whose rights were taken " +
                                    "back by " + std::string(name(way)));
  }
  if (load_word(p.shown()) != before) {
    return fail(Code::internal, p.device->name() + ": what a writer without rights wrote shows");
  }
  return times;
}

}  // namespace caisson::transport::verbs
