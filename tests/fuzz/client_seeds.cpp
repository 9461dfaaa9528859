// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/client_protocol.hpp"
#include "tests/fuzz/seeds.hpp"

namespace caisson::fuzz {

void client_seeds(const AddSeed& add) {
  namespace client = engine::client;
  client::Append append;
  append.log = 1;
  append.client = 42;
  append.incarnation = 1;
  append.first_sequence = 7;
  append.payloads = {"one", "", "three"};
  client::Read read;
  read.log = 1;
  read.from = Position{1};
  const client::RequestBody requests[] = {
      client::OpenLog{"main"},
      client::OpenStream{1, 42, true, 2, 90},
      client::TakeApologies{1, 42, Position{8}},
      append,
      read,
      client::Trim{1, Position{5}},
      client::ChangeMembers{1, {0b10000}, {}, {0b10}, View{2}, {}},
      client::ChangeMembers{1, {}, {0b10000}, {}, View{}, {0b10000}},
      client::HandOver{1, ReplicaId{2}},
      client::OrphansOf{1, 2, {Position{3}, Offset{640}, Term{257}, 99}, true},
      client::DiscardOrphans{1, 2},
      client::WaitFor{1, Position{9}, 1000},
      client::Tail{1, 2, 1000000},
      client::Status{},
      client::Cancel{},
  };
  uint64_t id = 0;
  for (const client::RequestBody& body : requests) add(client::encode(client::Request{++id, body}));

  const client::LeaderHint hint{ReplicaId{2}, Term{258}, "127.0.0.1", 7002};
  const client::ReadEntry entry{Position{4}, Term{257}, log::Kind::data, {42, 1, 1}, "payload"};
  const OrphanRecord record{2, Position{3}, Term{514}, 192, false, {}};
  const OrphanEntry orphan{Position{4}, Term{257},          true, true, {42, 1, 1},
                           2,           OrphanFate::absent, {},   {}};
  const client::ReplyBody replies[] = {
      client::OrphanRecords{1, {{record}, 1 << 20, 1 << 19, false}},
      client::OrphanEntries{1, 2, {orphan}, {Position{4}, Offset{768}, Term{257}, 98}, true, false},
      client::LogOpened{1, 1 << 20, 1024, ReplicaId{1}, Term{257}, Position{9}, Position{2}},
      client::StreamOpened{1, 42, 3, 99, {{2, 80, 90, Position{8}}}},
      client::AppendResult{1, 42, 3, {{7, Code::ok, Position{10}, Term{257}}}, hint},
      client::Entries{1, {entry}, Position{5}, Position{9}, true},
      client::Trimmed{1, Code::held, ReplicaId{3}, Position{2}},
      client::Done{1, Code::again},
      client::Waited{1, Code::timed_out, Position{9}},
      client::TailIs{1, Position{9}, Term{257}, false},
      client::StatusIs{"{}"},
      client::Failed{Code::not_leader, "replica 2 leads", hint},
  };
  for (const client::ReplyBody& body : replies) add(client::encode(client::Reply{++id, body}));
}

}  // namespace caisson::fuzz
