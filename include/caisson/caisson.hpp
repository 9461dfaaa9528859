// SPDX-License-Identifier: BSD-3-Clause
// caisson: a replicated, durable, ordered log. This is the whole C++ API.
//
// Threads. An Engine and a Log may be used from any thread. An Appender, a Subscription and a Claim
// belong to one thread at a time. With EngineOptions::inline_poller every call, Engine::poll()
// included, comes from one and the same thread.
//
// Fork. Do not fork a process that holds an open Engine, unless the child calls exec at once: the
// rings are not mapped in the child (MADV_DONTFORK), and it shares the locks: as long as it lives,
// the replica may not be opened again, even after close().
//
// Order is promised within a log only (R1). Nothing here throws; errors are values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caisson/members.hpp"
#include "caisson/options.hpp"
#include "caisson/types.hpp"

namespace caisson {

namespace engine {
class EngineImpl;
class LogImpl;
class AppenderImpl;
class SubscriptionImpl;
struct EngineAccess;
}  // namespace engine

// Wait for ever.
inline constexpr uint64_t kNoDeadline = UINT64_MAX;

struct AppendOptions {
  Durability durability = Durability::persisted;
  // How long the caller wants to wait, from the call. When it passes, the append is *not* undone:
  // its completion arrives as Code::timed_out, and the entry may still be committed later. A retry
  // with the same sequence number never appends twice (R30).
  uint64_t timeout_ns = kNoDeadline;
  View view{};  // not 0: only if this view is in force when it is taken (R34), else wrong_view
};

// How an append ended.
//   ok            durable at its level, at `position`
//   not_appended  definitely not in the log, and never will be through this attempt
//   indefinite    the leader lost its term first; followed by exactly one more completion of the
//                 same tag: ok or not_appended once a new leader's log decides it (R13); not_leader
//                 where it cannot be told here any more (its entry is trimmed, or was asked for at
//                 Durability::all): resume the stream at the new leader, which knows where it ends;
//                 timed_out or closed if that comes first
//   timed_out     see AppendOptions::timeout_ns; nothing follows
//   stale_stream, broken_stream, aged_out, identity_reused, wrong_view   refused, nothing was
//                 appended
//   closed        the engine closed first; the outcome is unknown to this process
struct Completion {
  uint64_t tag = 0;
  Code code = Code::ok;
  Position position;
  Term term;
  constexpr Token token() const { return {term, position}; }
};

// Who leads, as this replica knows it.
struct Leadership {
  ReplicaId leader;  // 0: nobody known
  Term term;
  bool is_self = false;  // this replica leads and serves
};

// How far a log has got, as this replica knows it (R11). submitted, replicated and persisted are
// the leader's; a follower reports its committed mark for them.
struct Marks {
  Position submitted;
  Position replicated;
  Position persisted;
  Position committed;
  Position delivered;
  Position applied;
  Position trimmed;
};

// An entry in the ring, not a copy. See Subscription::next for how long it stays.
struct Entry {
  Position position;
  Term term;
  EntryIdentity identity;
  std::span<const std::byte> payload;
  const Members* members =
      nullptr;  // not null: no entry of a client, but a view (SubscribeOptions)
  constexpr Token token() const { return {term, position}; }
};

struct SubscribeOptions {
  bool views = false;  // views are delivered, too, in order with the entries (R24)
};

// Zero copy: room for one payload in the leader's own ring. The memory is writable until submit(),
// abandon(), the claim's timeout (1 s), or step-down, whichever is first. Stores after abandon(),
// timeout or step-down land in private scratch memory: never in the log (P1). From submit() on the
// bytes are the log's: a store then is the application's error, and damages the entry. While a
// claim is open, other appends to the log wait. Destruction abandons it. Must not outlive its
// Appender.
class Claim {
 public:
  Claim(Claim&&) noexcept;
  Claim& operator=(Claim&&) noexcept;
  ~Claim();
  std::span<std::byte> payload() const { return payload_; }

 private:
  friend class Appender;
  Claim() = default;
  engine::AppenderImpl* appender_ = nullptr;
  uint64_t number_ = 0;
  std::span<std::byte> payload_;
};

// A stream of appends: its entries commit as a prefix of what was submitted, in order, each at most
// once (R4, R30). Obtained from Log::appender; closes on destruction (what is outstanding goes on,
// its completions are dropped). One thread at a time. Must not outlive its Engine.
//
// When an append is lost (not_appended) or refused, so are all later ones that were outstanding:
// the stream stays a prefix. Once each of them has its completion, the next append goes on with the
// first number that is not in the log; until then appends are answered `again`.
class Appender {
 public:
  ~Appender();
  Appender(const Appender&) = delete;
  Appender& operator=(const Appender&) = delete;

