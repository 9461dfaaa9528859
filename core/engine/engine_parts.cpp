// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/engine_parts.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "core/engine/config.hpp"
#include "core/engine/engine_directory.hpp"
#include "core/engine/engine_seam.hpp"
#include "core/engine/verbs_ground.hpp"
#include "core/log/superblock_format.hpp"
#include "pmem/backing_file.hpp"
#include "pmem/file_region.hpp"
#include "transport/shm/cells.hpp"
#include "transport/shm/shm_endpoint.hpp"
#include "transport/shm/shm_heartbeats.hpp"
#include "transport/shm/shm_postbox.hpp"

namespace caisson::engine {

namespace {

pmem::PersistenceChoice choice_of(const EngineOptions& options) {
  return options.persistence == PersistenceMode::real ? pmem::PersistenceChoice::real
                                                      : pmem::PersistenceChoice::emulated;
}

std::map<ReplicaId, std::string> peer_paths(const EngineOptions& options, const LogOptions& log) {
  std::map<ReplicaId, std::string> paths;
  if (options.fabric != FabricKind::shm) return paths;  // on machines of their own
  for (const PeerOptions& peer : options.peers) {
    if (peer.id != options.replica) paths[peer.id] = region_path(peer.directory, log.name);
  }
  return paths;
}

// Keeps the mappings of peers and the spare segments ready, so that a failover maps nothing.
class ShmUpkeep final : public Upkeep {
 public:
  ShmUpkeep(pmem::FileRegion& region, transport::shm::ShmEndpoint& endpoint,
            transport::ReplicaSet peers)
      : region_(region), endpoint_(endpoint), cold_(peers) {}

  bool run() override {
    for (uint64_t bits = cold_.bits; bits != 0; bits &= bits - 1) {
      const ReplicaId peer{static_cast<uint8_t>(__builtin_ctzll(bits))};
      if (endpoint_.warm(peer)) cold_.remove(peer);
    }
    return endpoint_.maintain() == Code::ok && cold_ == transport::ReplicaSet{};
  }

  void look_at_file() override { region_.look_at_name(); }
  bool file_deleted() const override { return region_.deleted(); }
  bool release() override {
    region_.release_lock();
    return true;
  }

 private:
  pmem::FileRegion& region_;
  transport::shm::ShmEndpoint& endpoint_;
  transport::ReplicaSet cold_;  // never mapped so far: the peer is not created yet
};

// The small files by which the nodes of a machine hear of each other.
class NodeFiles {
 public:
  NodeFiles(const EngineOptions& options, const NodeLock& lock,
            transport::shm::ShmHeartbeats& beats, transport::shm::ShmPostbox& post,
            std::function<void(const Error&)> tell)
      : directory_(options.directory),
        lock_(lock),
        beats_(beats),
        post_(post),
        tell_(std::move(tell)) {}

  void look_after() {
    (void)beats_.connect();
    (void)post_.connect();
    if (!lock_.of(directory_)) return say(said_of_directory_, directory_replaced(directory_));
    after_mending(said_of_beats_, heartbeat_path(directory_), beats_.mend());
    after_mending(said_of_post_, post_path(directory_), post_.mend());
  }

 private:
  void after_mending(std::string& said, const std::string& path, const Result<bool>& mended) {
    if (!mended) return say(said, mended.error());
    if (!*mended) return said.clear();
    say(said, {Code::damaged, path + " was deleted, replaced or cut short while this node runs, or "
                                     "a page of it is poisoned: it was made anew"});
  }
  // What goes on being so is said once.
  void say(std::string& said, const Error& error) {
    if (error.message != std::exchange(said, error.message)) tell_(error);
  }

