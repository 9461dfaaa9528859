// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/checker.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace caisson::simtest {

namespace {

struct Shown {
  Event event;
  uint64_t by = 0;  // set of replicas that ever exposed it
};

// What makes two exposures the same value. The term is part of it: a position is one entry, not one
// text.
auto value_of(const Event& e) { return std::tie(e.term, e.kind, e.id, e.digest); }

std::string spell(const Id& id) {
  return "(" + std::to_string(id.client) + "," + std::to_string(id.incarnation) + "," +
         std::to_string(id.sequence) + ")";
}

std::string spell(const Event& e) {
  return "position " + std::to_string(e.position) + " " + spell(e.id) + " term " +
         std::to_string(e.term);
}

class Judge {
 public:
  explicit Judge(const History& history) : history_(history) {}

  std::vector<Violation> run() {
    for (const Event& event : history_) {
      take(event);
      ++turn_;
    }
    if (ended_) finish();
    return std::move(found_);
  }

 private:
  using Reader = std::pair<uint64_t, uint64_t>;  // replica, life

  void violated(const std::string& invariant, const std::string& what) {
    // One of each kind is enough to name it; a broken run repeats itself.
    for (const Violation& known : found_) {
      if (known.invariant == invariant) return;
    }
    found_.push_back({invariant, what});
  }

  void take(const Event& e) {
    switch (e.what) {
      case What::submit: submitted_[e.id] = e; break;
      case What::ack: ack(e); break;
      case What::refuse: refusals_.insert({e.id, e.term}); break;
      case What::expose: expose(e); break;
      case What::unreadable: unreadable(e); break;
      case What::skip: next_[{e.replica, e.life}] = e.position + 1; break;
      case What::trim: trim(e); break;
      case What::applied: applied_[e.replica] = std::max(applied_[e.replica], e.position); break;
      case What::lead: lead(e); break;
      case What::replay: replay(e); break;
      case What::loss: lost_ = true; break;
      case What::damage: damaged_ = true; break;
      case What::reborn:
        lost_ = true;
        applied_.erase(e.replica);
        reborn_[e.replica] = views_.empty() ? 0 : views_.rbegin()->first;
        break;
      case What::ask: asked_[e.group] = known_; break;
      case What::read: read(e); break;
      case What::end: ended_ = true; break;
      case What::attach: attached_[e.id.client] = turn_; break;
      case What::apology: apology(e); break;
      case What::taken: taken_[e.id.client] = std::max(taken_[e.id.client], e.position); break;
      case What::takeover: takeover(e); break;
      case What::stall:
        violated("LIVE", "no service within the bound after all faults were healed");
        break;
    }
  }

  void ack(const Event& e) {
    const auto [known, fresh] = acks_.try_emplace(e.id, e);
    told_[e.id] = turn_;
    if (!fresh && may_be_lost(known->second)) {
      // Acknowledged weakly, lost, appended anew: that is another place.
      const uint64_t level = std::max(known->second.level, e.level);
      known->second = e;
      known->second.level = level;
    } else if (!fresh && known->second.position != e.position) {
      violated("I5", spell(e.id) + " acknowledged at " + std::to_string(known->second.position) +
                         " and at " + std::to_string(e.position));
    }
    known->second.level = std::max(known->second.level, e.level);
    if (e.level >= kPersisted) known_ = std::max(known_, e.position);
  }

  void read(const Event& e) {
    const auto asked = asked_.find(e.group);
    if (asked == asked_.end()) return violated("I7", "a read is answered that nobody asked for");
    if (e.position < asked->second) {
      violated("I7", "replica " + std::to_string(e.replica) + " answers a read with position " +
                         std::to_string(e.position) + ", when it was asked " +
                         std::to_string(asked->second) + " was known to somebody");
    }
    asked_.erase(asked);
    known_ = std::max(known_, e.position);
    read_ = std::max(read_, e.position);
  }

  void apology(const Event& e) {
    const auto taken = taken_.find(e.id.client);
    if (taken != taken_.end() && e.position <= taken->second) {
      violated("R13", "client " + std::to_string(e.id.client) + " is told the apology noted at " +
                          std::to_string(e.position) + " again, behind its receipt");
    }
    for (uint64_t i = 0; i < e.count; ++i) {
      apologised_.insert({e.id.client, e.id.incarnation, e.id.sequence + i});
    }
  }

  void expose(const Event& e) {
    contiguous(e);
    genuine(e);
    if (e.kind == kViewKind) views_[e.position] = e.group;
    if (ended_) final_.insert(e.position);
    known_ = std::max(known_, e.position);
    const auto [known, fresh] = log_.try_emplace(e.position, Shown{e, 0});
    Shown& shown = known->second;
    if (!fresh && value_of(shown.event) != value_of(e)) {
      const bool alone = shown.by == uint64_t{1} << e.replica;
      violated(alone ? "I3" : "I1",
               "replica " + std::to_string(e.replica) + " exposes " + spell(e) + ", replica " +
                   std::to_string(shown.event.replica) + " exposed " + spell(shown.event));
    }
    shown.by |= uint64_t{1} << e.replica;
  }

