// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/node_server_session.hpp"

#include <algorithm>

namespace caisson::engine {

namespace {

uint64_t deadline_after_us(uint64_t timeout_us) {
  if (timeout_us > UINT64_MAX / 1000) return kNever;
  return Clock::instance().deadline_ns(timeout_us * 1000);
}

constexpr uint64_t kOpenStreamTimeoutUs = 10'000'000;

}  // namespace

ServerSession::ServerSession(EngineImpl& engine, std::shared_ptr<ServerBell> bell,
                             std::string client, std::shared_ptr<ClientChannel> channel)
    : engine_(engine),
      bell_(std::move(bell)),
      client_(std::move(client)),
      channel_(std::move(channel)) {}

// ---- Links thread ----

void ServerSession::on_frame(std::string frame) {
  bool pause = false;
  {
    const std::lock_guard lock(mutex_);
    inbox_bytes_ += frame.size();
    inbox_.push_back(std::move(frame));
    pause = !paused_ && inbox_bytes_ > kInboxBytesMax;
    paused_ |= pause;
  }
  if (pause) channel_->pause_reading(true);
  bell_->ring();
}

void ServerSession::on_closed(const Error&) {
  hung_up_.store(true, std::memory_order_release);
  bell_->ring();
}

// ---- Server thread ----

bool ServerSession::turn() {
  if (over_) return false;
  if (hung_up_.load(std::memory_order_acquire)) {
    end();
    return true;
  }
  bool worked = false;
  // Answers first: they make room.
  if (!congested()) {
    for (const auto& feed : feeds_) worked |= collect(*feed);
    worked |= check_openings();
    worked |= check_waits();
    worked |= check_tails();
    for (Reading& reading : readings_) worked |= advance(reading);
    std::erase_if(readings_, [](const Reading& reading) { return reading.done; });
  }
  worked |= push_arriving();
  worked |= take_frames();
  return worked;
}

bool ServerSession::waiting() const {
  return !over_ && (arriving_ || !appends_.empty() || !openings_.empty() || !readings_.empty() ||
                    !waits_.empty() || !tails_.empty() || congested());
}

void ServerSession::end() {
  if (over_) return;
  over_ = true;
  for (const auto& feed : feeds_) feed->log->detach(feed->lane);
  feeds_.clear();
  readings_.clear();
  channel_->close();
}

std::optional<std::string> ServerSession::next_frame() {
  bool resume = false;
  std::optional<std::string> frame;
  {
    const std::lock_guard lock(mutex_);
    if (inbox_.empty()) return std::nullopt;
    frame = std::move(inbox_.front());
    inbox_.pop_front();
    inbox_bytes_ -= frame->size();
    resume = paused_ && inbox_bytes_ < kInboxBytesMax / 4;
    if (resume) paused_ = false;
  }
  if (resume) channel_->pause_reading(false);
  return frame;
}

// An Append that waits for room in its lane holds back what the client sent after it.
bool ServerSession::take_frames() {
  bool worked = false;
  while (!arriving_ && !congested()) {
    const auto frame = next_frame();
    if (!frame) break;
    worked = true;
    if (!deaf_) handle(*frame);
  }
  return worked;
}

void ServerSession::handle(std::string_view frame) {
  auto request = client::decode_request(std::as_bytes(std::span(frame)));
  if (!request) {
    deaf_ = true;
    return fail_request(0, request.error().code, request.error().message);
  }
  std::visit([&](auto& body) { handle(request->id, body); }, request->body);
}

LogImpl* ServerSession::find_log(uint64_t request, uint64_t log_id) {
  for (const auto& log : engine_.logs()) {
    if (log->options().id == log_id) return log.get();
  }
  fail_request(
      request, Code::not_found,
      "this node has no log with the number " + std::to_string(log_id) + ": open it by name first");
  return nullptr;
}

bool ServerSession::crowded(uint64_t request) {
  if (openings_.size() + readings_.size() + waits_.size() + tails_.size() < kRequestsMax) {
    return false;
  }
  fail_request(request, Code::again,
               "too many reads and waits are under way on this connection; at most " +
                   std::to_string(kRequestsMax));
  return true;
}

client::LeaderHint ServerSession::hint_of(const LogImpl& log) const {
  const Leadership known = log.leadership();
  client::LeaderHint hint{known.leader, known.term, {}, 0};
  for (const PeerOptions& peer : engine_.options().peers) {
    if (peer.id != known.leader) continue;
    hint.host = peer.host;
    hint.port = peer.port;
  }
  return hint;
}

void ServerSession::reply(uint64_t id, client::ReplyBody body) {
  // Room was made sure of by congested(); a channel that closed meanwhile says so by on_closed().
  (void)channel_->send(client::encode(client::Reply{id, std::move(body)}));
}

void ServerSession::fail_request(uint64_t id, Code code, std::string message,
                                 client::LeaderHint hint) {
  message.resize(std::min(message.size(), client::kErrorTextBytesMax));
  reply(id, client::Failed{code, std::move(message), std::move(hint)});
}

void ServerSession::handle(uint64_t id, const client::OpenLog& request) {
  const LogImpl* const log = engine_.find_log(request.name);
  if (log == nullptr) {
    std::string known;
    for (const auto& each : engine_.logs()) known += (known.empty() ? "" : ", ") + each->name();
    return fail_request(id, Code::not_found,
                        "there is no log '" + request.name + "'; this cluster has: " + known);
  }
  const Leadership leadership = log->leadership();
  reply(id, client::LogOpened{log->options().id, log->entry_bytes_max(), kLaneEntries,
                              leadership.leader, leadership.term, log->state().committed(),
                              log->state().trimmed()});
}

void ServerSession::handle(uint64_t id, const client::OpenStream& request) {
  LogImpl* const log = find_log(id, request.log);
  if (log == nullptr || crowded(id)) return;
  ask_stream(id, request, Position{0}, *log);
}

void ServerSession::handle(uint64_t id, const client::TakeApologies& request) {
  LogImpl* const log = find_log(id, request.log);
  if (log == nullptr || crowded(id)) return;
  client::OpenStream of;
  of.log = request.log;
  of.client = request.client;
  ask_stream(id, of, request.through, *log);
}

void ServerSession::ask_stream(uint64_t id, const client::OpenStream& request,
                               Position taken_through, LogImpl& log) {
  auto outcome = std::make_shared<Opening::Outcome>();
  openings_.push_back({id, request, taken_through.value != 0, &log, outcome});
  LogImpl::Opening opening;
  opening.stream = {request.client, request.resume, request.told_incarnation,
                    request.told_sequence};
  opening.taken_through = taken_through;
  opening.deadline_ns = deadline_after_us(kOpenStreamTimeoutUs);
  opening.done = [outcome](Code code, replication::OpenedStream opened) {
    outcome->code = code;
    outcome->opened = std::move(opened);
    outcome->done.store(true, std::memory_order_release);
  };
  log.open_stream(std::move(opening));
}

bool ServerSession::check_openings() {
  return std::erase_if(openings_, [&](const Opening& opening) {
           if (!opening.outcome->done.load(std::memory_order_acquire)) return false;
           const Code code = opening.outcome->code;
           replication::OpenedStream& opened = opening.outcome->opened;
           if (opening.taking && code == Code::ok) {
             reply(opening.request, client::Done{opening.asked.log, code});
           } else if (code == Code::ok) {
             reply(opening.request,
                   client::StreamOpened{opening.asked.log, opening.asked.client, opened.incarnation,
                                        opened.last_sequence, std::move(opened.apologies)});
           } else {
             fail_request(opening.request, code,
                          "cannot open a stream on log '" + opening.log->name() +
                              "': " + std::string(caisson::name(code)),
                          hint_of(*opening.log));
           }
           return true;
         }) != 0;
}

void ServerSession::handle(uint64_t id, const client::Read& request) {
  LogImpl* const log = find_log(id, request.log);
  if (log == nullptr || crowded(id)) return;
  Reading reading;
  reading.request = id;
  reading.log = log;
  reading.asked = request;
  reading.next = request.from;
  reading.deadline_ns = deadline_after_us(request.timeout_us);
  // No more than the seats there are: a reader without one is told when it is trimmed.
  const Position before{std::max(request.from.value, uint64_t{1}) - 1};
  ReaderHolds::Seat* const seat =
      log->holds().take(before, client_, Clock::instance().now_ns() + kReaderTtlNs);
  reading.seat = {seat, {&log->holds()}};
  readings_.push_back(std::move(reading));
}

void ServerSession::handle(uint64_t id, const client::Trim& request) {
  LogImpl* const log = find_log(id, request.log);
  if (log == nullptr) return;
  TrimHolder holder;
  const Code code = log->trim(request.through, holder);
  if (code == Code::not_leader) {
    return fail_request(id, code, "only the leader trims", hint_of(*log));
  }
  reply(id, client::Trimmed{request.log, code, holder.replica, log->state().trimmed()});
}

void ServerSession::answer_done(uint64_t id, const LogImpl& log, uint64_t log_id, Code code) {
  if (code == Code::not_leader) {
    return fail_request(id, code, "only the leader can do that", hint_of(log));
  }
  reply(id, client::Done{log_id, code});
}

void ServerSession::handle(uint64_t id, const client::ChangeMembers& request) {
  LogImpl* const log = find_log(id, request.log);
  if (log == nullptr) return;
  const MemberChange change{request.add, request.learn, request.remove, request.view,
                            request.standby};
  answer_done(id, *log, request.log, log->change_members(change));
}

void ServerSession::handle(uint64_t id, const client::HandOver& request) {
  LogImpl* const log = find_log(id, request.log);
  if (log == nullptr) return;
  answer_done(id, *log, request.log, log->hand_over(request.to));
}

void ServerSession::handle(uint64_t id, const client::OrphansOf& request) {
  LogImpl* const log = find_log(id, request.log);
  if (log == nullptr) return;
  if (request.record == 0) {
    client::OrphanRecords records{request.log, {}};
    const Code code = log->orphan_records(records.all);
    if (code != Code::ok) return fail_request(id, code, "the log is closed");
    return reply(id, std::move(records));
  }
  replication::OrphanPageLimits limits;
  if (request.payloads) limits.payloads = OrphanPayloads::copied;
  replication::OrphanPage page;
  const Code code = log->orphan_page(request.record, request.from, limits, page);
  if (code != Code::ok) {
    return fail_request(id, code,
                        "record " + std::to_string(request.record) + " of log '" + log->name() +
                            "' is not here: it was resubmitted or discarded, or never was");
  }
  reply(id, client::OrphanEntries{request.log, request.record, std::move(page.entries), page.next,
                                  page.last, page.damaged});
}

void ServerSession::handle(uint64_t id, const client::DiscardOrphans& request) {
  LogImpl* const log = find_log(id, request.log);
  if (log == nullptr) return;
  answer_done(id, *log, request.log, log->discard_orphans(request.record));
}

void ServerSession::handle(uint64_t id, const client::WaitFor& request) {
  LogImpl* const log = find_log(id, request.log);
  if (log == nullptr || crowded(id)) return;
  waits_.push_back({id, log, request.position, deadline_after_us(request.timeout_us)});
}

bool ServerSession::check_waits() {
  if (waits_.empty()) return false;
  const uint64_t now_ns = Clock::instance().now_ns();
  return std::erase_if(waits_, [&](const Wait& wait) {
           const Position committed = wait.log->state().committed();
           Code code = Code::ok;
           if (committed < wait.position) {
             if (wait.log->closed()) {
               code = Code::closed;
             } else if (now_ns >= wait.deadline_ns) {
               code = Code::timed_out;
             } else {
               return false;
             }
           }
           reply(wait.request, client::Waited{wait.log->options().id, code, committed});
           return true;
         }) != 0;
}

void ServerSession::handle(uint64_t id, const client::Tail& request) {
  LogImpl* const log = find_log(id, request.log);
  if (log == nullptr) return;
  if (request.path != 0) return make_sure(id, request, *log);
  reply(id, client::TailIs{request.log, log->state().committed(), log->leadership().term, false});
}

void ServerSession::handle(uint64_t id, const client::Status&) {
  reply(id, client::StatusIs{engine_.status_json()});
}

void ServerSession::handle(uint64_t id, const client::Cancel&) {
  std::erase_if(readings_, [&](const Reading& reading) { return reading.request == id; });
  std::erase_if(waits_, [&](const Wait& wait) { return wait.request == id; });
  std::erase_if(tails_, [&](const TailWait& tail) { return tail.request == id; });
}

}  // namespace caisson::engine
