// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/engine_backup.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "core/engine/config.hpp"
#include "core/engine/engine_directory.hpp"
#include "core/engine/engine_parts.hpp"
#include "core/engine/engine_seam.hpp"
#include "core/log/log_state.hpp"
#include "core/log/superblock_format.hpp"
#include "core/log/view_entry.hpp"
#include "core/replication/context.hpp"
#include "core/replication/recovery.hpp"
#include "pmem/file_region.hpp"
#include "pmem/peer_mapping.hpp"

namespace caisson::engine {

namespace {

namespace fs = std::filesystem;

constexpr int kAttempts = 20;
constexpr uint64_t kCopyBytes = uint64_t{1} << 20;
constexpr uint64_t kSalvageBytes = 64 << 10;  // a region has to have some

ClusterUuid inverted(ClusterUuid uuid) {
  for (uint8_t& byte : uuid) byte = static_cast<uint8_t>(~byte);
  return uuid;
}

// A run of entries that chain.
struct Run {
  log::Cursor end;  // the last batch end that is committed
  uint64_t entries = 0;
  Position committed;
  std::optional<log::Membership> view;  // the last one among them
};

// From `from` on, up to the last batch end that the entries themselves, or `committed`, say is
// committed.
Run walk(const log::Ring& ring, const log::Cursor& from, Position committed) {
  Run run{from, 0, committed, std::nullopt};
  std::vector<log::Cursor> batch_ends;  // not known to be committed yet
  log::Cursor cursor = from;
  for (;;) {
    const log::Step next = log::step(ring, cursor, from.end + ring.bytes());
    if (next.reason != log::Break::none) break;
    if (static_cast<log::Kind>(next.header.kind) == log::Kind::view) {
      if (auto view = log::decode_view(log::payload(ring, cursor.end, next.header))) {
        run.view = *view;
      }
    }
    cursor = next.next;
    run.committed = std::max(run.committed, log::commit_hint(next.header));
    if ((next.header.flags & log::kFlagBatchEnd) != 0) batch_ends.push_back(cursor);
    auto behind = std::find_if(batch_ends.begin(), batch_ends.end(), [&](const log::Cursor& end) {
      return end.position > run.committed;
    });
    if (behind != batch_ends.begin()) run.end = *std::prev(behind);
    batch_ends.erase(batch_ends.begin(), behind);
  }
  run.entries = run.end.position - from.position;
  return run;
}

void copy_ring(const log::Ring& from, Offset begin, Offset end, pmem::Region& to) {
  for (Offset at = begin; at < end;) {
    const uint64_t n = std::min({kCopyBytes, end - at, from.bytes()});
    to.store_ring(at, from.at(at), n);
    at = at + n;
  }
  to.persist_ring(begin, end - begin);
}

BackupReport report_of(const log::Superblock& superblock, const Run& run) {
  // Every view of a log has the same; who was not admitted by its superblock's knows none.
  const log::Membership& view = run.view ? *run.view : superblock.membership;
  return {{inverted(superblock.identity.cluster), superblock.identity.log},
          superblock.trim.position,
          run.end.position,
          run.end.position - superblock.trim.position,
          run.end.end - superblock.trim.end,
          superblock.ring_bytes,
          view.quorum};
}

Result<BackupReport> copy_once(const EngineOptions& options, const LogOptions& log,
                               const std::string& file) {
  const std::string source = region_path(options.directory, log.name);
  const auto superblock = peer_superblock(options, log, source);
  if (!superblock) {
    return fail(Code::amnesia, source + " is missing, or holds no replica of log '" + log.name +
                                   "' of this cluster");
  }
  auto mapping = pmem::PeerMapping::open(source, Persistence::emulated);
  if (!mapping) return tl::unexpected(mapping.error());
  const pmem::Geometry geometry = (*mapping)->geometry();
  const log::Ring ring((*mapping)->ring_data(), geometry.ring_bytes);
  const Run run = walk(ring, superblock->trim, superblock->committed);
  if (run.end.position < superblock->committed) {
    return fail(Code::again, source + ": the entries end at position " +
                                 std::to_string(run.end.position.value) + ", and " +
                                 std::to_string(superblock->committed.value) + " is committed");
  }
  pmem::CreateOptions create;
  create.geometry = {geometry.ring_bytes, geometry.segment_bytes, kSalvageBytes};
  auto made = pmem::FileRegion::create(file, create);
  if (!made) return tl::unexpected(made.error());
  const auto copy = seam().region(std::move(*made), RegionUse::backup);
  copy_ring(ring, superblock->trim.end, run.end.end, *copy);
  // The original goes on meanwhile: what counts is what arrived.
  const Run arrived =
      walk(log::Ring(copy->ring_data(), geometry.ring_bytes), superblock->trim, run.end.position);
  if ((*mapping)->poisoned()) {
    return fail(Code::damaged, source +
                                   ": a page of it cannot be read any more (memory poison, or "
                                   "the file was cut short): back up another replica");
  }
  if (arrived.end != run.end) {
    return fail(Code::again, source + " was trimmed while it was being copied");
  }
  log::Superblock sealed = *superblock;
  sealed.identity.cluster = inverted(sealed.identity.cluster);
  sealed.incarnation = {};
  sealed.promised = {};
  sealed.promise_nonce = sealed.birth = sealed.salvage_bytes = 0;
  sealed.damaged_through = {};
  sealed.validated = run.end;
  sealed.committed = run.end.position;
  sealed.applied = sealed.trim.position;
  if (const Code code = copy->write_superblock(log::encode(sealed), pmem::Region::Slots::both);
      code != Code::ok) {
    return fail(code, file + ": the superblock cannot be written");
  }
  return report_of(sealed, arrived);
}

// A backup that was opened, and is whole.
struct Whole {
  std::unique_ptr<const pmem::FileRegion> region;
  log::Superblock superblock;
  log::Ring ring;
  BackupReport report;
};

Result<Whole> open_backup(const std::string& file) {
  auto region = pmem::FileRegion::open_read_only(file);
  if (!region) return tl::unexpected(region.error());
  const auto bytes = (*region)->read_superblock();
  if (!bytes) return tl::unexpected(bytes.error());
  const auto superblock = log::decode_superblock(*bytes);
  if (!superblock) return tl::unexpected(superblock.error());
  const bool sealed = superblock->incarnation == Incarnation{} && superblock->promised == Term{} &&
                      superblock->committed == superblock->validated.position &&
                      superblock->ring_bytes == (*region)->geometry().ring_bytes;
  if (!sealed) return fail(Code::invalid, file + " is a replica's region, and no backup");
  const log::Ring ring((*region)->ring_data(), superblock->ring_bytes);
  const Run run = walk(ring, superblock->trim, superblock->committed);
  if (run.end != superblock->validated) {
    return fail(Code::damaged, file + ": the entries end at position " +
                                   std::to_string(run.end.position.value) + " of " +
                                   std::to_string(superblock->validated.position.value) +
                                   ": this copy is damaged, use another one");
  }
  return Whole{std::move(*region), *superblock, ring, report_of(*superblock, run)};
}

// The entries of a backup, chained anew under another identity.
class Rewriter {
 public:
  Rewriter(const LogIdentity& identity, const log::Superblock& from, pmem::Region& to)
      : to_(to), cursor_(from.trim) {
    // A log that begins behind its origin has no chain value of its own to begin with.
    cursor_.chain = log::chain_seed(identity);
    if (cursor_.position != Position{}) {
      cursor_.chain = log::crc32c_u64(cursor_.chain, cursor_.position.value);
    }
  }

