// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/history_jsonl.hpp"

#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace caisson::simtest {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<const char*, 5> kLevels = {"volatile", "local", "replicated", "persisted",
                                                "all"};
constexpr std::array<const char*, 8> kKinds = {"",     "data",    "noop",       "view",
                                               "term", "session", "checkpoint", "receipt"};

std::string hex(uint64_t digest) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text(16, '0');
  for (size_t i = 0; i < 16; ++i) text[15 - i] = kHex[(digest >> (4 * i)) & 15];
  return text;
}

std::string stream_of(const Event& e) {
  return std::to_string(e.id.client) + "." + std::to_string(e.id.incarnation);
}

std::string place_of(const Event& e) { return stream_of(e) + "." + std::to_string(e.id.sequence); }

std::string value_of(const Event& e) { return place_of(e) + ":" + hex(e.digest); }

std::string entry_of(const Event& e) {
  if (e.kind == kDataKind) return value_of(e);
  std::string text = std::string(kKinds.at(e.kind)) + ":";
  if (e.kind == kSessionKind) text += stream_of(e) + (e.group != 0 ? ":resumed:" : ":anew:");
  return text + hex(e.digest);
}

std::string client_of(const Event& e) { return "client-" + stream_of(e); }

std::string replica_of(const Event& e) {
  return "replica-" + std::to_string(e.replica) + "." + std::to_string(e.life);
}

Json line(const std::string& process, const char* op) {
  return Json{{"process", process},    {"op", op},
              {"value", nullptr},      {"position", nullptr},
              {"durability", nullptr}, {"invoke_ns", nullptr},
              {"return_ns", nullptr},  {"result", "unknown"}};
}

class Writer {
 public:
  explicit Writer(std::ostream& out) : out_(out) {}

  void take(const Event& e) {
    switch (e.what) {
      case What::submit: return submit(e);
      case What::ack: return acknowledged(e);
      case What::refuse: return refused(e);
      case What::ask: asked_[e.group] = e; return;
      case What::read: return read(e);
      case What::expose: return deliver(e);
      case What::unreadable: return at_position(e, "deliver", "unreadable");
      case What::skip: return at_position(e, "skip", "ok");
      case What::trim: return at_position(e, "trim", "ok");
      case What::takeover: return take_over(e);
      case What::replay: return state(e);
      case What::lead: return lead(e);
      case What::loss:
      case What::reborn: return moment(line(replica_of(e), "loss"), e);
      case What::damage: return moment(line(replica_of(e), "damage"), e);
      case What::attach: return of_client(e, "attach", stream_of(e));
      case What::apology: return of_client(e, "apology", place_of(e));
      case What::taken: return of_client(e, "taken", stream_of(e));
      case What::end: return moment(line("simulator", "end"), e);
      case What::stall: return moment(line("simulator", "stall"), e);
      case What::applied: return;
    }
  }

  // What nobody ever answered.
  void finish() {
    for (const Id& id : unanswered_) out_ << submitted_[id] << '\n';
    for (const auto& [number, e] : asked_) {
      Json json = line(replica_of(e), "read");
      json["invoke_ns"] = e.at_ns;
      out_ << json << '\n';
    }
  }

 private:
  void submit(const Event& e) {
    Json json = line(client_of(e), "append");
    json["value"] = value_of(e);
    json["invoke_ns"] = e.at_ns;
    if (e.group != 0) {
      json["batch"] = batches_.try_emplace(e.group, e.id.sequence).first->second;
      json["count"] = e.count;
    }
    submitted_[e.id] = std::move(json);
    unanswered_.insert(e.id);
  }

  void acknowledged(const Event& e) {
    const auto found = submitted_.find(e.id);
    if (found == submitted_.end()) return;
    unanswered_.erase(e.id);
    Json json = found->second;
    json["position"] = e.position;
    json["durability"] = kLevels.at(e.level);
    json["term"] = e.term;
    moment(std::move(json), e);
  }

  // Of one attempt: a later one may still be answered ok.
  void refused(const Event& e) {
    const auto found = submitted_.find(e.id);
    if (found == submitted_.end()) return;
    Json json = found->second;
    json["op"] = "attempt";
    json["term"] = e.term;
    moment(std::move(json), e, "not_appended");
  }

  void read(const Event& e) {
    const auto found = asked_.find(e.group);
    if (found == asked_.end()) return;
    Json json = line(replica_of(e), "read");
    json["position"] = e.position;
    json["invoke_ns"] = found->second.at_ns;
    asked_.erase(found);
    moment(std::move(json), e);
  }

  void deliver(const Event& e) {
    Json json = line(replica_of(e), "deliver");
    json["value"] = entry_of(e);
    json["position"] = e.position;
    json["term"] = e.term;
    moment(std::move(json), e);
  }

  void at_position(const Event& e, const char* op, const char* result) {
    Json json = line(replica_of(e), op);
    json["position"] = e.position;
    moment(std::move(json), e, result);
  }

  void take_over(const Event& e) {
    Json json = line(replica_of(e), "takeover");
    json["position"] = e.position;
    json["count"] = e.count;
    moment(std::move(json), e);
  }

  void state(const Event& e) {
    Json json = line(replica_of(e), "state");
    json["value"] = hex(e.digest);
    json["position"] = e.position;
    moment(std::move(json), e);
  }

  void lead(const Event& e) {
    Json json = line(replica_of(e), "lead");
    json["term"] = e.term;
    moment(std::move(json), e);
  }

  void of_client(const Event& e, const char* op, const std::string& value) {
    Json json = line(client_of(e), op);
    json["value"] = value;
    if (e.what != What::attach) json["position"] = e.position;
    if (e.what == What::apology) json["count"] = e.count;
    moment(std::move(json), e);
  }

  // It ends now; what has no beginning of its own began now, too.
  void moment(Json json, const Event& e, const char* result = "ok") {
    if (json["invoke_ns"].is_null()) json["invoke_ns"] = e.at_ns;
    json["return_ns"] = e.at_ns;
    json["result"] = result;
    out_ << json << '\n';
  }

  std::ostream& out_;
  std::map<Id, Json> submitted_;
  std::set<Id> unanswered_;
  std::map<uint64_t, uint64_t> batches_;  // number -> the sequence of its first entry
  std::map<uint64_t, Event> asked_;
};

}  // namespace

void write_jsonl(const History& history, std::ostream& out) {
  Writer writer(out);
  for (const Event& e : history) writer.take(e);
  writer.finish();
}

}  // namespace caisson::simtest
