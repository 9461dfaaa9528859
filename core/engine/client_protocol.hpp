// SPDX-License-Identifier: BSD-3-Clause
// What clients (the command line, remote programs) and nodes say to each other, over the links of
// client_connection.hpp and links.hpp. Plain values; encode and decode turn them into protobuf
// bytes and back, and refuse hostile ones with a typed error (R42).
//
// A request carries an id of the client's choice; every reply to it carries the same one. Requests
// are answered as they become ready, not in order. Any of them may be answered by Failed, which
// ends it.
//
// Appending, without losing or duplicating an entry (R30):
// - OpenLog, then OpenStream, at the leader. StreamOpened gives the incarnation, and the last
//   sequence number that the log holds of this client (0 for a new incarnation).
// - Send Appends without waiting for answers: consecutive sequence numbers from last_sequence + 1
//   on, many payloads to a message, and thousands outstanding. AppendResults come back as entries
//   are decided, several for one Append, or one for several runs of an Append.
// - When the connection breaks, or a result says not_leader, fenced, closed or indefinite: connect
//   to another node (the hint names it), OpenLog there, and send everything unacknowledged again,
//   oldest first, with the same client, incarnation and sequence numbers. No OpenStream: a new
//   incarnation would make them other entries. What had been committed is answered with its
//   original position.
// - Where appends were acknowledged below `persisted`, the new leader's log may end before them:
//   what follows is answered broken_stream. Then OpenStream with `resume` and what was told: the
//   answer says what is lost, and goes on doing so until TakeApologies.
// - A client that was killed opens its stream with `resume` and goes on behind last_sequence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "caisson/orphans.hpp"
#include "caisson/types.hpp"
#include "core/log/entry_format.hpp"
#include "core/log/ring.hpp"

