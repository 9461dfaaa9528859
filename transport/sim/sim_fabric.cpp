// SPDX-License-Identifier: BSD-3-Clause
#include "transport/sim/sim_fabric.hpp"

#include <algorithm>

#include "transport/sim/sim_endpoint.hpp"

namespace caisson::transport::sim {

namespace {

constexpr uint64_t kCommitCellRetryNs = 50'000;

}  // namespace

SimFabric::SimFabric(const SimOptions& options, uint64_t seed) : options_(options), random_(seed) {}

SimFabric::~SimFabric() = default;

void SimFabric::add_node(ReplicaId id, pmem::ShadowRegion& region) {
  node(id).id = id;
  node(id).region = &region;
}

void SimFabric::replace_region(ReplicaId id, pmem::ShadowRegion& region) {
  node(id).buried.push_back(node(id).last_words);
  ++node(id).regions;
  power_lost(id);
  node(id).region = &region;
}

std::unique_ptr<Endpoint> SimFabric::open_endpoint(ReplicaId id) {
  Node& opened = node(id);
  opened.powered = true;
  opened.alive = true;
  ++opened.process;
  opened.own_low = UINT64_MAX;
  opened.completions.clear();
  opened.claims.clear();
  opened.seen = {};
  opened.heard = {};
  for (const Node& other : nodes_) opened.mapped[other.id.value] = other.regions;
  for (Node& other : nodes_) {
    if (other.region != nullptr && other.id != id) refresh_cells(other.id, id);
  }
  return std::make_unique<SimEndpoint>(*this, id);
}

std::unique_ptr<Heartbeats> SimFabric::open_heartbeats(ReplicaId id) {
  return std::make_unique<SimHeartbeats>(*this, id);
}

void SimFabric::process_died(ReplicaId id) {
  Node& dead = node(id);
  // What was reported placed has left this machine: only the target's own power can still lose it.
  for (auto& [number, attachment] : attachments_) {
    if (attachment.from != id || !lets_in(node(attachment.to), attachment.generation)) continue;
    land_below(attachment, attachment.pipe);
  }
  dead.alive = false;
  ++dead.process;
  for (uint64_t& attachment : dead.attached) {
    if (attachment != 0) let_go(attachment);
    attachment = 0;
  }
  dead.completions.clear();
  dead.claims.clear();
}

void SimFabric::power_lost(ReplicaId id) {
  process_died(id);
  Node& dark = node(id);
  for (auto& [number, attachment] : attachments_) {
    if (attachment.from == id) drop_lines(attachment, 500);
  }
  end_grants(dark, true);
  dark.powered = false;
  dark.cell = {};
  dark.last_words = dark.standing;
  dark.standing = kSilent;
  dark.commit_cells = {};
  dark.beats = 0;
}

void SimFabric::set_cut(ReplicaId from, ReplicaId to, bool cut) {
  const bool mended = link(from, to).cut && !cut;
  link(from, to).cut = cut;
  if (mended) refresh_cells(from, to);
}

void SimFabric::land_now(ReplicaId from, ReplicaId to, const std::function<bool(Offset at)>& pick) {
  for (auto& [id, attachment] : attachments_) {
    if (attachment.from != from || attachment.to != to) continue;
    if (!lets_in(node(to), attachment.generation)) continue;
    for (const uint32_t index : attachment.lines) {
      if (!lines_[index].landed && pick(lines_[index].at)) store_line(attachment, lines_[index]);
    }
  }
}

Offset SimFabric::on_its_way(ReplicaId from) const {
  Offset first{UINT64_MAX};
  for (const auto& [id, attachment] : attachments_) {
    if (attachment.from != from) continue;
    for (const uint32_t index : attachment.lines) {
      if (!lines_[index].landed) first = std::min(first, lines_[index].at);
    }
  }
  return first;
}

void SimFabric::set_slowness(ReplicaId id, uint64_t factor) { node(id).slowness = factor; }

uint64_t SimFabric::next_ns() const { return events_.empty() ? UINT64_MAX : events_.top().at_ns; }

void SimFabric::run_until(uint64_t now_ns) {
  while (!events_.empty() && events_.top().at_ns <= now_ns) {
    // The queue gives const access only; the event is popped before it can be seen again.
    Event event = std::move(const_cast<Event&>(events_.top()));
    events_.pop();
    now_ns_ = event.at_ns;
    ++counters_.events;
    trace(event.order << 40);
    event.run();
  }
  now_ns_ = now_ns;
}

void SimFabric::trace(uint64_t word) {
  trace_ = (trace_ ^ word ^ (now_ns_ << 20)) * 0x100000001b3u;
}

uint64_t SimFabric::delay(uint64_t max_ns, ReplicaId at) {
  const bool late = random_.permille(options_.late_permille);
  counters_.late += late;
  const uint64_t span_ns = late ? options_.late_ns_max : max_ns;
  return random_.below(span_ns + 1) * nodes_[at.value].slowness;
}

void SimFabric::schedule(uint64_t after_ns, std::function<void()> run) {
  events_.push({now_ns_ + after_ns, ++order_, std::move(run)});
}

bool SimFabric::application_store(ReplicaId id, const std::byte* address,
                                  std::span<const std::byte> bytes) {
  Node& home = node(id);
  for (ClaimedBytes& claim : home.claims) {
    if (address < claim.memory.get() || address + bytes.size() > claim.memory.get() + claim.bytes) {
      continue;
    }
    const auto within = static_cast<size_t>(address - claim.memory.get());
    std::copy(bytes.begin(), bytes.end(), claim.memory.get() + within);
    if (claim.live) home.region->remote_store(claim.at + within, bytes.data(), bytes.size());
    return true;
  }
  return false;
}

void SimFabric::show_cell(ReplicaId target, ReplicaId observer, const TargetCell& cell) {
  const bool stale = random_.permille(options_.stale_cell_permille);
  const uint64_t process = node(observer).process;
  schedule(delay(options_.cell_ns_max, target), [this, target, observer, process, stale, cell] {
    Node& seer = node(observer);
    if (seer.process != process || !passes(target, observer)) return;
    seer.seen[target.value] = stale ? cell : node(target).cell;
    if (stale) refresh_cells(target, observer);
  });
}

void SimFabric::refresh_cells(ReplicaId target, ReplicaId observer) {
  const uint64_t process = node(observer).process;
  schedule(delay(options_.cell_ns_max, target), [this, target, observer, process] {
    Node& seer = node(observer);
    if (seer.process == process && passes(target, observer))
      seer.seen[target.value] = node(target).cell;
  });
}

void SimFabric::commit_cell_due(ReplicaId from, ReplicaId to, const CommitCell& cell,
                                uint64_t turn) {
  if (!passes(from, to)) {
    schedule(kCommitCellRetryNs,
             [this, from, to, cell, turn] { commit_cell_due(from, to, cell, turn); });
    return;
  }
  Node& target = node(to);
  if (!target.powered || turn < target.commit_turns[from.value]) return;
  target.commit_turns[from.value] = turn;
  target.commit_cells[from.value] = cell;
  trace(cell.committed.value);
}

}  // namespace caisson::transport::sim
