// SPDX-License-Identifier: BSD-3-Clause
// A reliable connection's half. Its number stays the same from reset to reset, so that the other
// end can be told once.
#pragma once

#include <cstdint>

#include "caisson/types.hpp"
#include "transport/verbs/device.hpp"

namespace caisson::transport::verbs {

// The other half, and how it is reached.
struct Remote {
  Address address;
  uint32_t number = 0;
};

struct Patience {
  uint8_t ack_timeout = 12;  // 4.096 us * 2^n until an unacknowledged packet is sent again
  uint8_t retries = 6;  // … and so often, before the connection is given up; 7: rxe never does
};

// For a network in which a message and its answer take so long at most: an acknowledgement is
// waited for eight times as long.
Patience patience_of(uint64_t round_trip_ns);

class QueuePair {
 public:
  struct Options {
    uint32_t depth = 0;
    uint32_t inline_bytes = 0;  // at least
    bool flush = false;         // posts RDMA FLUSH
    Patience patience;
    uint32_t receive_depth = 1;
    uint32_t inline_most = 0;  // more inline, if the adapter has room for it
  };
  QueuePair() = default;
  // no_space: the adapter has no room for it · invalid: it has no such depth or inline size.
  static Result<QueuePair> create(const Device& device, ibv_pd* domain, ibv_cq* completions,
                                  const Options& options);

  uint32_t number() const { return pair_->qp_num; }
  uint32_t inline_bytes() const { return inline_bytes_; }
  ibv_qp* get() const { return pair_.get(); }

  // From any state: listens to `remote`, which sends from `psn` on, and lets it do what `access`
  // says. What the connection carried before is forgotten.
  [[nodiscard]] Code listen(const Remote& remote, uint32_t psn, unsigned access);
  // Behind listen(): may also send, from `psn` on.
  [[nodiscard]] Code speak(uint32_t psn);

  // Of a half that may speak: what the other one may do from now on.
  [[nodiscard]] Code allow(unsigned access);
  // Whatever the other half sends from now on is refused, and the refusal tells it so. A packet
  // that was looked at before may still be written.
  [[nodiscard]] Code refuse();
  // Nothing more is received or sent: after the return nothing is being written to our memory by
  // this connection. Verified.
  [[nodiscard]] Code close();
  // For a message of the other half. Behind listen(), which forgets what was posted before.
  [[nodiscard]] Code receive(uint64_t id, void* to, uint32_t bytes, uint32_t key);
  // Stops what is being sent; what was posted ends in error.
  void stop();

 private:
  [[nodiscard]] Code modify(ibv_qp_attr& attributes, int mask);

  Owned<ibv_qp> pair_;
  uint8_t port_ = 0;
  uint8_t gid_index_ = 0;
  uint8_t traffic_class_ = 0;
  bool ethernet_ = false;
  ibv_mtu mtu_ = IBV_MTU_1024;
  uint8_t own_reads_ = 0;
  uint8_t reads_ = 0;  // at once, either way: what both ends can
  uint32_t inline_bytes_ = 0;
  Patience patience_;
};

inline constexpr uint32_t kPsnMask = (1u << 24) - 1;

}  // namespace caisson::transport::verbs
