// SPDX-License-Identifier: BSD-3-Clause
// The vocabulary of caisson: the few value types that every layer and every user shares.
// Index, count, byte offset and identity are distinct types and never convert into each other.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace caisson {

// A 64-bit value that only compares with its own kind.
template <class Tag>
struct Strong {
  uint64_t value = 0;
  constexpr Strong() = default;
  constexpr explicit Strong(uint64_t v) : value(v) {}
  constexpr auto operator<=>(const Strong&) const = default;
};

// Index of an entry in its log: 1, 2, 3, … without gaps (R1). 0 means "before the first entry".
struct PositionTag {};
using Position = Strong<PositionTag>;
constexpr Position operator+(Position p, uint64_t count) { return Position{p.value + count}; }
constexpr uint64_t operator-(Position a, Position b) { return a.value - b.value; }

// Logical byte offset in a log: grows for ever, a multiple of 64 at entry boundaries. The byte
// lives in the ring at `value % ring_bytes`, at the same place on every replica.
struct OffsetTag {};
using Offset = Strong<OffsetTag>;
constexpr Offset operator+(Offset o, uint64_t bytes) { return Offset{o.value + bytes}; }
constexpr uint64_t operator-(Offset a, Offset b) { return a.value - b.value; }

// A leader's term. Unique by construction: term = round * 256 + replica id of the candidate (P3).
struct TermTag {};
using Term = Strong<TermTag>;

// Number of a membership view; each view is named by an entry of the log (R24).
struct ViewTag {};
using View = Strong<ViewTag>;

// How often a replica's region has been opened by a process; renewed at every start.
struct IncarnationTag {};
using Incarnation = Strong<IncarnationTag>;

// A replica's number in its cluster: 1 … 63. 0 is nobody.
struct ReplicaId {
  uint8_t value = 0;
  constexpr ReplicaId() = default;
  constexpr explicit ReplicaId(uint8_t v) : value(v) {}
  constexpr auto operator<=>(const ReplicaId&) const = default;
};
inline constexpr uint8_t kReplicaIdMax = 63;

// A set of replicas, bit i for ReplicaId{i}.
struct ReplicaSet {
  uint64_t bits = 0;
  constexpr bool has(ReplicaId id) const { return (bits >> id.value) & 1; }
  constexpr void add(ReplicaId id) { bits |= uint64_t{1} << id.value; }
  constexpr void remove(ReplicaId id) { bits &= ~(uint64_t{1} << id.value); }
  constexpr int count() const { return __builtin_popcountll(bits); }
  constexpr bool empty() const { return bits == 0; }
  constexpr bool operator==(const ReplicaSet&) const = default;
};
constexpr ReplicaSet operator|(ReplicaSet a, ReplicaSet b) { return {a.bits | b.bits}; }
constexpr ReplicaSet operator&(ReplicaSet a, ReplicaSet b) { return {a.bits & b.bits}; }
constexpr ReplicaSet operator-(ReplicaSet a, ReplicaSet b) { return {a.bits & ~b.bits}; }
constexpr ReplicaSet just(ReplicaId id) { return {uint64_t{1} << id.value}; }

// Calls f(ReplicaId) for each member, ascending.
template <class F>
void for_each(ReplicaSet set, F&& f) {
  for (uint64_t bits = set.bits; bits != 0; bits &= bits - 1) {
    f(ReplicaId{static_cast<uint8_t>(__builtin_ctzll(bits))});
  }
}

// Identity of a log: the cluster it belongs to, and its number there.
struct LogIdentity {
  std::array<uint8_t, 16> cluster{};
  uint64_t log = 0;
  auto operator<=>(const LogIdentity&) const = default;
};

// Identity of one entry as its client knows it (R30). client 0 is reserved for the engine itself.
struct EntryIdentity {
  uint64_t client = 0;
  uint32_t incarnation = 0;
  uint64_t sequence = 0;
  auto operator<=>(const EntryIdentity&) const = default;
};

