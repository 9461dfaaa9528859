// SPDX-License-Identifier: BSD-3-Clause
// Makes good an entry of our own ring that has rotted at rest, from a peer that still has it (R44).
#pragma once

#include <cstddef>
#include <vector>

#include "caisson/types.hpp"
#include "core/replication/context.hpp"

namespace caisson::replication {

class Mender {
 public:
  explicit Mender(Context& context) : c_(context) {}

  // The entry behind `at`, of our own log, ends at `end` or before, and does not hold. True if now
  // it does.
  bool mend(const log::Cursor& at, Offset end);

 private:
  bool fetch(ReplicaId from, const log::Cursor& at, Offset end);
  void store_differing(const log::Cursor& at);

  Context& c_;
  std::vector<std::byte> fetched_;  // the entry as a peer holds it
};

}  // namespace caisson::replication