  void contiguous(const Event& e) {
    uint64_t& next = next_[{e.replica, e.life}];
    if (next != 0 && e.position != next) {
      violated("I2", "replica " + std::to_string(e.replica) + " exposes position " +
                         std::to_string(e.position) + " where " + std::to_string(next) +
                         " was due");
    }
    next = e.position + 1;
  }

  void genuine(const Event& e) {
    if (e.kind != kDataKind) return;
    const auto asked = submitted_.find(e.id);
    if (asked == submitted_.end()) {
      violated("R5", spell(e) + " was never submitted");
    } else if (asked->second.digest != e.digest) {
      violated("R5", spell(e) + " holds other bytes than were submitted");
    }
  }

  void unreadable(const Event& e) {
    if (damaged_) return;  // a typed error is all that can be asked for
    violated("I2", "replica " + std::to_string(e.replica) + " cannot show committed position " +
                       std::to_string(e.position));
  }

  void trim(const Event& e) {
    trimmed_ = std::max(trimmed_, e.position);
    // Whoever had a voice there, and whoever trims.
    const auto after = views_.upper_bound(e.position);
    const auto [view, voices] = after == views_.begin()
                                    ? std::pair<const uint64_t, uint64_t>{0, ~uint64_t{0}}
                                    : *std::prev(after);
    for (const auto& [replica, applied] : applied_) {
      // Who was dismissed since is not asked, nor for what an earlier life of it agreed to.
      const bool stays = views_.empty() || (views_.rbegin()->second >> replica & 1) != 0;
      const bool asked = stays && (voices >> replica & 1) != 0 &&
                         (!reborn_.contains(replica) || reborn_[replica] < view);
      if (applied < e.position && (asked || replica == e.replica)) {
        violated("R8", "replica " + std::to_string(e.replica) + " trimmed through " +
                           std::to_string(e.position) + ", replica " + std::to_string(replica) +
                           " has applied " + std::to_string(applied));
      }
    }
  }

  void lead(const Event& e) {
    const auto [known, fresh] = leaders_.try_emplace(e.term, Reader{e.replica, e.life});
    if (!fresh && known->second != Reader{e.replica, e.life}) {
      violated("R18", "term " + std::to_string(e.term) + " led by replica " +
                          std::to_string(known->second.first) + " and by replica " +
                          std::to_string(e.replica));
    }
  }

  void replay(const Event& e) {
    const auto [known, fresh] = states_.try_emplace(e.position, e);
    if (!fresh && known->second.digest != e.digest) {
      violated("I8", "states of replicas " + std::to_string(known->second.replica) + " and " +
                         std::to_string(e.replica) + " differ after position " +
                         std::to_string(e.position));
    }
  }

  // What stood behind is given up, and other entries come to stand there. Up to there the log is
  // the same one.
  void takeover(const Event& e) {
    std::erase_if(acks_, [&](const auto& ack) {
      if (ack.second.position > e.position + e.count) {
        violated("R14", spell(ack.first) + " was acknowledged at " +
                            std::to_string(ack.second.position) + ", which is lost; said was " +
                            std::to_string(e.position + 1) + " to " +
                            std::to_string(e.position + e.count));
      }
      return ack.second.position > e.position;
    });
    log_.erase(log_.upper_bound(e.position), log_.end());
    views_.erase(views_.upper_bound(e.position), views_.end());
    states_.erase(states_.upper_bound(e.position), states_.end());
    for (auto& [replica, applied] : applied_) applied = std::min(applied, e.position);
    for (auto& [read, position] : asked_) position = std::min(position, e.position);
    known_ = std::min(known_, e.position);
    read_ = std::min(read_, e.position);
    if (trimmed_ > e.position) {
      violated("R8", "trimmed through " + std::to_string(trimmed_) + ", and the standby had " +
                         std::to_string(e.position));
    }
  }

  // ---- After the end ----------------------------------------------------------------------------

  void finish() {
    uint64_t due = 1;
    for (const auto& [position, shown] : log_) {
      if (position != due) violated("I2", "nobody ever exposed position " + std::to_string(due));
      due = position + 1;
    }
    std::set<Id> held;
    for (const auto& [position, shown] : log_) {
      if (shown.event.kind == kDataKind) held.insert(shown.event.id);
    }
    for (const auto& [id, e] : acks_) may_be_lost(e) ? owed(e, held) : durable(e);
    for (const Id& id : apologised_) {
      if (held.contains(id)) {
        violated("R13", spell(id) + " is in the log, and its client was told that it is lost");
      }
    }
    if (read_ > (log_.empty() ? 0 : log_.rbegin()->first)) {
      violated("I7", "position " + std::to_string(read_) + " was read, and never committed");
    }
    streams();
    batches();
    outcomes();
  }

