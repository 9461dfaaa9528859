// SPDX-License-Identifier: BSD-3-Clause
#include "core/control/introduction_format.hpp"
#include "tests/fuzz/ring_builder.hpp"
#include "tests/fuzz/seeds.hpp"

namespace caisson::fuzz {

void introduction_frame_seeds(const AddSeed& add) {
  for (const size_t bytes : {size_t{1}, size_t{96}, control::kIntroductionBytesMax}) {
    const std::vector<std::byte> said(bytes, std::byte{7});
    add(control::encode_introduction({fuzz_identity(), ReplicaId{1}, ReplicaId{2}, said}));
  }
}

}  // namespace caisson::fuzz