// What a client was told was appended, below Durability::persisted, and is not in the log (R13): of
// this incarnation of its stream, these sequence numbers, the ends included, so far as they were
// acknowledged.
struct Apology {
  uint32_t incarnation = 0;
  uint64_t first_sequence = 0;
  uint64_t last_sequence = 0;
  Position noted;  // where the log says so
  bool operator==(const Apology&) const = default;
};

// Fencing token (R23): grows strictly with every entry of a log. Compare tokens of one log only.
struct Token {
  Term term;
  Position position;
  constexpr auto operator<=>(const Token&) const = default;
};

// How far an append must have got before it is acknowledged (R10). Commit and delivery always mean
// a persisted quorum; the level moves only the acknowledgement (P8).
// What was acknowledged below `persisted` may yet be lost: its client hears an apology (R13).
enum class Durability : uint8_t {
  volatile_ = 0,   // the leader has given it a position
  local = 1,       // the leader has persisted the bytes
  replicated = 2,  // a quorum has received the bytes
  persisted = 3,   // a quorum has persisted the bytes (the default)
  all = 4,         // every voter has persisted the bytes
};

// What "persisted" means on this replica (R12, P22).
enum class Persistence : uint8_t {
  none = 0,      // nothing is claimed
  emulated = 1,  // survives the death of every process, not the loss of power
  adr = 2,       // stores flushed to the memory controller survive power loss
  eadr = 3,      // stores visible in the cache survive power loss
};

// Conditions. The first group is ordinary life and never logged; the rest are errors.
enum class Code : uint8_t {
  ok = 0,
  // Ordinary conditions.
  again,         // back-pressure: nothing was taken, try again after progress (R9)
  not_leader,    // this replica does not lead; a hint may say who does
  fenced,        // a newer term has revoked this writer (R19)
  closed,        // the log or engine is closed, or closing
  indefinite,    // the outcome is not known yet; it will be, when recovery ends (R13)
  timed_out,     // the caller's deadline passed first; says nothing about the outcome
  not_appended,  // definitely not in the log
  trimmed,       // the position lies below the trim point (R8)
  not_yet,       // the position lies above what is committed
  held,          // somebody still needs what is to be trimmed (R8), or a standby lags (R14)
  no_quorum,     // no majority of voters can be reached (R20)
  wrong_view,    // conditional on a view that is not, or no longer, the current one (R34)
  revoked,       // what was delivered before it was committed is not in the log after all (R32)
  // Refusals of an input.
  invalid,          // malformed argument, message or configuration
  too_large,        // exceeds a stated limit (R45)
  unsupported,      // not offered by this build, platform or version
  exists,           // would have to overwrite something
  not_found,        // no such thing
  wrong_cluster,    // belongs to another cluster, log or replica
  wrong_version,    // a newer format or protocol version
  stale_stream,     // the stream has a newer incarnation (R30)
  broken_stream,    // a sequence number is missing before this one (R4)
  aged_out,         // the identity is older than the table remembers (R30)
  identity_reused,  // same identity, other bytes (R30)
  denied,           // missing rights, or an identity that is not authorised (R41)
  // Faults.
  busy,      // owned by another live process (P7)
  damaged,   // acknowledged bytes are gone or corrupt (P16)
  amnesia,   // the region or both superblock slots are missing (P17)
  no_space,  // the device or file system is full
  io,        // the operating system reported a failure
  internal,  // an invariant does not hold: a bug in caisson
};

std::string_view name(Code code);
std::string_view name(Durability level);
std::string_view name(Persistence persistence);

// An error away from the data plane: a code to branch on, and a sentence that names the thing and
// the cure.
struct Error {
  Code code = Code::internal;
  std::string message;
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Code code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

inline constexpr size_t kCacheLineBytes = 64;

}  // namespace caisson
