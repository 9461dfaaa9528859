// SPDX-License-Identifier: BSD-3-Clause
// A node that posts to itself under a known key.
#pragma once

#include <vector>

#include "core/engine/express.hpp"
#include "tests/support/test_postbox.hpp"

namespace caisson::fuzz {

struct OwnPost {
  OwnPost() {
    constexpr engine::LinkKey kKey{1, 2, 3};
    box.connect(self, box);
    express.set_key(self, engine::LinkHalf::sending, &kKey);
    express.set_key(self, engine::LinkHalf::receiving, &kKey);
  }
  bool send_genuine() { return express.send(self, "genuine"); }

  const ReplicaId self{2};
  tests::TestPostbox box{self};
  std::vector<std::byte>& slot = box.slots[self];
  engine::Express express{box};
};

}  // namespace caisson::fuzz
