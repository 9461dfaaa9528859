// SPDX-License-Identifier: BSD-3-Clause
// The points at which a process of the suites can be made to die, stop or fail: the one list.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace caisson::points {

enum class Action : uint8_t {
  kill,   // SIGKILL: no destructor, no flush
  pause,  // SIGSTOP, until somebody continues it
  fail,   // what is called fails as it can: its typed error, a lost message, a broken connection
};
inline constexpr std::array kActions{Action::kill, Action::pause, Action::fail};
constexpr std::string_view name(Action action) {
  return action == Action::kill ? "kill" : action == Action::pause ? "pause" : "fail";
}

// What has to happen to a cluster so that a point is passed.
enum class Script : uint8_t {
  load,      // appends, which go on all the time
  failover,  // the leader is killed, and comes back
  deposed,   // the leader is stopped for as long as it takes to elect another, and goes on
  rivals,    // … in the moment in which it asks for a grant, so that its question is of the past
  orphans,   // the leader dies with entries in its own ring alone
  restart,   // a follower is killed, and comes back
  transfer,  // the leader hands over
  stream,    // a client opens a stream
  trim,      // everything that is committed and has been read is trimmed
  replace,   // a follower's memory is lost: it comes back empty, and is admitted anew
  read,      // linearizable reads, of all kinds
  backup,    // a copy of the log is taken, verified, and made into another cluster
};

struct Row {
  std::string_view name;
  bool fails;      // whether `fail` means anything here
  Script script;   // what makes it be passed
  uint32_t often;  // the fault strikes on one of so many first passings
  std::string_view what;
};

inline constexpr bool kFails = true;
inline constexpr bool kNever = false;

