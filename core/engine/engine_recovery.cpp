// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/engine_recovery.hpp"

#include <sys/random.h>

#include <optional>
#include <string>

#include "core/engine/config.hpp"
#include "core/engine/engine_directory.hpp"
#include "core/engine/engine_parts.hpp"
#include "core/replication/recovery.hpp"

namespace caisson::engine {

namespace {

Result<uint64_t> random_word() {
  uint64_t word = 0;
  while (word == 0) {
    if (getrandom(&word, sizeof word, 0) != sizeof word) return fail(Code::io, "no random numbers");
  }
  return word;
}

// Those of `view` whose regions of `log` are there, under the births that were admitted.
ReplicaSet still_there(const EngineOptions& options, const LogOptions& log,
                       const log::Membership& view) {
  ReplicaSet there;
  for (const PeerRegion& peer : peer_regions(options, log)) {
    if (peer.superblock.birth == view.births[peer.id.value]) there.add(peer.id);
  }
  return there;
}

std::string names_of(ReplicaSet set) {
  std::string names;
  for_each(set,
           [&](ReplicaId id) { names += (names.empty() ? "" : ", ") + std::to_string(id.value); });
  return names;
}

// A stopped replica's log, with everybody shut out who might still write to it.
struct Stopped {
  EngineOptions options;
  LogOptions log;
  std::string where;
  NodeLock lock;
  Ground ground;
  log::Membership view;  // the last it knows
};

Result<Stopped> open_stopped(const EngineOptions& wanted, const LogOptions& named) {
  if (const auto checked = check(wanted); !checked) return tl::unexpected(checked.error());
  Stopped stopped;
  stopped.options = completed(wanted);
  const EngineOptions& options = stopped.options;
  stopped.log = named;
  for (const LogOptions& each : options.logs) {
    if (each.name == named.name) stopped.log = each;
  }
  stopped.where = "log '" + named.name + "' of replica " + std::to_string(options.replica.value) +
                  " in " + options.directory;
  auto lock = NodeLock::take(options.directory);
  if (!lock) return tl::unexpected(lock.error());
  stopped.lock = std::move(*lock);
  auto ground = open_ground(options, stopped.log);
  if (!ground) return tl::unexpected(ground.error());
  stopped.ground = std::move(*ground);
  // Whoever was let in may still be about to write.
  if (const Code code = stopped.ground.endpoint->revoke_all(); code != Code::ok) {
    return fail(code, stopped.where + ": writers of before cannot be shut out");
  }
  const auto view = replication::last_view(*stopped.ground.region);
  if (!view) return fail(view.error().code, stopped.where + ": " + view.error().message);
  stopped.view = view->membership;
  return stopped;
}

}  // namespace

Result<log::Recovered> recover_log(const EngineOptions& wanted, const LogOptions& named) {
  auto stopped = open_stopped(wanted, named);
  if (!stopped) return tl::unexpected(stopped.error());
  const auto& [options, log, where, lock, ground, view] = *stopped;
  const ReplicaSet there = still_there(options, log, view);
  if (view.voters != just(options.replica) && view.suffices(there | just(options.replica))) {
    return fail(Code::exists, where + ": no quorum is lost: the regions of replicas " +
                                  names_of(there) +
                                  " are there. Start them; nothing has to be given up");
  }
  const auto birth = random_word();
  const auto nonce = random_word();
  if (!birth || !nonce) return tl::unexpected(birth ? nonce.error() : birth.error());
  auto recovered = replication::recover_alone(*ground.region, {options.cluster, log.id},
                                              options.replica, *birth, *nonce);
  if (!recovered) return fail(recovered.error().code, where + ": " + recovered.error().message);
  return recovered;
}

Result<replication::Takeover> promote_log(const EngineOptions& wanted, const LogOptions& named) {
  auto stopped = open_stopped(wanted, named);
  if (!stopped) return tl::unexpected(stopped.error());
  const auto& [options, log, where, lock, ground, view] = *stopped;
  for (const PeerOptions& peer : options.peers) {
    if (peer.id == options.replica || !view.electors().has(peer.id)) continue;
    if (!NodeLock::taken(peer.directory)) continue;
    return fail(Code::busy,
                where + ": replica " + std::to_string(peer.id.value) + " of the primary runs, in " +
                    peer.directory +
                    ". Two of them must never go on at once: stop what is left of the primary, or "
                    "change over without loss, by caisson member add and caisson leader transfer");
  }
  const auto birth = random_word();
  const auto nonce = random_word();
  if (!birth || !nonce) return tl::unexpected(birth ? nonce.error() : birth.error());
  auto taken = replication::promote_standby(*ground.region, {options.cluster, log.id},
                                            options.replica, *birth, *nonce);
  if (!taken) return fail(taken.error().code, where + ": " + taken.error().message);
  return taken;
}

Result<Position> readmit_log(const EngineOptions& wanted, const LogOptions& named) {
  auto stopped = open_stopped(wanted, named);
  if (!stopped) return tl::unexpected(stopped.error());
  const auto& [options, log, where, lock, ground, view] = *stopped;
  Position through{UINT64_MAX};
  Term term;
  for (const PeerRegion& peer : peer_regions(options, log)) {
    if (peer.superblock.recovered.view <= view.view) continue;
    through = std::min(through, Position{peer.superblock.recovered.position.value - 1});
    term = std::max(term, peer.superblock.promised);
  }
  if (term == Term{}) {
    return fail(Code::not_found, where +
                                     ": no peer's region says that it was given up. Start it as "
                                     "it is; or have it come back empty, with --create --join");
  }
  const auto birth = random_word();
  if (!birth) return tl::unexpected(birth.error());
  auto agreed = replication::leave_behind(*ground.region, {options.cluster, log.id},
                                          options.replica, through, term, *birth);
  if (!agreed) return fail(agreed.error().code, where + ": " + agreed.error().message);
  return agreed;
}

Result<void> expect_not_left_behind(const EngineOptions& options, const LogOptions& log,
                                    const replication::ReplicaStatus& status,
                                    const std::vector<PeerRegion>& peers) {
  const log::Membership& own = status.membership;
  // Who comes as a new one has no part in the views of the past.
  const bool voices =
      own.electors().has(options.replica) && own.births[options.replica.value] == status.birth;
  if (!voices) return {};
  for (const PeerRegion& peer : peers) {
    if (peer.superblock.recovered.view <= own.view) continue;
    return fail(Code::wrong_view,
                "log '" + log.name + "': a quorum was given up since, and replica " +
                    std::to_string(options.replica.value) + " with it: " + peer.path +
                    " says that replica " + std::to_string(peer.id.value) +
                    " went on alone, in view " +
                    std::to_string(peer.superblock.recovered.view.value) +
                    ". What only this one holds is kept: caisson member readmit puts it aside "
                    "for caisson salvage, and caisson member add admits this replica again");
  }
  return {};
}

}  // namespace caisson::engine