  // Copies the payload and returns at once. ok: taken; a Completion with this tag follows.
  // again: back-pressure, take completions and retry · not_leader · too_large · closed.
  // Entries are numbered 1, 2, 3, … of this stream's incarnation as they are taken. Inline, what
  // the log refuses at once is answered at once: stale_stream, broken_stream, aged_out. Inline, it
  // leaves with the next completions(), flush(), append() or Engine::poll().
  [[nodiscard]] Code append_async(std::span<const std::byte> payload, uint64_t tag,
                                  const AppendOptions& options = {});

  // As append_async for several payloads that are committed and delivered all or none (P10). One
  // completion, of the last entry. too_large: more than 256 entries, or than a quarter of the ring
  // (with poller threads: than half of the submission ring, which holds three of the largest), or
  // than LogOptions::outstanding_max. Of AppenderOptions::outstanding_max it takes one, with poller
  // threads as many as it has entries.
  [[nodiscard]] Code append_batch_async(std::span<const std::span<const std::byte>> payloads,
                                        uint64_t tag, const AppendOptions& options = {});

  // Appends and waits: code ok, or why not. Other completions that arrive meanwhile are kept.
  // again: there was no room before the deadline, nothing was taken.
  Completion append(std::span<const std::byte> payload, const AppendOptions& options = {});

  // Zero copy. Refused with again, not_leader, too_large, closed.
  Result<Claim> claim(uint32_t payload_bytes);
  // Submits the first `payload_bytes` of the claim, which is used up. fenced: it had already
  // expired.
  [[nodiscard]] Code submit(Claim&& claim, uint32_t payload_bytes, uint64_t tag,
                            const AppendOptions& options = {});

  // Takes completions that are ready; does not wait. Inline mode: also runs the engine once.
  size_t completions(std::span<Completion> out);

  // Returns once everything submitted before is resolved (their completions can still be taken), or
  // timed_out. A barrier (R3).
  [[nodiscard]] Code flush(uint64_t timeout_ns = kNoDeadline);

  EntryIdentity last_identity() const;  // of the last append taken

 private:
  friend class Log;
  explicit Appender(std::unique_ptr<engine::AppenderImpl> impl);
  std::unique_ptr<engine::AppenderImpl> impl_;
};

// Committed entries in order, in place (R6). While it stands it holds the trim point below its next
// entry. Must not outlive its Engine.
class Subscription {
 public:
  ~Subscription();
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

  // The next committed entry. Its payload points into the ring and stays until the following call
  // of next() or the end of the subscription, step-down included: committed bytes never change.
  // not_yet: nothing new · timed_out · trimmed: the log was trimmed beyond the subscription's start
  // · damaged · closed. Entries that caisson writes for itself (views unless asked for, term
  // starts, sessions, checkpoints) are skipped.
  [[nodiscard]] Code next(Entry& out);
  [[nodiscard]] Code next_wait(Entry& out, uint64_t timeout_ns);

 private:
  friend class Log;
  explicit Subscription(std::unique_ptr<engine::SubscriptionImpl> impl);
  std::unique_ptr<engine::SubscriptionImpl> impl_;
};

struct AppenderOptions {
  uint64_t client = 0;  // the stream's identity; 0: a random one
  // true: goes on after the last sequence number that the log holds of this client (see
  // last_identity()); false: a new incarnation that starts at 1. Either way every older incarnation
  // of the client is refused from now on (stale_stream).
  bool resume = false;
  uint32_t outstanding_max =
      1024;  // of this stream; at most 1024, the window of remembered retries
  // true: Log::appender() waits until this replica leads. A standby that is to go on at once when
  // it is elected waits here: its stream is open as soon as the term serves.
  bool await_leadership = false;
  // How long Log::appender() may wait in all; then Code::timed_out.
  uint64_t timeout_ns = 10'000'000'000;
};

class Log {
 public:
  const std::string& name() const;

  // Opens a stream; needs the leader. not_leader, timed_out, no_quorum, closed. Memory for
  // `outstanding_max` appends is taken first, whatever comes of it.
  Result<std::unique_ptr<Appender>> appender(const AppenderOptions& options = {});

  // Copies the payload of a committed entry into `out` (resized). not_yet, trimmed, damaged.
  // Entries that caisson wrote for itself read as Code::not_found.
  [[nodiscard]] Code read(Position position, std::vector<std::byte>& out,
                          Token* token = nullptr) const;

