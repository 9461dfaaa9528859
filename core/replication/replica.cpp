// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/replica.hpp"

#include <algorithm>
#include <bit>

#include "core/log/view_entry.hpp"
#include "core/replication/context.hpp"
#include "core/replication/election.hpp"
#include "core/replication/follower.hpp"
#include "core/replication/leader.hpp"
#include "core/replication/reads.hpp"
#include "core/replication/scrubber.hpp"

namespace caisson::replication {

std::string_view name(Role role) {
  switch (role) {
    case Role::follower: return "follower";
    case Role::learner: return "learner";
    case Role::asking: return "asking";
    case Role::sealing: return "sealing";
    case Role::attaching: return "attaching";
    case Role::leader: return "leader";
    case Role::damaged: return "damaged";
    case Role::closed: return "closed";
  }
  return "unknown";
}

namespace {

ReplicaOptions completed(ReplicaOptions options, uint64_t ring_bytes) {
  if (options.unvalidated_bytes_max == 0) options.unvalidated_bytes_max = ring_bytes / 2;
  if (options.standby_bounds.bytes == 0) options.standby_bounds.bytes = ring_bytes / 4;
  if (options.cursor_persist_bytes == 0) options.cursor_persist_bytes = ring_bytes / 16;
  return options;
}

class ReplicaImpl final : public Replica {
 public:
  ReplicaImpl(const ReplicaOptions& options, const log::Superblock& superblock,
              pmem::Region& region, transport::Endpoint& endpoint,
              control::FailureDetector& detector, control::Outbox& outbox)
      : c_{completed(options, region.geometry().ring_bytes),
           region,
           endpoint,
           detector,
           outbox,
           DurableState(region, superblock),
           log::LogState(options.identity,
                         log::Ring(region.ring_data(), region.geometry().ring_bytes),
                         options.streams_max, options.stream_window),
           SplitMix(options.seed),
           superblock.applied},
        follower_(c_),
        mender_(c_),
        leader_(c_, follower_, mender_),
        election_(c_, follower_),
        reads_(c_, leader_, follower_),
        scrubber_(c_, mender_) {}

  Code recover(uint64_t now_ns);

  uint32_t poll(uint64_t now_ns) override;
  void on_message(ReplicaId from, const control::Message& message, uint64_t now_ns) override;

  Code submit(const Submission& s) override { return leader_.submit(s); }
  Code reserve(uint64_t client, uint32_t count, uint64_t bytes) override {
    return leader_.reserve(client, count, bytes);
  }
  void flush() override {
    if (leader_.active()) leader_.flush();
  }
  Code open_stream(const StreamOpening& opening, uint64_t tag) override {
    return leader_.open_stream(opening, tag);
  }
  Code take_apologies(uint64_t client, Position through, uint64_t tag) override {
    return leader_.take_apologies(client, through, tag);
  }
  OpenedStream opened_stream(uint64_t client, Position session) const override;
  Result<Claim> claim(uint32_t bytes, uint64_t now_ns) override {
    return leader_.claim(bytes, steady(now_ns));
  }
  Code submit_claim(const Claim& claim, const Submission& s) override {
    return leader_.submit_claim(claim, s);
  }
  void abandon_claim(const Claim& claim) override { leader_.abandon_claim(claim); }
  Code change_members(const MemberChange& change) override {
    return leader_.change_members(change);
  }
  Code hand_over(ReplicaId to, uint64_t now_ns) override {
    return leader_.hand_over(to, steady(now_ns));
  }
  size_t peers(std::span<PeerStatus> out) const override { return leader_.peers(out); }
  size_t take_resolutions(std::span<Resolution> out) override { return leader_.take(out); }
  ReadPoint read_point(ReadPath path, uint64_t tag, uint64_t timeout_ns, uint64_t now_ns) override {
    if (closed_) return {tag, Code::closed, {}};
    if (poisoned()) return {tag, Code::damaged, {}};
    return reads_.begin(path, tag, timeout_ns, steady(now_ns));
  }
  size_t take_read_points(std::span<ReadPoint> out) override { return reads_.take(out); }
  Code trim(Position p, ReplicaId* holder) override { return leader_.trim(p, holder); }