  const std::string directory_;
  const NodeLock& lock_;
  transport::shm::ShmHeartbeats& beats_;
  transport::shm::ShmPostbox& post_;
  const std::function<void(const Error&)> tell_;
  std::string said_of_directory_;
  std::string said_of_beats_;
  std::string said_of_post_;
};

// The front of a peer's region, and the superblock in it: of this log, or nothing.
struct PeerFront {
  std::optional<pmem::BackingFile> file;
  pmem::HeaderMapping front;
  std::optional<log::Superblock> superblock;
};

void look_at(const EngineOptions& options, const LogOptions& log, const std::string& path,
             PeerFront& peer) {
  auto file = pmem::BackingFile::open(path, pmem::BackingFile::Access::peer);
  if (!file || file->bytes() < pmem::kManifestAt ||
      !peer.front.map(*file, pmem::kManifestAt, PROT_READ, Persistence::none)) {
    return;
  }
  peer.file.emplace(std::move(*file));
  const pmem::AbSlots slots(pmem::SlotKind::superblock, pmem::kSuperblockAt,
                            pmem::kSuperblockSlotBytes);
  const auto slot = slots.read(peer.front);
  if (!slot) return;
  auto superblock = log::decode_superblock(slot->payload);
  // Of two slots the newer one may be the one that is gone.
  if (peer.front.poisoned()) return;
  if (superblock && superblock->identity == LogIdentity{options.cluster, log.id}) {
    peer.superblock = *superblock;
  }
}

// What a peer's region says about the past of replica `self`; empty: nothing. A peer that cannot be
// looked at, or is of another cluster, is no witness.
std::string trace_of(const EngineOptions& options, const LogOptions& log, const std::string& path) {
  PeerFront peer;
  look_at(options, log, path, peer);
  if (!peer.superblock) return "";
  const auto& control =
      *reinterpret_cast<const transport::shm::Control*>(peer.front.data() + pmem::kControlAt);
  const auto& writer = control.writers[options.replica.value].line.process;
  if (transport::shm::read_process(writer).known()) return "this replica has written to " + path;
  // The others may run already while a cluster is being created, but once only.
  if (peer.superblock->incarnation.value > 1) return path + " has been opened more than once";
  const pmem::ProcessIdentity owner = pmem::recorded_owner(*peer.file);
  if (peer.superblock->incarnation.value > 0 && owner.known() &&
      owner.boot != pmem::this_process().boot) {
    return path + " was opened before this machine was restarted";
  }
  return "";
}

std::string unfinished_path(const std::string& region) { return region + ".new"; }

// The name of a region that lies on a device. Made before the region, while the device is blank: of
// whatever is found on it under this name the creation can be begun anew.
Result<void> name_device(const std::string& device, const std::string& name) {
  if (const auto blank = pmem::FileRegion::expect_blank(device); !blank) return blank;
  std::error_code error;
  std::filesystem::create_symlink(device, name, error);
  if (error)
    return fail(Code::io, "cannot name " + device + " as " + name + ": " + error.message());
  return pmem::sync_directory(std::filesystem::path(name).parent_path().string());
}

// Removes a region, under this name, that has never been anybody's replica. On a device it is
// looked at first: devices change their names, and their owners.
Result<void> forget(const EngineOptions& options, const LogOptions& log, const std::string& name) {
  std::error_code ignored;
  if (!log.device.empty() && std::filesystem::read_symlink(name, ignored) == log.device) {
    const auto erased = pmem::FileRegion::erase(log.device, [&](std::span<const std::byte> bytes) {
      const auto superblock = log::decode_superblock(bytes);
      if (!superblock) return bytes.empty();
      return superblock->identity == LogIdentity{options.cluster, log.id} &&
             superblock->replica == options.replica && superblock->incarnation.value == 0;
    });
    if (!erased) return erased;
  }
  std::filesystem::remove(name, ignored);
  return {};
}

// A region that was made on another device, or in a file, is not to be looked for on this one.
Result<void> expect_device_as_created(const EngineOptions& options, const LogOptions& log) {
  if (options.fabric != FabricKind::verbs) return {};
  const std::string path = region_path(options.directory, log.name);
  std::error_code ignored;
  const std::string found = std::filesystem::read_symlink(path, ignored).string();
  const bool there = std::filesystem::exists(std::filesystem::symlink_status(path, ignored));
  if (!there || (found == log.device && (found.empty() || file_exists(found)))) return {};
  if (found == log.device) {
    return fail(Code::not_found, "log '" + log.name + "': its region lies on " + found +
                                     ", which is not there: look after the device (daxctl list); " +
                                     "where its name has changed, correct log.device, and point " +
                                     path + " to it");
  }
  const auto named = [](const std::string& where) {
    return where.empty() ? std::string("a file of its own") : where;
  };
  return fail(Code::invalid, "log '" + log.name +
                                 "': the configuration says that its region lies " + "on " +
                                 named(log.device) + ", " + path + " is " + named(found) +
                                 "; correct log.device, or where the name of the device has " +
                                 "changed point " + path + " to it");
}

Result<void> name_for_good(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    return fail(Code::io, "cannot rename " + from + " to " + to);
  }
  // Before anybody counts on it: a power cut could take the name back.
  return pmem::sync_directory(std::filesystem::path(to).parent_path().string());
}

}  // namespace

std::optional<log::Superblock> peer_superblock(const EngineOptions& options, const LogOptions& log,
                                               const std::string& path) {
  PeerFront peer;
  look_at(options, log, path, peer);
  return peer.superblock;
}

