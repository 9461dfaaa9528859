// SPDX-License-Identifier: BSD-3-Clause
// One client of a node. Frames come in on the links thread; everything else happens on the
// server's. What a client can make the node remember is bounded: unread frames by kInboxBytesMax,
// then it is no longer read from; outstanding appends by its lanes; unsent answers by
// kOutboxBytesMax, then no more are made.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/engine/client_protocol.hpp"
#include "core/engine/engine_impl.hpp"
#include "core/engine/lane.hpp"
#include "core/engine/links.hpp"

namespace caisson::engine {

// Wakes the server's thread. Outlives the server: a link may ring it last.
class ServerBell {
 public:
  void ring() {
    const std::lock_guard lock(mutex_);
    rung_ = true;
    condition_.notify_one();
  }
  // Until it is rung, or the time is up (0: for ever).
  void wait(std::chrono::nanoseconds at_most) {
    std::unique_lock lock(mutex_);
    const auto rung = [this] { return rung_; };
    if (at_most.count() == 0) {
      condition_.wait(lock, rung);
    } else {
      condition_.wait_for(lock, at_most, rung);
    }
    rung_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool rung_ = false;  // guarded by mutex_
};

class ServerSession final : public ClientHandler {
 public:
  ServerSession(EngineImpl& engine, std::shared_ptr<ServerBell> bell, std::string client,
                std::shared_ptr<ClientChannel> channel);

  // ---- Links thread ----
  void on_frame(std::string frame) override;
  void on_closed(const Error& why) override;

  // ---- Server thread ----
  bool turn();           // true: something was done
  bool waiting() const;  // for something that wakes nobody
  bool over() const { return over_; }
  void end();  // hangs up

 private:
  static constexpr size_t kInboxBytesMax = size_t{4} << 20;
  static constexpr size_t kOutboxBytesMax = size_t{4} << 20;
  static constexpr uint32_t kLaneEntries = 4096;
  static constexpr size_t kRequestsMax = 1024;  // reads, waits and openings under way
  static constexpr size_t kOutcomesPerReply = 4096;
  static constexpr uint64_t kReaderTtlNs = 10'000'000'000;
  static constexpr uint32_t kIndexBits = 17;  // of an entry in its Append
  static_assert(client::kBatchEntriesMax < (1u << kIndexBits));

  struct Feed {
    LogImpl* log = nullptr;
    std::shared_ptr<Lane> lane;
  };
  struct PendingAppend {
    uint64_t request = 0;
    uint64_t log = 0;
    EntryIdentity first;
    uint32_t entries = 0;
    uint32_t unsettled = 0;  // completions still to come
    bool atomic = false;
    std::vector<bool> told;  // as indefinite: what follows is not told any more
    std::vector<client::AppendOutcome> ready;
  };
  struct Arriving {  // an Append that its lane has not taken whole
    uint64_t serial = 0;
    Feed* feed = nullptr;
    client::Append append;
    uint64_t deadline_ns = kNever;
    size_t next = 0;
  };
  struct Opening {
    uint64_t request = 0;
    client::OpenStream asked;
    bool taking = false;  // apologies, no more
    LogImpl* log = nullptr;
    struct Outcome {
      std::atomic<bool> done{false};
      Code code = Code::again;
      replication::OpenedStream opened;
    };
    std::shared_ptr<Outcome> outcome;
  };
  struct TailWait {  // a tail that has to be made sure of
    uint64_t request = 0;
    LogImpl* log = nullptr;
    struct Outcome {
      std::atomic<bool> done{false};
      replication::ReadPoint point;
    };
    std::shared_ptr<Outcome> outcome;
  };
  // A client's reader keeps what it has yet to read for as long as it takes what it is given.
  struct SeatReturner {
    ReaderHolds* holds;
    void operator()(ReaderHolds::Seat* seat) const { holds->give_back(*seat); }
  };
  struct Reading {
    std::unique_ptr<ReaderHolds::Seat, SeatReturner> seat;
    uint64_t request = 0;
    LogImpl* log = nullptr;
    client::Read asked;
    Position next;
    uint64_t deadline_ns = kNever;
    log::Cursor before;
    bool found = false;
    bool sent = false;
    bool done = false;
  };
  struct Wait {
    uint64_t request = 0;
    LogImpl* log = nullptr;
    Position position;
    uint64_t deadline_ns = kNever;
  };

  // node_server_session.cpp
  bool take_frames();
  std::optional<std::string> next_frame();
  void handle(std::string_view frame);
  void handle(uint64_t id, const client::OpenLog& request);
  void handle(uint64_t id, const client::OpenStream& request);
  void handle(uint64_t id, const client::TakeApologies& request);
  void ask_stream(uint64_t id, const client::OpenStream& request, Position taken_through,
                  LogImpl& log);
  void handle(uint64_t id, client::Append& request);
  void handle(uint64_t id, const client::Read& request);
  void handle(uint64_t id, const client::Trim& request);
  void handle(uint64_t id, const client::WaitFor& request);
  void handle(uint64_t id, const client::Tail& request);
  void handle(uint64_t id, const client::ChangeMembers& request);
  void handle(uint64_t id, const client::HandOver& request);
  void handle(uint64_t id, const client::OrphansOf& request);
  void handle(uint64_t id, const client::DiscardOrphans& request);
  void answer_done(uint64_t id, const LogImpl& log, uint64_t log_id, Code code);
  void handle(uint64_t id, const client::Status& request);
  void handle(uint64_t id, const client::Cancel& request);
  LogImpl* find_log(uint64_t request, uint64_t log_id);
  bool crowded(uint64_t request);
  client::LeaderHint hint_of(const LogImpl& log) const;
  void reply(uint64_t id, client::ReplyBody body);
  void fail_request(uint64_t id, Code code, std::string message, client::LeaderHint hint = {});
  bool congested() const { return channel_->queued_bytes() > kOutboxBytesMax; }
  bool check_openings();
  bool check_waits();

  // node_server_appends.cpp
  Feed* feed_of(LogImpl& log);
  bool admissible(uint64_t id, const client::Append& request, const LogImpl& log);
  bool push_arriving();
  bool push_batch(Arriving& arriving);
  LaneRecord record_of(const Arriving& arriving, size_t index) const;
  bool collect(Feed& feed);
  void settle(const LaneCompletion& completion, LogImpl& log);
  void answer_appends(const LogImpl& log);

  // node_server_reads.cpp
  void make_sure(uint64_t id, const client::Tail& request, LogImpl& log);
  bool check_tails();
  bool advance(Reading& reading);
  Code gather(Reading& reading, client::Entries& entries);

  EngineImpl& engine_;
  const std::shared_ptr<ServerBell> bell_;
  const std::string client_;  // its name, as readers are called by
  const std::shared_ptr<ClientChannel> channel_;

  std::mutex mutex_;
  std::deque<std::string> inbox_;  // guarded by mutex_
  size_t inbox_bytes_ = 0;         // guarded by mutex_
  bool paused_ = false;            // guarded by mutex_
  std::atomic<bool> hung_up_{false};

  // The server thread's.
  bool over_ = false;
  bool deaf_ = false;  // sent us something that is no request
  std::vector<std::unique_ptr<Feed>> feeds_;
  std::unordered_map<uint64_t, PendingAppend> appends_;  // by serial
  std::vector<uint64_t> touched_;                        // serials with outcomes to send
  uint64_t serial_ = 0;
  std::optional<Arriving> arriving_;
  std::vector<Opening> openings_;
  std::vector<Reading> readings_;
  std::vector<Wait> waits_;
  std::vector<TailWait> tails_;
};

}  // namespace caisson::engine