  void mark_applied(Position p) override {
    c_.applied = std::max(c_.applied, std::min(p, c_.state.committed()));
  }
  void mark_installed(Position p) override { c_.installed = std::max(c_.installed, p); }
  void set_reader_hold(Position p) override {
    if (p == c_.reader_hold) return;
    c_.reader_hold = p;
    follower_.publish();  // on an idle log nothing else would tell the leader
  }
  const SalvageArea& orphans() const override { return follower_.salvaged(); }
  Code discard_orphans(uint64_t id) override {
    return closed_ ? Code::closed : follower_.discard_orphans(id);
  }
  ReplicaStatus status() const override;
  Term leading() const override { return leader_.serving() ? leader_.term() : Term{0}; }
  const log::LogState& log() const override { return c_.state; }
  void close(uint64_t now_ns) override;

 private:
  void handle(ReplicaId from, const control::PreSeal& m, uint64_t now_ns);
  void handle(ReplicaId from, const control::PreSealReply& m, uint64_t now_ns);
  void handle(ReplicaId from, const control::Seal& m, uint64_t now_ns);
  void handle(ReplicaId from, const control::SealReply& m, uint64_t now_ns);
  void handle(ReplicaId from, const control::GrantRequest& m, uint64_t now_ns);
  void handle(ReplicaId from, const control::GrantReply& m, uint64_t now_ns);
  void handle(ReplicaId from, const control::Hello& m, uint64_t now_ns);
  void handle(ReplicaId from, const control::Fenced& m, uint64_t now_ns);
  void handle(ReplicaId from, const control::Rebase& m, uint64_t now_ns);
  void handle(ReplicaId from, const control::Succeed& m, uint64_t now_ns);
  void handle(ReplicaId from, const control::ReadRequest& m, uint64_t) {
    reads_.on_request(from, m);
  }
  void handle(ReplicaId, const control::ReadReply& m, uint64_t now_ns) {
    reads_.on_reply(m, now_ns);
  }
  // A message of its leader, or of a candidate that we have promised to.
  template <class M>
  bool promised_to(ReplicaId from, const M& m) const {
    return owner(m.term) == from && m.term == promised() &&
           m.nonce == c_.durable.superblock().promise_nonce;
  }
  bool member(ReplicaId id, uint64_t birth) const {
    return c_.membership().members().has(id) && c_.membership().births[id.value] == birth;
  }
  void say_hello(uint64_t now_ns);

  Term promised() const { return c_.durable.superblock().promised; }
  // Time as the sum of its steps: a clock that jumps back makes one step of nothing, and goes on.
  uint64_t steady(uint64_t reading_ns) {
    if (reading_ns > reading_ns_) now_ns_ += reading_ns - reading_ns_;
    reading_ns_ = reading_ns;
    return now_ns_;
  }
  void step_down(uint64_t now_ns);
  // A page of our memory is gone, and zeros stand in for it (R44).
  bool poisoned() const { return c_.region.poisoned(); }
  void withdraw(uint64_t now_ns);
  void met_higher(Term higher, uint64_t now_ns);
  void watch(uint64_t now_ns);
  // Somebody leads us: whom we let in has shown it by an entry of its own term, or may still do so.
  // A candidate that was granted along with our answer, and came to nothing, leads nobody.
  bool led(uint64_t now_ns) const {
    return follower_.granted() && !forsaken_ && (!follower_.unsure() || now_ns < quiet_until_ns_);
  }
  void lead(uint64_t now_ns);
  void settle(uint64_t now_ns, uint64_t wait_ns);
  // A grant that moves a divergent suffix aside is a repair.
  template <class Grant>
  void counting_repairs(Grant&& grant) {
    const uint64_t salvaged = c_.durable.superblock().salvage_bytes;
    grant();
    if (c_.durable.superblock().salvage_bytes != salvaged) ++repairs_;
  }
  uint64_t rank_after(ReplicaId leader) const;

