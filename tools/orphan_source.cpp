// SPDX-License-Identifier: BSD-3-Clause
#include "tools/orphan_source.hpp"

#include "core/replication/replica.hpp"
#include "tools/verify.hpp"

namespace caisson::tools {

namespace {

constexpr std::chrono::milliseconds kCallTimeout{5'000};
// As many as any log remembers (see replication::ReplicaOptions).
const uint32_t kStreamsMax = replication::ReplicaOptions{}.streams_max;
const uint32_t kStreamWindow = replication::ReplicaOptions{}.stream_window;

class NodeSource final : public OrphanSource {
 public:
  NodeSource(const Cluster& cluster, const std::string& log, ReplicaId replica)
      : links_(cluster, log), replica_(replica) {}
  Result<void> connect() {
    const auto link = links_.node(replica_, kCallTimeout);
    if (!link) return tl::unexpected(link.error());
    log_ = (*link)->log();
    return {};
  }

  ReplicaId replica() const override { return replica_; }
  uint64_t log_id() const override { return log_; }

  Result<Orphans> records() override {
    auto answer = ask<protocol::OrphanRecords>(protocol::OrphansOf{log_, 0, {}, false});
    if (!answer) return tl::unexpected(answer.error());
    return std::move(answer->all);
  }

  Result<void> discard(uint64_t record) override {
    const auto done = ask<protocol::Done>(protocol::DiscardOrphans{log_, record});
    if (!done) return tl::unexpected(done.error());
    const std::string who =
        "record " + std::to_string(record) + " of replica " + std::to_string(replica_.value);
    switch (done->code) {
      case Code::ok: return {};
      case Code::not_found:
        return fail(Code::not_found, who + " is not there: it was resubmitted or discarded before");
      case Code::not_yet:
        return fail(Code::not_yet, who +
                                       " is undecided: the replica has fallen back on these "
                                       "entries; ask again when it follows a leader");
      default: return fail(done->code, who + ": " + std::string(caisson::name(done->code)));
    }
  }

 private:
  // A link that broke while it was idle is made anew once.
  template <class Answer>
  Result<Answer> ask(const protocol::RequestBody& body) {
    for (int attempt = 0;; ++attempt) {
      const auto link = links_.node(replica_, kCallTimeout);
      if (!link) return tl::unexpected(link.error());
      auto answer = (*link)->call<Answer>(body, kCallTimeout);
      if (answer || answer.error().code != Code::closed || attempt > 0) return answer;
      links_.drop(replica_);
    }
  }

  Result<replication::OrphanPage> page(uint64_t record, const log::Cursor& from,
                                       OrphanPayloads payloads) override {
    auto answer = ask<protocol::OrphanEntries>(
        protocol::OrphansOf{log_, record, from, payloads == OrphanPayloads::copied});
    if (!answer) return tl::unexpected(answer.error());
    return replication::OrphanPage{std::move(answer->entries), answer->next, answer->last,
                                   answer->damaged};
  }

  NodeLinks links_;
  ReplicaId replica_;
  uint64_t log_ = 0;
};

class FileSource final : public OrphanSource {
 public:
  FileSource(std::unique_ptr<const pmem::Region> region, const log::Superblock& superblock)
      : region_(std::move(region)),
        superblock_(superblock),
        log_(superblock.identity, log::Ring(region_->ring_data(), superblock.ring_bytes),
             kStreamsMax, kStreamWindow),
        records_(replication::read_salvage(region_->salvage())) {
    log_.reset(superblock.trim, {superblock.view_position, superblock.membership});
    const log::Scan found = log::scan(log_);
    committed_ = std::min(std::max(found.hinted, superblock.committed), log_.batch_tail().position);
  }

  ReplicaId replica() const override { return superblock_.replica; }
  uint64_t log_id() const override { return superblock_.identity.log; }

  Result<Orphans> records() override {
    Orphans all;
    for (const auto& record : records_) all.records.push_back(replication::describe(record));
    all.area_bytes = region_->salvage().size();
    return all;
  }

  Result<void> discard(uint64_t) override {
    return fail(Code::unsupported,
                "a region file is only read here; start its replica, and name it with --dir and "
                "--replica");
  }

 private:
  Result<replication::OrphanPage> page(uint64_t record, const log::Cursor& from,
                                       OrphanPayloads payloads) override {
    replication::OrphanPageLimits limits;
    limits.payloads = payloads;
    for (const replication::SalvageRecord& each : records_) {
      if (each.slot.id != record) continue;
      return replication::read_orphans(each, from == log::Cursor{} ? each.before() : from, limits,
                                       log_, committed_);
    }
    return fail(Code::not_found, "the region holds no record " + std::to_string(record));
  }

  std::unique_ptr<const pmem::Region> region_;
  log::Superblock superblock_;
  log::LogState log_;
  std::vector<replication::SalvageRecord> records_;
  Position committed_;
};

}  // namespace

Result<bool> OrphanSource::walk(uint64_t record, OrphanPayloads payloads, const Visit& visit) {
  log::Cursor from;
  for (;;) {
    const auto got = page(record, from, payloads);
    if (!got) return tl::unexpected(got.error());
    for (const OrphanEntry& entry : got->entries) {
      const auto more = visit(entry);
      if (!more) return more;
      if (!*more) return true;
    }
    if (got->last) return !got->damaged;
    from = got->next;
  }
}

Result<std::unique_ptr<OrphanSource>> orphans_of_node(const Cluster& cluster,
                                                      const std::string& log, ReplicaId replica) {
  auto source = std::make_unique<NodeSource>(cluster, log, replica);
  if (const auto connected = source->connect(); !connected) {
    return tl::unexpected(connected.error());
  }
  return source;
}

Result<std::unique_ptr<OrphanSource>> orphans_of_file(const std::filesystem::path& path) {
  const auto file = find_region_file(path);
  if (!file) return tl::unexpected(file.error());
  auto region = open_offline(*file);
  if (!region) return tl::unexpected(region.error());
  const auto bytes = (*region)->read_superblock();
  if (!bytes) return tl::unexpected(bytes.error());
  const auto superblock = log::decode_superblock(*bytes);
  if (!superblock) return tl::unexpected(superblock.error());
  return std::make_unique<FileSource>(std::move(*region), *superblock);
}

std::string_view name(OrphanFate fate) {
  switch (fate) {
    case OrphanFate::absent: return "absent";
    case OrphanFate::present: return "present";
    case OrphanFate::replaced: return "replaced";
    case OrphanFate::unknown: return "unknown";
  }
  return "unknown";
}

}  // namespace caisson::tools
