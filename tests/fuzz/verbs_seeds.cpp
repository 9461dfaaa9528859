// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fuzz/seeds.hpp"
#include "transport/verbs/bare_loop.hpp"
#include "transport/verbs/verbs_format.hpp"

namespace caisson::fuzz {

void introduction_seeds(const AddSeed& add) {
  using namespace transport::verbs;
  const auto add_bytes = [&](const std::vector<std::byte>& bytes) {
    add({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  };
  Introduction introduction;
  introduction.acquaintance = {5, 7, 1, false};
  introduction.address.gid.raw[10] = introduction.address.gid.raw[11] = 0xff;
  introduction.address.reads = 16;
  introduction.read_pair = 17;
  introduction.write_pair = 18;
  introduction.ring = {0x7f0000000000, 4711};
  introduction.ring_bytes = 1 << 20;
  introduction.told = {0x7f1000000000, 4712};
  add_bytes(encode(introduction));
  introduction.acquaintance.connected = introduction.acquaintance.heard = true;
  introduction.flushes = true;
  introduction.address.lid = 3;
  introduction.address.mtu = static_cast<decltype(introduction.address.mtu)>(5);  // 4096
  add_bytes(encode(introduction));
  introduction.ring = {};
  introduction.ring_bytes = introduction.write_pair = 0;
  add_bytes(encode(introduction));  // of a node's heartbeats
  add_bytes(encode(VerbsGrant{5, 7, 19, 0xabcdef, {0x7f2000000000, 4713}, Method::flush}));
  BareHalf half;
  half.remote.address = introduction.address;
  half.remote.number = 17;
  half.at = 0x7f0000000000;
  half.key = 4714;
  half.flushes = true;
  add_bytes(encode(half));
}

}  // namespace caisson::fuzz
