// SPDX-License-Identifier: BSD-3-Clause
// One operation of a history, as docs/history.md has it.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace caisson::checker {

enum class Op : uint8_t {
  append,
  attempt,
  read,
  deliver,
  skip,
  trim,
  state,
  lead,
  loss,
  damage,
  attach,
  apology,
  taken,
  takeover,
  end,
  stall,
};
enum class Level : uint8_t { volatile_, local, replicated, persisted, all };
enum class Outcome : uint8_t { ok, not_appended, unknown, unreadable };

// Of a stream: a client in one of its incarnations, and a place in it.
struct Id {
  uint64_t client = 0;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;
  auto operator<=>(const Id&) const = default;
};

enum class Kind : uint8_t {
  hidden,  // an entry of the engine's own, which is not shown
  data,    // a client's entry
  noop,
  view,
  term,
  session,  // a new incarnation begins: `id`
  checkpoint,
  receipt,
  digest,  // of a state
  stream,  // a client in its incarnation: `id`
  place,   // … and a sequence
};

struct Value {
  Kind kind = Kind::hidden;
  Id id{};
  uint64_t digest = 0;
  bool resumes = false;  // a session: its sequences go on where the last incarnation ended
  bool operator==(const Value&) const = default;
};

struct Operation {
  std::string process;
  Op op = Op::end;
  Value value;
  std::optional<uint64_t> position;
  std::optional<Level> durability;
  std::optional<uint64_t> invoke_ns;
  std::optional<uint64_t> return_ns;
  Outcome result = Outcome::unknown;
  std::optional<uint64_t> term;
  std::optional<uint64_t> batch;
  std::optional<uint64_t> count;
};

std::string_view name(Kind kind);
std::string spell(const Id& id);
std::string spell(const Value& value);

// The digest of an entry's bytes that a value carries.
class Digest {
 public:
  explicit Digest(uint64_t bytes) : digest_(0xcbf29ce484222325u ^ bytes) {}
  void add(uint8_t byte) { digest_ = (digest_ ^ byte) * 0x100000001b3u; }
  uint64_t value() const { return digest_; }

 private:
  uint64_t digest_;
};

}  // namespace caisson::checker
