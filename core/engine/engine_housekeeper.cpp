// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/engine_housekeeper.hpp"

#include <pthread.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>

namespace caisson::engine {

namespace {
constexpr auto kPeriod = std::chrono::milliseconds(20);
}

Housekeeper::Housekeeper(const EngineOptions& options)
    : logs_(options.logs), said_(options.logs.size()) {}

Result<std::unique_ptr<Housekeeper>> Housekeeper::start(const EngineOptions& options) {
  std::unique_ptr<Housekeeper> keeper(new Housekeeper(options));
  try {
    spdlog::sink_ptr sink;
    if (options.log_file.empty()) {
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } else {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.log_file);
    }
    keeper->logger_ = std::make_shared<spdlog::logger>(
        "replica " + std::to_string(options.replica.value), std::move(sink));
  } catch (const spdlog::spdlog_ex& error) {
    return fail(Code::denied,
                std::string(error.what()) + "; correct logging.file, or its directory's rights");
  }
  const auto level =
      spdlog::level::from_str(options.log_level == "error" ? "err" : options.log_level);
  if (level == spdlog::level::off && options.log_level != "off") {
    return fail(Code::invalid, "logging.level \"" + options.log_level +
                                   "\" is unknown: use trace, debug, info, warn, error or off");
  }
  keeper->logger_->set_level(level);
  keeper->logger_->flush_on(spdlog::level::info);
  keeper->thread_ = std::thread([raw = keeper.get()] { raw->run(); });
  pthread_setname_np(keeper->thread_.native_handle(), "caisson-house");
  return keeper;
}

Housekeeper::~Housekeeper() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Housekeeper::watch(EventRing& ring) {
  const std::lock_guard lock(mutex_);
  rings_.push_back(&ring);
}

void Housekeeper::set_chore(std::function<void()> chore) {
  const std::lock_guard lock(mutex_);
  chore_ = std::move(chore);
}

void Housekeeper::say(bool warning, const std::string& text) {
  logger_->log(warning ? spdlog::level::warn : spdlog::level::info, text);
}

std::string stray_message(ReplicaId from) {
  return "a control message of replica " + std::to_string(from.value) +
         " names another sender, receiver or log; compare the configurations";
}

void Housekeeper::problem(const Error& error) {
  logger_->warn("{} ({})", error.message, caisson::name(error.code));
}

void Housekeeper::run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    wake_.wait_for(lock, kPeriod);
    look();
    if (chore_ != nullptr) chore_();
  }
}

// With mutex_ held.
void Housekeeper::look() {
  for (EventRing* const ring : rings_) {
    Event event;
    while (ring->take(event)) tell(event);
    if (const uint64_t dropped = ring->take_dropped(); dropped != 0) {
      logger_->warn("{} events of a poller were not recorded: they came too fast", dropped);
    }
  }
}

std::string Housekeeper::log_name(uint32_t index) const {
  return index < logs_.size() ? logs_[index].name : std::to_string(index);
}

// News are a change of term or leader, and what a replica is seldom; the rest is for who debugs.
void Housekeeper::tell_role(const Event& event) {
  auto level = spdlog::level::info;
  const bool seeks = event.role == replication::Role::follower ||
                     event.role == replication::Role::asking ||
                     event.role == replication::Role::sealing;
  if (event.log < said_.size()) {
    Said& said = said_[event.log];
    const bool same = said.anything && said.term == event.term && said.leader == event.replica;
    if (same && seeks) level = spdlog::level::debug;
    said = {event.term, event.replica, true};
  }
  logger_->log(level, "log {}: now {} (term {}, committed {}, evidence {})", log_name(event.log),
               replication::name(event.role), event.term.value, event.committed.value,
               control::name(event.evidence));
}

void Housekeeper::tell_stranger(const Event& event) {
  const std::string whose =
      event.log < logs_.size() ? "log " + logs_[event.log].name : std::string("heartbeats");
  const char* const cure =
      event.code == Code::invalid || event.code == Code::not_found
          ? "compare the configurations (node.fabric, ring_bytes) and the versions"
          : "look after the adapter and its network; it is tried again";
  logger_->warn("{}: replica {} cannot be reached by this node's fabric ({}): {}", whose,
                event.replica.value, caisson::name(event.code), cure);
}

