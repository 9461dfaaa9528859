// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/leader.hpp"

#include <algorithm>
#include <cstring>

namespace caisson::replication {

Leader::Leader(Context& context, Follower& books, Mender& mender)
    : c_(context),
      books_(books),
      mender_(mender),
      queue_(context.options.outstanding_max),
      records_(context.options.outstanding_max),
      headroom_bytes_(kHeadroomBytes + checkpoint_bytes_max()) {}

// ---- Sealing ----

inline log::EntryHeader Leader::next_header(log::Kind kind, size_t payload_bytes,
                                            bool batch_end) const {
  const log::Cursor& tail = c_.state.tail();
  const uint64_t position = tail.position.value + 1;
  const uint64_t lag = position - c_.state.committed().value;
  log::EntryHeader header{};
  header.position = position;
  header.term = term_.value;
  header.offset_line = log::offset_line(tail.end);
  header.payload_bytes = static_cast<uint32_t>(payload_bytes);
  header.kind = static_cast<uint8_t>(kind);
  header.flags = batch_end ? log::kFlagBatchEnd : uint8_t{0};
  header.format = log::kEntryFormat;
  header.view = view_;
  header.commit_lag =
      lag < log::kCommitLagUnknown ? static_cast<uint32_t>(lag) : log::kCommitLagUnknown;
  return header;
}

inline void Leader::join(const log::EntryHeader& header, uint32_t payload_crc) {
  const Offset end = c_.state.tail().end + log::entry_bytes(header.payload_bytes);
  c_.state.extend(header, {Position{header.position}, end, term_, header.chain}, payload_crc);
}

inline void Leader::seal(log::EntryHeader& header, std::span<const std::byte> payload) {
  if (payload.size() > kStagedPayloadMax) [[unlikely]]
    return seal_large(header, payload);
  const uint64_t bytes = log::entry_bytes(payload.size());
  std::byte* const at = staging_ + staged_;
  std::byte* const body = at + log::kHeaderBytes;
  if (payload.size() % kCacheLineBytes != 0) {
    std::memset(at + bytes - kCacheLineBytes, 0, kCacheLineBytes);
  }
  const uint32_t crc = log::copy_crc32c(log::kCrcSeed, body, payload.data(), payload.size());
  log::store_words(at, log::sealed_words(header, c_.state.tail().chain, crc));
  staged_ += bytes;
  // LogState reads the payload of what is not data from the ring. And an append that nothing waits
  // for goes out at once: the books are kept while its stores drain.
  if (staged_ >= kFanBytes || header.kind != static_cast<uint8_t>(log::Kind::data) ||
      (queue_.waiting() == 0 && (header.flags & log::kFlagBatchEnd) != 0)) {
    fan_staging();
  }
  join(header, crc);
}

void Leader::seal_large(log::EntryHeader header, std::span<const std::byte> payload) {
  fan_staging();
  finish(header, stream_out(c_.state.tail().end + log::kHeaderBytes, payload));
}

void Leader::finish(log::EntryHeader& header, uint32_t payload_crc) {
  const log::Cursor& tail = c_.state.tail();
  log::seal_header(header, tail.chain, payload_crc);
  // Above fanned_end_ bytes travel in any order; the header closes the range.
  c_.endpoint.fan_out(in_sync_, tail.end, &header, sizeof header);
  fanned_end_ = tail.end + log::entry_bytes(header.payload_bytes);
  ++posts_;
  join(header, payload_crc);
}

// ---- Terms ----

void Leader::begin(Term term, uint64_t nonce, uint64_t now_ns) {
  active_ = true;
  term_ = term;
  nonce_ = nonce;
  staged_ = 0;
  fanned_end_ = handed_end_ = own_placed_ = own_persisted_ = c_.state.tail().end;
  limit_ = room_end_ = fanned_end_;
  standby_now_ns_ = now_ns;
  milestones_.begin();
  in_sync_ = {};
  peers_ = {};
  followers_ = departed_ = {};
  births_ = {};
  heir_ = last_heir_ = ReplicaId{};
  follow_view();
  // They have just been sent the candidate's Seal.
  for (Peer& peer : peers_) peer.retry_ns = now_ns + c_.options.retry_ns;
  books_.set_leading(true);
  record_head_ = record_tail_ = record_replicated_ = 0;
  committed_cursor_ = {};
  replicated_ = c_.state.committed();
  marks_ = {};
  claim_open_ = false;
  trim_to_ = c_.state.trimmed();
  trim_wish_ = Position{0};
  told_committed_ = told_trim_ = Position{0};
  told_ = {};
  posted_ns_ = alive_ns_ = now_ns;
  tend_ns_ = tended_ns_ = 0;
  mend_ns_ = 0;
  rotten_ = false;
  catch_up_allowance_ = 0;
  allowed_ns_ = now_ns;
  allowed_end_ = fanned_end_;
  trim_holder_ = ReplicaId{};
}

Code Leader::start() {
  const log::TermStartPayload payload{c_.random.next(), c_.state.tail().position.value,
                                      c_.state.tail().term.value, view_, 0};
  return append_own(log::Kind::term_start, std::as_bytes(std::span(&payload, 1)));
}

Code Leader::append_own(log::Kind kind, std::span<const std::span<const std::byte>> parts) {
  // What lies behind the tail is lent, or the next entry of a batch belongs there.
  if (claim_open_ || c_.state.tail() != c_.state.batch_tail()) return Code::again;
  uint64_t bytes = 0;
  for (const auto part : parts) bytes += log::entry_bytes(part.size());
  if (!room_for(c_.state.tail().end + bytes, 0)) return Code::again;
  for (size_t i = 0; i < parts.size(); ++i) {
    log::EntryHeader header = next_header(kind, parts[i].size(), i + 1 == parts.size());
    seal(header, parts[i]);
  }
  flush();
  return Code::ok;
}

void Leader::step_down() {
  if (!active_) return;
  active_ = false;
  for_each(followers_, [&](ReplicaId id) { c_.endpoint.detach(id); });
  in_sync_ = {};
  c_.endpoint.revoke_claims();
  claim_open_ = false;
  fan_staging();
  c_.endpoint.complete_through({}, true, fanned_end_);
  books_.set_leading(false);
  queue_.step_down(term_, marks_);
  if (rotten_) (void)books_.confess();
}

// ---- Placing ----

uint32_t Leader::stream_out(Offset at, std::span<const std::byte> payload) {
  uint32_t crc = log::kCrcSeed;
  while (payload.size() >= kCacheLineBytes) {
    const size_t whole = payload.size() / kCacheLineBytes * kCacheLineBytes;
    const size_t n = std::min(whole, kChunkBytes);
    crc = log::crc32c(crc, payload.data(), n);
    c_.endpoint.fan_out(in_sync_, at, payload.data(), n);
    payload = payload.subspan(n);
    at = at + n;
  }
  if (!payload.empty()) {
    alignas(kCacheLineBytes) std::byte line[kCacheLineBytes] = {};
    std::memcpy(line, payload.data(), payload.size());
    crc = log::crc32c(crc, line, payload.size());
    c_.endpoint.fan_out(in_sync_, at, line, sizeof line);
  }
  return crc;
}

void Leader::fan_staging() {
  if (staged_ == 0) return;
  c_.endpoint.fan_out(in_sync_, fanned_end_, staging_, staged_);
  fanned_end_ = fanned_end_ + staged_;
  staged_ = 0;
  ++posts_;
}

void Leader::flush() {
  fan_staging();
  if (fanned_end_ == handed_end_ || c_.state.tail() != c_.state.batch_tail()) return;
  if (record_tail_ - record_head_ == records_.size()) return;
  c_.endpoint.complete_through(in_sync_, true, fanned_end_);
  handed_end_ = fanned_end_;
  for_each(in_sync_, [&](ReplicaId id) { peers_[id.value].posted = fanned_end_; });
  const log::Cursor& tail = c_.state.tail();
  record(record_tail_++) = {tail.end, tail.position, tail.chain};
}

// ---- Admission ----

Offset Leader::room_of(const Peer& peer) const {
  const Offset by_head = peer.head + c_.state.ring().bytes();
  const Offset by_validation = peer.validated_end + c_.options.unvalidated_bytes_max;
  return std::min(by_head, by_validation);
}

void Leader::refresh_limit() {
  room_end_ = c_.state.window_end();
  for_each(in_sync_, [&](ReplicaId id) {
    Peer& peer = peers_[id.value];
    (void)read_cell(id, peer);
    room_end_ = std::min(room_end_, room_of(peer));
  });
  limit_ = room_end_;
  if (standbys_.empty()) return;
  const Offset end = standby_end();
  if (end < limit_ && limit_ - end > headroom_bytes_) limit_ = end + headroom_bytes_;
}

bool Leader::room_for(Offset end, uint64_t headroom) {
  if (end + headroom <= room_end_) return true;
  refresh_limit();
  return end + headroom <= room_end_;
}

// Whether appends of clients may go on to `end`.
Code Leader::admit_end(Offset end, uint32_t entries) {
  if (end + headroom_bytes_ <= limit_) return Code::ok;
  refresh_limit();
  return end + headroom_bytes_ <= room_end_ ? ask_standbys(end, entries) : Code::again;
}

Code Leader::admit(uint64_t payload_bytes, uint32_t entries) {
  if (!serving()) return Code::not_leader;
  if (payload_bytes > c_.options.entry_bytes_max) return Code::too_large;
  if (claim_open_ || heir_.value != 0 || queue_.waiting() + entries > c_.options.outstanding_max)
    return Code::again;
  const Offset end = c_.state.tail().end + log::entry_bytes(payload_bytes);
  return admit_end(end, entries);
}

Code Leader::repeat(const Submission& s) {
  // One change of incarnation at a time: the table can take back only the last one. And what a
  // session that may yet be lost says of its stream refuses nobody, and answers nobody.
  if (c_.state.streams().session_position(s.identity.client) > c_.state.committed()) {
    return Code::again;
  }
  const uint32_t crc = log::crc32c(log::kCrcSeed, s.payload.data(), s.payload.size());
  const auto verdict = c_.state.streams().judge(s.identity, crc, c_.state.tail().position);
  if (verdict.code != Code::exists || !s.resolves) return verdict.code;
  // P20: never appended again; it waits for the fate of the entry that is there.
  const bool reached = verdict.position <= c_.state.committed() || s.level == Durability::volatile_;
  if (reached && s.level != Durability::all) {
    queue_.push_ready({s.tag, Code::ok, verdict.position, c_.state.term_at(verdict.position)});
  } else {
    const auto cursor = c_.state.cursor_at(verdict.position);
    const Offset end = cursor.has_value() ? cursor->end : c_.state.tail().end;
    queue_.push_duplicate(s.level, s.tag, verdict.position, end);
  }
  return Code::exists;
}

Code Leader::submit(const Submission& s) {
  if (const Code code = admit(s.payload.size(), 1); code != Code::ok) {
    // What is in the log already is no append that a standby could miss.
    const bool known = code == Code::held && s.identity.client != 0 && repeat(s) == Code::exists;
    return known ? Code::ok : code;
  }
  if (s.view.value != 0 && s.view.value != view_) return Code::wrong_view;
  if (s.identity.client != 0 && !c_.state.streams().is_next(s.identity)) {
    const Code code = repeat(s);
    if (code == Code::exists) return Code::ok;
    if (code != Code::ok) return code;
  }
  // What could not be rolled back is not appended: a lost suffix must leave every stream as it was.
  // For a batch, reserve() has asked.
  if (s.batch_end && c_.state.tail() == c_.state.batch_tail() &&
      c_.state.streams().window_full(s.identity.client, c_.state.committed(), 1)) {
    return Code::again;
  }
  log::EntryHeader header = next_header(log::Kind::data, s.payload.size(), s.batch_end);
  header.client = s.identity.client;
  header.sequence = s.identity.sequence;
  header.incarnation = s.identity.incarnation;
  seal(header, s.payload);
  if (s.resolves) enqueue(s);
  return Code::ok;
}

// What has just been appended, to be resolved at its level.
inline void Leader::enqueue(const Submission& s) {
  const log::Cursor& tail = c_.state.tail();
  if (s.level == Durability::volatile_) [[unlikely]] {
    queue_.push_ready({s.tag, Code::ok, tail.position, term_});
  } else {
    queue_.push(s.level, s.tag, tail.position, tail.end);
  }
}

Code Leader::reserve(uint64_t client, uint32_t count, uint64_t payload_bytes) {
  // Every entry may need a line of padding and its header.
  const uint64_t bytes =
      payload_bytes + uint64_t{count} * (log::kHeaderBytes + log::kEntryAlignBytes);
  if (bytes > c_.state.ring().bytes() / 4 ||
      count > std::min(batch_max(), c_.options.outstanding_max)) {
    return Code::too_large;
  }
  if (const Code code = admit(0, count); code != Code::ok) return code;
  const log::StreamTable& streams = c_.state.streams();
  if (streams.window_full(client, c_.state.committed(), count) ||
      streams.session_position(client) > c_.state.committed()) {
    return Code::again;
  }
  return admit_end(c_.state.tail().end + bytes, count);
}

Code Leader::open_stream(const StreamOpening& opening, uint64_t tag) {
  const auto [client, resume, told_incarnation, told_sequence] = opening;
  if (const Code code = admit(sizeof(log::SessionPayload), 1); code != Code::ok) return code;
  log::StreamTable& streams = c_.state.streams();
  const auto now = streams.find(client);
  // Nobody has come that far; the next one could not be counted.
  if (client == 0 || told_incarnation > kIncarnationMax) return Code::invalid;
  if (now.incarnation == 0 && streams.full()) {
    // Somebody is forgotten: those who have been silent longest, if all of theirs is committed.
    if (!c_.state.checkpoint_pending() && write_checkpoint() == Code::too_large) {
      return Code::too_large;
    }
    return Code::again;
  }
  // What an unknown client has appended may have been forgotten: it cannot go on from there.
  if (now.incarnation == 0 && resume && streams.floor() != 0) return Code::aged_out;
  // One change at a time: the table can take back only the last one.
  if (streams.session_position(client) > c_.state.committed()) return Code::again;
  log::SessionPayload payload{};
  payload.previous_last_sequence = now.last_sequence;
  payload.previous_incarnation = now.incarnation;
  payload.resume = resume ? 1 : 0;
  if (const Code code = streams.missing(client, told_incarnation, told_sequence, payload);
      code != Code::ok) {
    return code;
  }
  log::EntryHeader header = next_header(log::Kind::session, sizeof payload, true);
  const uint32_t before = now.incarnation == 0 ? streams.floor() : now.incarnation;
  header.incarnation = std::max(before, told_incarnation) + 1;
  header.sequence = resume ? now.last_sequence : 0;
  append_for(client, header, std::as_bytes(std::span(&payload, 1)), tag);
  return Code::ok;
}

Code Leader::take_apologies(uint64_t client, Position through, uint64_t tag) {
  if (const Code code = admit(sizeof(log::ReceiptPayload), 1); code != Code::ok) return code;
  if (client == 0) return Code::invalid;
  const log::ReceiptPayload payload{through.value};
  const log::EntryHeader header = next_header(log::Kind::receipt, sizeof payload, true);
  append_for(client, header, std::as_bytes(std::span(&payload, 1)), tag);
  return Code::ok;
}

// An entry of the engine's own that a client asked for.
void Leader::append_for(uint64_t client, log::EntryHeader header,
                        std::span<const std::byte> payload, uint64_t tag) {
  header.client = client;
  seal(header, payload);
  queue_.push(Durability::persisted, tag, c_.state.tail().position, c_.state.tail().end);
}

// ---- Claims ----

Result<Claim> Leader::claim(uint32_t payload_bytes, uint64_t now_ns) {
  if (const Code code = admit(payload_bytes, 1); code != Code::ok) {
    return fail(code, std::string("claim: ") + std::string(caisson::name(code)));
  }
  fan_staging();
  const Offset at = c_.state.tail().end + log::kHeaderBytes;
  claim_.payload = c_.endpoint.claim(at, log::padded(payload_bytes));
  if (claim_.payload == nullptr) return fail(Code::io, "claim: no mapping of the ring to lend");
  claim_.payload_bytes = payload_bytes;
  ++claim_.number;
  claim_open_ = true;
  claim_deadline_ns_ = now_ns + c_.options.claim_timeout_ns;
  return claim_;
}

Code Leader::submit_claim(const Claim& claim, const Submission& s) {
  if (!active_ || !claim_open_ || claim.number != claim_.number) return Code::fenced;
  if (s.payload.size() > claim_.payload_bytes) return Code::too_large;
  if (c_.state.streams().window_full(s.identity.client, c_.state.committed(), 1)) {
    return Code::again;
  }
  // It may have grown late while the claim was open.
  const Offset claimed_end = c_.state.tail().end + log::entry_bytes(s.payload.size());
  if (const Code code = ask_standbys(claimed_end, 1); code != Code::ok) return code;
  claim_open_ = false;
  const bool other_view = s.view.value != 0 && s.view.value != view_;
  if (other_view || (s.identity.client != 0 && !c_.state.streams().is_next(s.identity))) {
    c_.endpoint.revoke_claims();
    return other_view ? Code::wrong_view : Code::broken_stream;
  }
  const log::Cursor& tail = c_.state.tail();
  const Offset at = tail.end + log::kHeaderBytes;
  const uint64_t bytes = s.payload.size();
  const uint64_t padding = log::padded(bytes) - bytes;
  if (padding > 0) {
    constexpr std::array<std::byte, kCacheLineBytes> kZero{};
    c_.region.store_ring(at + bytes, kZero.data(), padding);
  }
  const uint32_t crc = log::crc32c(log::kCrcSeed, c_.state.ring().at(at), bytes);
  if (bytes > 0) c_.endpoint.fan_out_own(in_sync_, at, log::padded(bytes));
  log::EntryHeader header = next_header(log::Kind::data, bytes, s.batch_end);
  header.client = s.identity.client;
  header.sequence = s.identity.sequence;
  header.incarnation = s.identity.incarnation;
  finish(header, crc);
  enqueue(s);
  return Code::ok;
}

void Leader::abandon_claim(const Claim& claim) {
  if (!claim_open_ || claim.number != claim_.number) return;
  // Whoever kept the address may still store there; the next entry will lie in the same bytes.
  c_.endpoint.revoke_claims();
  claim_open_ = false;
}

bool Leader::expire_claim(uint64_t now_ns) {
  if (!claim_open_ || now_ns < claim_deadline_ns_) return false;
  abandon_claim(claim_);
  return true;
}

// ---- Counting ----

Offset Leader::reached_by(ReplicaSet set, uint32_t count, Offset Peer::*mark, Offset own) const {
  // The count-th highest mark of the set, by insertion: there are few.
  uint64_t highest[kReplicaIdMax + 1];  // not cleared: only what is kept is read
  uint32_t kept = 0;
  if (set.has(c_.options.self)) highest[kept++] = own.value;
  set.remove(c_.options.self);
  for_each(set, [&](ReplicaId id) {
    const uint64_t value = (peers_[id.value].*mark).value;
    uint32_t i = kept++;
    for (; i > 0 && highest[i - 1] < value; --i) highest[i] = highest[i - 1];
    highest[i] = value;
  });
  return Offset{kept >= count ? highest[count - 1] : 0};
}

// In a joint view both parts have to agree.
Offset Leader::reached_by_quorum(Offset Peer::*mark, Offset own) const {
  const Offset reached = reached_by(voters_, commit_voters_, mark, own);
  if (outgoing_.empty()) [[likely]]
    return reached;
  return std::min(reached, reached_by(outgoing_, commit_outgoing_, mark, own));
}

uint32_t Leader::reap(uint64_t now_ns) {
  const size_t count = c_.endpoint.poll(completions_);
  for (size_t i = 0; i < count; ++i) {
    const transport::Completion& done = completions_[i];
    if (done.target == c_.options.self) {
      // Some of it may lie in a page that only stands in for a lost one (R44).
      if (c_.region.poisoned()) continue;
      own_placed_ = std::max(own_placed_, std::min(done.placed_through, handed_end_));
      own_persisted_ = std::max(own_persisted_, std::min(done.persisted_through, handed_end_));
      continue;
    }
    Peer& peer = peers_[done.target.value];
    if (peer.phase != Phase::attached) continue;
    if (done.code != Code::ok) {
      unseal(done.target, peer, now_ns);
      continue;
    }
    peer.placed = std::max(peer.placed, done.placed_through);
    peer.persisted = std::max(peer.persisted, done.persisted_through);
  }
  if (count > 0) advance();
  return static_cast<uint32_t>(count);
}

void Leader::advance() {
  const Offset persisted = reached_by_quorum(&Peer::persisted, own_persisted_);
  const Offset placed = reached_by_quorum(&Peer::placed, own_placed_);
  const uint64_t head = record_head_;
  while (record_head_ != record_tail_ && record(record_head_).end <= persisted) {
    ++record_head_;
  }
  if (record_head_ != head) {
    // The first record of a term ends behind its term start: nothing older is ever counted alone
    // (H6).
    const Record& last = record(record_head_ - 1);
    committed_cursor_ = {last.position, last.end, term_, last.chain};
    c_.state.commit(last.position, last.end);
    marks_.committed = last.position;
  }
  record_replicated_ = std::max(record_replicated_, record_head_);
  while (record_replicated_ != record_tail_ && record(record_replicated_).end <= placed) {
    ++record_replicated_;
  }
  if (record_replicated_ > 0) {
    replicated_ = std::max(replicated_, record(record_replicated_ - 1).position);
  }
  marks_.replicated_end = placed;
  marks_.own_end = own_persisted_;
  const ReplicaSet all = voters_ | outgoing_;
  marks_.all_end =
      reached_by(all, static_cast<uint32_t>(all.count()), &Peer::persisted, own_persisted_);
}

uint32_t Leader::tell_commit(uint64_t now_ns) {
  if (posts_ != posts_seen_) {
    posts_seen_ = posts_;
    posted_ns_ = now_ns;
  }
  // A follower may have no room for the term start before it has trimmed.
  if (committed_cursor_.position.value == 0 && trim_to_.value == 0) return 0;
  transport::ReplicaSet listeners;
  for_each(followers_, [&](ReplicaId id) {
    if (peers_[id.value].phase == Phase::attached) listeners.add(id);
  });
  if (told_committed_ == committed_cursor_.position && told_trim_ == trim_to_ &&
      (listeners.bits & ~told_.bits) == 0) {
    return 0;
  }
  // While appends flow, their headers carry the mark.
  if (now_ns - posted_ns_ < c_.options.commit_idle_ns && told_trim_ == trim_to_) return 0;
  c_.endpoint.write_commit_cell(
      listeners, {term_, committed_cursor_.position, committed_cursor_.chain, trim_to_});
  told_committed_ = committed_cursor_.position;
  told_trim_ = trim_to_;
  told_ = listeners;
  return 1;
}

uint32_t Leader::poll(uint64_t now_ns) {
  flush();
  const Position before = c_.state.committed();
  uint32_t work = reap(now_ns);
  if (c_.state.committed() != before) {
    ++work;
    alive_ns_ = now_ns;
  }
  if (!standbys_.empty()) [[unlikely]]
    watch_standbys(now_ns);
  work += tell_commit(now_ns);
  if (expire_claim(now_ns)) ++work;
  if (unsettled_) [[unlikely]]
    work += advance_view() + retire(now_ns);
  if (trim_wish_.value != 0) [[unlikely]]
    work += trim_as_wished();
  if (heir_.value != 0) work += pass_on(now_ns);
  return work + tend(now_ns);
}

}  // namespace caisson::replication