ReplicaSet voters_of(const EngineOptions& options) {
  ReplicaSet voters;
  for (const PeerOptions& peer : options.peers) {
    if (!peer.spare) voters.add(peer.id);
  }
  return voters;
}

log::QuorumSystem quorum_of(const LogOptions& log) {
  switch (log.quorum) {
    case Quorums::majority: break;
    case Quorums::all: return {log::QuorumSystem::kAll};
    case Quorums::flexible: return {static_cast<uint8_t>(log.commit_quorum)};
  }
  return {log::QuorumSystem::kMajority};
}

std::string quorum_text(log::QuorumSystem quorum) {
  switch (quorum.commit) {
    case log::QuorumSystem::kMajority: return "quorum = \"majority\"";
    case log::QuorumSystem::kAll: return "quorum = \"all\"";
    default: return "quorum = \"flexible\", commit_quorum = " + std::to_string(quorum.commit);
  }
}

std::vector<PeerRegion> peer_regions(const EngineOptions& options, const LogOptions& log) {
  std::vector<PeerRegion> found;
  for (const auto& [peer, path] : peer_paths(options, log)) {
    if (auto known = peer_superblock(options, log, path)) found.push_back({peer, path, *known});
  }
  return found;
}

Result<void> expect_quorum_as_created(const EngineOptions& options, const LogOptions& log,
                                      const log::Membership& own,
                                      const std::vector<PeerRegion>& peers) {
  if (own.voters.empty()) return {};  // not admitted yet: it takes what the others have
  const std::string where = "log '" + log.name + "': ";
  const std::string path = region_path(options.directory, log.name);
  if (own.quorum != quorum_of(log)) {
    return fail(Code::invalid, where + "the configuration says " + quorum_text(quorum_of(log)) +
                                   ", " + path + " was created with " + quorum_text(own.quorum) +
                                   "; correct the configuration, it never changes");
  }
  for (const PeerRegion& peer : peers) {
    const log::Membership& theirs = peer.superblock.membership;
    if (theirs.view != own.view || theirs.quorum == own.quorum) continue;
    return fail(Code::invalid, where + peer.path + " was created with another quorum system than " +
                                   path + ": remove the one that is wrong, and create it anew " +
                                   "with the configuration of the other");
  }
  return {};
}

ReplicaSet others_of(const EngineOptions& options) {
  ReplicaSet others;
  for (const PeerOptions& peer : options.peers) others.add(peer.id);
  others.remove(options.replica);
  return others;
}

EngineOptions completed(EngineOptions options) {
  for (LogOptions& log : options.logs) {
    log.segment_bytes = segment_bytes_of(log);
    log.salvage_bytes = salvage_bytes_of(log);
    log.entry_bytes_max = entry_bytes_max_of(log);
  }
  std::sort(options.peers.begin(), options.peers.end(),
            [](const PeerOptions& a, const PeerOptions& b) { return a.id < b.id; });
  return options;
}

Result<void> expect_never_ran(const EngineOptions& options, const LogOptions& log) {
  for (const auto& [peer, path] : peer_paths(options, log)) {
    const std::string trace = trace_of(options, log, path);
    if (trace.empty()) continue;
    return fail(Code::amnesia,
                "replica " + std::to_string(options.replica.value) +
                    " may have run before: " + trace +
                    ". An empty replica would vote without knowing what it acknowledged: put " +
                    options.directory +
                    " back as it was, or go on without it; to begin anew, remove the data "
                    "directories of every replica");
  }
  return {};
}

Result<void> create_ground_with(const EngineOptions& options, const LogOptions& log,
                                const std::function<Result<void>(pmem::Region&)>& fill) {
  const std::string path = region_path(options.directory, log.name);
  const std::string unfinished = unfinished_path(path);
  if (const auto there = make_directory(std::filesystem::path(path).parent_path()); !there)
    return there;
  // Left by a creation that was cut short.
  if (const auto gone = forget(options, log, unfinished); !gone) return gone;
  if (!log.device.empty()) {
    if (const auto named = name_device(log.device, unfinished); !named) return named;
  }
  pmem::CreateOptions create;
  create.geometry = {log.ring_bytes, log.segment_bytes, log.salvage_bytes};
  create.persistence = choice_of(options);
  if (!log.device.empty()) create.spare_slots = 0;  // nothing is re-homed there
  auto made = pmem::FileRegion::create(unfinished, create);
  if (!made) {
    (void)forget(options, log, unfinished);  // if it cannot be now: by the next creation
    return tl::unexpected(made.error());
  }
  auto region = seam().region(std::move(*made), RegionUse::creation);
  if (const auto filled = fill(*region); !filled) {
    region.reset();
    (void)forget(options, log, unfinished);
    return fail(filled.error().code, path + ": " + filled.error().message);
  }
  region.reset();
  return name_for_good(unfinished, path);
}

