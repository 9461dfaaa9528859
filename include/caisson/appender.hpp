// SPDX-License-Identifier: BSD-3-Clause
// Appending: streams, completions, claims. See caisson.hpp for threads and fork.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "caisson/types.hpp"

namespace caisson {

namespace engine {
class AppenderImpl;
}  // namespace engine

class Log;

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
// first number that is not in the log; until then appends are answered `again`. If that number was
// acknowledged already, below Durability::persisted, appends are answered `broken_stream`: the next
// stream hears the apology.
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
  // Submits the first `payload_bytes` of the claim, which is used up whatever is answered. fenced:
  // it had already expired · again, held: a standby has fallen too far behind since (R14), nothing
  // was taken: claim anew.
  [[nodiscard]] Code submit(Claim&& claim, uint32_t payload_bytes, uint64_t tag,
                            const AppendOptions& options = {});

  // Takes completions that are ready; does not wait. Inline mode: also runs the engine once.
  size_t completions(std::span<Completion> out);

  // Returns once everything submitted before is resolved (their completions can still be taken), or
  // timed_out. A barrier (R3).
  [[nodiscard]] Code flush(uint64_t timeout_ns = kNoDeadline);

  // flush(), and then until everything that this stream was told is committed: by the prefix rule a
  // barrier for all its weaker levels (R10). ok: nothing of it will ever be apologised for ·
  // fenced: the leader that acknowledged it was deposed first, open the next stream with told ·
  // timed_out · closed. See also barrier().
  [[nodiscard]] Code make_durable(uint64_t timeout_ns = kNoDeadline);

  EntryIdentity last_identity() const;  // of the last append taken
  // The highest number that was acknowledged, at any level. Whoever appends below
  // Durability::persisted keeps it, and says it when it opens its next stream
  // (AppenderOptions::told). Completions that were not taken yet count.
  EntryIdentity acknowledged() const;

  // What this client was told was appended and is not in the log, as it was when the stream was
  // opened, less what has been taken since. The log keeps them, over failovers and trims, until
  // they are taken (R13).
  const std::vector<Apology>& apologies() const;
  // Those noted at this position or before need not be told again. ok · not_leader · timed_out: ask
  // again · closed.
  [[nodiscard]] Code take_apologies(Position through, uint64_t timeout_ns = kNoDeadline);

 private:
  friend class Log;
  friend Code barrier(std::span<Appender* const> appenders, uint64_t timeout_ns);
  explicit Appender(std::unique_ptr<engine::AppenderImpl> impl);
  std::unique_ptr<engine::AppenderImpl> impl_;
};

// make_durable() over streams of several logs, of one thread: the first code that is not ok.
[[nodiscard]] Code barrier(std::span<Appender* const> appenders, uint64_t timeout_ns = kNoDeadline);

struct AppenderOptions {
  uint64_t client = 0;  // the stream's identity; 0: a random one
  // true: goes on after the last sequence number that the log holds of this client (see
  // last_identity()); false: a new incarnation that starts at 1. Either way every older incarnation
  // of the client is refused from now on (stale_stream).
  bool resume = false;
  // What an earlier stream of this client was told (Appender::acknowledged). What of it is not in
  // the log is noted there, for good: see Appender::apologies(). aged_out: too long ago to be
  // told · held: take some of those that wait first.
  EntryIdentity told{};
  uint32_t outstanding_max =
      1024;  // of this stream; at most 1024, the window of remembered retries
  // true: Log::appender() waits until this replica leads. A standby that is to go on at once when
  // it is elected waits here: its stream is open as soon as the term serves.
  bool await_leadership = false;
  // How long Log::appender() may wait in all; then Code::timed_out.
  uint64_t timeout_ns = 10'000'000'000;
};

}  // namespace caisson
