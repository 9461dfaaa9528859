// SPDX-License-Identifier: BSD-3-Clause
// Of a fabric that carries no messages: they go by the control links.
#pragma once

#include "transport/fabric.hpp"

namespace caisson::transport {

class NoPostbox final : public Postbox {
 public:
  Code post(ReplicaId, std::span<const std::byte>) override { return Code::not_found; }
  size_t message_bytes_max() const override { return 0; }
  const std::atomic<uint64_t>& bell() const override { return never_; }
  size_t take(ReplicaId&, std::span<std::byte>) override { return 0; }

 private:
  const std::atomic<uint64_t> never_{0};
};

}  // namespace caisson::transport