Result<void> remove_ground(const EngineOptions& options, const LogOptions& log) {
  const std::string path = region_path(options.directory, log.name);
  for (const std::string& name : {unfinished_path(path), path}) {
    if (const auto gone = forget(options, log, name); !gone) return gone;
  }
  std::error_code ignored;
  std::filesystem::remove_all(std::filesystem::path(path).parent_path(), ignored);
  return {};
}

Result<void> create_ground(const EngineOptions& options, const LogOptions& log, uint64_t birth) {
  return create_ground_with(options, log, [&](pmem::Region& region) -> Result<void> {
    const LogIdentity identity{options.cluster, log.id};
    const Code code = birth == 0
                          ? replication::create_replica(region, identity, options.replica,
                                                        voters_of(options), quorum_of(log))
                          : replication::create_joiner(region, identity, options.replica, birth);
    if (code == Code::ok) return {};
    return fail(code, "the first entry and superblock cannot be written (" +
                          std::string(caisson::name(code)) + ")");
  });
}

Result<Ground> open_ground(const EngineOptions& options, const LogOptions& log,
                           const Adapter& adapter) {
  if (const auto there = expect_device_as_created(options, log); !there)
    return tl::unexpected(there.error());
  // Segments move where writers share memory with the ring's owner, nowhere else.
  const uint32_t spares = adapter == nullptr ? pmem::kSpareSlotsDefault : 0;
  auto region =
      pmem::FileRegion::open(region_path(options.directory, log.name), choice_of(options), spares);
  if (!region) return tl::unexpected(region.error());
  const pmem::Geometry& geometry = (*region)->geometry();
  if (geometry.ring_bytes != log.ring_bytes || geometry.segment_bytes != log.segment_bytes) {
    return fail(Code::invalid,
                "log '" + log.name +
                    "': the configuration says ring_bytes = " + std::to_string(log.ring_bytes) +
                    " and segment_bytes = " + std::to_string(log.segment_bytes) +
                    ", its region was created with " + std::to_string(geometry.ring_bytes) +
                    " and " + std::to_string(geometry.segment_bytes) +
                    "; correct the configuration, they never change");
  }
  if (adapter != nullptr) return verbs_ground(options, adapter, std::move(*region));
  transport::shm::ShmOptions shm;
  shm.self = options.replica;
  shm.peers = peer_paths(options, log);
  // Inline it is the application that promises to use one thread only: not for safety to rest on.
  shm.one_thread = !options.inline_poller;
  auto endpoint = std::make_unique<transport::shm::ShmEndpoint>(**region, shm);
  Ground ground;
  ground.upkeep = std::make_unique<ShmUpkeep>(**region, *endpoint, others_of(options));
  ground.upkeep->run();  // peers that do not exist yet are mapped later
  ground.region = seam().region(std::move(*region), RegionUse::replica);
  ground.endpoint = seam().endpoint(std::move(endpoint), *ground.region);
  return ground;
}

Result<NodeGround> open_node_ground(const EngineOptions& options, const NodeLock& lock,
                                    std::function<void(const Error&)> tell) {
  if (options.fabric == FabricKind::verbs) return verbs_node_ground(options, lock, tell);
  transport::shm::HeartbeatOptions beats;
  transport::shm::PostboxOptions post;
  beats.own_path = heartbeat_path(options.directory);
  post.own_path = post_path(options.directory);
  post.self = options.replica;
  for (const PeerOptions& peer : options.peers) {
    if (peer.id == options.replica) continue;
    beats.peers[peer.id] = heartbeat_path(peer.directory);
    post.peers[peer.id] = post_path(peer.directory);
  }
  auto heartbeats = transport::shm::ShmHeartbeats::open(beats);
  if (!heartbeats) return tl::unexpected(heartbeats.error());
  auto postbox = transport::shm::ShmPostbox::open(post);
  if (!postbox) return tl::unexpected(postbox.error());
  NodeGround node;
  node.look_after = [files = std::make_shared<NodeFiles>(options, lock, **heartbeats, **postbox,
                                                         std::move(tell))] { files->look_after(); };
  node.look_after();
  node.heartbeats = seam().heartbeats(std::move(*heartbeats));
  node.postbox = seam().postbox(std::move(*postbox));
  return node;
}

}  // namespace caisson::engine
