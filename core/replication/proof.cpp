// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/proof.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace caisson::replication {

namespace {

constexpr uint32_t kWalkedMax = 4096;  // entries of one ring; whoever is further behind asks again

using Standings = std::array<transport::Standing, kReplicaIdMax + 1>;

// The promised words of everybody with a voice, ourselves included.
Standings words(const Context& c) {
  Standings all{};
  const log::Superblock& own = c.durable.superblock();
  for_each(c.state.voices() - just(c.options.self),
           [&](ReplicaId id) { all[id.value] = c.endpoint.standing_of(id); });
  all[c.options.self.value] = {own.promised, own.birth, own.trim.end, c.state.tail().position,
                               own.damaged_through.value};
  return all;
}

// Nobody can have been elected above `term` before the words were read: those of `readable` that
// still promise it meet every quorum of every view that an election may ask. With `commits` they
// meet every one that may have committed, too. `lapped_above`: who has trimmed further does not
// count.
Code unsealed(const Context& c, const Standings& all, Term term, ReplicaSet readable,
              Offset lapped_above, bool commits) {
  const auto& views = c.state.views();
  for (size_t i = views.size(); i-- > 0;) {
    const log::Membership& view = views[i].membership;
    ReplicaSet bound;
    bool higher = false;
    for_each(view.electors() & readable, [&](ReplicaId id) {
      const transport::Standing& word = all[id.value];
      if (word.birth != view.births[id.value]) return;  // another life of that number
      higher = higher || word.promised > term;
      if (word.promised == term && word.head <= lapped_above) bound.add(id);
    });
    if (higher) return Code::not_leader;
    if (!view.meets_elections(bound)) return Code::no_quorum;
    if (commits && !view.meets_commits(bound)) return Code::no_quorum;
    if (views[i].first <= c.state.committed()) break;  // older ones are over
  }
  return Code::ok;
}

bool load(const Context& c, ReplicaId id, Offset at, log::EntryHeader& header) {
  if (id != c.options.self) return c.endpoint.read(id, at, &header, sizeof header);
  header = log::load_header(c.state.ring().at(at));
  return true;
}

// The last entry of `term` that the replica's ring holds behind our tail. Headers are enough: one
// whose payload is still on its way makes us wait for it, no more. Nothing: the ring cannot be read
// or goes on too far, or names a view that we have to know first.
std::optional<Position> reach(const Context& c, ReplicaId id, Term term) {
  Position last = c.state.tail().position;
  Offset at = c.state.tail().end;
  const Offset lap = at + c.state.ring().bytes();
  for (uint32_t i = 0; i < kWalkedMax; ++i) {
    if (at >= lap) return last;
    log::EntryHeader header;
    if (!load(c, id, at, header)) return std::nullopt;
    if (header.position != last.value + 1 || header.term != term.value ||
        header.offset_line != log::offset_line(at) || !log::header_sound(header)) {
      return last;
    }
    if (header.kind == static_cast<uint8_t>(log::Kind::view)) return std::nullopt;
    last = last + 1;
    at = at + log::entry_bytes(header.payload_bytes);
  }
  return std::nullopt;
}

}  // namespace

Proof prove_leading(const Context& c, Term term) {
  const Code code = unsealed(c, words(c), term, {~uint64_t{0}}, Offset{UINT64_MAX}, false);
  return {code, c.state.committed()};
}

Proof prove_following(const Context& c, const Follower& follower) {
  const Term term = c.durable.superblock().promised;
  if (!follower.granted() || follower.unsure() || c.state.term_at(c.state.committed()) != term) {
    return {};
  }
  // First the rings, then the words: who still promises the term now had not let anybody else in
  // when its ring was read.
  std::array<Position, kReplicaIdMax + 1> last{};
  ReplicaSet readable;
  for_each(c.state.voices() | just(c.options.self), [&](ReplicaId id) {
    const auto reached = reach(c, id, term);
    if (!reached.has_value()) return;
    readable.add(id);
    last[id.value] = *reached;
  });
  const Standings all = words(c);
  // R44: who lacks some of what it once held says nothing of what was committed. What it has only
  // just validated is there now.
  for_each(readable, [&](ReplicaId id) {
    const transport::Standing& word = all[id.value];
    if (word.fault == 0 && word.validated > last[id.value]) {
      last[id.value] = reach(c, id, term).value_or(Position{});
    }
    if (word.fault != 0 || word.validated > last[id.value]) readable.remove(id);
  });
  Position furthest = c.state.tail().position;
  for_each(readable, [&](ReplicaId id) { furthest = std::max(furthest, last[id.value]); });
  return {unsealed(c, all, term, readable, c.state.tail().end, true), furthest};
}

}  // namespace caisson::replication
