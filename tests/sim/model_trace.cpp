// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/model_trace.hpp"

#include <algorithm>
#include <cstring>

#include "core/replication/context.hpp"

namespace caisson::simtest {

namespace {

using replication::owner;

// Entry 1 names the first voters, and is no entry of the model's.
uint64_t model_position(Position p) { return p.value == 0 ? 0 : p.value - 1; }

bool begins_with(const std::vector<ModelEntry>& log, const std::vector<ModelEntry>& prefix) {
  return prefix.size() <= log.size() && std::equal(prefix.begin(), prefix.end(), log.begin());
}

uint64_t common(const std::vector<ModelEntry>& one, const std::vector<ModelEntry>& other) {
  size_t n = 0;
  while (n < one.size() && n < other.size() && one[n] == other[n]) ++n;
  return n;
}

bool joint(ModelKind kind) { return kind == ModelKind::joint1 || kind == ModelKind::joint2; }

bool leads(const replication::ReplicaStatus& status) {
  return status.role == replication::Role::attaching || status.role == replication::Role::leader;
}

}  // namespace

// ---- A trace as text
// ------------------------------------------------------------------------------

std::string ModelTrace::text(const std::string& name) const {
  std::string text = "trace " + name;
  for (const uint64_t view : views) text += " " + std::to_string(view);
  text += "\n";
  for (const ModelStep& step : steps) {
    const auto found = terms.find(step.term.value);
    const uint64_t term = found == terms.end() ? 0 : found->second;
    const uint64_t first = step.what == "take" ? term : step.a;
    text += step.what + " " + std::to_string(step.who) + " " + std::to_string(first) + " " +
            std::to_string(step.b) + " " + std::to_string(term) + "\n";
  }
  return text;
}

uint64_t ModelTrace::count(const std::string& what) const {
  return static_cast<uint64_t>(std::count_if(steps.begin(), steps.end(),
                                             [&](const ModelStep& s) { return s.what == what; }));
}

// ---- Who is who
// -----------------------------------------------------------------------------------

ModelObserver::ModelObserver(World& world) : world_(world) {
  for (const uint8_t id : world.ids()) meet(world.machine(id));
  for (Holder& h : holders_) {
    if (h.birth != 0) continue;
    (void)number(h);
    h.voice = true;
  }
  world.listen([this](ReplicaId from, const control::Message& m) { sent(from, m); });
  world.hear(
      [this](ReplicaId to, ReplicaId from, const control::Message& m) { heard(to, from, m); });
  world.after_each_step([this] { look(); });
}

uint64_t ModelObserver::number(Holder& h) {
  if (h.number == SIZE_MAX) h.number = numbers_++;
  if (numbers_ > kModelReplicas) outside_ = "replicas";
  return h.number;
}

ModelObserver::Holder* ModelObserver::current(ReplicaId machine) {
  for (Holder& h : holders_) {
    if (h.machine == machine && !h.lost) return &h;
  }
  return nullptr;
}

ModelObserver::Holder* ModelObserver::born(ReplicaId machine, uint64_t birth) {
  for (Holder& h : holders_) {
    if (h.machine == machine && h.birth == birth) return &h;
  }
  return nullptr;
}

const replication::Replica* ModelObserver::process(const Holder& h) {
  const Machine& m = world_.machine(h.machine.value);
  return h.lost || m.birth != h.birth ? nullptr : m.replica.get();
}

void ModelObserver::meet(Machine& m) {
  Holder* const before = current(m.id);
  if (before != nullptr && before->birth == m.birth) return;
  if (before != nullptr) lose(*before);
  Holder h;
  h.machine = m.id;
  h.birth = m.birth;
  h.life = m.life;
  holders_.push_back(h);
}

// ---- What is seen
// ---------------------------------------------------------------------------------

void ModelObserver::look() {
  for (const uint8_t id : world_.ids()) meet(world_.machine(id));
  const auto each = [this](void (ModelObserver::*what)(Holder&)) {
    for (Holder& h : holders_) {
      if (!h.lost) (this->*what)(h);
    }
  };
  each(&ModelObserver::read);
  // First what the fabric has done, then what one machine has.
  each(&ModelObserver::land);
  each(&ModelObserver::count);
  each(&ModelObserver::append);
  for (const Term term : sought_) take(*current(owner(term)), term);
  sought_.clear();
  each(&ModelObserver::promise);
  each(&ModelObserver::restart);
  each(&ModelObserver::lead);
  each(&ModelObserver::stop_half_way);
  each(&ModelObserver::attach_and_land);
  each(&ModelObserver::learn);
}

// Nobody is asked before the own promise is persistent (P3).
void ModelObserver::sent(ReplicaId from, const control::Message& message) {
  const auto* seal = std::get_if<control::Seal>(&message);
  if (seal != nullptr && owner(seal->term) == from) sought_.push_back(seal->term);
}

void ModelObserver::heard(ReplicaId to, ReplicaId from, const control::Message& message) {
  const auto* reply = std::get_if<control::SealReply>(&message);
  if (reply == nullptr || reply->code != Code::ok || owner(reply->term) != to) return;
  Holder* const h = born(from, reply->birth);
  if (h != nullptr && h->voice) {
    answers_[reply->term].push_back({h, model_position(reply->tail.position), reply->tail.term});
  }
}

void ModelObserver::read(Holder& h) {
  const pmem::ShadowRegion& region = *world_.machine(h.machine.value).region;
  const log::Ring ring(region.ring_data(), region.geometry().ring_bytes);
  Reading& r = h.reading;
  log::Cursor cursor = log::origin(world_.identity());
  size_t same = 0;
  while (same < r.headers.size() &&
         std::memcmp(ring.at(cursor.end), r.headers[same].data(), log::kHeaderBytes) == 0) {
    cursor = r.behind[same++];
  }
  r.headers.resize(same);
  r.behind.resize(same);
  r.entries.resize(same == 0 ? 0 : same - 1);
  r.committed.resize(r.entries.size());
  for (;;) {
    const log::Step next = log::step(ring, cursor, Offset{ring.bytes()});
    if (next.reason != log::Break::none) return;
    r.headers.emplace_back();
    std::memcpy(r.headers.back().data(), ring.at(cursor.end), log::kHeaderBytes);
    if (cursor.position.value > 0) {
      r.entries.push_back(entry_of(h, next.header, cursor));
      r.committed.push_back(model_position(log::commit_hint(next.header)));
    }
    r.behind.push_back(cursor = next.next);
    if (r.entries.size() > kModelPositions) outside_ = "positions";
  }
}

ModelEntry ModelObserver::entry_of(Holder& h, const log::EntryHeader& header,
                                   const log::Cursor& before) {
  ModelEntry entry{ModelKind::value, Term{header.term}};
  if (header.kind == static_cast<uint8_t>(log::Kind::term_start)) entry.kind = ModelKind::start;
  if (header.kind != static_cast<uint8_t>(log::Kind::view)) return entry;
  const pmem::ShadowRegion& region = *world_.machine(h.machine.value).region;
  const log::Ring ring(region.ring_data(), region.geometry().ring_bytes);
  const auto view = log::decode_view(log::payload(ring, before.end, header));
  if (view.has_value()) entry.kind = view_kind(h, *view);
  return entry;
}

// A view that only names who is to come and to go changes nothing yet: it is a value.
ModelKind ModelObserver::view_kind(Holder& h, const log::Membership& view) {
  if (view.joint()) {
    const std::pair change{members(view.outgoing, view), members(view.voters, view)};
    auto known = std::find(joints_.begin(), joints_.end(), change);
    if (known == joints_.end()) known = joints_.insert(joints_.end(), change);
    if (joints_.size() > 2) outside_ = "views";
    return known == joints_.begin() ? ModelKind::joint1 : ModelKind::joint2;
  }
  const auto& entries = h.reading.entries;
  const auto last = std::find_if(entries.rbegin(), entries.rend(),
                                 [](const ModelEntry& e) { return e.kind >= ModelKind::joint1; });
  if (last == entries.rend() || !joint(last->kind)) return ModelKind::value;
  return last->kind == ModelKind::joint1 ? ModelKind::final1 : ModelKind::final2;
}

uint64_t ModelObserver::members(ReplicaSet set, const log::Membership& view) {
  uint64_t bits = 0;
  for_each(set, [&](ReplicaId id) {
    Holder* const h = born(id, view.births[id.value]);
    if (h == nullptr) {
      outside_ = "a member that is no replica";
      return;
    }
    h->voice = true;
    bits |= uint64_t{1} << number(*h);
  });
  return bits;
}

// ---- Which step it is
// -----------------------------------------------------------------------------

ModelObserver::Steps::iterator ModelObserver::add(Steps::iterator before, const char* what,
                                                  Holder& who, uint64_t a, uint64_t b, Term term) {
  return steps_.insert(before, {what, number(who), a, b, term});
}

// The writes of who leads no more land as long as nobody revokes: they were on their way before.
ModelObserver::Steps::iterator ModelObserver::while_led(Term term) {
  const Reign& reign = reigns_.at(term);
  return reign.over ? reign.end : steps_.end();
}

ModelObserver::Steps::iterator ModelObserver::earlier(Steps::iterator one, Steps::iterator other) {
  for (auto step = steps_.begin(); step != steps_.end(); ++step) {
    if (step == one || step == other) return step;
  }
  return steps_.end();
}

void ModelObserver::leave(Holder& h, Steps::iterator step, Part next, Term promised) {
  if (h.part == Part::leader) {
    reigns_.at(h.promised).over = true;
    reigns_.at(h.promised).end = step;
  }
  if (promised != h.promised) h.ended.try_emplace(h.promised, step);
  h.part = next;
  h.promised = promised;
  h.grant = Term{};
}

void ModelObserver::write(Holder& h, Term term, Steps::iterator before) {
  const Reign& reign = reigns_.at(term);
  while (begins_with(h.reading.entries, h.log) && h.log.size() < h.reading.entries.size()) {
    const size_t at = h.log.size();
    if (at >= reign.log.size() || reign.log[at] != h.reading.entries[at]) return;
    h.log.push_back(reign.log[at]);
    add(before, "write", *reign.leader, number(h), h.log.size());
  }
}

void ModelObserver::land(Holder& h) {
  if (h.grant.value != 0) write(h, h.grant, while_led(h.grant));
}

void ModelObserver::count(Holder& h) {
  const replication::Replica* const replica = process(h);
  if (replica == nullptr || h.part != Part::leader || replica->status().promised != h.promised) {
    return;
  }
  const uint64_t mark = model_position(replica->log().committed());
  if (mark <= h.mark) return;
  h.mark = mark;
  add("commit", h, mark);
}

// A leader may die in the very turn in which it counted: then only what it wrote next tells, or
// whom it told.
void ModelObserver::counted(Term term, uint64_t mark) {
  const auto found = reigns_.find(term);
  if (found == reigns_.end()) return;
  const Reign& reign = found->second;
  Holder& leader = *reign.leader;
  const bool lives = process(leader) != nullptr && !reign.over;
  if (lives || mark <= leader.mark || mark > reign.log.size()) return;
  if (reign.log[mark - 1].term != term) return;
  leader.mark = mark;
  add(while_led(term), "commit", leader, mark);
}

void ModelObserver::append(Holder& h) {
  if (h.part != Part::leader || !begins_with(h.reading.entries, h.log)) return;
  for (size_t at = h.log.size(); at < h.reading.entries.size(); ++at) {
    const ModelEntry entry = h.reading.entries[at];
    if (entry.term != h.promised) return;
    counted(h.promised, h.reading.committed[at]);
    h.log.push_back(entry);
    reigns_.at(h.promised).log = h.log;
    add("append", h, static_cast<uint64_t>(entry.kind), h.log.size());
  }
}

void ModelObserver::attach(Holder& h, Term term, uint64_t behind) {
  const auto step = add(while_led(term), "attach", *reigns_.at(term).leader, number(h), behind);
  leave(h, step, Part::follower, term);
  h.grant = term;
  h.log.resize(behind);
}

void ModelObserver::take(Holder& h, Term term) {
  if (term <= h.told) return;
  h.told = term;
  if (process(h) == nullptr) h.unrevoked = h.grant;
  leave(h, add("take", h, 0, 0, term), Part::candidate, term);
}

void ModelObserver::promise(Holder& h) {
  const replication::Replica* const replica = process(h);
  if (replica == nullptr) return;
  const Term term = replica->status().promised;
  if (term <= h.told) return;
  if (owner(term) == h.machine) return take(h, term);
  h.told = term;
  Holder* const candidate = current(owner(term));
  const bool asked =
      candidate != nullptr && candidate->part == Part::candidate && candidate->promised == term;
  // Whom nobody counts: that it promised only keeps it from promising less. A leader's own seal is
  // a part of the attachment that follows.
  if (!asked || !h.voice) {
    h.grant = Term{};
    return;
  }
  const uint64_t tail = model_position(replica->log().tail().position);
  unexplained(h, tail);
  leave(h, add("seal", *candidate, number(h), tail), Part::follower, term);
}

// It answers with more than anybody has written there. The model will not have it.
void ModelObserver::unexplained(Holder& h, uint64_t tail) {
  while (h.log.size() < tail && h.log.size() < h.reading.entries.size()) {
    const ModelEntry entry = h.reading.entries[h.log.size()];
    h.log.push_back(entry);
    Holder* const writer = current(owner(entry.term));
    add("write", writer == nullptr ? h : *writer, number(h), h.log.size());
  }
}

void ModelObserver::restart(Holder& h) {
  const uint64_t life = world_.machine(h.machine.value).life;
  if (life == h.life || process(h) == nullptr) return;
  h.life = life;
  if (h.unrevoked.value != 0) {
    const Reign& reign = reigns_.at(h.unrevoked);
    const auto took = std::find_if(steps_.begin(), steps_.end(), [&](const ModelStep& s) {
      return s.what == "take" && s.term == h.promised;
    });
    write(h, h.unrevoked, reign.over ? earlier(reign.end, took) : took);
    h.unrevoked = Term{};
  }
  if (h.part == Part::follower && h.grant.value == 0) return;
  leave(h, add("restart", h), Part::follower, h.promised);
}

uint64_t ModelObserver::heard_by(Holder& h, Term term) {
  uint64_t bits = uint64_t{1} << number(h);
  for (const Answer& answer : answers_[term]) bits |= uint64_t{1} << number(*answer.holder);
  return bits;
}

// What a candidate counts it could have counted when it was said: before who said it promised more.
void ModelObserver::add_lead(Holder& h, Term term) {
  h.log = h.reading.entries;
  auto before = steps_.end();
  for (const Answer& answer : answers_[term]) {
    const auto ended = answer.holder->ended.find(term);
    if (ended == answer.holder->ended.end()) continue;
    before = before == steps_.end() ? ended->second : earlier(before, ended->second);
  }
  const Term last = h.log.empty() ? Term{} : h.log.back().term;
  add(before, "lead", h, heard_by(h, term), h.log.size(), last);
  h.part = Part::leader;
  reigns_[term] = {&h, h.log, false, {}};
}

void ModelObserver::lead(Holder& h) {
  const replication::Replica* const replica = process(h);
  if (replica == nullptr || h.part != Part::candidate) return;
  const replication::ReplicaStatus status = replica->status();
  if (leads(status) && status.term == h.promised) add_lead(h, h.promised);
}

// Its log changes, and it does not lead: it has adopted a part of another's, or all of it.
void ModelObserver::stop_half_way(Holder& h) {
  const bool bound = h.part == Part::candidate && h.told == h.promised;
  if (!bound || h.unrevoked.value != 0 || h.log == h.reading.entries) return;
  Answer best{};
  for (const Answer& answer : answers_[h.promised]) {
    if (std::pair{answer.last, answer.tail} > std::pair{best.last, best.tail}) best = answer;
  }
  if (h.reading.entries.size() == best.tail) return add_lead(h, h.promised);
  h.log = h.reading.entries;
  add("adopt", h, heard_by(h, h.promised), h.log.size());
  h.part = Part::follower;
}

void ModelObserver::attach_and_land(Holder& h) {
  const auto found = reigns_.find(h.told);
  if (found == reigns_.end() || found->second.leader == &h) return;
  const uint64_t same = common(h.log, h.reading.entries);
  const bool cut = same < h.log.size();
  const bool more = !cut && h.log.size() < h.reading.entries.size() &&
                    h.log.size() < found->second.log.size() &&
                    found->second.log[same] == h.reading.entries[same];
  if (cut || (more && h.grant != h.told)) attach(h, h.told, same);
  land(h);
}

void ModelObserver::learn(Holder& h) {
  const replication::Replica* const replica = process(h);
  if (replica == nullptr) return;
  const uint64_t mark = model_position(replica->log().committed());
  if (mark <= h.mark) return;
  h.mark = mark;
  if (mark <= h.log.size()) counted(h.log[mark - 1].term, mark);
  const auto reign = reigns_.find(h.grant);
  const bool told = reign != reigns_.end() && !reign->second.over &&
                    reign->second.leader->mark >= mark && mark <= h.log.size();
  if (told) {
    add("learn", *reign->second.leader, number(h), mark);
  } else {
    add("hint", h, mark);
  }
}

void ModelObserver::lose(Holder& h) {
  if (h.number != SIZE_MAX) leave(h, add("lose", h), Part::follower, Term{});
  h.lost = true;
}

// ---- The end
// --------------------------------------------------------------------------------------

ModelTrace ModelObserver::finish() {
  look();
  for (Holder& h : holders_) {
    if (h.lost || h.number == SIZE_MAX) continue;
    const auto& entries = h.reading.entries;
    add("tail", h, entries.size());
    for (size_t i = 0; i < entries.size(); ++i) {
      add("log", h, i + 1, static_cast<uint64_t>(entries[i].kind), entries[i].term);
    }
    if (h.told == h.promised) add("promised", h, 0, 0, h.promised);
    if (const auto* replica = process(h); replica != nullptr) {
      add("mark", h, model_position(replica->log().committed()));
    }
  }
  ModelTrace trace;
  trace.steps.assign(steps_.begin(), steps_.end());
  for (const ModelStep& step : trace.steps) {
    if (step.term.value != 0) trace.terms[step.term.value] = 0;
  }
  uint64_t terms = 0;
  for (auto& [term, as] : trace.terms) as = ++terms;
  if (terms > kModelTerms) outside_ = "terms";
  trace.views[1] = trace.views[0];
  for (size_t i = 0; i < joints_.size() && i < 2; ++i) {
    (i == 0 ? trace.views[1] : trace.views[2]) = joints_[i].second;
    if (i == 1) trace.views[3] = joints_[i].first;
  }
  trace.outside = outside_;
  return trace;
}

}  // namespace caisson::simtest
