// SPDX-License-Identifier: BSD-3-Clause
// Directed histories: a quiet cluster in which a test places every append and every fault by hand.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tests/sim/client.hpp"
#include "tests/sim/runs.hpp"
#include "tests/sim/world.hpp"

namespace caisson::simtest {

// No chance but that of the fabric.
WorldOptions quiet_world(uint64_t seed, uint8_t replicas = 3);

// `count` ordinary clients.
void add_clients(World& world, uint64_t count, ClientOptions options = {});

// What a replica lists as displaced: (client, sequence, position) of each entry that none of its
// log holds.
using Listed = std::multiset<std::tuple<uint64_t, uint64_t, uint64_t>>;
enum class Orphaned : uint8_t {
  lost,       // nothing else is displaced
  displaced,  // besides, what has come back since: a replica was given a new base, say
};
Listed orphans_of(World& world, uint8_t id, Orphaned among = Orphaned::lost);

class Script {
 public:
  explicit Script(World& world) : world_(world) {}

  // Waits until somebody leads; fails the run (LIVE) if nobody does within 100 ms. 0: nobody.
  uint8_t await_leader();
  // Waits until somebody leads, and has it acknowledge an append. 0: nobody leads.
  uint8_t await_service();
  // Waits until `id` leads, disturbing everybody else until it does.
  bool make_leader(uint8_t id);
  // Two machines that are not `id`, in a random order.
  std::vector<uint8_t> others(uint8_t id);

  // One append of a client of its own; its outcome is recorded for the judge.
  uint64_t append(uint8_t id, size_t bytes = 100, Durability level = Durability::persisted);
  // An atomic batch of one client.
  std::vector<uint64_t> append_batch(uint8_t id, size_t count, size_t bytes = 100,
                                     Durability level = Durability::persisted);
  // Appends one and waits for its acknowledgement.
  bool append_acknowledged(uint8_t id, size_t bytes = 100);
  bool acknowledged(uint64_t append) const;
  Code outcome(uint64_t append) const;       // ok before any
  Position position(uint64_t append) const;  // once it is acknowledged
  Term term(uint64_t append) const;
  Code accepted() const { return accepted_; }  // of the last submission

  Offset tail(uint8_t id) { return world_.machine(id).replica->log().tail().end; }
  Position tail_position(uint8_t id) { return world_.machine(id).replica->log().tail().position; }

  // Everything from `at` on that `from` posts to the others waits on its way.
  void hold_all(uint8_t from, Offset at = Offset{0});
  void release_all(uint8_t from);

 private:
  struct Append {
    Id id;
    bool acknowledged = false;
    Code outcome = Code::ok;
    Position position;
    Term term;
  };
  void submit(uint8_t id, uint64_t number, const std::string& payload, Durability level,
              bool batch_end, uint64_t group, uint64_t count);

  World& world_;
  std::map<uint64_t, Append> appends_;
  uint64_t number_ = 0;
  uint64_t client_ = 100;
  Code accepted_ = Code::ok;
};

}  // namespace caisson::simtest
