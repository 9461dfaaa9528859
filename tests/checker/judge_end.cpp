// SPDX-License-Identifier: BSD-3-Clause
// What can be said once everything is known: the log as a whole, and what was promised of it.
#include <algorithm>

#include "tests/checker/judge.hpp"

namespace caisson::checker {

void Judge::finish() {
  judge_places();
  judge_promises();
  judge_outcomes();
  judge_streams();
  if (ended_) judge_batches();
}

// Where each identity stands; and, once a history says that it is complete, that somebody showed
// every position.
void Judge::judge_places() {
  uint64_t due = 1;
  for (const auto& [position, shown] : log_) {
    if (ended_ && position != due && position > trimmed_ + 1) {
      violated("I2", "nobody ever showed position " + std::to_string(std::max(due, trimmed_ + 1)),
               shown.where);
    }
    due = position + 1;
    if (shown.value.kind != Kind::data) continue;
    const auto [first, fresh] = places_.try_emplace(shown.value.id, position);
    if (!fresh) {
      violated("I5",
               spell(shown.value.id) + " stands at position " + std::to_string(first->second) +
                   " and at " + std::to_string(position),
               shown.where);
    }
  }
  if (ended_ && read_ > (log_.empty() ? 0 : log_.rbegin()->first)) {
    violated("I7", "position " + std::to_string(read_) + " was read, and never shown", read_where_);
  }
}

void Judge::judge_promises() {
  for (const auto& [id, append] : appends_) {
    if (append.position == 0) continue;
    if (may_be_lost(append)) {
      judge_owed(id, append);
      continue;
    }
    const std::string told =
        spell(id) + " was acknowledged at position " + std::to_string(append.position);
    const auto at = log_.find(append.position);
    const bool trimmed = append.position <= trimmed_;
    if (at == log_.end()) {
      if (ended_ && !trimmed) violated("I6", told + ", which nobody shows", append.where);
    } else if (at->second.value.kind != Kind::data || at->second.value.id != id) {
      violated("I6", told + ", where there is " + spell(at->second.value), append.where);
    } else if (ended_ && !trimmed && !at->second.at_the_end) {
      violated("I6", told + ", and is gone at the end", append.where);
    }
  }
}

// Acknowledged at a weak level: it is in the log, or its client heard the apology when it came
// back.
void Judge::judge_owed(const Id& id, const Append& append) {
  if (!ended_ || places_.contains(id) || apologised(id)) return;
  const auto attached = attached_.find(id.client);
  if (attached == attached_.end() || attached->second < append.told) return;
  violated("I6",
           spell(id) + " was acknowledged, is not in the log, and nobody apologised when its " +
               "client came back",
           append.where);
}

bool Judge::apologised(const Id& id) const {
  const auto found = apologies_.find({id.client, id.incarnation});
  if (found == apologies_.end()) return false;
  return std::any_of(found->second.begin(), found->second.end(), [&](const Range& range) {
    return range.first <= id.sequence && id.sequence <= range.last;
  });
}

void Judge::judge_outcomes() {
  for (const auto& [id, position] : places_) {
    const Shown& shown = log_.at(position);
    const auto asked = appends_.find(id);
    if (asked == appends_.end()) {
      // Who kept no history may have appended, too; but not a part of what he did.
      const auto stream = appends_.lower_bound(Id{id.client, id.incarnation, 0});
      const bool known = stream != appends_.end() && stream->first.client == id.client &&
                         stream->first.incarnation == id.incarnation;
      if (ended_ || known) violated("R5", spell(id) + " was never asked for", shown.where);
      continue;
    }
    if (asked->second.digest != shown.value.digest) {
      violated("R5", spell(id) + " holds other bytes than were asked for", shown.where);
    }
    if (asked->second.refused || (shown.term && refused_.contains({id, *shown.term}))) {
      violated("R13", spell(id) + " is in the log, and its client was told that it is not",
               shown.where);
    }
    if (apologised(id)) {
      violated("R13", spell(id) + " is in the log, and its client was told that it is lost",
               shown.where);
    }
  }
}

// In order and without a gap, as far as the log is known. Where sessions are hidden, a new
// incarnation may begin anew or go on; behind a part of the log that nobody showed, anywhere.
void Judge::judge_streams() {
  struct Stream {
    uint64_t incarnation = 0;
    uint64_t sequence = 0;
    uint64_t known_since = 0;  // a position: all of the log from there on is known
  };
  std::map<uint64_t, Stream> streams;
  bool hidden = false;
  uint64_t known_since = 1;
  uint64_t due = 1;
  for (const auto& [position, shown] : log_) {
    if (position != due) known_since = position;
    due = position + 1;
    const Value& value = shown.value;
    hidden = hidden || value.kind == Kind::hidden;
    if (value.kind != Kind::data && value.kind != Kind::session) continue;
    Stream& stream = streams.try_emplace(value.id.client, Stream{0, 0, 1}).first->second;
    const bool unsure = stream.known_since != known_since;
    stream.known_since = known_since;
    if (value.kind == Kind::session) {
      // What it resumes behind a gap is not known: its first entry says so.
      stream.known_since = unsure && value.resumes ? 0 : known_since;
      stream.incarnation = value.id.incarnation;
      if (!value.resumes) stream.sequence = 0;
      continue;
    }
    if (places_.at(value.id) != position) continue;  // I5 has named it
    const bool later = value.id.incarnation > stream.incarnation;
    const uint64_t sequence = value.id.sequence;
    const bool fits =
        unsure ? later || (value.id.incarnation == stream.incarnation && sequence > stream.sequence)
        : later ? sequence == 1 || (hidden && sequence == stream.sequence + 1)
                : value.id.incarnation == stream.incarnation && sequence == stream.sequence + 1;
    if (!fits) {
      violated("I4",
               spell(value.id) + " at position " + std::to_string(position) + " follows sequence " +
                   std::to_string(stream.sequence) + " of incarnation " +
                   std::to_string(stream.incarnation),
               shown.where);
    }
    stream.incarnation = value.id.incarnation;
    stream.sequence = sequence;
  }
}

void Judge::judge_batches() {
  struct Batch {
    uint64_t first = 0;
    uint64_t last = 0;
    uint64_t held = 0;
    uint64_t count = 0;
  };
  std::map<Id, Batch> batches;  // by its first entry
  for (const auto& [id, position] : places_) {
    const auto asked = appends_.find(id);
    if (asked == appends_.end() || asked->second.batch == 0) continue;
    Batch& batch = batches[{id.client, id.incarnation, asked->second.batch}];
    batch.first = batch.held == 0 ? position : std::min(batch.first, position);
    batch.last = std::max(batch.last, position);
    batch.count = asked->second.count;
    ++batch.held;
  }
  for (const auto& [first, batch] : batches) {
    if (batch.held == batch.count && batch.last - batch.first + 1 == batch.count) continue;
    if (batch.first > 1 && !log_.contains(batch.first - 1))
      continue;  // nobody showed how it begins
    violated("R5",
             "of the batch of " + std::to_string(batch.count) + " that begins with " +
                 spell(first) + ", the log holds " + std::to_string(batch.held) +
                 " from position " + std::to_string(batch.first) + " to " +
                 std::to_string(batch.last),
             log_.at(batch.first).where);
  }
}

}  // namespace caisson::checker