  Context c_;
  Follower follower_;
  Mender mender_;
  Leader leader_;
  Election election_;
  Reads reads_;
  Scrubber scrubber_;
  bool closed_ = false;
  bool withdrawn_ = false;  // its memory is poisoned: it takes part in nothing (R44)
  uint64_t now_ns_ = 0;
  uint64_t reading_ns_ = 0;
  bool started_term_ = false;    // the term start of our term is written
  uint64_t quiet_until_ns_ = 0;  // no candidacy before this
  uint64_t hello_ns_ = 0;
  Offset hello_end_;        // our tail then
  bool forsaken_ = false;   // whom we follow is alive, and does not lead any more
  bool suspicion_ = false;  // the leader we follow looks dead; quiet_until_ns_ is the stagger
  uint64_t failures_ = 0;   // candidacies in a row that came to nothing
  uint64_t elections_ = 0;
  uint64_t repairs_ = 0;
  Position base_wanted_;
  control::Evidence evidence_ = control::Evidence::none;
};

Code ReplicaImpl::recover(uint64_t now_ns) {
  now_ns = steady(now_ns);
  if (const Code code = c_.durable.begin_incarnation(); code != Code::ok) return code;
  c_.endpoint.publish_promise(promised(), c_.durable.superblock().birth);
  if (const Code code = follower_.seal_ring(Follower::Extent::whole); code != Code::ok) return code;
  c_.applied = c_.durable.superblock().applied;
  settle(now_ns, c_.options.leaderless_patience_ns);
  return Code::ok;
}

// Stays calm for a while: somebody else may be about to lead.
void ReplicaImpl::settle(uint64_t now_ns, uint64_t wait_ns) {
  suspicion_ = forsaken_ = false;
  quiet_until_ns_ = now_ns + wait_ns + c_.random.below(c_.options.election_jitter_ns + 1);
  hello_ns_ = now_ns;
}

uint64_t ReplicaImpl::rank_after(ReplicaId leader) const {
  // The voters behind the leader stand in line, so that its first successors do not collide.
  uint64_t rank = 0;
  for_each(c_.membership().electors(), [&](ReplicaId id) {
    const bool before = leader < c_.options.self ? (leader < id && id < c_.options.self)
                                                 : (leader < id || id < c_.options.self);
    if (before && id != leader && !c_.detector.suspected(id)) ++rank;
  });
  return rank;
}

// ---- Turns ----

uint32_t ReplicaImpl::poll(uint64_t now_ns) {
  if (closed_) return 0;
  now_ns = steady(now_ns);
  uint32_t work = 0;
  if (poisoned()) [[unlikely]] {
    if (!withdrawn_) withdraw(now_ns);
    say_hello(now_ns);
    return reads_.poll(now_ns);
  }
  work += c_.endpoint.attend();
  const Position before = c_.state.committed();
  if (leader_.active()) {
    work += leader_.poll(now_ns);
    work += follower_.keep_books(now_ns);
    if (!started_term_ && c_.membership().commits(leader_.attached())) {
      started_term_ = true;
      if (leader_.start() != Code::ok) step_down(now_ns);
      ++work;
    }
    if (leader_.serving()) failures_ = 0;
    if (leader_.quorum_lost(now_ns)) step_down(now_ns);
  } else {
    const Offset tail = c_.state.tail().end;
    work += follower_.poll(now_ns);
    // Being caught up takes as long as it takes.
    if (follower_.unsure() && c_.state.tail().end > tail) {
      quiet_until_ns_ = std::max(quiet_until_ns_, now_ns + c_.options.leaderless_patience_ns);
    }
    election_.poll(now_ns);
    watch(now_ns);
    if (election_.stage() == Election::Stage::won) lead(now_ns);
  }
  if (c_.state.committed() != before && leader_.queue().undecided()) {
    leader_.queue().decide(c_.state);
  }
  work += reads_.poll(now_ns);
  // Only now: a trim forgets which term wrote what.
  if (!leader_.active()) work += follower_.follow_trim();
  scrubber_.poll(now_ns, work == 0);
  return work;
}

// What the lost page held may have been counted, by us or by whoever writes here. The mark goes
// first, and stays: another process may find zeros there, and take them for the end of the log.
void ReplicaImpl::withdraw(uint64_t now_ns) {
  withdrawn_ = true;
  step_down(now_ns);
  // Where the page was the superblock's own, its other slot holds the mark, or neither is valid.
  (void)c_.durable.save_damage(log::kDamagedForGood);
  (void)c_.endpoint.revoke_all();  // the grant is closed whatever else fails
  follower_.stop();
}

void ReplicaImpl::say_hello(uint64_t now_ns) {
  const bool attached =
      follower_.granted() && !forsaken_ && member(c_.options.self, c_.durable.superblock().birth);
  // A candidate says none, not even in the turn in which it has won: it may lead the term that it
  // has promised, see handle(Hello).
  const bool sealing =
      election_.stage() != Election::Stage::idle && election_.stage() != Election::Stage::asking;
  if (attached || sealing || now_ns < hello_ns_ + c_.options.retry_ns) return;
  hello_ns_ = now_ns;
  // Who is being caught up may have to read far before it finds the view that names it. As long as
  // something arrives, a hello would only end that: the leader would take it for lost.
  const bool arrives = follower_.granted() && !forsaken_ && c_.state.tail().end != hello_end_;
  hello_end_ = c_.state.tail().end;
  if (arrives) return;
  const log::Superblock& superblock = c_.durable.superblock();
  const control::Hello hello{promised(), superblock.incarnation, superblock.birth};
  for_each((c_.membership().members() | c_.options.peers) - just(c_.options.self),
           [&](ReplicaId id) { c_.outbox.send(id, hello); });
}

void ReplicaImpl::watch(uint64_t now_ns) {
  if (election_.stage() != Election::Stage::idle || follower_.damaged() || !c_.elector()) {
    return say_hello(now_ns);
  }
  const ReplicaId expected = follower_.granted() ? follower_.leader() : owner(promised());
  const bool silent = expected != ReplicaId{} && expected != c_.options.self &&
                      (forsaken_ || c_.detector.suspected(expected));
  if (led(now_ns) && !silent) {
    suspicion_ = false;
    failures_ = 0;
    return;
  }
  if (silent && !suspicion_) {
    suspicion_ = true;
    evidence_ = c_.detector.evidence(expected);
    const uint64_t turn_ns = now_ns + rank_after(expected) * c_.options.stagger_ns;
    // The first suspicion may cut a patience short; after a failed candidacy the back-off stands.
    if (failures_ == 0) quiet_until_ns_ = turn_ns;
  }
  say_hello(now_ns);
  if (now_ns < quiet_until_ns_) return;
  // Whatever comes of it, the next try is later; a success resets this.
  ++failures_;
  const uint64_t spread = c_.options.election_jitter_ns << std::min<uint64_t>(failures_, 4);
  quiet_until_ns_ = now_ns + c_.options.leaderless_patience_ns + c_.random.below(spread + 1);
  if (silent && owner(promised()) == expected &&
      c_.detector.evidence(expected) == control::Evidence::death_notice) {
    election_.succeed(expected, promised(), now_ns);
  } else {
    election_.ask(promised(), now_ns);
  }
}

void ReplicaImpl::lead(uint64_t now_ns) {
  ++elections_;
  started_term_ = false;
  const ReplicaId holder = election_.holder();
  leader_.begin(election_.term(), election_.nonce(), now_ns);
  for_each(c_.membership().members() - just(c_.options.self), [&](ReplicaId id) {
    const auto& reply = election_.reply(id);
    if (!reply.has_value()) return;
    if (id == holder) {
      leader_.take_over(id, *reply, now_ns);
    } else {
      leader_.on_seal_reply(id, *reply, now_ns);
    }
  });
  election_.give_up();
}

void ReplicaImpl::step_down(uint64_t now_ns) {
  if (leader_.active()) leader_.step_down();
  if (election_.stage() == Election::Stage::fetching) c_.endpoint.detach(election_.holder());
  election_.give_up();
  settle(now_ns, c_.options.leaderless_patience_ns);
}

// Somebody has promised a higher term, so that our own is over. A leader that still had its quorum
// asks for the lead again, above that promise, rather than limp on without one replica (P21). A
// deposed one finds the others content with their new leader.
void ReplicaImpl::met_higher(Term higher, uint64_t now_ns) {
  const bool strong = leader_.serving() && c_.membership().commits(leader_.attached());
  step_down(now_ns);
  election_.met(higher);
  if (strong && c_.elector()) election_.ask(higher, now_ns);
}

// ---- Messages ----

void ReplicaImpl::on_message(ReplicaId from, const control::Message& message, uint64_t now_ns) {
  const bool somebody = from != ReplicaId{} && from.value <= kReplicaIdMax;
  if (closed_ || poisoned() || !somebody || from == c_.options.self) return;
  now_ns = steady(now_ns);
  std::visit([&](const auto& m) { handle(from, m, now_ns); }, message);
  // At once: the next message may be an answer that only a leader knows what to do with.
  if (election_.stage() == Election::Stage::won) lead(now_ns);
}

void ReplicaImpl::handle(ReplicaId from, const control::PreSeal& m, uint64_t now_ns) {
  const bool leads = leader_.active() || election_.stage() == Election::Stage::sealing ||
                     election_.stage() == Election::Stage::fetching;
  const bool follows =
      led(now_ns) && !c_.detector.suspected(follower_.leader()) && follower_.leader() != from;
  // Whom a later view than its own has dismissed will never lead.
  const bool dismissed = !c_.membership().electors().has(from) && c_.membership().view > m.view;
  c_.outbox.send(from,
                 control::PreSealReply{m.nonce, !leads && !follows && !dismissed, promised()});
}

void ReplicaImpl::handle(ReplicaId from, const control::PreSealReply& m, uint64_t now_ns) {
  election_.on_preseal_reply(from, m, now_ns);
}

void ReplicaImpl::handle(ReplicaId from, const control::Seal& m, uint64_t now_ns) {
  if (owner(m.term) != from || m.nonce == 0) return;
  const bool retry = m.term == promised() && m.nonce == c_.durable.superblock().promise_nonce;
  if (m.term < promised() || (m.term == promised() && !retry)) {  // P3
    c_.outbox.send(from, follower_.seal_reply(m.term, m.nonce, Code::fenced));
    return;
  }
  // P1: our own leader role is bound first: it stops counting, claims are withdrawn.
  step_down(now_ns);
  // P2: promise, then revoke, flush and scan, then answer. Without a persistent promise: silence.
  if (!retry && c_.durable.promise(m.term, m.nonce) != Code::ok) return;
  c_.endpoint.publish_promise(m.term, c_.durable.superblock().birth);
  if (follower_.seal_ring(Follower::Extent::tail) != Code::ok || poisoned()) return;
  const Code code = follower_.damaged() ? Code::damaged : Code::ok;
  control::SealReply reply = follower_.seal_reply(m.term, m.nonce, code);
  if (code == Code::ok && m.last.value != 0 && m.last == reply.tail.term) {
    counting_repairs([&] { follower_.grant_along(from, reply); });
  }
  if (reply.grant.has_value()) settle(now_ns, c_.options.leaderless_patience_ns);
  if (poisoned()) return;  // met while we looked for what to answer
  c_.outbox.send(from, reply);
}

void ReplicaImpl::handle(ReplicaId from, const control::SealReply& m, uint64_t now_ns) {
  // Created to count otherwise: it is no replica of this log, whatever its log id says.
  if (!m.view.membership.alike(c_.membership())) return;
  if (m.code == Code::fenced && m.promised > promised() &&
      (leader_.active() || election_.stage() == Election::Stage::idle)) {
    if (leader_.active() && m.term == leader_.term()) met_higher(m.promised, now_ns);
    return;
  }
  if (leader_.active()) {
    leader_.on_seal_reply(from, m, now_ns);
  } else {
    election_.on_seal_reply(from, m, now_ns);
  }
}

void ReplicaImpl::handle(ReplicaId from, const control::GrantRequest& m, uint64_t now_ns) {
  if (!promised_to(from, m)) {
    if (m.term < promised()) c_.outbox.send(from, control::Fenced{promised()});
    return;
  }
  control::GrantReply reply;
  counting_repairs([&] { reply = follower_.answer_grant(from, m); });
  if (poisoned()) return;
  if (reply.code == Code::ok) settle(now_ns, c_.options.leaderless_patience_ns);
  c_.outbox.send(from, reply);
}

void ReplicaImpl::handle(ReplicaId from, const control::GrantReply& m, uint64_t now_ns) {
  if (leader_.active()) {
    leader_.on_grant_reply(from, m, now_ns);
  } else {
    election_.on_grant_reply(from, m);
  }
}

void ReplicaImpl::handle(ReplicaId from, const control::Hello& m, uint64_t now_ns) {
  if (!leader_.active()) {
    // Who leads says no hello: it has lost its term, or even its memory.
    const bool over = m.promised >= promised() || m.birth != c_.membership().births[from.value];
    if (follower_.leader() == from && over) forsaken_ = true;
    return;
  }
  // What a stranger has promised binds nobody here.
  if (m.promised > leader_.term() && member(from, m.birth)) {
    met_higher(m.promised, now_ns);
    return;
  }
  leader_.on_hello(from, m, now_ns);
}

void ReplicaImpl::handle(ReplicaId from, const control::Fenced& m, uint64_t now_ns) {
  if (leader_.active() && m.promised > leader_.term() && c_.membership().members().has(from)) {
    met_higher(m.promised, now_ns);
  }
}

void ReplicaImpl::handle(ReplicaId from, const control::Rebase& m, uint64_t now_ns) {
  if (!promised_to(from, m) || leader_.active() || follower_.granted()) return;
  const Code code = follower_.rebase(m);
  base_wanted_ = code == Code::not_yet ? m.base.position : Position{0};
  if (code != Code::ok) return;
  settle(now_ns, c_.options.leaderless_patience_ns);
  c_.outbox.send(from, follower_.seal_reply(m.term, m.nonce, Code::ok));
}

// P21: it is the leader itself who asks us to stand up.
void ReplicaImpl::handle(ReplicaId from, const control::Succeed& m, uint64_t now_ns) {
  if (m.term < promised()) return c_.outbox.send(from, control::Fenced{promised()});
  if (leader_.active() || !c_.elector() || follower_.damaged() || owner(m.term) != from ||
      m.term != promised() || election_.stage() != Election::Stage::idle) {
    return;
  }
  settle(now_ns, c_.options.leaderless_patience_ns);
  if (election_.seal(m.term, now_ns) != Code::ok) election_.give_up();
}

// ---- Status ----

ReplicaStatus ReplicaImpl::status() const {
  ReplicaStatus s;
  const bool leads = leader_.active();
  if (closed_) {
    s.role = Role::closed;
  } else if (leads) {
    s.role = leader_.serving() ? Role::leader : Role::attaching;
  } else if (withdrawn_ || follower_.damaged()) {
    s.role = Role::damaged;
  } else if (election_.stage() == Election::Stage::asking) {
    s.role = Role::asking;
  } else if (election_.stage() != Election::Stage::idle) {
    s.role = Role::sealing;
  } else if (!c_.elector()) {
    s.role = Role::learner;
  }
  s.promised = promised();
  const bool follows = follower_.granted() && !follower_.unsure();
  s.leader = leads ? c_.options.self : follows ? follower_.leader() : ReplicaId{};
  s.term = leads ? leader_.term() : follows ? promised() : Term{0};
  s.membership = c_.membership();
  s.view_position = c_.state.view_position();
  const Position committed = c_.state.committed();
  s.marks = {leads ? c_.state.tail().position : committed,
             leads ? std::max(leader_.replicated(), committed) : committed,
             committed,
             committed,
             committed,
             c_.applied,
             c_.state.trimmed()};
  s.tail_end = c_.state.tail().end;
  s.incarnation = c_.durable.superblock().incarnation;
  s.birth = c_.durable.superblock().birth;
  s.base_wanted = follower_.granted() ? Position{0} : base_wanted_;
  const SalvageArea& aside = follower_.salvaged();
  s.orphans = {aside.records().size(), aside.kept_bytes(), aside.full()};
  s.repairs = repairs_;
  s.elections = elections_;
  s.faults = c_.durable.superblock().damaged_through.value != 0 ? 1 : 0;
  s.detected_by = evidence_;
  s.poisoned = withdrawn_ || c_.durable.superblock().damaged_through == log::kDamagedForGood;
  if (withdrawn_) s.poison = c_.region.poison();
  s.stuck = follower_.stuck();
  s.scrub = scrubber_.status();
  return s;
}

// A later session of the client may be in the log already, and may yet be lost: nobody is told its
// incarnation but whoever opened it.
OpenedStream ReplicaImpl::opened_stream(uint64_t client, Position session) const {
  const auto stream = c_.state.streams().find(client);
  OpenedStream opened{stream.incarnation, stream.last_sequence,
                      c_.state.streams().apologies(client)};
  log::EntryView entry;
  if (session.value != 0 && c_.state.read(session, entry) == Code::ok &&
      entry.header.kind == static_cast<uint8_t>(log::Kind::session) &&
      entry.header.client == client) {
    opened.incarnation = entry.header.incarnation;
    opened.last_sequence = entry.header.sequence;
  }
  return opened;
}

void ReplicaImpl::close(uint64_t now_ns) {
  if (closed_) return;
  step_down(steady(now_ns));
  leader_.queue().close();
  reads_.close();
  // The cursor only spares the next start some scanning.
  if (!withdrawn_) (void)follower_.save_progress();
  closed_ = true;
}

Code validate_options(const ReplicaOptions& options, uint64_t ring_bytes) {
  const bool powers = std::has_single_bit(options.outstanding_max) &&
                      std::has_single_bit(options.stream_window) && std::has_single_bit(ring_bytes);
  const bool fits = log::entry_bytes(options.entry_bytes_max) <= ring_bytes / 4;
  return powers && fits ? Code::ok : Code::invalid;
}

}  // namespace

Result<std::unique_ptr<Replica>> Replica::open(const ReplicaOptions& options, pmem::Region& region,
                                               transport::Endpoint& endpoint,
                                               control::FailureDetector& detector,
                                               control::Outbox& outbox, uint64_t now_ns) {
  if (validate_options(options, region.geometry().ring_bytes) != Code::ok) {
    return fail(Code::invalid,
                "replica: limits must be powers of two, and four of the largest entries must fit "
                "into the ring");
  }
  const auto bytes = region.read_superblock();
  if (!bytes.has_value()) return tl::unexpected(bytes.error());
  const auto superblock = log::decode_superblock(*bytes);
  if (!superblock.has_value()) return tl::unexpected(superblock.error());
  if (superblock->identity != options.identity || superblock->replica != options.self) {
    return fail(Code::wrong_cluster,
                "region belongs to replica " + std::to_string(superblock->replica.value) +
                    " of log " + std::to_string(superblock->identity.log) +
                    " of another cluster or log than configured; point the configuration at its "
                    "own data directory");
  }
  if (superblock->ring_bytes != region.geometry().ring_bytes) {
    return fail(Code::damaged, "superblock and region disagree on the size of the ring");
  }
  if (region.poisoned()) {
    return fail(Code::damaged,
                "a page of the region cannot be read any more: this replica has lost its memory");
  }
  auto replica =
      std::make_unique<ReplicaImpl>(options, *superblock, region, endpoint, detector, outbox);
  if (const Code code = replica->recover(now_ns); code != Code::ok) {
    return fail(code, "replica: recovery could not write its region");
  }
  return replica;
}

Code create_replica(pmem::Region& region, const LogIdentity& identity, ReplicaId self,
                    ReplicaSet voters, log::QuorumSystem quorum) {
  log::Superblock superblock;
  superblock.membership.quorum = quorum;
  superblock.membership.view = View{1};
  superblock.membership.voters = voters;
  if (!voters.has(self) || !consistent(superblock.membership)) return Code::invalid;
  const log::Cursor origin = log::origin(identity);
  const log::ViewEntry entry = log::view_entry(origin, superblock.membership, Term{1});
  region.store_ring(origin.end, entry.bytes.data(), entry.bytes.size());
  region.persist_ring(origin.end, entry.bytes.size());
  superblock.view_position = Position{1};
  superblock.identity = identity;
  superblock.replica = self;
  superblock.ring_bytes = region.geometry().ring_bytes;
  superblock.trim = origin;
  superblock.validated = entry.behind;
  superblock.committed = Position{1};
  superblock.applied = Position{1};
  return region.write_superblock(log::encode(superblock), pmem::Region::Slots::both);
}

Code create_joiner(pmem::Region& region, const LogIdentity& identity, ReplicaId self,
                   uint64_t birth) {
  if (birth == 0 || self == ReplicaId{}) return Code::invalid;
  log::Superblock superblock;
  superblock.identity = identity;
  superblock.replica = self;
  superblock.birth = birth;
  superblock.ring_bytes = region.geometry().ring_bytes;
  superblock.trim = superblock.validated = log::origin(identity);
  return region.write_superblock(log::encode(superblock), pmem::Region::Slots::both);
}

}  // namespace caisson::replication
