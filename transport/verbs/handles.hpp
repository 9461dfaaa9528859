// SPDX-License-Identifier: BSD-3-Clause
// What libibverbs hands out, given back in the end.
#pragma once

#include <infiniband/verbs.h>

#include <memory>

namespace caisson::transport::verbs {

struct GiveBack {
  void operator()(ibv_context* context) const { (void)::ibv_close_device(context); }
  void operator()(ibv_pd* domain) const { (void)::ibv_dealloc_pd(domain); }
  void operator()(ibv_cq* queue) const { (void)::ibv_destroy_cq(queue); }
  void operator()(ibv_mr* memory) const { (void)::ibv_dereg_mr(memory); }
  void operator()(ibv_ah* handle) const { (void)::ibv_destroy_ah(handle); }
  void operator()(ibv_qp* pair) const { (void)::ibv_destroy_qp(pair); }
};

// Destroyed in the reverse order of their making: an object outlives what was made from it.
template <class T>
using Owned = std::unique_ptr<T, GiveBack>;

}  // namespace caisson::transport::verbs
