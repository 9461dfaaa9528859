// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/schedule_json.hpp"

#include <set>
#include <stdexcept>
#include <type_traits>

namespace caisson::simtest {

namespace {

// Calls f("name", field) for each; the names are those of the fields.
template <class Options, class F>
void each_of_fabric(Options& o, F f) {
  f("land_ns_max", o.land_ns_max);
  f("persist_ns_max", o.persist_ns_max);
  f("own_persist_ns_max", o.own_persist_ns_max);
  f("report_ns_max", o.report_ns_max);
  f("cell_ns_max", o.cell_ns_max);
  f("late_ns_max", o.late_ns_max);
  f("late_permille", o.late_permille);
  f("scatter_permille", o.scatter_permille);
  f("words_permille", o.words_permille);
  f("duplicate_permille", o.duplicate_permille);
  f("early_placed_permille", o.early_placed_permille);
  f("live_source_permille", o.live_source_permille);
  f("stale_cell_permille", o.stale_cell_permille);
  f("flip_permille", o.flip_permille);
  f("death_notices", o.death_notices);
  f("dead_memory_readable", o.dead_memory_readable);
}

template <class Options, class F>
void each_of_world(Options& o, F f) {
  f("seed", o.seed);
  f("replicas", o.replicas);
  f("spares", o.spares);
  f("ring_bytes", o.ring_bytes);
  f("salvage_bytes", o.salvage_bytes);
  f("entry_bytes_max", o.entry_bytes_max);
  f("auto_apply", o.auto_apply);
  f("trims", o.trims);
  f("cursor_persist_bytes", o.cursor_persist_bytes);
  f("cursor_persist_idle_ns", o.cursor_persist_idle_ns);
  f("message_ns_max", o.message_ns_max);
  f("message_late_ns_max", o.message_late_ns_max);
  f("message_late_permille", o.message_late_permille);
  f("message_loss_permille", o.message_loss_permille);
  f("message_twice_permille", o.message_twice_permille);
  f("link_notices", o.link_notices);
  f("suspect_after_ns", o.suspect_after_ns);
  f("fault_after_ns", o.fault_after_ns);
  f("slow_after_ns", o.slow_after_ns);
  f("demotes_slow", o.demotes_slow);
  f("demote_after_ns", o.demote_after_ns);
  f("voters_min", o.voters_min);
  f("commit_quorum", o.quorum.commit);
  f("scrub_bytes_per_s", o.scrub_bytes_per_s);
  f("standby_bytes", o.standby.bytes);
  f("standby_entries", o.standby.entries);
  f("standby_ms", o.standby.ms);
  f("standby_refuses", o.standby_refuses);
  f("turn_ns", o.turn_ns);
  f("idle_turn_ns", o.idle_turn_ns);
}

template <class Options, class F>
void each_of_client(Options& o, F f) {
  f("client", o.client);
  f("appends", o.appends);
  f("window", o.window);
  f("per_turn", o.per_turn);
  f("payload_max", o.payload_max);
  f("large_permille", o.large_permille);
  f("pace_ns", o.pace_ns);
  f("patience_ns", o.patience_ns);
  f("replicated_permille", o.replicated_permille);
  f("all_permille", o.all_permille);
  f("volatile_permille", o.volatile_permille);
  f("local_permille", o.local_permille);
  f("forgetful", o.forgetful);
  f("batch_permille", o.batch_permille);
  f("claim_permille", o.claim_permille);
  f("lost_answer_permille", o.lost_answer_permille);
  f("again_permille", o.again_permille);
  f("reused_permille", o.reused_permille);
  f("session_permille", o.session_permille);
  f("late_store_permille", o.late_store_permille);
}

template <class Options, class F>
void each_of_action(Options& o, F f) {
  f("at_ns", o.at_ns);
  f("target", o.target);
  f("other", o.other);
  f("for_ns", o.for_ns);
  f("amount", o.amount);
  f("salt", o.salt);
}

// What differs from a default one.
template <class Options, class Each>
Json written(const Options& options, Each each) {
  Json json = Json::object();
  const Json all = [&] {
    Json defaults = Json::object();
    each(Options{}, [&](const char* field, const auto& value) { defaults[field] = value; });
    return defaults;
  }();
  each(options, [&](const char* field, const auto& value) {
    if (all[field] != Json(value)) json[field] = value;
  });
  return json;
}

[[noreturn]] void refuse(const std::string& what) {
  throw std::runtime_error("not a schedule: " + what);
}

// Takes out of `left` what it reads.
template <class Value>
void take(std::set<std::string>& left, const Json& json, const std::string& field, Value& value) {
  const auto found = json.find(field);
  if (found == json.end()) return;
  left.erase(field);
  if constexpr (std::is_same_v<Value, bool>) {
    if (!found->is_boolean()) refuse("\"" + field + "\" is true or false");
    value = found->template get<bool>();
  } else {
    if (!found->is_number_unsigned()) refuse("\"" + field + "\" is a number, 0 or above");
    const auto number = found->template get<uint64_t>();
    value = static_cast<Value>(number);
    if (value != number) refuse("\"" + field + "\" is too large");
  }
}

std::set<std::string> fields_of(const Json& json, const std::string& what) {
  if (!json.is_object()) refuse(what + " is an object");
  std::set<std::string> fields;
  for (const auto& [field, value] : json.items()) fields.insert(field);
  return fields;
}

template <class Options, class Each>
void read(Options& options, const Json& json, const std::string& what, Each each,
          std::set<std::string> apart = {}) {
  std::set<std::string> left = fields_of(json, what);
  for (const std::string& field : apart) left.erase(field);
  each(options, [&](const char* field, auto& value) { take(left, json, field, value); });
  if (!left.empty()) refuse(what + " has no field \"" + *left.begin() + "\"");
}

constexpr auto kFabric = [](auto&& o, auto f) { each_of_fabric(o, f); };
constexpr auto kWorld = [](auto&& o, auto f) { each_of_world(o, f); };
constexpr auto kClient = [](auto&& o, auto f) { each_of_client(o, f); };
constexpr auto kAction = [](auto&& o, auto f) { each_of_action(o, f); };

const Json& list_of(const Json& json, const char* field) {
  static const Json kEmpty = Json::array();
  const auto found = json.find(field);
  if (found == json.end()) return kEmpty;
  if (!found->is_array()) refuse("\"" + std::string(field) + "\" is a list");
  return *found;
}

void require_sane(const Schedule& day) {
  const WorldOptions& w = day.world;
  if (w.replicas < 1 || w.replicas > 7) refuse("there are 1 to 7 \"replicas\"");
  if (w.spares > 8) refuse("there are at most 8 \"spares\"");
  const bool power_of_two = (w.ring_bytes & (w.ring_bytes - 1)) == 0;
  if (!power_of_two || w.ring_bytes < 64 * 1024 || w.ring_bytes > 1ull << 28) {
    refuse("\"ring_bytes\" is a power of two from 65536 to 268435456");
  }
  if (w.salvage_bytes % 4096 != 0) refuse("\"salvage_bytes\" is a multiple of 4096");
  if (w.turn_ns == 0 || w.idle_turn_ns == 0) refuse("turns take time");
}

}  // namespace

Json to_json(const Schedule& day) {
  Json json;
  json["schedule"] = 1;
  json["run_ns"] = day.run_ns;
  json["events_min"] = day.events_min;
  json["faults_min"] = day.faults_min;
  json["reader"] = day.reader;
  json["world"] = written(day.world, kWorld);
  json["fabric"] = written(day.world.fabric, kFabric);
  json["clients"] = Json::array();
  for (const ClientOptions& client : day.clients)
    json["clients"].push_back(written(client, kClient));
  json["actions"] = Json::array();
  for (const Action& action : day.actions) {
    Json one{{"fault", name(action.what)}};
    one.update(written(action, kAction));
    json["actions"].push_back(std::move(one));
  }
  return json;
}

Schedule schedule_of(const Json& json) {
  std::set<std::string> left = fields_of(json, "a schedule");
  uint64_t form = 0;
  Schedule day;
  take(left, json, "schedule", form);
  if (form != 1) refuse("\"schedule\": 1 is the form that is known here");
  take(left, json, "run_ns", day.run_ns);
  take(left, json, "events_min", day.events_min);
  take(left, json, "faults_min", day.faults_min);
  take(left, json, "reader", day.reader);
  for (const char* part : {"world", "fabric", "clients", "actions"}) left.erase(part);
  if (!left.empty()) refuse("a schedule has no field \"" + *left.begin() + "\"");
  if (json.contains("world")) read(day.world, json["world"], "\"world\"", kWorld);
  if (json.contains("fabric")) read(day.world.fabric, json["fabric"], "\"fabric\"", kFabric);
  for (const Json& each : list_of(json, "clients")) {
    read(day.clients.emplace_back(), each, "a client", kClient);
    if (day.clients.back().pace_ns == 0) refuse("a client's turns take time");
  }
  for (const Json& each : list_of(json, "actions")) {
    Action& action = day.actions.emplace_back();
    read(action, each, "an action", kAction, {"fault"});
    const auto fault = fault_of(each.value("fault", ""));
    if (!fault) refuse("there is no fault \"" + each.value("fault", "") + "\"");
    action.what = *fault;
  }
  require_sane(day);
  return day;
}

}  // namespace caisson::simtest
