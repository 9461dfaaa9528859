// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/history_jsonl.hpp"

#include <array>
#include <map>
#include <nlohmann/json.hpp>

namespace caisson::simtest {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<const char*, 5> kLevels = {"volatile", "local", "replicated", "persisted",
                                                "all"};
constexpr std::array<const char*, 8> kKinds = {"",     "data",    "noop",       "view",
                                               "term", "session", "checkpoint", "receipt"};

std::string value_of(const Event& e) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string digest(16, '0');
  for (size_t i = 0; i < 16; ++i) digest[15 - i] = kHex[(e.digest >> (4 * i)) & 15];
  return std::to_string(e.id.client) + "." + std::to_string(e.id.incarnation) + "." +
         std::to_string(e.id.sequence) + ":" + digest;
}

std::string client_of(const Event& e) {
  return "client-" + std::to_string(e.id.client) + "." + std::to_string(e.id.incarnation);
}

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
      case What::submit: submit(e); break;
      case What::ack: answer(e); break;
      case What::refuse: refused(e); break;
      case What::ask: asked_[e.group] = e; break;
      case What::read: read(e); break;
      case What::expose: deliver(e); break;
      default: break;
    }
  }

  // What nobody ever answered.
  void finish() {
    for (const auto& [id, open] : open_) out_ << open << '\n';
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
    open_[e.id] = std::move(json);
  }

  // The first answer ends the operation; later ones are of retries, and repeat it.
  void answer(const Event& e) {
    const auto found = open_.find(e.id);
    if (found == open_.end()) return;
    Json json = std::move(found->second);
    open_.erase(found);
    json["position"] = e.position;
    json["durability"] = kLevels.at(e.level);
    end(json, e, "ok");
  }

  // Of one attempt: a later one may still be answered ok.
  void refused(const Event& e) {
    const auto found = open_.find(e.id);
    if (found == open_.end()) return;
    Json json = found->second;
    json["op"] = "attempt";
    end(json, e, "not_appended");
  }

  void read(const Event& e) {
    const auto found = asked_.find(e.group);
    if (found == asked_.end()) return;
    Json json = line(replica_of(e), "read");
    json["position"] = e.position;
    json["invoke_ns"] = found->second.at_ns;
    json["return_ns"] = e.at_ns;
    json["result"] = "ok";
    asked_.erase(found);
    out_ << json << '\n';
  }

  void deliver(const Event& e) {
    Json json = line(replica_of(e), "deliver");
    json["value"] = e.kind == kDataKind ? value_of(e) : kKinds.at(e.kind);
    json["position"] = e.position;
    json["invoke_ns"] = e.at_ns;
    end(json, e, "ok");
  }

  void end(Json& json, const Event& e, const char* result) {
    json["return_ns"] = e.at_ns;
    json["result"] = result;
    json["term"] = e.term;
    out_ << json << '\n';
  }

  std::ostream& out_;
  std::map<Id, Json> open_;
  std::map<uint64_t, Event> asked_;
};

}  // namespace

void write_jsonl(const History& history, std::ostream& out) {
  Writer writer(out);
  for (const Event& e : history) writer.take(e);
  writer.finish();
}

}  // namespace caisson::simtest
