// SPDX-License-Identifier: BSD-3-Clause
// A run as people read it: a line for each thing that matters, with its time.
#pragma once

#include <cstdio>
#include <set>

#include "tests/sim/world.hpp"

namespace caisson::simtest {

class Timeline : public Witness {
 public:
  // `all`: every append, answer and entry shown, too; otherwise they are only counted.
  explicit Timeline(bool all) : all_(all) {}
  void saw(const Event& event) override;
  void told(uint64_t at_ns, const std::string& what) override;

 private:
  void line(uint64_t at_ns, const std::string& what);
  void counted(const Event& event);

  const bool all_;
  uint64_t submitted_ = 0, acknowledged_ = 0, shown_through_ = 0;  // since the last line
  std::set<uint64_t> views_;
  bool ended_ = false;
};

}  // namespace caisson::simtest
