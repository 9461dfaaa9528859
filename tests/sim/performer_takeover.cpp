// SPDX-License-Identifier: BSD-3-Clause
// The primary is lost as a whole, and a standby goes on alone (R14). Those that were given up come
// back as replicas that may be admitted again.
#include <algorithm>
#include <array>

#include "core/replication/recovery.hpp"
#include "tests/sim/performer.hpp"

namespace caisson::simtest {

namespace {

constexpr uint64_t kNewClients = 100;  // the numbers of those that come after

// As the engine does: what a dead writer posted may still be on its way.
void shut_out_writers(World& world, const Machine& m) {
  (void)world.fabric().open_endpoint(m.id)->revoke_all();
}

// It is one from the moment at which it holds the view that says so, persistently (R14).
bool holds_its_view(const replication::Replica& leader, const Machine& standby) {
  std::array<replication::PeerStatus, kReplicaIdMax> peers;
  const size_t count = leader.peers(peers);
  const Position named = standby.replica->log().view_position();
  return std::any_of(peers.begin(), peers.begin() + static_cast<std::ptrdiff_t>(count),
                     [&](const replication::PeerStatus& peer) {
                       return peer.id == standby.id && peer.lag.held >= named;
                     });
}

}  // namespace

bool Performer::take_over(const Action& action) {
  const log::Membership now = world_.view();
  if (!now.settled() || now.standbys.empty() || rotten_ != 0 || !world_.options().auto_apply) {
    return false;
  }
  uint8_t standby = 0;
  for_each(now.standbys, [&](ReplicaId id) { standby = id.value; });
  Machine& m = world_.machine(standby);
  if (!m.up() || !world_.admitted(m, now) || m.replica->status().membership != now) return false;
  // One that no leader has reached since an earlier term may hold what that one never committed
  // (docs/found.md).
  const replication::Replica& leader = *world_.machine(world_.leader()).replica;
  if (m.replica->log().tail().term != leader.leading()) return false;
  if (!holds_its_view(leader, m)) return false;
  const LogIdentity identity = world_.identity();
  // A day that repeats its actions gives no birth twice.
  Random random(action.salt + world_.now());
  for (const uint8_t id : world_.ids()) {
    world_.kill(id, random.permille(500) ? Death::power : Death::process);
  }
  shut_out_writers(world_, m);
  const uint64_t birth = random.next() | 1;
  const auto taken =
      replication::promote_standby(*m.region, identity, m.id, birth, random.next() | 1);
  if (!taken) {
    world_.breach("R14", "a sound standby is refused: " + taken.error().message);
    return true;
  }
  // Its clients were told of entries that are gone: they begin anew, under other names.
  for (const auto& client : world_.clients()) client->retire();
  world_.take_over(m.id.value, taken->last.position, replication::entries_at_most(taken->bounds));
  m.birth = birth;
  for (const uint8_t id : world_.ids()) {
    if (id != m.id.value) leave_behind(id, *taken, random);
  }
  restart_later(m.id.value, action.for_ns, random.split());
  ClientOptions o;
  o.client = kNewClients + world_.clients().size();
  world_.add_client(std::make_unique<Client>(world_, o));
  return true;
}

void Performer::leave_behind(uint8_t id, const replication::Takeover& taken, Random& random) {
  Machine& m = world_.machine(id);
  const uint64_t birth = random.next() | 1;
  shut_out_writers(world_, m);
  const auto agreed =
      replication::leave_behind(*m.region, world_.identity(), m.id, taken.last.position,
                                Term{taken.recovered.view.value}, birth);
  if (!agreed) return world_.destroy(id);  // holds nothing that could be kept
  m.birth = birth;
  restart_later(id, kMs, random.split());
}

}  // namespace caisson::simtest
