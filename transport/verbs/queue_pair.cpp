// SPDX-License-Identifier: BSD-3-Clause
#include "transport/verbs/queue_pair.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace caisson::transport::verbs {

namespace {

// rxe may take a queue pair into the error state by what it had begun, after it was reset.
constexpr int kCloseAttempts = 16;
// A packet that rxe had let in before it saw the reset may be queued after the reset emptied the
// queue. It is never executed, but nothing takes it out either, and destroying the queue pair waits
// 50 seconds for it (Linux 6.12, once in 500 terms). The next reset takes it out.
constexpr int kResets = 2;

}  // namespace

Patience patience_of(uint64_t round_trip_ns) {
  Patience patience;
  patience.ack_timeout = 8;  // a millisecond
  while (patience.ack_timeout < 22 &&
         (uint64_t{4096} << patience.ack_timeout) < 8 * round_trip_ns) {
    ++patience.ack_timeout;
  }
  return patience;
}

Result<QueuePair> QueuePair::create(const Device& device, ibv_pd* domain, ibv_cq* completions,
                                    const Options& options) {
  ibv_qp_init_attr_ex wanted{};
  wanted.send_cq = wanted.recv_cq = completions;
  wanted.qp_type = IBV_QPT_RC;
  wanted.comp_mask = IBV_QP_INIT_ATTR_PD;
  wanted.pd = domain;
#ifdef CAISSON_HAVE_RDMA_FLUSH
  if (options.flush) {
    wanted.comp_mask |= IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
    wanted.send_ops_flags =
        IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_READ | IBV_QP_EX_WITH_FLUSH;
  }
#endif
  QueuePair made;
  // What an adapter gives depends on the depth as well, and can only be tried.
  uint32_t inline_bytes = std::max(options.inline_bytes, options.inline_most);
  for (;; inline_bytes = std::max(options.inline_bytes, inline_bytes / 2)) {
    wanted.cap = {options.depth, options.receive_depth, 1, 1, inline_bytes};
    made.pair_.reset(::ibv_create_qp_ex(device.context(), &wanted));
    if (made.pair_ || inline_bytes == options.inline_bytes) break;
  }
  if (!made.pair_) {
    const Code code = errno == EINVAL ? Code::invalid : Code::no_space;
    return fail(code, device.name() + " gives no queue pair of " + std::to_string(options.depth) +
                          " work requests with " + std::to_string(options.inline_bytes) +
                          " bytes inline: " + std::strerror(errno));
  }
  made.port_ = device.port();
  made.gid_index_ = device.gid_index();
  made.traffic_class_ = device.traffic_class();
  made.ethernet_ = device.ethernet();
  made.mtu_ = device.address().mtu;
  made.own_reads_ = device.limits().reads_outstanding;
  made.inline_bytes_ = std::min(wanted.cap.max_inline_data, inline_bytes);
  made.patience_ = options.patience;
  return made;
}

Code QueuePair::modify(ibv_qp_attr& attributes, int mask) {
  return ::ibv_modify_qp(pair_.get(), &attributes, mask) == 0 ? Code::ok : Code::io;
}

Code QueuePair::listen(const Remote& remote, uint32_t psn, unsigned access) {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RESET;
  if (const Code code = modify(attributes, IBV_QP_STATE); code != Code::ok) return code;

  attributes = {};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = port_;
  attributes.qp_access_flags = access;
  if (const Code code =
          modify(attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
      code != Code::ok) {
    return code;
  }

  attributes = {};
  attributes.qp_state = IBV_QPS_RTR;
  attributes.path_mtu = std::min(mtu_, remote.address.mtu);
  attributes.dest_qp_num = remote.number;
  attributes.rq_psn = psn & kPsnMask;
  reads_ = std::min(own_reads_, remote.address.reads);
  attributes.max_dest_rd_atomic = reads_;
  attributes.min_rnr_timer = 12;  // there is a buffer for everything that is sent
  attributes.ah_attr.port_num = port_;
  attributes.ah_attr.dlid = remote.address.lid;
  // On InfiniBand the LID leads there, on one subnet.
  attributes.ah_attr.is_global = ethernet_ ? 1 : 0;
  attributes.ah_attr.grh.dgid = remote.address.gid;
  attributes.ah_attr.grh.sgid_index = gid_index_;
  attributes.ah_attr.grh.hop_limit = 64;
  attributes.ah_attr.grh.traffic_class = traffic_class_;
  return modify(attributes, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
}

Code QueuePair::speak(uint32_t psn) {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RTS;
  attributes.sq_psn = psn & kPsnMask;
  attributes.timeout = patience_.ack_timeout;
  attributes.retry_cnt = patience_.retries;
  attributes.rnr_retry = 7;
  attributes.max_rd_atomic = reads_;
  return modify(attributes, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

Code QueuePair::allow(unsigned access) {
  ibv_qp_attr attributes{};
  attributes.qp_access_flags = access;
  return modify(attributes, IBV_QP_ACCESS_FLAGS);
}

Code QueuePair::refuse() { return allow(0); }

Code QueuePair::close() {
  // Access flags are looked at once for each packet, and one that passed may be on its way to
  // memory; moving to RESET is what adapters finish such work before (and rxe waits for its tasks).
  stop();
  ibv_qp_attr now{};
  ibv_qp_init_attr ignored{};
  int in_reset = 0;  // so many times in succession
  for (int attempt = 0; attempt < kCloseAttempts; ++attempt) {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_RESET;
    if (const Code code = modify(attributes, IBV_QP_STATE); code != Code::ok) return code;
    if (::ibv_query_qp(pair_.get(), &now, IBV_QP_STATE, &ignored) != 0) return Code::io;
    in_reset = now.qp_state == IBV_QPS_RESET ? in_reset + 1 : 0;
    if (in_reset == kResets) return Code::ok;
  }
  return Code::io;
}

Code QueuePair::receive(uint64_t id, void* to, uint32_t bytes, uint32_t key) {
  ibv_sge piece{reinterpret_cast<uint64_t>(to), bytes, key};
  ibv_recv_wr request{};
  request.wr_id = id;
  request.sg_list = &piece;
  request.num_sge = bytes == 0 ? 0 : 1;
  ibv_recv_wr* bad = nullptr;
  return ::ibv_post_recv(pair_.get(), &request, &bad) == 0 ? Code::ok : Code::io;
}

void QueuePair::stop() {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  (void)modify(attributes, IBV_QP_STATE);
}

}  // namespace caisson::transport::verbs
