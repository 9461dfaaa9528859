// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/introductions.hpp"

#include <utility>

#include "core/control/introduction_format.hpp"

namespace caisson::engine {

Introductions::Introductions(transport::Introducible& part, const LogIdentity& identity,
                             ReplicaId self, ReplicaSet peers, Carry carry)
    : part_(part), identity_(identity), self_(self), peers_(peers), carry_(std::move(carry)) {}

void Introductions::tell(uint64_t now_ns) {
  for_each(peers_, [&](ReplicaId peer) {
    const auto said = part_.introduction(peer, now_ns);
    if (said.empty()) return;
    carry_(peer, control::encode_introduction({identity_, self_, peer, said}));
  });
}

bool Introductions::hear(ReplicaId from, std::span<const std::byte> introduction, Code& code) {
  code = peers_.has(from) ? part_.meet(from, introduction) : Code::not_found;
  return std::exchange(taken_[from.value], code) != code;
}

}  // namespace caisson::engine