  // What a quorum has received, the loss of memory may take; what a leader alone has, its death.
  bool may_be_lost(const Event& ack) const {
    return ack.level < kReplicated || (lost_ && ack.level < kPersisted);
  }

  // Acknowledged at a weak level: it is in the log, or its client heard the apology when it came
  // back.
  void owed(const Event& e, const std::set<Id>& held) {
    if (held.contains(e.id) || apologised_.contains(e.id)) return;
    const auto attached = attached_.find(e.id.client);
    if (attached == attached_.end() || attached->second < told_[e.id]) return;
    violated("I6", spell(e) + " was acknowledged at level " + std::to_string(e.level) +
                       ", is not in the log, and nobody apologised");
  }

  void durable(const Event& e) {
    const auto at = log_.find(e.position);
    if (at == log_.end() || at->second.event.id != e.id) {
      violated("I6", spell(e) + " was acknowledged, the log holds " +
                         (at == log_.end() ? std::string("nothing") : spell(at->second.event)));
    } else if (e.position > trimmed_ && !final_.contains(e.position)) {
      violated("I6", spell(e) + " was acknowledged and is gone at the end");
    }
  }

  void streams() {
    struct Stream {
      uint64_t incarnation = 0;
      uint64_t sequence = 0;
    };
    std::map<uint64_t, Stream> streams;
    std::set<Id> seen;
    for (const auto& [position, shown] : log_) {
      const Event& e = shown.event;
      if (e.id.client == 0) continue;
      Stream& stream = streams[e.id.client];
      if (e.kind == kSessionKind) {
        stream = {e.id.incarnation, e.group != 0 ? stream.sequence : 0};
        continue;
      }
      if (e.kind != kDataKind) continue;
      if (!seen.insert(e.id).second) {
        violated("I5", spell(e.id) + " is committed twice, again at " + std::to_string(position));
        continue;
      }
      if (e.id.incarnation > stream.incarnation) stream = {e.id.incarnation, 0};
      if (e.id.incarnation < stream.incarnation || e.id.sequence != stream.sequence + 1) {
        violated("I4", spell(e) + " follows sequence " + std::to_string(stream.sequence) +
                           " of incarnation " + std::to_string(stream.incarnation));
      }
      stream.sequence = e.id.sequence;
    }
  }

  void batches() {
    std::map<uint64_t, std::vector<uint64_t>> groups;
    std::map<uint64_t, uint64_t> sizes;
    for (const auto& [position, shown] : log_) {
      const auto asked = submitted_.find(shown.event.id);
      if (shown.event.kind != kDataKind || asked == submitted_.end()) continue;
      if (asked->second.group == 0) continue;
      groups[asked->second.group].push_back(position);
      sizes[asked->second.group] = asked->second.count;
    }
    for (const auto& [group, positions] : groups) {
      if (positions.size() != sizes[group] ||
          positions.back() - positions.front() + 1 != positions.size()) {
        violated("R5", "batch " + std::to_string(group) + " of " + std::to_string(sizes[group]) +
                           " entries: the log holds " + std::to_string(positions.size()) +
                           " from position " + std::to_string(positions.front()));
      }
    }
  }

  void outcomes() {
    for (const auto& [position, shown] : log_) {
      const Event& e = shown.event;
      if (e.kind == kDataKind && refusals_.contains({e.id, e.term})) {
        violated("R13", spell(e) + " is in the log, and its client was told that it is not");
      }
    }
  }

  const History& history_;
  std::vector<Violation> found_;
  std::map<Id, Event> submitted_;
  std::map<Id, Event> acks_;
  std::set<std::pair<Id, uint64_t>> refusals_;  // with the term of the attempt
  std::map<uint64_t, Shown> log_;
  std::map<Reader, uint64_t> next_;
  std::map<uint64_t, uint64_t> applied_;
  std::map<uint64_t, uint64_t> reborn_;  // replica -> the last view before
  std::map<uint64_t, uint64_t> views_;   // position -> who has a voice from there on
  std::map<uint64_t, Reader> leaders_;
  std::map<uint64_t, Event> states_;
  std::set<uint64_t> final_;
  std::map<uint64_t, uint64_t> asked_;  // reads on their way -> what was known to somebody then
  uint64_t known_ = 0;                  // the highest position acknowledged, shown, or read
  uint64_t read_ = 0;                   // … or read
  uint64_t trimmed_ = 0;
  uint64_t turn_ = 0;
  std::map<Id, uint64_t> told_;            // when it was last acknowledged
  std::map<uint64_t, uint64_t> attached_;  // client -> when it last came back
  std::map<uint64_t, uint64_t> taken_;     // client -> through where it has taken its apologies
  std::set<Id> apologised_;
  bool lost_ = false;
  bool damaged_ = false;
  bool ended_ = false;
};

}  // namespace

std::vector<Violation> judge(const History& history) { return Judge(history).run(); }

}  // namespace caisson::simtest
