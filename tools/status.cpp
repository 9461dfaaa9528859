// SPDX-License-Identifier: BSD-3-Clause
#include "tools/status.hpp"

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <thread>

namespace caisson::tools {

namespace {

Json marks_object(const Marks& marks) {
  return {{"submitted", marks.submitted.value}, {"replicated", marks.replicated.value},
          {"persisted", marks.persisted.value}, {"committed", marks.committed.value},
          {"delivered", marks.delivered.value}, {"applied", marks.applied.value},
          {"trimmed", marks.trimmed.value}};
}

Json replica_log_object(const LogStatus& log) {
  Json object = log.raw;
  object["name"] = log.name;
  object["role"] = log.role;
  object["term"] = log.term.value;
  object["leader"] = log.leader.value;
  object["leads"] = log.leads;
  object["marks"] = marks_object(log.marks);
  return object;
}

Json replica_object(const ReplicaReport& report) {
  Json logs = Json::array();
  for (const LogStatus& log : report.logs) logs.push_back(replica_log_object(log));
  Json object{{"id", report.id.value},
              {"state", report.state},
              {"alive", report.process.has_value() || !report.logs.empty()},
              {"pid", report.process ? Json(report.process->pid) : Json(nullptr)},
              {"address", report.address}};
  if (!report.problem.empty()) object["problem"] = report.problem;
  object["logs"] = logs;
  if (!report.node.is_null()) object["node"] = report.node;
  return object;
}

Position highest_committed(const std::vector<ReplicaReport>& reports, const std::string& log) {
  Position highest;
  for (const ReplicaReport& report : reports) {
    if (const LogStatus* status = report.log(log)) {
      highest = std::max(highest, status->marks.committed);
    }
  }
  return highest;
}

Json log_object(const std::vector<ReplicaReport>& reports, const ClusterLog& log) {
  const ReplicaId leader = leader_of(reports, log.name);
  Term term;
  for (const ReplicaReport& report : reports) {
    if (report.id != leader) continue;
    if (const LogStatus* status = report.log(log.name)) term = status->term;
  }
  return {{"name", log.name},
          {"id", log.id},
          {"ring_bytes", log.ring_bytes},
          {"leader", leader.value == 0 ? Json(nullptr) : Json(leader.value)},
          {"term", term.value},
          {"committed", highest_committed(reports, log.name).value}};
}

// What waits for a person to decide (R15).
void print_orphans(const Cluster& cluster, const ReplicaReport& report, const LogStatus& status) {
  const Json orphans = status.raw.value("orphans", Json::object());
  const auto records = orphans.value("records", uint64_t{0});
  if (records == 0) return;
  std::printf("  replica %u holds %" PRIu64
              " %s of entries that the log goes on without (%s)%s:\n"
              "    caisson salvage list --dir %s --log %s --replica %u, then resubmit or discard\n",
              unsigned{report.id.value}, records, records == 1 ? "record" : "records",
              human_bytes(static_cast<double>(orphans.value("bytes", uint64_t{0}))).c_str(),
              orphans.value("full", false) ? ", has no room for more, and follows nobody" : "",
              cluster.directory.c_str(), status.name.c_str(), unsigned{report.id.value});
}

// How the memory holds (R44).
void print_memory(const Cluster& cluster, const ReplicaReport& report, const LogStatus& status) {
  const Json poison = status.raw.value("poison", Json::object());
  const unsigned id{report.id.value};
  if (poison.value("poisoned", false)) {
    const std::string what = poison.value("deleted", false)
                                 ? "'s region was deleted while it runs"
                                 : " is poisoned: its region lost the page at byte " +
                                       std::to_string(poison.value("at_byte", uint64_t{0}));
    std::printf(
        "  replica %u%s, and it takes part in nothing:\n"
        "    stop it, move its region away, caisson cluster start --dir %s --replica %u --join, "
        "then caisson member replace --dir %s --replica %u --by %u\n",
        id, what.c_str(), cluster.directory.c_str(), id, cluster.directory.c_str(), id, id);
  }
  const Json scrub = status.raw.value("scrub", Json::object());
  const auto findings = scrub.value("findings", uint64_t{0});
  if (findings == 0) return;
  const auto rotten = scrub.value("rotten", uint64_t{0});
  std::printf(
      "  replica %u: %" PRIu64 " %s rotten since it started, %" PRIu64 " repaired%s\n", id,
      findings, findings == 1 ? "entry was" : "entries were", scrub.value("repaired", uint64_t{0}),
      rotten == 0 ? "" : (", not yet the one at position " + std::to_string(rotten)).c_str());
}

// Calls visit(view, member) for each standby, as the log's leader sees it.
template <class Visit>
void each_standby(const std::vector<ReplicaReport>& reports, const std::string& log,
                  Visit&& visit) {
  const ReplicaId leader = leader_of(reports, log);
  for (const ReplicaReport& report : reports) {
    const LogStatus* const status = report.log(log);
    if (report.id != leader || status == nullptr) continue;
    const Json view = status->raw.value("members", Json::object());
    for (const Json& member : view.value("members", Json::array())) {
      if (member.contains("lag")) visit(view, member);
    }
  }
}

}  // namespace

const LogStatus* ReplicaReport::log(const std::string& name) const {
  for (const LogStatus& candidate : logs) {
    if (candidate.name == name) return &candidate;
  }
  return nullptr;
}

Result<LogStatus> log_status(const Cluster& cluster, ReplicaId id, const std::string& log,
                             uint64_t timeout_ms) {
  const auto report = ask_replica(cluster, id, timeout_ms);
  if (!report) return tl::unexpected(report.error());
  if (const LogStatus* status = report->log(log)) return *status;
  return fail(Code::not_found, "replica " + std::to_string(id.value) + " has no log '" + log + "'");
}

std::vector<ReplicaReport> ask_cluster(const Cluster& cluster, uint64_t timeout_ms) {
  std::vector<ReplicaReport> reports(cluster.replicas.size());
  std::vector<std::thread> askers;
  for (size_t i = 0; i < cluster.replicas.size(); ++i) {
    askers.emplace_back([&, i] {
      const ClusterReplica& replica = cluster.replicas[i];
      auto answer = ask_replica(cluster, replica.id, timeout_ms);
      ReplicaReport& report = reports[i];
      if (answer) {
        report = std::move(*answer);
      } else {
        report.problem = answer.error().message;
      }
      report.id = replica.id;
      report.address = replica.host + ":" + std::to_string(replica.port);
      report.process = running(cluster, replica.id);
      if (report.process && stopped(*report.process)) {
        report.state = "stopped";
      } else if (answer) {
        report.state = "running";
      } else {
        report.state = report.process ? "silent" : "dead";
      }
    });
  }
  for (std::thread& asker : askers) asker.join();
  return reports;
}

ReplicaId leader_of(const std::vector<ReplicaReport>& reports, const std::string& log) {
  ReplicaId leader;
  Term highest;
  for (const ReplicaReport& report : reports) {
    const LogStatus* status = report.log(log);
    if (status == nullptr || !status->leads || status->term < highest) continue;
    leader = report.id;
    highest = status->term;
  }
  return leader;
}

std::string full_ring(const Cluster& cluster, const std::string& log, uint64_t payload_bytes) {
  const auto reports = ask_cluster(cluster);
  const ReplicaId leader = leader_of(reports, log);
  std::optional<Position> applied;
  bool full = false;
  for (const ReplicaReport& report : reports) {
    const LogStatus* const status = report.log(log);
    if (status == nullptr) continue;
    applied = std::min(applied.value_or(status->marks.applied), status->marks.applied);
    // What the engine keeps free for its own entries, checkpoints above all, and for padding.
    const uint64_t reserve_bytes = (64 << 10) + status->ring_bytes / 16;
    full |= report.id == leader &&
            status->ring_bytes < status->used_bytes + payload_bytes + reserve_bytes;
  }
  if (!full) return "";
  return "the ring of log '" + log + "' is full: forget entries with caisson trim --dir " +
         cluster.directory.string() + " --log " + log + " --through N (at most " +
         std::to_string(applied->value) + " now), or make a cluster with larger --ring-bytes";
}

std::string lag_text(const Json& view, const Json& member) {
  const Json lag = member.value("lag", Json::object());
  const Json bounds = view.value("standby_bounds", Json::object());
  const auto of = [&](const char* what, const std::string& unit) {
    const Json is = lag.value(what, Json());
    const Json bound = bounds.value(what, Json());
    const std::string number = is.is_null() ? "?" : std::to_string(is.get<uint64_t>());
    return number + (bound.is_null() ? "" : " of " + std::to_string(bound.get<uint64_t>())) + unit;
  };
  return "lacks " + of("entries", " entries") + ", " + of("bytes", " B") + ", " + of("ms", " ms") +
         (lag.value("at_bound", false) ? ": appends wait for it" : "");
}

std::string lagging_standby(const Cluster& cluster, const std::string& log) {
  // A status is as old as its last publication, and the refusal may be younger.
  constexpr int kLooks = 5;
  std::string text;
  bool any = true;
  for (int look = 0; look < kLooks && any && text.empty(); ++look) {
    if (look > 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    any = false;
    each_standby(ask_cluster(cluster), log, [&](const Json&, const Json& member) {
      any = true;
      const Json lag = member["lag"];
      if (!lag.value("at_bound", false)) return;
      const std::string id = std::to_string(member.value("replica", 0));
      text = "standby " + id + " lacks " + std::to_string(lag.value("entries", uint64_t{0})) +
             " entries (" + human_bytes(static_cast<double>(lag.value("bytes", uint64_t{0}))) +
             ") of log '" + log +
             "', and may not be farther behind: see what holds it up (caisson member list --dir " +
             cluster.directory.string() + "), or go on without it: caisson member remove --dir " +
             cluster.directory.string() + " --replica " + id;
    });
  }
  return text;
}

Json status_object(const Cluster& cluster, const std::vector<ReplicaReport>& reports) {
  Json replicas = Json::array();
  for (const ReplicaReport& report : reports) replicas.push_back(replica_object(report));
  Json logs = Json::array();
  for (const ClusterLog& log : cluster.logs) logs.push_back(log_object(reports, log));
  return {{"ok", true},
          {"directory", cluster.directory.string()},
          {"cluster", engine::to_hex(cluster.uuid)},
          {"fabric", engine::name(cluster.fabric)},
          {"persistence", engine::name(cluster.persistence)},
          {"replicas", replicas},
          {"logs", logs}};
}

namespace {

// Whom the log's leader calls slow.
std::vector<unsigned> slow_of(const std::vector<ReplicaReport>& reports, const std::string& log) {
  const ReplicaId leader = leader_of(reports, log);
  std::vector<unsigned> slow;
  for (const ReplicaReport& report : reports) {
    const LogStatus* const status = report.log(log);
    if (report.id != leader || status == nullptr) continue;
    const Json members = status->raw.value("members", Json::object());
    for (const Json& member : members.value("members", Json::array())) {
      if (member.value("slow", false)) slow.push_back(member.value("replica", 0u));
    }
  }
  return slow;
}

}  // namespace

void print_status(const Cluster& cluster, const std::vector<ReplicaReport>& reports) {
  std::printf("cluster %s in %s, fabric %s, persistence %s%s\n",
              engine::to_hex(cluster.uuid).c_str(), cluster.directory.c_str(),
              std::string(engine::name(cluster.fabric)).c_str(),
              std::string(engine::name(cluster.persistence)).c_str(),
              cluster.persistence == PersistenceMode::emulated
                  ? " (survives the death of processes, not the loss of power)"
                  : "");
  for (const ReplicaReport& report : reports) {
    std::printf("  replica %u  %-8s pid %-8s %s%s%s\n", unsigned{report.id.value},
                report.state.c_str(),
                report.process ? std::to_string(report.process->pid).c_str() : "-",
                report.address.c_str(), report.problem.empty() ? "" : "  ", report.problem.c_str());
  }
  for (const ClusterLog& log : cluster.logs) {
    const ReplicaId leader = leader_of(reports, log.name);
    std::printf("log %s: %s\n", log.name.c_str(),
                leader.value == 0 ? "no leader"
                                  : ("led by replica " + std::to_string(leader.value)).c_str());
    std::printf("  %-8s %-10s %10s %12s %12s %12s %12s  %s\n", "replica", "role", "term",
                "committed", "delivered", "applied", "trimmed", "ring used");
    for (const ReplicaReport& report : reports) {
      const LogStatus* status = report.log(log.name);
      if (status == nullptr) continue;
      const Marks& at = status->marks;
      std::printf("  %-8u %-10s %10" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64
                  "  %s of %s\n",
                  unsigned{report.id.value}, status->role.c_str(), status->term.value,
                  at.committed.value, at.delivered.value, at.applied.value, at.trimmed.value,
                  human_bytes(static_cast<double>(status->used_bytes)).c_str(),
                  human_bytes(static_cast<double>(status->ring_bytes)).c_str());
    }
    for (const ReplicaReport& report : reports) {
      if (const LogStatus* status = report.log(log.name)) print_orphans(cluster, report, *status);
      if (const LogStatus* status = report.log(log.name)) print_memory(cluster, report, *status);
    }
    for (const unsigned slow : slow_of(reports, log.name)) {
      std::printf("  replica %u is slow, as the leader sees it: see caisson member list\n", slow);
    }
    each_standby(reports, log.name, [](const Json& view, const Json& member) {
      std::printf("  standby %u %s\n", member.value("replica", 0u), lag_text(view, member).c_str());
    });
  }
}

}  // namespace caisson::tools