void Housekeeper::tell(const Event& event) {
  const std::string log = log_name(event.log);
  switch (event.kind) {
    case Event::Kind::role: return tell_role(event);
    case Event::Kind::leader:
      if (event.replica.value == 0) {
        return logger_->info("log {}: no leader is known (term {})", log, event.term.value);
      }
      return logger_->info("log {}: replica {} leads in term {}", log, event.replica.value,
                           event.term.value);
    case Event::Kind::repair:
      return logger_->warn(
          "log {}: entries that the log goes on without were put aside (term {}): look at them "
          "with "
          "caisson salvage list, then resubmit or discard them",
          log, event.term.value);
    case Event::Kind::no_room:
      return logger_->error(
          "log {}: the salvage area is full, and this replica follows nobody until there is room: "
          "resubmit or discard what it holds (caisson salvage list), or enlarge salvage_bytes",
          log);
    case Event::Kind::fault:
      return logger_->error(
          "log {}: bytes that were persisted are damaged behind position {}; repairing", log,
          event.committed.value);
    case Event::Kind::poison:
      return logger_->error(
          "log {}: the page at byte {} of its region cannot be read any more (memory poison, or "
          "the file was cut short): this replica takes part in nothing. Move the region away, have "
          "the replica come back empty (caisson node --create --join), and be admitted anew "
          "(caisson member replace)",
          log, event.at);
    case Event::Kind::deleted:
      return logger_->error(
          "log {}: the file of its region was deleted while it is in use, and is lost with this "
          "process: this replica takes part in nothing. Have it come back empty (caisson node "
          "--create --join), and be admitted anew (caisson member replace)",
          log);
    case Event::Kind::rot:
      return logger_->error(
          "log {}: {} entries have rotted since the start; they are copied from a peer that has "
          "them: look after the memory",
          log, event.at);
    case Event::Kind::mended:
      return logger_->warn("log {}: {} rotten entries are repaired", log, event.at);
    case Event::Kind::stuck:
      return logger_->error(
          "log {}: what others may write here cannot be ended, and this replica votes for nobody "
          "until it can: look after the adapter and its network interface (caisson doctor), and "
          "after an application that keeps a claim",
          log);
    case Event::Kind::unstuck:
      return logger_->info("log {}: what others may write here is ended; it votes again", log);
    case Event::Kind::written_to:
      return logger_->info("log {}: replica {} takes our writes, after {} ms without (term {})",
                           log, event.replica.value, event.at / 1'000'000, event.term.value);
    case Event::Kind::parted:
      return logger_->warn(
          "log {}: replica {} is alive and takes no writes of ours for {} ms (term {}): look after "
          "its log, its fabric and its salvage area (caisson status)",
          log, event.replica.value, event.at / 1'000'000, event.term.value);
    case Event::Kind::suspect:
      return logger_->warn("replica {} is suspected: {}", event.replica.value,
                           control::name(event.evidence));
    case Event::Kind::recovered:
      return logger_->info("replica {} is heard again", event.replica.value);
    case Event::Kind::slow:
      return logger_->warn("log {}: replica {} is slow: what it validates lies far behind", log,
                           event.replica.value);
    case Event::Kind::keeps_pace:
      return logger_->info("log {}: replica {} keeps pace again", log, event.replica.value);
    case Event::Kind::demoted:
      return logger_->warn(
          "log {}: replica {} votes no more: it is a learner; caisson member add makes it a voter "
          "again",
          log, event.replica.value);
    case Event::Kind::closed: return logger_->info("log {}: closed", log);
    case Event::Kind::stranger: return tell_stranger(event);
    case Event::Kind::stray: return problem({Code::wrong_cluster, stray_message(event.replica)});
  }
}

}  // namespace caisson::engine
