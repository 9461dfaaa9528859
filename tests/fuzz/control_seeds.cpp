// SPDX-License-Identifier: BSD-3-Clause
#include "core/control/wire.hpp"
#include "tests/fuzz/ring_builder.hpp"
#include "tests/fuzz/seeds.hpp"

namespace caisson::fuzz {

void control_seeds(const AddSeed& add) {
  const log::Cursor cursor = log::origin(fuzz_identity());
  control::SealReply reply;
  reply.term = Term{258};
  reply.nonce = 9;
  reply.code = Code::ok;
  reply.promised = Term{258};
  reply.incarnation = Incarnation{4};
  reply.persistence = Persistence::emulated;
  reply.tail = cursor;
  reply.trim = cursor;
  log::ViewRun view{Position{1}, {}};
  view.membership.view = View{1};
  view.membership.voters = {0b1110};
  view.membership.joining = {0b10000};
  view.membership.births[4] = 99;
  reply.view = view;
  reply.epochs = {{Term{257}, Position{1}}, {Term{258}, Position{90}}};
  control::GrantReply granted;
  granted.term = Term{258};
  granted.code = Code::ok;
  granted.grant = {Term{258}, 3, {std::byte{1}, std::byte{2}}};
  const control::Message messages[] = {
      control::PreSeal{Term{257}, ReplicaId{1}, 5, View{1}},
      control::PreSealReply{5, true, Term{257}},
      control::Rebase{Term{258}, 9, 1, cursor, view},
      control::Succeed{Term{258}},
      control::ReadRequest{77, true},
      control::ReadReply{77, Code::ok, Position{91}},
      control::Seal{Term{258}, 9, View{1}, Term{257}},
      reply,
      control::GrantRequest{Term{258}, 10, 1, cursor},
      granted,
      control::Hello{Term{258}, Incarnation{4}, 99},
      control::Fenced{Term{513}},
  };
  for (const control::Message& message : messages) {
    add(control::encode({fuzz_identity(), ReplicaId{1}, ReplicaId{2}, message}));
  }
}

}  // namespace caisson::fuzz
