// SPDX-License-Identifier: BSD-3-Clause
// Operation by operation: what can be said as soon as it has happened.
#include "tests/checker/judge.hpp"

#include <algorithm>

namespace caisson::checker {

namespace {

std::string at(uint64_t position) { return "position " + std::to_string(position); }

// replica-3.2 is the second life of replica-3.
std::string_view replica_of(std::string_view process) {
  return process.substr(0, process.rfind('.'));
}

}  // namespace

void Judge::violated(std::string_view invariant, const std::string& what, const Where& where) {
  for (const Violation& known : violations_) {
    if (known.invariant == invariant) return;
  }
  violations_.push_back({std::string(invariant), what, where});
}

void Judge::take(const Operation& o, const Where& where) {
  ++counts_.operations;
  switch (o.op) {
    case Op::append: return append(o, where);
    case Op::attempt: refused_.try_emplace({o.value.id, *o.term}, where); return;
    case Op::read: return read(o, where);
    case Op::deliver: return deliver(o, where);
    case Op::skip: next_[o.process] = *o.position + 1; return;
    case Op::trim: trimmed_ = std::max(trimmed_, *o.position); return;
    case Op::state: return state(o, where);
    case Op::lead: return lead(o, where);
    case Op::loss: memory_lost_ = true; return;
    case Op::damage: damaged_ = true; return;
    case Op::attach: attached_[o.value.id.client] = counts_.operations; return;
    case Op::apology: return apology(o, where);
    case Op::taken: {
      uint64_t& taken = taken_[o.value.id.client];
      taken = std::max(taken, *o.position);
      return;
    }
    case Op::takeover: return takeover(o, where);
    case Op::end: ended_ = true; return;
    case Op::stall:
      return violated("LIVE", "the faults were over, and nobody served within the bound", where);
  }
}

// ---- Real time ----------------------------------------------------------------------------------

void Judge::learn(uint64_t at_ns, uint64_t position) {
  if (known_.empty() || position > known_.back().position) known_.push_back({at_ns, position});
}

uint64_t Judge::known_before(uint64_t at_ns) const {
  const auto after = std::partition_point(known_.begin(), known_.end(),
                                          [&](const Known& k) { return k.at_ns < at_ns; });
  return after == known_.begin() ? 0 : std::prev(after)->position;
}

void Judge::read(const Operation& o, const Where& where) {
  if (o.result != Outcome::ok) return;
  ++counts_.reads;
  const uint64_t known = known_before(*o.invoke_ns);
  if (*o.position < known) {
    violated("I7",
             o.process + " reads through " + at(*o.position) + "; " + std::to_string(known) +
                 " was known before it asked",
             where);
  }
  if (*o.position > read_) {
    read_ = *o.position;
    read_where_ = where;
  }
  learn(*o.return_ns, *o.position);
}

// ---- Appends ------------------------------------------------------------------------------------

void Judge::append(const Operation& o, const Where& where) {
  const auto [entry, fresh] = appends_.try_emplace(o.value.id);
  Append& append = entry->second;
  if (fresh) append.where = where;
  append.digest = o.value.digest;
  append.batch = o.batch.value_or(append.batch);
  append.count = o.count.value_or(append.count);
  if (o.result == Outcome::not_appended) append.refused = true;
  if (o.result == Outcome::ok) acknowledge(append, o, where);
}

// What a quorum has received, the loss of memory may take; what a leader alone has, its death.
bool Judge::may_be_lost(const Append& append) const {
  return append.level < Level::replicated || (memory_lost_ && append.level < Level::persisted);
}

void Judge::acknowledge(Append& append, const Operation& o, const Where& where) {
  ++counts_.acknowledged;
  const bool first = append.position == 0;
  // Acknowledged weakly, lost, appended anew: that is another place.
  if (!first && append.position != *o.position && !may_be_lost(append)) {
    violated("I5",
             spell(o.value.id) + " is acknowledged at " + at(append.position) + " and at " +
                 at(*o.position),
             where);
  } else {
    append.position = *o.position;
    append.where = where;
  }
  append.level = first ? *o.durability : std::max(append.level, *o.durability);
  append.told = counts_.operations;
  if (*o.durability < Level::persisted) return;
  const uint64_t known = known_before(*o.invoke_ns);
  if (*o.position <= known) {
    violated("I7",
             spell(o.value.id) + " stands at " + at(*o.position) + "; " + std::to_string(known) +
                 " was known before it was asked for",
             where);
  }
  learn(*o.return_ns, *o.position);
}

// ---- What replicas show -------------------------------------------------------------------------

void Judge::deliver(const Operation& o, const Where& where) {
  if (o.result == Outcome::unreadable) {
    // Where bytes were damaged on purpose, a typed error is all that can be asked for.
    if (!damaged_) violated("I2", o.process + " cannot show committed " + at(*o.position), where);
    return;
  }
  ++counts_.delivered;
  contiguous(o, where);
  learn(*o.return_ns, *o.position);
  const auto number = static_cast<uint32_t>(replicas_.size());
  const uint32_t by =
      replicas_.try_emplace(std::string(replica_of(o.process)), number).first->second;
  const auto [entry, fresh] =
      log_.try_emplace(*o.position, Shown{o.value, o.term, by, false, ended_, where});
  if (!fresh) compare(entry->second, o, by, where);
}

void Judge::contiguous(const Operation& o, const Where& where) {
  uint64_t& next = next_[o.process];
  if (next != 0 && *o.position != next) {
    violated(
        "I2",
        o.process + " shows " + at(*o.position) + " where " + std::to_string(next) + " was due",
        where);
  }
  next = *o.position + 1;
}

void Judge::compare(Shown& shown, const Operation& o, uint32_t by, const Where& where) {
  const auto foreign = [](const Value& hidden, const Value& other) {
    return hidden.kind == Kind::hidden && other.kind == Kind::data;
  };
  const bool both = shown.value.kind != Kind::hidden && o.value.kind != Kind::hidden;
  const bool terms = !shown.term || !o.term || *shown.term == *o.term;
  const bool same = both ? shown.value == o.value && terms
                         : !foreign(shown.value, o.value) && !foreign(o.value, shown.value);
  if (!same) {
    const auto spelt = [](const Value& value, const std::optional<uint64_t>& term) {
      return spell(value) + (term ? " of term " + std::to_string(*term) : "");
    };
    violated(shown.several || shown.by != by ? "I1" : "I3",
             o.process + " shows " + spelt(o.value, o.term) + " at " + at(*o.position) +
                 "; shown before was " + spelt(shown.value, shown.term),
             where);
  }
  if (shown.value.kind == Kind::hidden) shown.value = o.value;
  if (!shown.term) shown.term = o.term;
  shown.several = shown.several || shown.by != by;
  shown.at_the_end = shown.at_the_end || ended_;
}

void Judge::state(const Operation& o, const Where& where) {
  const auto [known, fresh] =
      states_.try_emplace(*o.position, std::pair{o.value.digest, o.process});
  if (!fresh && known->second.first != o.value.digest) {
    violated("I8",
             "the states of " + known->second.second + " and " + o.process + " differ after " +
                 at(*o.position),
             where);
  }
}

void Judge::lead(const Operation& o, const Where& where) {
  const auto [known, fresh] = leaders_.try_emplace(*o.term, o.process);
  if (!fresh && known->second != o.process) {
    violated(
        "R18",
        "term " + std::to_string(*o.term) + " is led by " + known->second + " and by " + o.process,
        where);
  }
}

// ---- Apologies, and what is given up ------------------------------------------------------------

void Judge::apology(const Operation& o, const Where& where) {
  const Id& first = o.value.id;
  const auto taken = taken_.find(first.client);
  if (taken != taken_.end() && *o.position <= taken->second) {
    violated("R13",
             "client " + std::to_string(first.client) + " is told the apology noted at " +
                 at(*o.position) + " again, behind its receipt",
             where);
  }
  if (*o.count == 0) return;
  const uint64_t last = first.sequence + std::min(*o.count - 1, UINT64_MAX - first.sequence);
  apologies_[{first.client, first.incarnation}].push_back({first.sequence, last, where});
}

// What stood behind is given up, and other entries come to stand there. Up to there the log is the
// same one.
void Judge::takeover(const Operation& o, const Where& where) {
  const uint64_t kept = *o.position;
  for (auto& [id, append] : appends_) {
    if (append.position <= kept) continue;
    if (append.position - kept > *o.count) {
      violated("R14",
               spell(id) + " was acknowledged at " + at(append.position) + ", which is lost; " +
                   "said was: nothing above " + std::to_string(kept + *o.count),
               where);
    }
    append.position = 0;
    append.level = Level::volatile_;
  }
  log_.erase(log_.upper_bound(kept), log_.end());
  states_.erase(states_.upper_bound(kept), states_.end());
  const auto gone = std::partition_point(known_.begin(), known_.end(),
                                         [&](const Known& k) { return k.position <= kept; });
  if (gone != known_.end()) {
    const uint64_t since = gone->at_ns;
    known_.erase(gone, known_.end());
    learn(since, kept);
  }
  read_ = std::min(read_, kept);
}

}  // namespace caisson::checker
