// SPDX-License-Identifier: BSD-3-Clause
#include "tools/node_link.hpp"
#include "tools/status.hpp"

namespace caisson::tools {

namespace {

Position mark(const Json& marks, const char* name) {
  return Position{marks.value(name, uint64_t{0})};
}

LogStatus parse_log(const Json& json) {
  LogStatus log;
  log.name = json.value("name", "");
  log.role = json.value("role", "");
  log.term = Term{json.value("term", uint64_t{0})};
  log.leader = ReplicaId{json.value("leader", uint8_t{0})};
  log.leads = json.value("leads", false);
  const Json marks = json.value("marks", Json::object());
  log.marks = {mark(marks, "submitted"), mark(marks, "replicated"), mark(marks, "persisted"),
               mark(marks, "committed"), mark(marks, "delivered"),  mark(marks, "applied"),
               mark(marks, "trimmed")};
  log.used_bytes = json.value("used_bytes", uint64_t{0});
  log.ring_bytes = json.value("ring_bytes", uint64_t{0});
  log.raw = json;
  return log;
}

}  // namespace

Result<ReplicaReport> ask_replica(const Cluster& cluster, ReplicaId id, uint64_t timeout_ms) {
  const std::chrono::milliseconds timeout(timeout_ms);
  auto link = NodeLink::connect(cluster, id, timeout);
  if (!link) return tl::unexpected(link.error());
  const auto status = (*link)->call<protocol::StatusIs>(protocol::Status{}, timeout);
  if (!status) return tl::unexpected(status.error());
  Json json = Json::parse(status->json, nullptr, false);
  if (!json.is_object())
    return fail(Code::invalid, (*link)->who() + " gave a status that is no JSON");
  ReplicaReport report;
  report.id = id;
  report.state = "running";
  try {
    for (const Json& log : json.value("logs", Json::array())) report.logs.push_back(parse_log(log));
  } catch (const Json::exception& exception) {
    return fail(Code::invalid,
                (*link)->who() + " gave a status of another form: " + exception.what());
  }
  json.erase("logs");
  report.node = std::move(json);
  return report;
}

}  // namespace caisson::tools