namespace caisson::engine::client {

inline constexpr uint32_t kClientProtocolVersion = 1;
inline constexpr size_t kBatchEntriesMax = 8192;  // of one Append, AppendResult or Entries
// Payloads of one Append together. Of one Entries: each entry counts with kEntryOverheadBytes
// besides, and the first one always goes. Either way the message fits into a frame
// (kFrameBytesMax).
inline constexpr size_t kBatchBytesMax = size_t{1} << 20;
inline constexpr size_t kEntryOverheadBytes = 72;
inline constexpr size_t kStatusBytesMax = size_t{512} << 10;
inline constexpr size_t kErrorTextBytesMax = 4096;
inline constexpr uint64_t kForever = ~uint64_t{0};  // a timeout_us

// Who leads, and where. leader 0: not known. host empty: not known, ask by id in the configuration.
struct LeaderHint {
  ReplicaId leader;
  Term term;
  std::string host;
  uint16_t port = 0;
  bool operator==(const LeaderHint&) const = default;
};

// ---- Requests ----------------------------------------------------------------------------------

struct OpenLog {
  std::string name;
  bool operator==(const OpenLog&) const = default;
};
struct OpenStream {
  uint64_t log = 0;
  uint64_t client = 0;  // the stream's identity; not 0
  bool resume = false;  // go on behind what the log holds; false: begin a new incarnation
  // The last that this client was told was appended; what of it the log does not hold is noted
  // there as lost, and told by StreamOpened until it is taken (R13). 0: nothing.
  uint32_t told_incarnation = 0;
  uint64_t told_sequence = 0;
  bool operator==(const OpenStream&) const = default;
};
struct TakeApologies {  // of the stream `client`: those noted at `through` or before; answered Done
  uint64_t log = 0;
  uint64_t client = 0;
  Position through;
  bool operator==(const TakeApologies&) const = default;
};
struct Append {
  uint64_t log = 0;
  uint64_t client = 0;
  uint32_t incarnation = 0;
  uint64_t first_sequence = 0;  // payload i has first_sequence + i
  Durability durability = Durability::persisted;
  uint64_t timeout_us = kForever;  // then answered timed_out, which says nothing about the outcome
  bool atomic = false;             // committed and delivered all or none (P10)
  std::vector<std::string> payloads;
  bool operator==(const Append&) const = default;
};
struct Read {
  uint64_t log = 0;
  Position from;                // from here on, ascending …
  Position to;                  // … through here; 0: as far as there is
  uint32_t entries_max = 1024;  // per Entries; 1 … kBatchEntriesMax
  uint64_t bytes_max =
      kBatchBytesMax / 2;   // per Entries, as kBatchBytesMax counts; 1 … kBatchBytesMax
  uint64_t timeout_us = 0;  // wait so long for the first one that is not there yet
  bool follow = false;      // go on for ever, until cancelled or `to` is reached
  bool operator==(const Read&) const = default;
};
struct Trim {
  uint64_t log = 0;
  Position through;
  bool operator==(const Trim&) const = default;
};
struct WaitFor {  // until `position` is committed, as the answering node knows it
  uint64_t log = 0;
  Position position;
  uint64_t timeout_us = kForever;
  bool operator==(const WaitFor&) const = default;
};
struct Tail {
  uint64_t log = 0;
  uint32_t path = 0;        // how to make sure, a ReadPath; 0: as this node knows it, maybe stale
  uint64_t timeout_us = 0;  // where it has to be made sure
  bool operator==(const Tail&) const = default;
};
struct ChangeMembers {  // asked for; the status tells when it is done
  uint64_t log = 0;
  ReplicaSet add;
  ReplicaSet learn;
  ReplicaSet remove;
  View view;  // not 0: only if this view is in force
  ReplicaSet standby;
  bool operator==(const ChangeMembers&) const = default;
};
struct HandOver {  // likewise
  uint64_t log = 0;
  ReplicaId to;
  bool operator==(const HandOver&) const = default;
};
struct OrphansOf {  // what was displaced at this node (R15)
  uint64_t log = 0;
  uint64_t record = 0;  // 0: the records there are; else entries of this one …
  log::Cursor from;     // … from here on; all 0: from its beginning
  bool payloads = false;
  bool operator==(const OrphansOf&) const = default;
};
struct DiscardOrphans {
  uint64_t log = 0;
  uint64_t record = 0;
  bool operator==(const DiscardOrphans&) const = default;
};
struct Status {
  bool operator==(const Status&) const = default;
};
struct Cancel {  // ends the request of the same id: a read that follows, a wait
  bool operator==(const Cancel&) const = default;
};

using RequestBody =
    std::variant<OpenLog, OpenStream, Append, Read, Trim, WaitFor, Tail, Status, Cancel,
                 ChangeMembers, HandOver, TakeApologies, OrphansOf, DiscardOrphans>;
struct Request {
  uint64_t id = 0;
  RequestBody body;
  bool operator==(const Request&) const = default;
};

// ---- Replies -----------------------------------------------------------------------------------

struct LogOpened {
  uint64_t log = 0;  // names the log in what follows
  uint64_t entry_bytes_max = 0;
  uint32_t outstanding_max = 0;
  ReplicaId leader;
  Term term;
  Position committed;
  Position trimmed;
  bool operator==(const LogOpened&) const = default;
};
struct StreamOpened {
  uint64_t log = 0;
  uint64_t client = 0;
  uint32_t incarnation = 0;
  uint64_t last_sequence = 0;
  std::vector<Apology> apologies;  // that wait to be taken, oldest first
  bool operator==(const StreamOpened&) const = default;
};
struct AppendOutcome {
  uint64_t sequence = 0;
  Code code = Code::ok;  // as Completion::code of the public API, or not_leader, again
  Position position;     // where code is ok
  Term term;
  bool operator==(const AppendOutcome&) const = default;
};
struct AppendResult {
  uint64_t log = 0;
  uint64_t client = 0;
  uint32_t incarnation = 0;
  std::vector<AppendOutcome> outcomes;  // of any of the request's entries, each once, in any order
  LeaderHint hint;
  bool operator==(const AppendResult&) const = default;
};
struct ReadEntry {
  Position position;
  Term term;
  log::Kind kind = log::Kind::data;
  EntryIdentity identity;
  std::string payload;
  bool operator==(const ReadEntry&) const = default;
};
struct Entries {
  uint64_t log = 0;
  std::vector<ReadEntry> entries;  // ascending; entries that caisson writes for itself are left out
  Position next;                   // a Read from here goes on
  Position committed;
  bool last = false;  // nothing more follows under this id
  bool operator==(const Entries&) const = default;
};
struct Trimmed {
  uint64_t log = 0;
  Code code = Code::ok;  // ok · held · not_leader …
  ReplicaId holder;      // where held: who still needs entries (0: a reader at the leader)
  Position trimmed;
  bool operator==(const Trimmed&) const = default;
};
struct Waited {
  uint64_t log = 0;
  Code code = Code::ok;  // ok · timed_out
  Position committed;
  bool operator==(const Waited&) const = default;
};
struct TailIs {
  uint64_t log = 0;
  Position position;
  Term term;
  bool linearizable = false;  // false: as this node knows it, possibly stale
  bool operator==(const TailIs&) const = default;
};
struct StatusIs {
  std::string json;  // one object
  bool operator==(const StatusIs&) const = default;
};
struct Done {  // to ChangeMembers, HandOver, TakeApologies and DiscardOrphans
  uint64_t log = 0;
  Code code = Code::ok;
  bool operator==(const Done&) const = default;
};
struct OrphanRecords {
  uint64_t log = 0;
  Orphans all;  // the records without their entries
  bool operator==(const OrphanRecords&) const = default;
};
struct OrphanEntries {
  uint64_t log = 0;
  uint64_t record = 0;
  std::vector<OrphanEntry> entries;
  log::Cursor next;  // go on here
  bool last = false;
  bool damaged = false;  // what follows cannot be read any more
  bool operator==(const OrphanEntries&) const = default;
};
struct Failed {
  Code code = Code::internal;
  std::string message;
  LeaderHint hint;  // where code is not_leader
  bool operator==(const Failed&) const = default;
};

using ReplyBody = std::variant<LogOpened, StreamOpened, AppendResult, Entries, Trimmed, Waited,
                               TailIs, StatusIs, Failed, Done, OrphanRecords, OrphanEntries>;
struct Reply {
  uint64_t id = 0;
  ReplyBody body;
  bool operator==(const Reply&) const = default;
};

// ---- Bytes -------------------------------------------------------------------------------------

std::string encode(const Request& request);
std::string encode(const Reply& reply);

// invalid: not one, or a field out of its range · wrong_version: a newer protocol · too_large.
Result<Request> decode_request(std::span<const std::byte> bytes);
Result<Reply> decode_reply(std::span<const std::byte> bytes);

}  // namespace caisson::engine::client
