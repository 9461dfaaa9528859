// SPDX-License-Identifier: BSD-3-Clause
#include "transport/sim/sim_endpoint.hpp"

#include <algorithm>
#include <cstring>

namespace caisson::transport::sim {

Code SimEndpoint::revoke_all() {
  fabric_.hook(self_, "revoke_all");
  SimFabric::Node& target = node();
  fabric_.end_grants(target, false);
  // What we had handed over for our own ring is no longer reported.
  ++target.own_turn;
  target.own_low = UINT64_MAX;
  std::erase_if(target.completions, [&](const Completion& c) { return c.target == self_; });
  if (target.fail_revocation) {
    target.fail_revocation = false;
    return Code::io;
  }
  target.region->persist_ring(Offset{0}, target.region->geometry().ring_bytes);
  fabric_.hook(self_, "revoked");
  return Code::ok;
}

Result<Grant> SimEndpoint::grant(ReplicaId writer, Term term) {
  fabric_.hook(self_, "grant");
  SimFabric::Node& target = node();
  if (writer == self_) return fail(Code::invalid, "sim: nobody needs a grant for their own ring");
  // An adapter does not know who should have been shut out before (P4).
  target.open_generations.insert(++target.generations);
  return Grant{term, target.generations, std::vector<std::byte>(8)};
}

void SimEndpoint::publish(const TargetCell& cell) {
  fabric_.hook(self_, "publish");
  node().cell = cell;
  Standing& standing = node().standing;
  standing.head = cell.head;
  standing.validated = cell.validated;
  standing.fault = cell.fault;
  for (const SimFabric::Node& other : fabric_.nodes_) {
    if (other.region != nullptr && other.id != self_ && other.alive) {
      fabric_.show_cell(self_, other.id, cell);
    }
  }
}

void SimEndpoint::publish_promise(Term promised, uint64_t birth) {
  fabric_.hook(self_, "publish_promise");
  node().standing.promised = promised;
  node().standing.birth = birth;
}

CommitCell SimEndpoint::commit_cell(ReplicaId writer) const {
  return node().commit_cells[writer.value];
}

Code SimEndpoint::attach(ReplicaId target, const Grant& grant, Offset from) {
  fabric_.hook(self_, "attach");
  if (target == self_ || fabric_.node(target).region == nullptr) return Code::invalid;
  detach(target);
  node().mapped[target.value] = fabric_.node(target).regions;
  fabric_.attach(node(), target, grant.generation, from);
  return Code::ok;
}

void SimEndpoint::detach(ReplicaId target) {
  fabric_.hook(self_, "detach");
  uint64_t& id = node().attached[target.value];
  if (id != 0) fabric_.let_go(id);
  id = 0;
  std::erase_if(node().completions, [&](const Completion& c) { return c.target == target; });
}

void SimEndpoint::post(ReplicaSet targets, Offset at, const std::byte* source, size_t n,
                       bool in_own_ring) {
  for_each(targets, [&](ReplicaId target) {
    const uint64_t id = node().attached[target.value];
    const auto found = fabric_.attachments_.find(id);
    if (found != fabric_.attachments_.end()) {
      fabric_.post(found->second, id, at, source, n, in_own_ring);
    }
  });
}

void SimEndpoint::fan_out(ReplicaSet targets, Offset at, const void* source, size_t n) {
  fabric_.hook(self_, "fan_out");
  SimFabric::Node& own = node();
  own.region->store_ring(at, source, n);
  own.own_low = std::min(own.own_low, at.value);
  post(targets, at, static_cast<const std::byte*>(source), n, true);
}

void SimEndpoint::fan_out_own(ReplicaSet targets, Offset at, size_t n) {
  fabric_.hook(self_, "fan_out_own");
  SimFabric::Node& own = node();
  own.own_low = std::min(own.own_low, at.value);
  const uint64_t ring_bytes = own.region->geometry().ring_bytes;
  post(targets, at, own.region->ring_data() + at.value % ring_bytes, n, true);
}

void SimEndpoint::write(ReplicaId target, Offset at, size_t n) {
  fabric_.hook(self_, "write");
  ReplicaSet only;
  only.add(target);
  const uint64_t ring_bytes = node().region->geometry().ring_bytes;
  post(only, at, node().region->ring_data() + at.value % ring_bytes, n, true);
}

void SimEndpoint::complete_through(ReplicaSet targets, bool own, Offset end) {
  fabric_.hook(self_, "complete_through");
  for_each(targets, [&](ReplicaId target) {
    const uint64_t id = node().attached[target.value];
    if (fabric_.attachments_.contains(id)) fabric_.complete(id, end);
  });
  if (!own) return;
  // In our own cache at once, which proves nothing.
  node().completions.push_back({self_, Code::ok, end, Offset{0}});
  const uint64_t after_ns = fabric_.delay(fabric_.options_.own_persist_ns_max, self_);
  fabric_.schedule(
      after_ns, [fabric = &fabric_, self = self_, process = process_, turn = node().own_turn, end] {
        SimFabric::Node& mine = fabric->node(self);
        if (mine.process != process || mine.own_turn != turn) return;
        if (mine.own_low < end.value) {
          mine.region->persist_ring(Offset{mine.own_low}, end.value - mine.own_low);
          mine.own_low = end.value;
        }
        mine.completions.push_back({self, Code::ok, end, end});
      });
}

size_t SimEndpoint::poll(std::span<Completion> out) {
  std::vector<Completion>& ready = node().completions;
  const size_t n = std::min(out.size(), ready.size());
  std::copy_n(ready.begin(), n, out.begin());
  ready.erase(ready.begin(), ready.begin() + static_cast<std::ptrdiff_t>(n));
  return n;
}

bool SimEndpoint::read(ReplicaId target, Offset at, void* destination, size_t n) {
  SimFabric::Node& other = fabric_.node(target);
  if (!other.powered || other.region == nullptr || !fabric_.passes(self_, target) ||
      !fabric_.passes(target, self_)) {
    return false;
  }
  if (!other.alive && !fabric_.options_.dead_memory_readable) return false;
  if (node().mapped[target.value] != other.regions) return false;  // that one is gone

  const uint64_t ring_bytes = other.region->geometry().ring_bytes;
  std::memcpy(destination, other.region->ring_data() + at.value % ring_bytes, n);
  return true;
}

TargetCell SimEndpoint::target_cell(ReplicaId target) const { return node().seen[target.value]; }

Standing SimEndpoint::standing_of(ReplicaId target) const {
  SimFabric::Node& other = fabric_.node(target);
  if (target == self_) return other.standing;
  if (!fabric_.passes(self_, target) || !fabric_.passes(target, self_)) return {};
  if (!other.alive && !fabric_.options_.dead_memory_readable) return {};
  // Whoever mapped a region goes on reading that one, even when another has taken its name.
  const uint64_t region = node().mapped[target.value];
  if (region != other.regions) return other.buried[region];
  return other.powered ? other.standing : Standing{};
}

void SimEndpoint::write_commit_cell(ReplicaSet targets, const CommitCell& cell) {
  fabric_.hook(self_, "write_commit_cell");
  const uint64_t turn = ++fabric_.order_;
  for_each(targets, [&](ReplicaId target) {
    fabric_.schedule(fabric_.delay(fabric_.options_.cell_ns_max, target),
                     [fabric = &fabric_, from = self_, to = target, cell, turn] {
                       fabric->commit_cell_due(from, to, cell, turn);
                     });
  });
}

std::byte* SimEndpoint::claim(Offset at, size_t n) {
  fabric_.hook(self_, "claim");
  node().claims.push_back({std::make_unique<std::byte[]>(n), n, at, true});
  return node().claims.back().memory.get();
}

void SimEndpoint::revoke_claims() {
  for (SimFabric::ClaimedBytes& claim : node().claims) claim.live = false;
}

void SimHeartbeats::beat() { ++fabric_.node(self_).beats; }

Beat SimHeartbeats::read(ReplicaId peer) const {
  SimFabric::Node& home = fabric_.node(self_);
  SimFabric::Node& other = fabric_.node(peer);
  Beat& heard = home.heard[peer.value];
  if (!fabric_.passes(self_, peer) || !fabric_.passes(peer, self_) || !other.powered) {
    heard.known = false;
    return heard;
  }
  heard = {other.beats, fabric_.options_.death_notices && !other.alive, true};
  return heard;
}

}  // namespace caisson::transport::sim
