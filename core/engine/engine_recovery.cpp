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
  for (const PeerOptions& peer : options.peers) {
    if (peer.id == options.replica) continue;
    const auto known = peer_superblock(options, log, region_path(peer.directory, log.name));
    if (known && known->birth == view.births[peer.id.value]) there.add(peer.id);
  }
  return there;
}

std::string names_of(ReplicaSet set) {
  std::string names;
  for_each(set,
           [&](ReplicaId id) { names += (names.empty() ? "" : ", ") + std::to_string(id.value); });
  return names;
}

}  // namespace

Result<log::Recovered> recover_log(const EngineOptions& wanted, const LogOptions& named) {
  if (const auto checked = check(wanted); !checked) return tl::unexpected(checked.error());
  const EngineOptions options = completed(wanted);
  LogOptions log = named;
  for (const LogOptions& each : options.logs) {
    if (each.name == named.name) log = each;
  }
  const std::string where = "log '" + log.name + "' of replica " +
                            std::to_string(options.replica.value) + " in " + options.directory;
  const auto lock = NodeLock::take(options.directory);
  if (!lock) return tl::unexpected(lock.error());
  auto ground = open_ground(options, log);
  if (!ground) return tl::unexpected(ground.error());
  // Whoever was let in may still be about to write.
  if (const Code code = ground->endpoint->revoke_all(); code != Code::ok) {
    return fail(code, where + ": writers of before cannot be shut out");
  }
  const auto view = replication::last_view(*ground->region);
  if (!view) return fail(view.error().code, where + ": " + view.error().message);
  const ReplicaSet there = still_there(options, log, view->membership);
  if (view->membership.voters != just(options.replica) &&
      view->membership.suffices(there | just(options.replica))) {
    return fail(Code::exists, where + ": no quorum is lost: the regions of replicas " +
                                  names_of(there) +
                                  " are there. Start them; nothing has to be given up");
  }
  const auto birth = random_word();
  const auto nonce = random_word();
  if (!birth || !nonce) return tl::unexpected(birth ? nonce.error() : birth.error());
  auto recovered = replication::recover_alone(*ground->region, {options.cluster, log.id},
                                              options.replica, *birth, *nonce);
  if (!recovered) return fail(recovered.error().code, where + ": " + recovered.error().message);
  return recovered;
}

Result<void> expect_not_left_behind(const EngineOptions& options, const LogOptions& log,
                                    const replication::ReplicaStatus& status) {
  const log::Membership& own = status.membership;
  // Who comes as a new one has no part in the views of the past.
  const bool voices =
      own.electors().has(options.replica) && own.births[options.replica.value] == status.birth;
  if (!voices) return {};
  for (const PeerOptions& peer : options.peers) {
    if (peer.id == options.replica) continue;
    const std::string path = region_path(peer.directory, log.name);
    const auto known = peer_superblock(options, log, path);
    if (!known || known->recovered.view <= own.view) continue;
    return fail(Code::wrong_view,
                "log '" + log.name + "': a quorum was given up since, and replica " +
                    std::to_string(options.replica.value) + " with it: " + path +
                    " says that replica " + std::to_string(peer.id.value) +
                    " went on alone, in view " + std::to_string(known->recovered.view.value) +
                    ". Keep " + options.directory +
                    " for what may be only there, outside of the cluster, and have this replica "
                    "come back empty, with caisson node --create --join and caisson member add");
  }
  return {};
}

}  // namespace caisson::engine