  void put(log::EntryHeader header, std::span<const std::byte> payload) {
    log::seal_header(header, cursor_.chain,
                     log::crc32c(log::kCrcSeed, payload.data(), payload.size()));
    const uint64_t bytes = log::entry_bytes(payload.size());
    entry_.assign(bytes, std::byte{0});
    std::memcpy(entry_.data(), &header, sizeof header);
    if (!payload.empty()) {
      std::memcpy(entry_.data() + sizeof header, payload.data(), payload.size());
    }
    store(entry_,
          {Position{header.position}, cursor_.end + bytes, Term{header.term}, header.chain});
  }
  // What names the founders of the new cluster: the same on each of them.
  void put(const log::Membership& founders) {
    const ReplicaId first{static_cast<uint8_t>(__builtin_ctzll(founders.voters.bits))};
    const Term term = replication::term_above(cursor_.term, first);
    const log::ViewEntry entry = log::view_entry(cursor_, founders, term);
    store(entry.bytes, entry.behind);
  }
  const log::Cursor& cursor() const { return cursor_; }

 private:
  void store(std::span<const std::byte> entry, const log::Cursor& behind) {
    to_.store_ring(cursor_.end, entry.data(), entry.size());
    to_.persist_ring(cursor_.end, entry.size());
    cursor_ = behind;
  }

