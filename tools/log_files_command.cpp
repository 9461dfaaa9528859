// SPDX-License-Identifier: BSD-3-Clause
// `log verify` and `log dump`: a stopped replica's files, read-only.
#include <cinttypes>
#include <cstdio>

#include "core/engine/config.hpp"
#include "tools/command.hpp"
#include "tools/encoding.hpp"
#include "tools/verify.hpp"

namespace caisson::tools {

namespace {

struct VerifyOptions {
  std::string path;
};

struct DumpOptions {
  std::string path;
  uint64_t from = 0;
  uint64_t to = UINT64_MAX;
  uint64_t preview_bytes = 60;
};

std::string_view name(Verdict verdict) {
  switch (verdict) {
    case Verdict::sound: return "sound";
    case Verdict::unfinished: return "unfinished";
    case Verdict::damaged: return "damaged";
  }
  return "damaged";
}

Exit exit_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::sound: return Exit::ok;
    case Verdict::unfinished: return Exit::unfinished;
    case Verdict::damaged: return Exit::damaged;
  }
  return Exit::damaged;
}

std::string_view kind_name(uint8_t kind) {
  switch (static_cast<log::Kind>(kind)) {
    case log::Kind::data: return "data";
    case log::Kind::noop: return "noop";
    case log::Kind::view: return "view";
    case log::Kind::term_start: return "term_start";
    case log::Kind::session: return "session";
    case log::Kind::checkpoint: return "checkpoint";
    case log::Kind::receipt: return "receipt";
  }
  return "unknown";
}

Json voters_of(const log::Superblock& superblock) {
  Json voters = Json::array();
  for_each(superblock.membership.voters, [&](ReplicaId id) { voters.push_back(id.value); });
  return voters;
}

Json slots_object(const LogReport& report) {
  Json slots = Json::object();
  for (size_t i = 0; i < report.slots.size(); ++i) {
    const SlotReport& slot = report.slots[i];
    Json row{{"valid", slot.valid}};
    if (slot.valid) {
      row["generation"] = slot.generation;
    } else {
      row["reason"] = slot.what;
    }
    slots[i == 0 ? "a" : "b"] = row;
  }
  return slots;
}

Json report_object(const std::string& file, const LogReport& report) {
  Json terms = Json::array();
  for (const log::TermRun& run : report.terms) {
    terms.push_back({{"term", run.term.value}, {"first", run.first.value}});
  }
  const log::Superblock& superblock = report.superblock;
  Json object{{"ok", report.verdict == Verdict::sound},
              {"verdict", name(report.verdict)},
              {"file", file},
              {"cluster", engine::to_hex(superblock.identity.cluster)},
              {"log", superblock.identity.log},
              {"replica", superblock.replica.value},
              {"incarnation", superblock.incarnation.value},
              {"ring_bytes", report.ring_bytes},
              {"superblock", slots_object(report)},
              {"promised_term", superblock.promised.value},
              {"view", superblock.membership.view.value},
              {"voters", voters_of(superblock)},
              {"trimmed", superblock.trim.position.value},
              {"tail", report.tail.position.value},
              {"committed_up_to", report.committed.value},
              {"entries", report.entries},
              {"data_entries", report.data_entries},
              {"payload_bytes", report.payload_bytes},
              {"terms", terms},
              {"exit_code", static_cast<int>(exit_of(report.verdict))}};
  if (report.verdict != Verdict::sound) {
    object["position"] = report.position.value;
    object["reason"] = report.reason;
  }
  return object;
}

void print_report(const std::string& file, const LogReport& report) {
  std::printf("%s\n", file.c_str());
  for (size_t i = 0; i < report.slots.size(); ++i) {
    const SlotReport& slot = report.slots[i];
    std::printf(
        "  superblock %c       %s\n", i == 0 ? 'A' : 'B',
        slot.valid ? ("generation " + std::to_string(slot.generation)).c_str() : slot.what.c_str());
  }
  std::printf("  replica            %u of log %" PRIu64 ", cluster %s\n",
              unsigned{report.superblock.replica.value}, report.superblock.identity.log,
              engine::to_hex(report.superblock.identity.cluster).c_str());
  std::printf("  entries            %" PRIu64 " behind the trim point %" PRIu64 ", %" PRIu64
              " of them data (%s)\n",
              report.entries, report.superblock.trim.position.value, report.data_entries,
              human_bytes(static_cast<double>(report.payload_bytes)).c_str());
  std::printf("  terms              %zu, the last one %" PRIu64 "; promised %" PRIu64 "\n",
              report.terms.size(), report.tail.term.value, report.superblock.promised.value);
  std::printf("  tail               %" PRIu64 "\n", report.tail.position.value);
  std::printf("  committed up to    %" PRIu64 "\n", report.committed.value);
  std::printf("%s%s%s\n", std::string(name(report.verdict)).c_str(),
              report.reason.empty() ? "" : ": ", report.reason.c_str());
}