  // From this position on; from Position{0}: from the oldest entry still held. trimmed, closed,
  // too_large (at most 1024 at a time).
  Result<std::unique_ptr<Subscription>> subscribe(Position from,
                                                  const SubscribeOptions& options = {});

  // Returns ok once `position` is committed as this replica knows it.
  [[nodiscard]] Code wait_for(Position position, uint64_t timeout_ns) const;

  Position tail() const;  // the last position known to be committed here: a stale read elsewhere
                          // than on the leader
  Marks marks() const;
  Leadership leadership() const;
  Token token() const;  // {term led or followed, committed}: a fencing token (R23)

  // Leader only: forgets everything through `position`, once every voter has durably applied it and
  // no reader here holds it (R8). held: `holder` says who is in the way (0: a reader of this
  // process) · not_leader · not_yet: above what is committed · closed.
  [[nodiscard]] Code trim(Position position, ReplicaId* holder = nullptr);

  Members members() const;  // as this replica knows them

  // Leader only: changes who takes part, and returns once that is the view in force. ok also if it
  // was already. timed_out: it goes on, under whoever leads · not_found: to be added, but its node
  // does not run or is no [[peer]] · exists: a voter cannot learn
  // · invalid: nobody would be left · wrong_view · not_leader, also if the lead is lost meanwhile:
  // ask the new leader, whose members() say how far it got.
  [[nodiscard]] Code change_members(const MemberChange& change, uint64_t timeout_ns);

  // Leader only: has the voter `to` lead, once it holds all that was appended. Appends are answered
  // `again` meanwhile. ok: this replica leads no more · no_quorum: `to` is not up to date, or looks
  // dead · not_found: no voter · timed_out: this replica still leads.
  [[nodiscard]] Code hand_over(ReplicaId to, uint64_t timeout_ns);

  // The application has durably applied everything through `position` (LogOptions::auto_apply =
  // false). not_yet: above what is committed here · unsupported: with auto_apply · closed.
  [[nodiscard]] Code mark_applied(Position position);

  // A word for people and monitors: role, term, marks, as a JSON object.
  std::string status_json() const;

 private:
  friend class Engine;
  friend class engine::EngineImpl;
  explicit Log(engine::LogImpl* impl) : impl_(impl) {}
  engine::LogImpl* impl_;
};

class Engine {
 public:
  // Creates the regions of a new replica, all of them or none, once, with its cluster (P17).
  // exists: there is one already · amnesia: it may have run before, and must not begin anew · busy:
  // another process runs it · invalid · unsupported: the configured persistence cannot be had here
  // · denied · no_space · io.
  //
  // A spare, or Creation::joining: makes the regions that are missing, as ones that hold nothing,
  // vote in nothing, and wait to be admitted (Log::change_members). So a replica whose memory is
  // lost comes back (R43): the others first remove it, then admit it under its new birth. exists:
  // none is missing.
  enum class Creation : uint8_t { founding, joining };
  static Result<void> create(const EngineOptions& options, Creation creation = Creation::founding);

  // Opens what was created, and takes part. busy: another process runs this replica (P7) · amnesia:
  // its region is missing (P17) · invalid · not_found: the configuration file, or a file of [tls] ·
  // unsupported: the fabric or persistence asked for · denied · no_space · wrong_cluster ·
  // wrong_version · damaged · io.
  static Result<std::unique_ptr<Engine>> open(const EngineOptions& options);
  static Result<std::unique_ptr<Engine>> open(const std::string& configuration_file);
  ~Engine();  // closes
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // The log of that name; it belongs to the Engine and lives as long. not_found, naming those there
  // are · closed.
  Result<Log*> open_log(std::string_view name);

  // Inline mode: one turn of the engine; returns how much was done.
  uint32_t poll();

  // Waits until every log knows a leader. ok or timed_out.
  [[nodiscard]] Code wait_ready(uint64_t timeout_ns);

  // What runs where: cores, NUMA nodes, persistence, fabric, logs, as a JSON object (R36, P22).
  std::string status_json() const;

  // Stops serving, persists cursors, releases locks: the replica may be opened again, elsewhere
  // too. Outstanding appends complete as closed; everything else is answered `closed`. What
  // subscriptions have handed out stays mapped until the Engine's end.
  void close();

 private:
  friend struct engine::EngineAccess;
  explicit Engine(std::unique_ptr<engine::EngineImpl> impl);
  std::unique_ptr<engine::EngineImpl> impl_;
};

std::string_view version();

}  // namespace caisson
