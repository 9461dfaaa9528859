// SPDX-License-Identifier: BSD-3-Clause
// `member` and `leader`: who takes part in the logs, and who leads them.
#include <algorithm>
#include <cstdio>
#include <thread>

#include "tools/command.hpp"
#include "tools/node_link.hpp"
#include "tools/options.hpp"
#include "tools/status.hpp"

namespace caisson::tools {

namespace {

constexpr std::chrono::milliseconds kCallTimeout{5'000};
constexpr std::chrono::milliseconds kTransferTimeout{500};
constexpr std::chrono::milliseconds kLookEvery{20};
// A leader may die before it has told anybody what it was asked for.
constexpr std::chrono::milliseconds kAskEvery{500};
constexpr std::chrono::milliseconds kHelloWithin{2'000};

struct ChangeOptions {
  LogChoice choice;
  unsigned replica = 0;
  unsigned by = 0;
  bool learner = false;
  bool standby = false;
  double timeout_s = 60;
};

struct TransferOptions {
  LogChoice choice;
  unsigned to = 0;
  double timeout_s = 10;
};

ReplicaId id_of(unsigned number) { return ReplicaId{static_cast<uint8_t>(number)}; }

// The log that was named, or all.
Result<std::vector<std::string>> chosen_logs(const Cluster& cluster, const std::string& name) {
  std::vector<std::string> names;
  if (name.empty()) {
    for (const ClusterLog& log : cluster.logs) names.push_back(log.name);
    return names;
  }
  const auto log = cluster.log(name);
  if (!log) return tl::unexpected(log.error());
  names.push_back((*log)->name);
  return names;
}

// The view as the leader of a log sees it.
struct SeenView {
  Json raw;
  bool settled() const { return raw.value("settled", false); }
  // What the replica is there; empty: no member.
  std::string part(ReplicaId id) const { return of(id, "part"); }
  std::string state(ReplicaId id) const { return of(id, "state"); }

 private:
  std::string of(ReplicaId id, const char* key) const {
    for (const Json& member : raw.value("members", Json::array())) {
      if (member.value("replica", 0) == id.value) return member.value(key, "");
    }
    return "";
  }
};

Result<Json> log_of(NodeLink& link, const std::string& log) {
  const auto status = link.call<protocol::StatusIs>(protocol::Status{}, kCallTimeout);
  if (!status) return tl::unexpected(status.error());
  const Json json = Json::parse(status->json, nullptr, false);
  if (json.is_discarded()) return fail(Code::invalid, link.who() + " gave a status that is none");
  for (const Json& one : json.value("logs", Json::array())) {
    if (one.value("name", "") == log) return one;
  }
  return fail(Code::not_found, link.who() + " has no log '" + log + "'");
}

Result<SeenView> view_of(NodeLink& link, const std::string& log) {
  const auto json = log_of(link, log);
  if (!json) return tl::unexpected(json.error());
  return SeenView{json->value("members", Json::object())};
}

// Who waits for its application's state says so itself; who does not answer says nothing.
void add_transfers(NodeLinks& links, const std::string& log, SeenView& view) {
  for (Json& member : view.raw["members"]) {
    if (member.value("state", "in_sync") == "in_sync") continue;
    const ReplicaId id = id_of(member.value("replica", 0u));
    const auto link = links.node(id, kTransferTimeout);
    const auto status = link ? log_of(**link, log) : Result<Json>(Json::object());
    if (!status || status->value("base_wanted", uint64_t{0}) == 0) continue;
    member["base_wanted"] = (*status)["base_wanted"];
    member["state_transfer"] = status->value("state_transfer", Json::object());
  }
}

std::string transfer_text(const Json& member) {
  const Json& transfer = member["state_transfer"];
  std::string text = ", needs the application's state through " +
                     std::to_string(member.value("base_wanted", uint64_t{0}));
  if (transfer.value("phase", "") == "copying") {
    text += ": " + human_bytes(transfer.value("bytes_done", 0.0));
    if (transfer.contains("bytes_of")) {
      text += " of " + human_bytes(transfer.value("bytes_of", 0.0));
    }
    text += " from replica " + std::to_string(transfer.value("replica", 0)) + ", " +
            human_bytes(transfer.value("bytes_per_s", 0.0)) + "/s";
  }
  if (transfer.contains("error")) text += ", " + transfer["error"].value("message", "");
  return text;
}

// What is to be reached.
struct Goal {
  MemberChange change;
  bool or_standby = false;  // a standby learns, too
  // A learner that nothing is written to may be one whose memory is gone: asked for again once the
  // region that is there now has said hello, that one takes its place.
  bool may_be_gone(const SeenView& view) const {
    bool any = false;
    for_each(change.learn, [&](ReplicaId id) {
      any = any || (view.part(id) == "learner" && view.state(id) == "detached");
    });
    return any;
  }
  bool reached(const SeenView& view) const {
    bool all = view.settled();
    for_each(change.add, [&](ReplicaId id) { all = all && view.part(id) == "voter"; });
    for_each(change.learn, [&](ReplicaId id) {
      const std::string part = view.part(id);
      all = all && (part == "learner" || (or_standby && part == "standby"));
    });
    for_each(change.standby, [&](ReplicaId id) { all = all && view.part(id) == "standby"; });
    for_each(change.remove, [&](ReplicaId id) { all = all && view.part(id).empty(); });
    return all;
  }
};

Error refusal(Code code, const Goal& goal, const std::string& log) {
  std::string message = "log '" + log + "': ";
  switch (code) {
    case Code::not_found:
      message +=
          "the replica to admit has not said hello to the leader: start its node, and list it as "
          "[[peer]] of every node. One that lost its memory, or was a member before, is created "
          "anew first: caisson node --create --join";
      break;
    case Code::exists: message += "a voter cannot become a learner: remove it first"; break;
    case Code::invalid:
      message += goal.change.remove.empty() ? "that is no change" : "nobody would be left to vote";
      break;
    default: message += std::string(name(code));
  }
  return {code, message};
}

std::string progress_text(const SeenView& view, const std::string& log) {
  std::string text = log + ": view " + std::to_string(view.raw.value("view", 0));
  for (const Json& member : view.raw.value("members", Json::array())) {
    const std::string part = member.value("part", "");
    if (part != "joining" && (part != "learner" || member.value("state", "") == "in_sync"))
      continue;
    text += ", replica " + std::to_string(member.value("replica", 0)) + " " +
            member.value("state", "detached") + ", " +
            engine::bytes_text(member.value("behind_bytes", uint64_t{0})) + " behind";
  }
  return text;
}

Result<SeenView> reach(const Cluster& cluster, const std::string& log, const Goal& goal,
                       Clock::time_point deadline, Progress& progress) {
  NodeLinks links(cluster, log);
  const auto started = Clock::now();
  auto ask_at = started;
  Error last{Code::timed_out, "log '" + log + "': not asked yet"};
  while (Clock::now() < deadline) {
    const auto link = links.leader(deadline);
    if (!link) return tl::unexpected(link.error());
    const auto view = view_of(**link, log);
    if (!view) {
      last = view.error();
      links.drop((*link)->node());
      continue;
    }
    if (progress.due()) progress.show(progress_text(*view, log));
    const bool hello_in_time = Clock::now() < started + kHelloWithin;
    if (goal.reached(*view) && !(hello_in_time && goal.may_be_gone(*view))) return view;
    if (Clock::now() >= ask_at) {
      const MemberChange& change = goal.change;
      const auto done = (*link)->call<protocol::Done>(
          protocol::ChangeMembers{
              (*link)->log(), change.add, change.learn, change.remove, {}, change.standby},
          kCallTimeout);
      ask_at = Clock::now() + kAskEvery;
      if (!done) {
        last = done.error();
        if (done.error().code != Code::not_leader) links.drop((*link)->node());
        std::this_thread::sleep_for(kLookEvery);
        continue;
      }
      // A node that has just been started says hello in a moment.
      const bool patient = done->code == Code::not_found && hello_in_time;
      // A standby has to catch up first.
      const bool later = done->code == Code::again || done->code == Code::not_yet;
      if (done->code != Code::ok && !later && !patient) {
        return tl::unexpected(refusal(done->code, goal, log));
      }
      last = {Code::timed_out, "log '" + log +
                                   "': the change was taken and is not complete yet; it goes on, "
                                   "see caisson member list"};
    }
    std::this_thread::sleep_for(kLookEvery);
  }
  last.code = Code::timed_out;
  return tl::unexpected(last);
}

void print_view(const std::string& log, const SeenView& view) {
  std::printf("log %s, view %d%s, %u copies commit, %u votes elect\n", log.c_str(),
              view.raw.value("view", 0), view.settled() ? "" : " (changing)",
              view.raw.value("commit_quorum", 0u), view.raw.value("election_quorum", 0u));
  for (const Json& member : view.raw.value("members", Json::array())) {
    std::printf("  replica %-3d %-9s %s", member.value("replica", 0),
                member.value("part", "").c_str(), member.value("state", "").c_str());
    if (member.contains("behind_bytes")) {
      std::printf(", %s behind%s%s",
                  engine::bytes_text(member.value("behind_bytes", uint64_t{0})).c_str(),
                  member.value("suspected", false) ? ", suspected" : "",
                  member.value("slow", false) ? ", slow" : "");
    }
    if (member.contains("to_go_bytes")) {
      std::printf(", %s caught up, %s to go",
                  engine::bytes_text(member.value("caught_up_bytes", uint64_t{0})).c_str(),
                  engine::bytes_text(member.value("to_go_bytes", uint64_t{0})).c_str());
    }
    if (member.contains("lag")) std::printf("; %s", lag_text(view.raw, member).c_str());
    if (member.contains("state_transfer")) std::printf("%s", transfer_text(member).c_str());
    std::printf("\n");
  }
}

// Calls visit(cluster, log) for the log that was chosen, or all; it returns an object that says
// what was found, or an error that ends the walk.
template <class Visit>
Exit over_logs(const LogChoice& choice, bool json, Visit&& visit) {
  const auto cluster = load_cluster(choice.directory);
  if (!cluster) return report(cluster.error(), json);
  const auto logs = chosen_logs(*cluster, choice.log);
  if (!logs) return report(logs.error(), json);
  Json all = Json::array();
  for (const std::string& log : *logs) {
    Result<Json> one = visit(*cluster, log);
    if (!one) return report(one.error(), json);
    (*one)["log"] = log;
    all.push_back(std::move(*one));
  }
  if (json) print_json({{"ok", true}, {"logs", std::move(all)}});
  return Exit::ok;
}

Result<void> expect_known(const Cluster& cluster, const std::vector<Goal>& goals) {
  ReplicaSet named;
  for (const Goal& goal : goals) {
    const MemberChange& change = goal.change;
    named = named | change.add | change.learn | change.remove | change.standby;
  }
  Result<void> known;
  for_each(named, [&](ReplicaId id) {
    const auto found = cluster.replica(id);
    if (!found && known) known = tl::unexpected(found.error());
  });
  return known;
}

// Every goal in turn, in every log chosen.
Exit change(const LogChoice& choice, double timeout_s, const std::vector<Goal>& goals, bool json) {
  const auto deadline = Clock::now() + milliseconds_of(timeout_s);
  Progress progress(json);
  return over_logs(choice, json,
                   [&](const Cluster& cluster, const std::string& log) -> Result<Json> {
                     if (const auto sound = check_client_files(cluster); !sound)
                       return tl::unexpected(sound.error());
                     if (const auto known = expect_known(cluster, goals); !known) {
                       return tl::unexpected(known.error());
                     }
                     SeenView view;
                     for (const Goal& goal : goals) {
                       const auto reached = reach(cluster, log, goal, deadline, progress);
                       progress.clear();
                       if (!reached) return tl::unexpected(reached.error());
                       view = *reached;
                     }
                     if (!json) print_view(log, view);
                     return view.raw;
                   });
}

Exit run_add(const ChangeOptions& options, bool json) {
  const ReplicaSet who = just(id_of(options.replica));
  Goal goal;
  if (!options.standby) {
    (options.learner ? goal.change.learn : goal.change.add) = who;
    return change(options.choice, options.timeout_s, {goal}, json);
  }
  // Appends wait for a standby: it catches up first.
  Goal bounded;
  goal.change.learn = bounded.change.standby = who;
  goal.or_standby = true;
  return change(options.choice, options.timeout_s, {goal, bounded}, json);
}

Exit run_remove(const ChangeOptions& options, bool json) {
  Goal goal;
  goal.change.remove = just(id_of(options.replica));
  return change(options.choice, options.timeout_s, {goal}, json);
}

Exit run_replace(const ChangeOptions& options, bool json) {
  Goal out, in;
  out.change.remove = just(id_of(options.replica));
  in.change.add = just(id_of(options.by));
  if (options.by == options.replica) {
    // The same number in a new life: the old one has to be gone first.
    return change(options.choice, options.timeout_s, {out, in}, json);
  }
  in.change.remove = out.change.remove;
  return change(options.choice, options.timeout_s, {in}, json);
}

Exit run_list(const LogChoice& choice, bool json) {
  return over_logs(choice, json,
                   [&](const Cluster& cluster, const std::string& log) -> Result<Json> {
                     NodeLinks links(cluster, log);
                     const auto link = links.leader(Clock::now() + kCallTimeout);
                     if (!link) return tl::unexpected(link.error());
                     const ReplicaId leader = (*link)->node();
                     auto view = view_of(**link, log);
                     if (!view) return tl::unexpected(view.error());
                     add_transfers(links, log, *view);
                     if (!json) print_view(log, *view);
                     Json one = view->raw;
                     one["leader"] = leader.value;
                     return one;
                   });
}

Exit run_show(const LogChoice& choice, bool json) {
  return over_logs(choice, json,
                   [&](const Cluster& cluster, const std::string& log) -> Result<Json> {
                     NodeLinks links(cluster, log);
                     const auto link = links.leader(Clock::now() + kCallTimeout);
                     if (!link) return tl::unexpected(link.error());
                     const unsigned leader = (*link)->node().value;
                     if (!json) std::printf("log %s: replica %u\n", log.c_str(), leader);
                     return Json{{"leader", leader}};
                   });
}

// Asks the leader until `to` leads.
Result<void> transfer_lead(const Cluster& cluster, const std::string& log, ReplicaId to,
                           Clock::time_point deadline) {
  Error last{Code::timed_out, "log '" + log + "': the lead was not taken over"};
  while (Clock::now() < deadline) {
    NodeLinks links(cluster, log);
    const auto link = links.leader(deadline);
    if (!link) return tl::unexpected(link.error());
    if ((*link)->node() == to) return {};
    const auto done =
        (*link)->call<protocol::Done>(protocol::HandOver{(*link)->log(), to}, kCallTimeout);
    if (done && done->code == Code::not_found) {
      return fail(Code::not_found, "log '" + log + "': replica " + std::to_string(to.value) +
                                       " has no vote; see caisson member list");
    }
    if (done && done->code != Code::ok) {
      last.message = "log '" + log + "': replica " + std::to_string(to.value) +
                     " is not up to date, or does not answer (" + std::string(name(done->code)) +
                     ")";
    }
    std::this_thread::sleep_for(kLookEvery);
  }
  return tl::unexpected(last);
}

Exit run_transfer(const TransferOptions& options, bool json) {
  const ReplicaId to = id_of(options.to);
  const auto deadline = Clock::now() + milliseconds_of(options.timeout_s);
  return over_logs(options.choice, json,
                   [&](const Cluster& cluster, const std::string& log) -> Result<Json> {
                     const auto moved = transfer_lead(cluster, log, to, deadline);
                     if (!moved) return tl::unexpected(moved.error());
                     if (!json)
                       std::printf("log %s: replica %u leads\n", log.c_str(), unsigned{to.value});
                     return Json{{"leader", to.value}};
                   });
}

void add_choice(CLI::App* command, LogChoice& choice) {
  add_directory(command, choice.directory);
  command->add_option("--log", choice.log, "only this one; else every log");
}

void add_replica(CLI::App* command, const char* option, unsigned& replica, const char* what) {
  command->add_option(option, replica, what)->required()->check(CLI::Range(1, 63));
}

}  // namespace

void add_member(Commands& commands) {
  CLI::App* group = commands.app.add_subcommand("member", "who takes part in the logs");
  group->require_subcommand(1);

  auto list = std::make_shared<LogChoice>();
  CLI::App* command = commands.add(*group, "list", "the view in force, as the leader says",
                                   "  caisson member list --dir D\n", list, run_list);
  add_choice(command, *list);

  auto admit = std::make_shared<ChangeOptions>();
  command = commands.add(*group, "add", "admit a replica, once it has caught up",
                         "  caisson member add --dir D --replica 4\n"
                         "  caisson member add --dir D --replica 4 --learner     without a vote\n"
                         "  caisson member add --dir D --replica 4 --standby     … and appends do "
                         "not run away from it\n\n"
                         "Its node has to run. Asked again, it changes nothing, unless the replica "
                         "has lost its memory since. Interrupted, the change goes on.\n",
                         admit, run_add);
  add_choice(command, admit->choice);
  add_replica(command, "--replica", admit->replica, "whom");
  auto* learner =
      command->add_flag("--learner", admit->learner, "it receives the log, and votes in nothing");
  command
      ->add_flag("--standby", admit->standby,
                 "likewise, and its lag is bounded: it may take over (caisson standby promote)")
      ->excludes(learner);
  add_timeout(command, admit->timeout_s, "how long to wait until it takes part");

  auto dismiss = std::make_shared<ChangeOptions>();
  command = commands.add(*group, "remove", "let a replica go",
                         "  caisson member remove --dir D --replica 3\n", dismiss, run_remove);
  add_choice(command, dismiss->choice);
  add_replica(command, "--replica", dismiss->replica, "whom");
  add_timeout(command, dismiss->timeout_s, "how long to wait until it is gone");

  auto swap = std::make_shared<ChangeOptions>();
  command = commands.add(
      *group, "replace", "admit one replica in another's place",
      "  caisson member replace --dir D --replica 3 --by 4\n"
      "  caisson member replace --dir D --replica 3 --by 3     its memory was lost: removed, then "
      "admitted anew\n",
      swap, run_replace);
  add_choice(command, swap->choice);
  add_replica(command, "--replica", swap->replica, "who goes");
  add_replica(command, "--by", swap->by, "who comes");
  add_timeout(command, swap->timeout_s, "how long to wait until it is done");
}

void add_leader(Commands& commands) {
  CLI::App* group = commands.app.add_subcommand("leader", "who leads the logs");
  group->require_subcommand(1);

  auto show = std::make_shared<LogChoice>();
  CLI::App* command =
      commands.add(*group, "show", "who leads", "  caisson leader show --dir D\n", show, run_show);
  add_choice(command, *show);

  auto transfer = std::make_shared<TransferOptions>();
  command = commands.add(*group, "transfer", "have another replica lead",
                         "  caisson leader transfer --dir D --to 2\n\n"
                         "Appends wait for about as long as a failover takes; none is lost.\n",
                         transfer, run_transfer);
  add_choice(command, transfer->choice);
  add_replica(command, "--to", transfer->to, "who is to lead");
  add_timeout(command, transfer->timeout_s, "how long to try");
}

}  // namespace caisson::tools