Exit run_verify(const VerifyOptions& options, bool json) {
  const auto file = find_region_file(options.path);
  if (!file) return report(file.error(), json);
  const auto region = open_offline(*file);
  if (!region) return report(region.error(), json);
  auto judged = examine_log(**region);
  if (!judged) return report(judged.error(), json);
  const auto slots = examine_slots(*file);
  if (!slots) return report(slots.error(), json);
  judged->slots = *slots;
  if (json) {
    print_json(report_object(file->string(), *judged));
  } else {
    print_report(file->string(), *judged);
  }
  return exit_of(judged->verdict);
}

void dump_entry(const log::EntryHeader& header, std::span<const std::byte> payload,
                const DumpOptions& options, bool json) {
  if (json) {
    Json row{{"position", header.position},
             {"term", header.term},
             {"kind", kind_name(header.kind)},
             {"view", header.view},
             {"batch_end", (header.flags & log::kFlagBatchEnd) != 0},
             {"client", header.client},
             {"incarnation", header.incarnation},
             {"sequence", header.sequence},
             {"chain", header.chain},
             {"committed_when_sealed", log::commit_hint(header).value},
             {"payload_bytes", header.payload_bytes}};
    add_payload(row, payload);
    print_json(row);
    return;
  }
  std::printf("%10" PRIu64 "  term %-6" PRIu64 " %-10s %c %8u B  %016" PRIx64 "/%u/%" PRIu64
              "  %s\n",
              header.position, header.term, std::string(kind_name(header.kind)).c_str(),
              (header.flags & log::kFlagBatchEnd) != 0 ? '.' : '+', header.payload_bytes,
              header.client, header.incarnation, header.sequence,
              printable(payload, static_cast<size_t>(options.preview_bytes)).c_str());
}

Exit run_dump(const DumpOptions& options, bool json) {
  const auto file = find_region_file(options.path);
  if (!file) return report(file.error(), json);
  const auto region = open_offline(*file);
  if (!region) return report(region.error(), json);
  const auto judged = examine_log(**region, [&](const log::EntryHeader& header, auto payload) {
    if (header.position > options.to) return false;
    if (header.position >= options.from) dump_entry(header, payload, options, json);
    return true;
  });
  if (!judged) return report(judged.error(), json);
  if (judged->verdict != Verdict::sound) {
    std::fflush(stdout);
    std::fprintf(stderr, "caisson: %s: %s\n", std::string(name(judged->verdict)).c_str(),
                 judged->reason.c_str());
  }
  return exit_of(judged->verdict);
}

}  // namespace

void add_log_files(Commands& commands) {
  CLI::App* group =
      commands.app.add_subcommand("log", "look at a stopped replica's files, read-only");
  group->require_subcommand(1);
  auto verify = std::make_shared<VerifyOptions>();
  CLI::App* command = commands.add(
      *group, "verify",
      "check superblocks, chain, terms and positions; print how far it is committed",
      "  caisson log verify D/replica-2/data\n"
      "  caisson log verify D/replica-2/data/logs/main/region --json\n\n"
      "Exit code 0: sound. 2: a torn or unfinished tail, normal after a crash. 3: damaged.\n",
      verify, run_verify);
  command->add_option("path", verify->path, "region file, or a directory that holds one")
      ->required();

  auto dump = std::make_shared<DumpOptions>();
  command = commands.add(*group, "dump", "print the entries that a region holds",
                         "  caisson log dump D/replica-2/data --from 100 --to 120\n"
                         "  caisson log dump D/replica-2/data --json | jq .kind\n\n"
                         "With --json: one object a line. A payload that is UTF-8 stands in "
                         "\"payload\", any other in\n"
                         "\"payload_base64\".\n",
                         dump, run_dump);
  command->add_option("path", dump->path, "region file, or a directory that holds one")->required();
  command->add_option("--from", dump->from, "first position");
  command->add_option("--to", dump->to, "last position");
  command->add_option("--preview", dump->preview_bytes, "payload bytes shown for people")
      ->capture_default_str();
}

}  // namespace caisson::tools
