// SPDX-License-Identifier: BSD-3-Clause
// `salvage`: what was displaced, and waits for somebody to decide (R15).
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>

#include "tools/command.hpp"
#include "tools/encoding.hpp"
#include "tools/files.hpp"
#include "tools/options.hpp"
#include "tools/orphan_source.hpp"
#include "tools/resubmission.hpp"

namespace caisson::tools {

namespace {

struct SalvageOptions {
  LogChoice choice;
  std::string file;
  unsigned replica = 0;
  uint64_t record = 0;
  uint64_t shown = 10;
  bool all = false;
  bool again = false;
  bool missing = false;
  std::string out;
  double timeout_s = 60;
  Framing framing = Framing::lines;
};

ReplicaId id_of(unsigned number) { return ReplicaId{static_cast<uint8_t>(number)}; }

// ---- What there is -----------------------------------------------------------------------------

struct Tally {
  uint64_t entries = 0;
  uint64_t data = 0;
  uint64_t payload_bytes = 0;
  uint64_t fates[4] = {};
  Position first;
  Position last;
  Json terms = Json::array();

  void add(const OrphanEntry& entry) {
    ++entries;
    if (first == Position{}) first = entry.position;
    last = entry.position;
    if (terms.empty() || terms.back() != entry.term.value) terms.push_back(entry.term.value);
    if (!entry.data) return;
    ++data;
    payload_bytes += entry.payload_bytes;
    ++fates[static_cast<size_t>(entry.fate)];
  }
  uint64_t of(OrphanFate fate) const { return fates[static_cast<size_t>(fate)]; }
};

Json again_of(const OrphanEntry& entry) {
  return entry.again == Position{} ? Json(nullptr) : Json(entry.again.value);
}

Json entry_object(const OrphanEntry& entry) {
  return {{"position", entry.position.value},
          {"term", entry.term.value},
          {"data", entry.data},
          {"batch_end", entry.batch_end},
          {"client", entry.identity.client},
          {"incarnation", entry.identity.incarnation},
          {"sequence", entry.identity.sequence},
          {"payload_bytes", entry.payload_bytes},
          {"fate", entry.data ? Json(name(entry.fate)) : Json(nullptr)},
          {"again_position", again_of(entry)}};
}

std::string fate_text(const OrphanEntry& entry) {
  if (!entry.data) return "caisson's own";
  switch (entry.fate) {
    case OrphanFate::absent: return "not in the log";
    case OrphanFate::present: return "in the log again at " + std::to_string(entry.again.value);
    case OrphanFate::replaced:
      return "not in the log: other bytes under its number at " + std::to_string(entry.again.value);
    case OrphanFate::unknown: return "may be in the log again: nobody can tell here";
  }
  return "";
}

void print_entry(const OrphanEntry& entry) {
  std::printf("      %10" PRIu64 "  term %-6" PRIu64 " %016" PRIx64 "/%u/%-8" PRIu64 " %8u B  %s\n",
              entry.position.value, entry.term.value, entry.identity.client,
              entry.identity.incarnation, entry.identity.sequence, entry.payload_bytes,
              fate_text(entry).c_str());
}

void print_record(const OrphanRecord& record, const Tally& tally) {
  std::printf("    record %" PRIu64 ": positions %" PRIu64 " to %" PRIu64
              ", displaced in term %" PRIu64 "; %" PRIu64 " entries, %" PRIu64
              " of them data (%s)%s\n",
              record.id, tally.first.value, tally.last.value, record.sealed_by.value, tally.entries,
              tally.data, human_bytes(static_cast<double>(tally.payload_bytes)).c_str(),
              record.damaged ? "; damaged: what follows cannot be read" : "");
  std::printf("      %" PRIu64 " not in the log, %" PRIu64 " in the log again, %" PRIu64
              " replaced, %" PRIu64 " unknown\n",
              tally.of(OrphanFate::absent), tally.of(OrphanFate::present),
              tally.of(OrphanFate::replaced), tally.of(OrphanFate::unknown));
}

Result<Json> list_record(OrphanSource& source, OrphanRecord& record, uint64_t shown, bool json) {
  Tally tally;
  Json entries = Json::array();
  std::vector<OrphanEntry> first;
  const auto whole = source.walk(record.id, OrphanPayloads::left_out,
                                 [&](const OrphanEntry& entry) -> Result<bool> {
                                   tally.add(entry);
                                   if (json) entries.push_back(entry_object(entry));
                                   if (!json && first.size() < shown) first.push_back(entry);
                                   return true;
                                 });
  if (!whole) return tl::unexpected(whole.error());
  record.damaged |= !*whole;
  if (!json) {
    print_record(record, tally);
    for (const OrphanEntry& entry : first) print_entry(entry);
    if (tally.entries > first.size()) {
      std::printf("      … %" PRIu64 " more: --entries N, or --json\n",
                  tally.entries - first.size());
    }
  }
  return Json{{"record", record.id},
              {"first_position", tally.first.value},
              {"last_position", tally.last.value},
              {"terms", tally.terms},
              {"sealed_by", record.sealed_by.value},
              {"damaged", record.damaged},
              {"data_entries", tally.data},
              {"payload_bytes", tally.payload_bytes},
              {"absent", tally.of(OrphanFate::absent)},
              {"present", tally.of(OrphanFate::present)},
              {"replaced", tally.of(OrphanFate::replaced)},
              {"unknown", tally.of(OrphanFate::unknown)},
              {"entries", entries}};
}

Result<Json> list_source(OrphanSource& source, const SalvageOptions& options, bool json) {
  auto all = source.records();
  if (!all) return tl::unexpected(all.error());
  if (!json) {
    std::printf("  replica %u: %zu records%s\n", unsigned{source.replica().value},
                all->records.size(),
                all->full ? "; no room for more: it follows nobody until some are resubmitted or "
                            "discarded"
                          : "");
  }
  Json records = Json::array();
  for (OrphanRecord& record : all->records) {
    if (options.record != 0 && record.id != options.record) continue;
    auto one = list_record(source, record, options.shown, json);
    if (!one && one.error().code == Code::not_found) continue;  // somebody was faster
    if (!one) return one;
    records.push_back(std::move(*one));
  }
  return Json{{"replica", source.replica().value},
              {"area_bytes", all->area_bytes},
              {"full", all->full},
              {"records", std::move(records)}};
}

Exit list_file(const SalvageOptions& options, bool json) {
  const auto source = orphans_of_file(options.file);
  if (!source) return report(source.error(), json);
  if (!json) std::printf("log %" PRIu64 " in %s\n", (*source)->log_id(), options.file.c_str());
  const auto one = list_source(**source, options, json);
  if (!one) return report(one.error(), json);
  if (json) {
    print_json({{"ok", true},
                {"file", options.file},
                {"logs", {{{"log_id", (*source)->log_id()}, {"replicas", {*one}}}}}});
  }
  return Exit::ok;
}

// Those that do not answer are named; that nobody does is an error.
Result<Json> list_log(const Cluster& cluster, const std::string& log, const SalvageOptions& options,
                      bool json) {
  if (!json) std::printf("log %s\n", log.c_str());
  Json replicas = Json::array();
  std::optional<Error> problem;
  bool answered = false;
  for (const ClusterReplica& replica : cluster.replicas) {
    if (options.replica != 0 && replica.id != id_of(options.replica)) continue;
    const auto source = orphans_of_node(cluster, log, replica.id);
    auto one = source ? list_source(**source, options, json)
                      : Result<Json>(tl::unexpected(source.error()));
    answered |= one.has_value();
    if (!one) {
      problem = one.error();
      if (!json && options.replica == 0) {
        std::printf("  replica %u: %s\n", unsigned{replica.id.value}, problem->message.c_str());
      }
      one = Json{{"replica", replica.id.value}, {"problem", problem->message}};
    }
    replicas.push_back(std::move(*one));
  }
  if (!answered && problem) return tl::unexpected(*problem);
  return Json{{"log", log}, {"replicas", std::move(replicas)}};
}

Exit run_list(const SalvageOptions& options, bool json) {
  if (options.file.empty() == options.choice.directory.empty()) {
    return report_usage("name a cluster with --dir, or a stopped replica's region with --file",
                        json);
  }
  if (!options.file.empty()) return list_file(options, json);
  const auto cluster = load_cluster(options.choice.directory);
  if (!cluster) return report(cluster.error(), json);
  if (options.replica != 0) {
    if (const auto known = cluster->replica(id_of(options.replica)); !known) {
      return report(known.error(), json);
    }
  }
  const auto only = cluster->log(options.choice.log);
  if (!only) return report(only.error(), json);
  Json logs = Json::array();
  for (const ClusterLog& log : cluster->logs) {
    if (!options.choice.log.empty() && log.name != (*only)->name) continue;
    auto one = list_log(*cluster, log.name, options, json);
    if (!one) return report(one.error(), json);
    logs.push_back(std::move(*one));
  }
  if (json) print_json({{"ok", true}, {"logs", std::move(logs)}});
  return Exit::ok;
}

// ---- Export ------------------------------------------------------------------------------------

bool missing(const OrphanEntry& entry) {
  return entry.fate == OrphanFate::absent || entry.fate == OrphanFate::replaced;
}

Result<bool> write_record(OrphanSource& source, uint64_t record, const SalvageOptions& options,
                          FrameWriter& writer, bool json) {
  return source.walk(record, OrphanPayloads::copied, [&](const OrphanEntry& entry) -> Result<bool> {
    if (!entry.data || (options.missing && !missing(entry))) return true;
    Result<void> written;
    if (json) {
      Json row = entry_object(entry);
      row["record"] = record;
      add_payload(row, entry.payload);
      written = writer.write_raw(
          row.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    } else {
      written = writer.write(entry.payload);
    }
    if (!written) return tl::unexpected(written.error());
    return true;
  });
}

Result<void> write_all(OrphanSource& source, const SalvageOptions& options, int fd, bool json) {
  const auto all = source.records();
  if (!all) return tl::unexpected(all.error());
  FrameWriter writer(fd, options.framing,
                     options.out.empty() ? "standard output" : "'" + options.out + "'");
  bool found = options.record == 0;
  bool whole = true;
  for (const OrphanRecord& record : all->records) {
    if (options.record != 0 && record.id != options.record) continue;
    found = true;
    const auto written = write_record(source, record.id, options, writer, json);
    if (!written) return tl::unexpected(written.error());
    whole &= *written;
  }
  if (const auto flushed = writer.flush(); !flushed) return flushed;
  if (!found) {
    return fail(Code::not_found, "there is no record " + std::to_string(options.record) +
                                     ": it was resubmitted or discarded, or never was");
  }
  if (!whole) return fail(Code::damaged, "a record is damaged: what could be read was exported");
  return {};
}

// The node, or the file, that one replica's records are to be had from.
Result<std::unique_ptr<OrphanSource>> chosen_source(const SalvageOptions& options) {
  if (!options.file.empty()) return orphans_of_file(options.file);
  const auto cluster = load_cluster(options.choice.directory);
  if (!cluster) return tl::unexpected(cluster.error());
  const auto log = cluster->log(options.choice.log);
  if (!log) return tl::unexpected(log.error());
  return orphans_of_node(*cluster, (*log)->name, id_of(options.replica));
}

Exit run_export(const SalvageOptions& options, bool json) {
  if (options.file.empty() == options.choice.directory.empty()) {
    return report_usage("name a cluster with --dir, or a stopped replica's region with --file",
                        json);
  }
  if (options.file.empty() && options.replica == 0) {
    return report_usage("--replica says whose records are meant; see caisson salvage list", json);
  }
  const auto source = chosen_source(options);
  if (!source) return report(source.error(), json);
  if (options.out.empty()) {
    const auto written = write_all(**source, options, STDOUT_FILENO, json);
    return written ? Exit::ok : report(written.error(), json);
  }
  const int fd = open(options.out.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    return report(system_error("'" + options.out + "' cannot be made", errno), json);
  }
  auto written = write_all(**source, options, fd, json);
  if (fsync(fd) != 0 && written) {
    written = tl::unexpected(system_error("'" + options.out + "' cannot be written", errno));
  }
  close(fd);
  if (written) return Exit::ok;
  unlink(options.out.c_str());  // half of it would be taken for all of it
  return report(written.error(), json);
}

// ---- Resubmit, discard -------------------------------------------------------------------------

Exit run_resubmit(const SalvageOptions& options, bool json) {
  const auto cluster = load_cluster(options.choice.directory);
  if (!cluster) return report(cluster.error(), json);
  const auto log = cluster->log(options.choice.log);
  if (!log) return report(log.error(), json);
  const auto source = orphans_of_node(*cluster, (*log)->name, id_of(options.replica));
  if (!source) return report(source.error(), json);
  ResubmissionOptions how;
  how.log = (*log)->name;
  how.again = options.again;
  how.timeout = milliseconds_of(options.timeout_s);
  Resubmission resubmission(*cluster, **source, how);
  if (const auto done = resubmission.run(options.record); !done) return report(done.error(), json);
  const auto position = [](Position at) {
    return at == Position{} ? Json(nullptr) : Json(at.value);
  };
  if (json) {
    print_json({{"ok", true},
                {"record", options.record},
                {"entries", resubmission.entries()},
                {"appended", resubmission.appended()},
                {"first_position", position(resubmission.first())},
                {"last_position", position(resubmission.last())}});
  } else {
    std::printf("record %" PRIu64 ": %" PRIu64 " entries, %" PRIu64
                " of them appended now; the record is discarded\n",
                options.record, resubmission.entries(), resubmission.appended());
  }
  return Exit::ok;
}

Exit run_discard(const SalvageOptions& options, bool json) {
  if ((options.record != 0) == options.all) {
    return report_usage("name a --record, or say --all", json);
  }
  const auto source = chosen_source(options);
  if (!source) return report(source.error(), json);
  std::vector<uint64_t> ids{options.record};
  if (options.all) {
    const auto all = (*source)->records();
    if (!all) return report(all.error(), json);
    ids.clear();
    for (const OrphanRecord& record : all->records) ids.push_back(record.id);
  }
  Json discarded = Json::array();
  for (const uint64_t id : ids) {
    if (const auto done = (*source)->discard(id); !done) return report(done.error(), json);
    discarded.push_back(id);
  }
  if (json) {
    print_json({{"ok", true}, {"replica", options.replica}, {"discarded", discarded}});
  } else {
    std::printf("%zu discarded\n", ids.size());
  }
  return Exit::ok;
}

// ---- The command line --------------------------------------------------------------------------

CLI::Option* add_replica(CLI::App* command, SalvageOptions& options, const char* what) {
  return command->add_option("--replica", options.replica, what)->check(CLI::Range(1, 63));
}

CLI::Option* add_record(CLI::App* command, SalvageOptions& options, const char* what) {
  return command->add_option("--record", options.record, what)
      ->check(CLI::Range(uint64_t{1}, UINT64_MAX));
}

void add_file(CLI::App* command, SalvageOptions& options) {
  add_directory(command, options.choice.directory)->required(false);
  command->add_option("--file", options.file,
                      "instead of a cluster: a stopped replica's region file, or its directory");
}

void add_list(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<SalvageOptions>();
  CLI::App* command = commands.add(
      group, "list", "the entries that the log goes on without, and whether it holds them again",
      "  caisson salvage list --dir D\n"
      "  caisson salvage list --dir D --replica 1 --json\n"
      "  caisson salvage list --file D/replica-1/data\n\n"
      "A record stays listed until it is resubmitted or discarded, and is never listed again.\n",
      options, run_list);
  add_file(command, *options);
  command->add_option("--log", options->choice.log, "only this one; else every log");
  add_replica(command, *options, "only this one's; else everybody's");
  add_record(command, *options, "only this one");
  command->add_option("--entries", options->shown, "entries shown of each record, for people")
      ->capture_default_str();
}

void add_export(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<SalvageOptions>();
  CLI::App* command = commands.add(
      group, "export", "write their payloads out, as `read` does",
      "  caisson salvage export --dir D --replica 1 --record 1 > FILE\n"
      "  caisson salvage export --dir D --replica 1 --missing --frame length32 --out FILE\n"
      "  caisson salvage export --file D/replica-1/data --json\n\n"
      "Changes nothing. With --json: one object an entry.\n",
      options, run_export);
  add_file(command, *options);
  command->add_option("--log", options->choice.log, "name; the cluster's first log if not given");
  add_replica(command, *options, "whose");
  add_record(command, *options, "only this one; else every record of the replica");
  command->add_flag("--missing", options->missing,
                    "only what is surely not in the log under its own number");
  command->add_option("--out", options->out, "a file to be made; else standard output");
  add_framing(command, options->framing);
}

void add_resubmit(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<SalvageOptions>();
  CLI::App* command =
      commands.add(group, "resubmit", "append a record's entries again, each once, then discard it",
                   "  caisson salvage resubmit --dir D --replica 1 --record 1\n\n"
                   "They get new positions, at the end of the log. Interrupted, or run twice, it "
                   "appends nothing "
                   "twice.\n"
                   "Refused (exit code 9) where their clients have appended some of them again.\n",
                   options, run_resubmit);
  add_log_choice(command, options->choice);
  add_replica(command, *options, "whose")->required();
  add_record(command, *options, "which")->required();
  command->add_flag("--again", options->again,
                    "also if some of it is in the log, or may be: that is there twice then");
  add_timeout(command, options->timeout_s, "the longest that one entry may wait");
}

void add_discard(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<SalvageOptions>();
  CLI::App* command = commands.add(group, "discard", "let go of a record, for good",
                                   "  caisson salvage discard --dir D --replica 1 --record 1\n"
                                   "  caisson salvage discard --dir D --replica 1 --all\n",
                                   options, run_discard);
  add_log_choice(command, options->choice);
  add_replica(command, *options, "whose")->required();
  add_record(command, *options, "which");
  command->add_flag("--all", options->all, "every record of the replica");
}

}  // namespace

void add_salvage(Commands& commands) {
  CLI::App* group =
      commands.app.add_subcommand("salvage", "what a replica held, and the log went on without");
  group->require_subcommand(1);
  add_list(commands, *group);
  add_export(commands, *group);
  add_resubmit(commands, *group);
  add_discard(commands, *group);
}

}  // namespace caisson::tools