// clang-format off
inline constexpr auto kPoints = std::to_array<Row>({
    // ---- A replica's own region ----
    {"region.open", kFails, Script::restart, 1, "a region was opened, its superblock is about to be read"},
    {"region.superblock.opened", kFails, Script::restart, 1, "before a new incarnation is written down"},
    {"region.superblock.promise", kFails, Script::failover, 2, "before a promise is written down (P2)"},
    {"region.superblock.between", kNever, Script::failover, 2, "one slot holds the new superblock, the other the old one (H14)"},
    {"region.superblock.cursors", kFails, Script::load, 20, "before progress is written down"},
    {"region.superblock.trim", kFails, Script::trim, 2, "before a trim point is written down (P13)"},
    {"region.persist", kNever, Script::load, 20, "before bytes of the ring are made persistent"},
    {"region.blank", kNever, Script::orphans, 1, "before the first line behind a divergence is blanked"},
    {"region.salvage.store", kNever, Script::orphans, 2, "before displaced entries are put aside (P15)"},
    {"region.salvage.persist", kNever, Script::orphans, 2, "… they are, and not persistent yet"},
    // ---- The fabric, as leader ----
    {"append.data", kNever, Script::load, 400, "a client's entry is sealed, and placed nowhere"},
    {"append.torn", kNever, Script::load, 40, "bytes are in the leader's own ring, and in nobody else's"},
    {"append.term_start", kNever, Script::failover, 1, "a new leader's first entry is placed nowhere"},
    {"append.view", kNever, Script::replace, 2, "an entry that names a view is placed nowhere"},
    {"append.session", kNever, Script::stream, 1, "an entry that begins a stream is placed nowhere"},
    {"append.checkpoint", kNever, Script::trim, 1, "a checkpoint is placed nowhere"},
    {"endpoint.complete", kNever, Script::load, 50, "a batch is placed everywhere, and nobody was told that it ends"},
    {"endpoint.persisted", kFails, Script::load, 50, "a batch is persistent somewhere, and not counted yet; fails: the grant is gone"},
    {"endpoint.commit_cell", kNever, Script::load, 30, "before the idle commit mark is written"},
    {"endpoint.attach", kFails, Script::failover, 2, "before a grant is taken up"},
    {"endpoint.attached", kNever, Script::failover, 2, "… it is, and nothing is written under it"},
    {"endpoint.write", kNever, Script::restart, 2, "before a piece is written to a replica that is being caught up"},
    {"endpoint.detach", kNever, Script::failover, 2, "before a target is let go"},
    // ---- The fabric, as target ----
    {"endpoint.revoke", kFails, Script::failover, 2, "a promise is persistent, the old grants still hold"},
    {"endpoint.revoked", kNever, Script::failover, 2, "every grant has ended, nothing is answered"},
    {"endpoint.promise", kNever, Script::failover, 2, "before a promise is published (P19)"},
    {"endpoint.grant", kFails, Script::failover, 2, "before a writer is let in"},
    {"endpoint.granted", kNever, Script::failover, 2, "it is let in, and does not know"},
    {"endpoint.publish", kNever, Script::load, 200, "before a follower tells its leader how far it is"},
    {"remap", kFails, Script::deposed, 1, "the manifest names the moved segments, the mappings are the old ones (P5)"},
    // ---- The fabric, reading ----
    {"endpoint.read", kFails, Script::read, 3, "before another's ring is read"},
    {"endpoint.standing", kFails, Script::read, 3, "before another's promised term is read (P19)"},
    {"node.beat", kNever, Script::load, 5000, "before the heartbeat advances"},
    {"node.beat.read", kFails, Script::load, 500, "before another's heartbeat is read"},
    {"express.post", kFails, Script::failover, 2, "before a message is put into a peer's slot"},
    {"express.take", kFails, Script::failover, 2, "before the own slots are emptied"},
    // ---- Control messages, before they leave; fails: they are lost ----
    {"send.pre_seal", kFails, Script::deposed, 2, "whether others see the leader stale, too (P21)"},
    {"send.pre_seal_reply", kFails, Script::deposed, 1, "its answer"},
    {"send.seal", kFails, Script::failover, 2, "a candidate, or a leader, asks for a seal"},
    {"send.seal_reply", kFails, Script::failover, 1, "promised, revoked, scanned: the answer"},
    {"send.grant_request", kFails, Script::failover, 1, "a leader asks to write behind a divergence"},
    {"send.grant_reply", kFails, Script::failover, 1, "its answer, the suffix is put aside"},
    {"send.hello", kFails, Script::restart, 1, "a replica that has just started looks for its leader"},
    {"send.fenced", kFails, Script::rivals, 1, "word of a higher promise"},
    {"send.rebase", kFails, Script::replace, 1, "a leader tells a replica where to begin anew"},
    {"send.succeed", kFails, Script::transfer, 1, "a leader asks its heir to stand up"},
    {"send.read_request", kFails, Script::read, 1, "a replica asks up to where it has to read"},
    {"send.read_reply", kFails, Script::read, 1, "the leader's answer"},
    // ---- … and when they have arrived ----
    {"received.pre_seal", kFails, Script::deposed, 1, "nothing of it is done yet"},
    {"received.pre_seal_reply", kFails, Script::deposed, 1, "not counted yet"},
    {"received.seal", kFails, Script::failover, 1, "nothing of it is done yet"},
    {"received.seal_reply", kFails, Script::failover, 1, "not counted yet"},
    {"received.grant_request", kFails, Script::failover, 1, "nothing of it is done yet"},
    {"received.grant_reply", kFails, Script::failover, 1, "the grant is not taken up yet"},
    {"received.hello", kFails, Script::restart, 1, "nobody has looked at it yet"},
    {"received.fenced", kFails, Script::rivals, 1, "nobody has looked at it yet"},
    {"received.rebase", kFails, Script::replace, 1, "nothing of it is done yet"},
    {"received.succeed", kFails, Script::transfer, 1, "nothing of it is done yet"},
    {"received.read_request", kFails, Script::read, 1, "nothing of it is done yet"},
    {"received.read_reply", kFails, Script::read, 1, "nobody has looked at it yet"},
    // ---- Clients; fails: the connection breaks ----
    {"client.connected", kFails, Script::read, 1, "a client is at the door"},
    {"client.request.append", kFails, Script::load, 20, "appends have come, nothing of them is done yet"},
    {"client.request.read", kFails, Script::read, 2, "a question has come, nothing of it is done yet"},
    {"client.reply.append", kFails, Script::load, 20, "appends are committed, their client does not know"},
    {"client.reply.read", kFails, Script::read, 2, "an answer is ready, its client does not know"},
    // ---- The application, and its state on the way to another (R26) ----
    {"apply.commit", kNever, Script::load, 10, "entries are applied, and the state is not durable (S6)"},
    {"apply.mark", kNever, Script::load, 10, "… it is, and the log does not know"},
    {"state.read", kFails, Script::replace, 2, "before a piece of the state is read"},
    {"state.begin", kFails, Script::replace, 1, "a state is about to come, nothing of it is here"},
    {"state.write", kFails, Script::replace, 2, "before a piece of it is written"},
    {"state.finish", kFails, Script::replace, 1, "all of it is here, and is not the application's yet"},
    {"state.finished", kNever, Script::replace, 1, "… it is, and the log does not know"},
    // ---- Files: a replica that is made to join, and a backup ----
    {"file.allocate", kFails, Script::replace, 1, "before the space of a region is had"},
    {"file.sync", kFails, Script::replace, 1, "before a new region's file is made durable"},
    {"file.link", kFails, Script::replace, 1, "before it has its first name"},
    {"create.superblock", kFails, Script::replace, 1, "before it becomes a replica's"},
    {"file.rename", kFails, Script::replace, 1, "before it has its name for good"},
    {"file.sync_directory", kFails, Script::replace, 1, "before its first name is durable"},
    {"file.sync_name", kFails, Script::replace, 1, "before the name for good is durable"},
    {"create.entries", kNever, Script::backup, 2, "before a log's first entries are written, in a new region"},
    {"backup.entries", kNever, Script::backup, 1, "before entries are copied"},
    {"backup.persist", kNever, Script::backup, 1, "the entries are there, and not persistent"},
    {"backup.superblock", kFails, Script::backup, 1, "before a copy becomes a backup"},
});
// clang-format on

inline constexpr size_t kPointCount = kPoints.size();
static_assert(kPointCount >= 40);

constexpr bool can(const Row& row, Action action) { return action != Action::fail || row.fails; }

using Point = uint16_t;  // index into kPoints

// The point of that name; there is none: the program does not compile.
consteval Point at(std::string_view name) {
  for (Point i = 0; i < kPointCount; ++i) {
    if (kPoints[i].name == name) return i;
  }
  throw "no such point";
}

}  // namespace caisson::points
