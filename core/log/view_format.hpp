// SPDX-License-Identifier: BSD-3-Clause
// Payload of a view entry (R24): the voters from its position on.
#pragma once

#include <cstdint>

namespace caisson::log {

struct ViewPayload {
  uint32_t view;
  uint32_t reserved;
  uint64_t voters;  // bit i: ReplicaId{i}
};
static_assert(sizeof(ViewPayload) == 16);

}  // namespace caisson::log
