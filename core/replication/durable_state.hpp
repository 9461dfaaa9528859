// SPDX-License-Identifier: BSD-3-Clause
// The superblock of one replica, and the orders in which it may change. Each change is in both
// slots before its call returns (H14).
#pragma once

#include "caisson/types.hpp"
#include "core/log/superblock_format.hpp"
#include "pmem/region.hpp"

namespace caisson::replication {

class DurableState {
 public:
  DurableState(pmem::Region& region, const log::Superblock& superblock)
      : region_(region), superblock_(superblock) {}

  const log::Superblock& superblock() const { return superblock_; }

  // A new process has opened the region.
  [[nodiscard]] Code begin_incarnation();

  // Persistent before it returns (P2). term >= the one promised.
  [[nodiscard]] Code promise(Term term, uint64_t nonce);

  // Progress: `validated` is persisted up to its end first, so that a break below a persisted
  // cursor always means damage (P16).
  struct Progress {
    log::Cursor validated;
    Position committed;
    Position applied;
  };
  [[nodiscard]] Code save_progress(const Progress& progress);

  // Trims through `to` (P13: before anybody is told).
  // `view` is in force there.
  [[nodiscard]] Code save_trim(const log::Cursor& to, const log::ViewRun& view,
                               const Progress& progress);

  // The log begins anew behind `base`: whatever it held is gone.
  [[nodiscard]] Code save_base(const log::Cursor& base, const log::ViewRun& view,
                               uint64_t salvage_bytes);

  // The log is about to lose everything behind `keep`, which has been put aside; `salvage_bytes`
  // were ever.
  [[nodiscard]] Code save_divergence(const log::Cursor& keep, uint64_t salvage_bytes);

  // A standby lets the leader of `term` in behind `behind`.
  [[nodiscard]] Code save_grant(Term term, Position behind);

  [[nodiscard]] Code save_damage(Position through);

 private:
  void persist_through(Offset end);
  [[nodiscard]] Code write(const log::Superblock& next);
  log::Superblock with(const Progress& progress) const;

  pmem::Region& region_;
  log::Superblock superblock_;
};

}  // namespace caisson::replication
