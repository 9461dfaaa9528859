// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/client.hpp"

#include <algorithm>

namespace caisson::simtest {

namespace {

constexpr uint64_t kProbes = 1'000'000;  // clients from here on only ask whether anybody serves

uint64_t batch_numbers(uint64_t client, uint64_t sequence, uint64_t incarnation) {
  return (client << 40) + (incarnation << 32) + sequence;
}

std::string payload_of(const Id& id, size_t bytes) {
  Random random(id.client * 0x9e3779b97f4a7c15u + id.incarnation * 77 + id.sequence);
  std::string payload(bytes, '\0');
  for (char& c : payload) c = static_cast<char>(random.next());
  return payload;
}

}  // namespace

Client::Client(World& world, const ClientOptions& options)
    : world_(world), options_(options), random_(world.random().next()) {
  world_.after(random_.below(options_.pace_ns), [this] { turn(); });
}

void Client::retire() {
  retired_ = stopped_ = true;
  attach_due_ = opening_ = false;
  unanswered_.clear();
  reconnect(0);
}

void Client::finish() {
  if (retired_) return;
  if (options_.client < kProbes) stopped_ = true;
  attach_due_ = weak();
  // A voter that is gone for good will never persist anything.
  for (Op& op : unanswered_) {
    if (op.level == Durability::all) op.level = Durability::persisted;
  }
  reconnect(0);
}

std::string Client::describe() const {
  std::string text = "client " + std::to_string(options_.client) + ": " +
                     std::to_string(unanswered_.size()) + " unanswered, " + std::to_string(sent_) +
                     " sent to replica " + std::to_string(connected_) +
                     (opening_ ? ", opening a session" : "") + ", last refusal " +
                     std::string(name(last_refusal_));
  if (unanswered_.empty()) return text;
  const Op& oldest = unanswered_.front();
  return text + ", oldest (" + std::to_string(oldest.id.incarnation) + "," +
         std::to_string(oldest.id.sequence) + ") group " + std::to_string(oldest.group);
}

void Client::turn() {
  if (retired_) return;
  world_.after(options_.pace_ns / 2 + random_.below(options_.pace_ns), [this] { turn(); });
  if (opening_ && world_.now() - opening_since_ns_ > options_.patience_ns) opening_ = false;
  if (opening_) return;
  forget_answered();
  if (!stopped_) make();
  if (!connect()) return;
  if (!stopped_ && answered_ > 0 && random_.permille(options_.session_permille)) {
    return open_session();
  }
  if (attach_due_ && unanswered_.empty()) return open_session();
  // No answer for too long: whoever leads now is asked again, from the oldest on.
  if (!unanswered_.empty() && sent_ > 0 &&
      world_.now() - unanswered_.front().sent_ns > options_.patience_ns) {
    return reconnect(0);
  }
  send();
}

void Client::make() {
  for (uint32_t asked = 0; asked < options_.per_turn; ++asked) {
    if (unanswered_.size() >= options_.window || made_ >= options_.appends) break;
    if (!random_.permille(options_.batch_permille)) {
      unanswered_.push_back(make_one(0, 1, 0));
      continue;
    }
    const uint64_t count = random_.between(2, 6);
    const uint64_t group = batch_numbers(options_.client, sequence_ + 1, incarnation_);
    for (uint64_t i = 0; i < count; ++i) unanswered_.push_back(make_one(group, count, i));
  }
}

Client::Op Client::make_one(uint64_t group, uint64_t count, uint64_t index) {
  ++made_;
  Op op;
  op.id = {options_.client, incarnation_, ++sequence_};
  const uint64_t limit = random_.permille(options_.large_permille)
                             ? world_.options().entry_bytes_max
                             : options_.payload_max;
  op.payload = payload_of(op.id, random_.below(limit + 1));
  op.digest = digest_of(std::as_bytes(std::span(op.payload)));
  const uint64_t dice = random_.below(1000);
  uint64_t below = 0;
  const auto falls = [&](uint32_t permille) { return dice < (below += permille); };
  op.level = falls(options_.replicated_permille) ? Durability::replicated
             : falls(options_.all_permille)      ? Durability::all
             : falls(options_.volatile_permille) ? Durability::volatile_
             : falls(options_.local_permille)    ? Durability::local
                                                 : Durability::persisted;
  op.group = group;
  op.count = count;
  op.index = index;
  op.claim = group == 0 && random_.permille(options_.claim_permille);
  world_.record(
      {.what = What::submit, .id = op.id, .digest = op.digest, .group = group, .count = count});
  return op;
}

bool Client::connect() {
  if (connected_ != 0) {
    Machine& m = world_.machine(connected_);
    if (m.turns() && m.life == connected_life_ && m.replica->leading().value != 0) return true;
    connected_ = 0;
  }
  // Anybody may be asked; a hint is only a hint.
  const auto asked = static_cast<uint8_t>(1 + random_.below(world_.size()));
  Machine& m = world_.machine(asked);
  if (!m.turns()) return false;
  const uint8_t hint = m.replica->status().leader.value;
  reconnect(hint != 0 && random_.permille(900) ? hint : asked);
  return connected_ != 0 && world_.machine(connected_).turns();
}

void Client::reconnect(uint8_t to) {
  connected_ = to;
  connected_life_ = to == 0 ? 0 : world_.machine(to).life;
  sent_ = 0;
}

void Client::send() {
  while (sent_ < unanswered_.size()) {
    Op& op = unanswered_[sent_];
    if (settled(op) && op.group == 0) {
      ++sent_;
      continue;
    }
    const bool claimed = op.claim;
    const Code code = op.group != 0 ? send_batch(sent_) : send_one(op);
    if (code != Code::ok) last_refusal_ = code;
    switch (code) {
      case Code::ok:
        sent_ += op.group != 0 ? op.count : 1;
        forget_answered();
        break;
      case Code::aged_out:
        // Too old to be told apart: it was appended, for its successors were.
        op.answered = true;
        ++sent_;
        forget_answered();
        break;
      case Code::again: return;
      case Code::stale_stream:
        // A session of ours took effect, and nobody told us: begin the next one.
        return open_session();
      case Code::broken_stream:
        // What came before was acknowledged, and is lost.
        if (options_.forgetful && !claimed && told_.sequence + 1 >= op.id.sequence &&
            settled_before(op)) {
          return open_session();
        }
        return reconnect(0);
      case Code::identity_reused:
        world_.breach("R30", "an honest retry is taken for a reused identity: " + describe());
        return;
      default: return reconnect(0);
    }
  }
}

Code Client::submit(const Op& op, std::string_view payload, bool batch_end) {
  replication::Submission s;
  s.identity = {op.id.client, static_cast<uint32_t>(op.id.incarnation), op.id.sequence};
  s.payload = std::as_bytes(std::span(payload.data(), payload.size()));
  s.level = op.level;
  s.batch_end = batch_end;
  return world_.submit(
      connected_, s, [this, id = op.id, level = op.level](const auto& r) { answer(id, r, level); });
}

Code Client::send_one(Op& op) {
  op.sent_ns = world_.now();
  return op.claim ? send_claimed(op) : submit(op, op.payload, true);
}

Code Client::send_batch(size_t at) {
  const Op& first = unanswered_[at];
  Machine& m = world_.machine(connected_);
  uint64_t bytes = 0;
  for (size_t i = at; i < at + first.count; ++i) bytes += unanswered_[i].payload.size();
  Code code = Code::closed;
  if (!world_.inside(m, [&] {
        code = m.replica->reserve(first.id.client, static_cast<uint32_t>(first.count), bytes);
      })) {
    return Code::closed;
  }
  if (code == Code::too_large) {
    // Each alone is legal, together they are not: what was never submitted may be asked for
    // otherwise.
    sequence_ = first.id.sequence - 1;
    unanswered_.erase(unanswered_.begin() + static_cast<std::ptrdiff_t>(at), unanswered_.end());
    return Code::again;
  }
  for (size_t i = at; code == Code::ok && i < at + first.count; ++i) {
    Op& op = unanswered_[i];
    op.sent_ns = world_.now();
    code = submit(op, op.payload, i + 1 == at + first.count);
    if (code == Code::aged_out) {
      op.answered = true;
      code = Code::ok;
    }
    if (code == Code::again) world_.breach("R9", "a reserved batch is refused for want of room");
  }
  return code;
}

Code Client::send_claimed(Op& op) {
  Machine& m = world_.machine(connected_);
  const uint8_t id = connected_;
  Code code = Code::again;
  replication::Claim claim;
  const bool lived = world_.inside(m, [&] {
    auto lent = m.replica->claim(static_cast<uint32_t>(op.payload.size()), world_.local_now(m));
    code = lent.has_value() ? Code::ok : lent.error().code;
    if (lent.has_value()) claim = *lent;
  });
  if (!lived) return Code::closed;
  if (code != Code::ok) return code;
  const auto bytes = std::as_bytes(std::span(op.payload));
  const bool slow = random_.permille(options_.late_store_permille);
  if (!bytes.empty()) {
    world_.fabric().application_store(m.id, claim.payload,
                                      bytes.first(bytes.size() / (slow ? 2 : 1)));
  }
  if (slow) {
    // It dawdles; by the time it stores the rest the claim may be gone. It never submits.
    op.claim = false;
    late_store(id, claim.payload, bytes.size());
    world_.after(random_.below(kMs), [this, id, claim, life = m.life] {
      Machine& then = world_.machine(id);
      if (!then.turns() || then.life != life) return;
      world_.inside(then, [&] { then.replica->abandon_claim(claim); });
    });
    return Code::again;
  }
  replication::Submission s;
  s.identity = {op.id.client, static_cast<uint32_t>(op.id.incarnation), op.id.sequence};
  s.payload = bytes;
  s.level = op.level;
  s.tag = world_.new_tag(
      [this, op_id = op.id, level = op.level](const auto& r) { answer(op_id, r, level); });
  if (!world_.inside(m, [&] { code = m.replica->submit_claim(claim, s); })) return Code::closed;
  if (code == Code::broken_stream) op.claim = false;  // a retry; claims are for what is new
  return code == Code::fenced ? Code::not_leader : code;
}

void Client::late_store(uint8_t id, const std::byte* address, size_t bytes) {
  world_.after(random_.below(3 * kMs), [this, id, address, bytes, life = world_.machine(id).life] {
    Machine& m = world_.machine(id);
    if (!m.up() || m.life != life) return;
    const std::vector<std::byte> garbage(bytes, std::byte{0xee});
    world_.fabric().application_store(m.id, address, garbage);
  });
}

Client::Op* Client::find(const Id& id) {
  for (Op& op : unanswered_) {
    if (op.id == id) return &op;
  }
  return nullptr;
}

void Client::answer(const Id& id, const replication::Resolution& r, Durability level) {
  Op* const op = find(id);
  switch (r.code) {
    case Code::ok:
      if (random_.permille(options_.lost_answer_permille)) return;  // nobody heard it
      // Word of a stream that it has left behind: what is missing of it was told then.
      if (level < Durability::persisted && (id.incarnation != incarnation_ || opening_)) return;
      if (id.incarnation == incarnation_ && id.sequence > told_.sequence) told_ = id;
      world_.record({.what = What::ack,
                     .position = r.position.value,
                     .term = r.term.value,
                     .id = id,
                     .level = static_cast<uint64_t>(level)});
      if (op == nullptr || op->answered) return;
      op->answered = true;
      ++answered_;
      if (op->group == 0) ask_again(*op);
      forget_answered();
      return;
    case Code::not_appended:
      ++refused_;
      world_.record({.what = What::refuse, .term = r.term.value, .id = id});
      if (op != nullptr && !op->answered) reconnect(connected_);
      return;
    case Code::indefinite:
      // Some wait for the verdict, some ask the next leader at once.
      if (random_.permille(500)) reconnect(0);
      return;
    default: reconnect(0);
  }
}

// An answer at a weak level is no end: until the entry is committed it may have to be asked for
// again.
bool Client::settled(const Op& op) const {
  return op.answered &&
         (options_.forgetful || op.level >= Durability::persisted || world_.exposed(op.id));
}

// Nothing below it waits for an answer.
bool Client::settled_before(const Op& op) const {
  return std::all_of(unanswered_.begin(), unanswered_.end(), [&](const Op& other) {
    return other.id.sequence >= op.id.sequence || settled(other);
  });
}

// From the front, batches as a whole: a retry repeats all of a batch.
void Client::forget_answered() {
  while (!unanswered_.empty()) {
    const auto count = static_cast<std::ptrdiff_t>(unanswered_.front().count);
    if (!std::all_of(unanswered_.begin(), unanswered_.begin() + count,
                     [this](const Op& op) { return settled(op); })) {
      return;
    }
    unanswered_.erase(unanswered_.begin(), unanswered_.begin() + count);
    sent_ -= std::min<size_t>(sent_, static_cast<size_t>(count));
  }
}

void Client::ask_again(const Op& op) {
  if (random_.permille(options_.again_permille)) repeat(op, random_.between(1, 10));
}

void Client::repeat(const Op& op, uint64_t times) {
  world_.after(random_.below(3 * kMs), [this, op, times] {
    if (retired_) return;
    if (times > 1) repeat(op, times - 1);
    const uint8_t id = world_.leader();
    if (id == 0) return;
    bool reuse = !op.payload.empty() && random_.permille(options_.reused_permille);
    // What is lost may be appended again, and nobody remembers with which bytes.
    if (op.level < Durability::persisted && !world_.exposed(op.id)) reuse = false;
    std::string payload = op.payload;
    if (reuse) payload[0] = static_cast<char>(payload[0] + 1);
    replication::Submission s;
    s.identity = {op.id.client, static_cast<uint32_t>(op.id.incarnation), op.id.sequence};
    s.payload = std::as_bytes(std::span(payload));
    const Code code = world_.submit(id, s, [this, op_id = op.id](const auto& r) {
      if (r.code == Code::ok) answer(op_id, r, Durability::persisted);
    });
    if (reuse && code == Code::ok) world_.breach("R30", "an identity with other bytes is taken");
    if (!reuse && code == Code::identity_reused) {
      world_.breach("R30", "an honest retry is taken for a reused identity, sequence " +
                               std::to_string(op.id.sequence) + " of incarnation " +
                               std::to_string(op.id.incarnation) + "; " + describe());
    }
  });
}

void Client::open_session() {
  const bool resume = random_.permille(500);
  const uint8_t id = connected_;
  Machine& m = world_.machine(id);
  const uint64_t turn = ++opening_turn_;
  const uint64_t tag = world_.new_tag([this, id, resume, turn](const replication::Resolution& r) {
    if (turn != opening_turn_ || !opening_) return;
    if (r.code == Code::ok) {
      session_opened(id, resume, r.position);
    } else if (r.code != Code::indefinite) {
      opening_ = false;
    }
  });
  Code code = Code::closed;
  const replication::StreamOpening opening{
      options_.client, resume, static_cast<uint32_t>(told_.incarnation), told_.sequence};
  if (!world_.inside(m, [&] { code = m.replica->open_stream(opening, tag); })) return;
  if (code != Code::ok) return;
  opening_ = true;
  opening_since_ns_ = world_.now();
}

// What the old incarnation still has in flight is a stranger's from now on.
void Client::session_opened(uint8_t id, bool resume, Position session) {
  opening_ = false;
  Machine& m = world_.machine(id);
  if (!m.up()) return;
  const replication::OpenedStream opened = m.replica->opened_stream(options_.client, session);
  incarnation_ = opened.incarnation;
  told_ = {};
  world_.record({.what = What::attach, .id = {options_.client, incarnation_, 0}});
  if (stopped_) attach_due_ = false;
  hear_apologies(id, opened.apologies);
  std::deque<Op> old = std::move(unanswered_);
  unanswered_.clear();
  sent_ = 0;
  sequence_ = opened.last_sequence;
  for (const Op& op : old) {
    if (op.group == 0 && random_.permille(200)) repeat(op, 2);
  }
  if (!resume) return;
  // What did not get in is asked for again, under the new incarnation.
  const auto missing = static_cast<size_t>(std::count_if(
      old.begin(), old.end(), [&](const Op& op) { return op.id.sequence > opened.last_sequence; }));
  for (size_t i = 0; i < missing; ++i) unanswered_.push_back(make_one(0, 1, 0));
}

// Told again and again until it says that it has heard; which it sometimes forgets.
void Client::hear_apologies(uint8_t id, const std::vector<Apology>& apologies) {
  if (apologies.empty()) return;
  for (const Apology& each : apologies) {
    world_.record({.what = What::apology,
                   .position = each.noted.value,
                   .id = {options_.client, each.incarnation, each.first_sequence},
                   .count = each.last_sequence - each.first_sequence + 1});
  }
  if (random_.permille(300)) return;
  const Position through = apologies.back().noted;
  const uint64_t tag = world_.new_tag([this, through](const replication::Resolution& r) {
    if (r.code != Code::ok) return;
    world_.record({.what = What::taken, .position = through.value, .id = {options_.client, 0, 0}});
  });
  Machine& m = world_.machine(id);
  (void)world_.inside(m, [&] { (void)m.replica->take_apologies(options_.client, through, tag); });
}

}  // namespace caisson::simtest
