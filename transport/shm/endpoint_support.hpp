// SPDX-License-Identifier: BSD-3-Clause
// What the endpoint needs beside its hot path.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "pmem/region.hpp"
#include "transport/shm/control_format.hpp"

namespace caisson::transport::shm {

// Makes the control cells of a region ready for use by this process, which owns the region. Cells
// that an earlier process of this boot left are kept (H9).
void prepare_control(Control& control);

// Segments of a ring, each once.
class SegmentSet {
 public:
  explicit SegmentSet(const pmem::Geometry& geometry);
  // An allowance that no writer could have meant stands for the whole ring.
  void add(Allowance allowance);
  std::span<const uint32_t> list() const { return list_; }

 private:
  std::vector<bool> members_;
  std::vector<uint32_t> list_;
};

}  // namespace caisson::transport::shm