  pmem::Region& to_;
  log::Cursor cursor_;
  std::vector<std::byte> entry_;
};

Result<void> fill(const EngineOptions& options, const LogOptions& log, const Whole& backup,
                  pmem::Region& region) {
  const LogIdentity identity{options.cluster, log.id};
  Rewriter rewriter(identity, backup.superblock, region);
  log::Superblock next = backup.superblock;
  next.trim.chain = rewriter.cursor().chain;
  View last = next.membership.view;
  log::Cursor read = backup.superblock.trim;
  while (read != backup.superblock.validated) {
    const log::Step step = log::step(backup.ring, read, backup.superblock.validated.end);
    if (step.reason != log::Break::none) return fail(Code::damaged, "the backup has changed");
    const auto payload = log::payload(backup.ring, read.end, step.header);
    if (static_cast<log::Kind>(step.header.kind) == log::Kind::view) {
      if (const auto view = log::decode_view(payload)) last = view->view;
    }
    rewriter.put(step.header, payload);
    read = step.next;
  }
  log::Membership founders;
  founders.view = replication::decreed_after(last);
  founders.voters = voters_of(options);
  founders.quorum = backup.report.quorum;
  rewriter.put(founders);
  next.identity = identity;
  next.replica = options.replica;
  next.ring_bytes = region.geometry().ring_bytes;
  next.recovered = {};
  next.membership.quorum = founders.quorum;
  next.validated = rewriter.cursor();
  next.committed = next.validated.position;
  next.promised = next.validated.term;
  const Code code = region.write_superblock(log::encode(next), pmem::Region::Slots::both);
  if (code != Code::ok) return fail(code, "the superblock cannot be written");
  return {};
}

}  // namespace

Result<BackupReport> backup_log(const EngineOptions& options, const LogOptions& log,
                                const std::string& file) {
  std::error_code ignored;
  if (fs::exists(file, ignored)) {
    return fail(Code::exists, file + " is there already: name another directory");
  }
  Result<BackupReport> made;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    made = copy_once(options, log, file);
    if (made) return made;
    fs::remove(file, ignored);
    if (made.error().code != Code::again) return made;
  }
  return fail(Code::damaged, made.error().message +
                                 "; the replica is damaged (caisson log verify), or trimmed faster "
                                 "than it can be copied: take another one, or try again");
}

Position committed_in_file(const EngineOptions& options, const LogOptions& log) {
  const auto superblock = peer_superblock(options, log, region_path(options.directory, log.name));
  return superblock ? superblock->committed : Position{};
}

Result<BackupReport> verify_backup(const std::string& file) {
  const auto backup = open_backup(file);
  if (!backup) return tl::unexpected(backup.error());
  return backup->report;
}

Result<void> expect_quorum_of(const BackupReport& backup, const LogOptions& log,
                              const std::string& file) {
  if (backup.quorum == quorum_of(log)) return {};
  const std::string theirs = quorum_text(backup.quorum);
  return fail(Code::invalid, "log '" + log.name + "': the log that was copied to " + file +
                                 " was created with " + theirs + ", the configuration says " +
                                 quorum_text(quorum_of(log)) +
                                 ". A quorum system never changes: write " + theirs +
                                 " into the configuration of every node");
}

Result<BackupReport> restore_log(const EngineOptions& wanted, const LogOptions& named,
                                 const std::string& file) {
  if (const auto checked = check(wanted); !checked) return tl::unexpected(checked.error());
  const EngineOptions options = completed(wanted);
  const auto found = std::find_if(options.logs.begin(), options.logs.end(),
                                  [&](const LogOptions& log) { return log.name == named.name; });
  if (found == options.logs.end()) {
    return fail(Code::not_found, "the configuration has no log '" + named.name + "'");
  }
  const auto backup = open_backup(file);
  if (!backup) return tl::unexpected(backup.error());
  const BackupReport& report = backup->report;
  if (report.original.cluster == options.cluster) {
    return fail(Code::wrong_cluster,
                "a restored log needs a cluster of its own: cluster.uuid is the original's, and a "
                "clone must never pose as the original. Choose another one");
  }
  if (const auto same = expect_quorum_of(report, *found, file); !same) {
    return tl::unexpected(same.error());
  }
  // With room to go on, and to trim: see docs/design.md on checkpoints.
  if (report.bytes + found->ring_bytes / 8 > found->ring_bytes) {
    return fail(Code::too_large, "log '" + found->name + "': a ring of " +
                                     bytes_text(found->ring_bytes) + " is too small for " +
                                     bytes_text(report.bytes) +
                                     " of entries, and room to go on: choose a larger one");
  }
  if (const auto there = make_directory(options.directory); !there) {
    return tl::unexpected(there.error());
  }
  const auto lock = NodeLock::take(options.directory);
  if (!lock) return tl::unexpected(lock.error());
  const std::string path = region_path(options.directory, found->name);
  if (file_exists(path)) {
    return fail(Code::exists, path + " is there: a log is restored into nothing");
  }
  if (const auto never = expect_never_ran(options, *found); !never) {
    return tl::unexpected(never.error());
  }
  const auto made = create_ground_with(options, *found, [&](pmem::Region& region) {
    return fill(options, *found, *backup, region);
  });
  if (!made) return tl::unexpected(made.error());
  return report;
}

}  // namespace caisson::engine
