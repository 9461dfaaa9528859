// SPDX-License-Identifier: BSD-3-Clause
// What a run leaves behind for its judge: what clients asked and were told, and every entry that
// any replica ever exposed. Plain records in the order in which they happened, with a text form, so
// that known bad histories can lie in the tree. Shares nothing with the code under test.
#pragma once

#include <compare>
#include <cstdint>
#include <istream>
#include <string>
#include <string_view>
#include <vector>

namespace caisson::simtest {

struct Id {
  uint64_t client = 0;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;
  auto operator<=>(const Id&) const = default;
};

enum class What : uint8_t {
  submit,      // a client asks for `id` with bytes `digest`; batch `group` of `count` entries
  ack,         // told ok: `id` at `position` under `term`, at durability `level`
  refuse,      // told not_appended: the attempt under `term` never takes effect
  expose,      // `replica` in its `life` shows the entry `id`/`digest` at `position`, of `kind` and
               // `term`
  unreadable,  // `replica` says `position` is committed and cannot show it
  skip,        // `replica`'s reader continues behind `position` (restart, or trimmed away)
  trim,        // `replica` dropped everything through `position`
  applied,     // `replica`'s application needs nothing through `position` any more
  lead,        // `replica` in its `life` leads `term`
  replay,      // `replica`'s state after `position` has `digest`
  loss,        // memory was lost: power, or a whole region
  damage,      // bytes were damaged on purpose
  reborn,      // `replica`'s memory is gone; a new, empty one has its place
  ask,         // `replica` in its `life` is asked for a linearizable read, number `group`, of path
               // `kind`
  read,        // that one is answered: everything through `position`
  end,         // faults are over and all is healed; what follows is the final reading
  stall,       // the cluster did not serve in time
  attach,      // `id`.client has a new incarnation; what it had been told is accounted for
  apology,     // it was told that `count` sequences from `id` on are not in the log, noted at
               // `position`
  taken,       // it has taken the apologies noted at `position` or before
  takeover,    // `replica`, a standby, goes on alone behind `position`; it is said that of what was
               // acknowledged nothing is lost above `position` + `count`
};

// As the log's kinds, restated.
inline constexpr uint8_t kDataKind = 1;
inline constexpr uint8_t kViewKind = 3;
inline constexpr uint8_t kSessionKind = 5;
// As the durability levels, restated.
inline constexpr uint8_t kVolatile = 0;
inline constexpr uint8_t kLocal = 1;
inline constexpr uint8_t kReplicated = 2;
inline constexpr uint8_t kPersisted = 3;
inline constexpr uint8_t kAll = 4;

struct Event {
  What what = What::submit;
  uint64_t replica = 0;
  uint64_t life = 0;
  uint64_t position = 0;
  uint64_t term = 0;
  uint64_t kind = 0;
  Id id{};
  uint64_t digest = 0;
  uint64_t level = 0;
  uint64_t group = 0;  // submit: batch number, 0 if alone · expose of a session: 1 if it resumes ·
                       // expose of a view: who has a voice, bit i for replica i
  uint64_t count = 0;
  uint64_t at_ns = 0;  // virtual time
};

using History = std::vector<Event>;

std::string_view name(What what);
std::string to_text(const Event& event);
// One event a line: its name, then field=value …; '#' starts a comment. Throws std::runtime_error
// on anything else.
History parse_history(std::istream& in);

}  // namespace caisson::simtest
