// SPDX-License-Identifier: BSD-3-Clause
#include "core/control/batch_format.hpp"
#include "core/control/wire.hpp"
#include "tests/fuzz/ring_builder.hpp"
#include "tests/fuzz/seeds.hpp"

namespace caisson::fuzz {

void batch_seeds(const AddSeed& add) {
  const auto message = [](uint64_t log, const control::Message& what) {
    LogIdentity identity = fuzz_identity();
    identity.log = log;
    return control::encode({identity, ReplicaId{1}, ReplicaId{2}, what});
  };
  for (const uint64_t logs : {1u, 2u, 5u}) {
    control::Batch batch;
    for (uint64_t log = 1; log <= logs; ++log) {
      (void)batch.add(message(log, control::Seal{Term{258}, log, View{1}, Term{257}}));
      (void)batch.add(message(log, control::Hello{Term{258}, Incarnation{4}, 99}));
    }
    add(batch.take());
  }
}

}  // namespace caisson::fuzz
