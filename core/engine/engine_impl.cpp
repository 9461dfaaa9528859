// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/engine_impl.hpp"

#include <sys/random.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/control/batch_format.hpp"
#include "core/control/introduction_format.hpp"
#include "core/engine/engine_recovery.hpp"
#include "core/engine/engine_seam.hpp"
#include "core/engine/greeting.hpp"
#include "core/engine/verbs_ground.hpp"

namespace caisson::engine {

namespace {

// Control messages of one log that may wait for its poller; more are dropped, as a lossy link
// would: every exchange is retried by time.
constexpr uint32_t kFramesWaitingMax = 4096;

// A ring lies on one node, or it was created without regard to nodes: its front speaks for it.
constexpr uint64_t kNodeSampleBytes = 1 << 20;

// No log's number: what nodes have to tell each other beside their logs.
constexpr uint64_t kLogOfNode = 0;

uint64_t random_seed() {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = Clock::instance().now_ns();
  return seed;
}

LogIdentity identity_of(const EngineOptions& options, const LogOptions& log) {
  return {options.cluster, log.id};
}

// Their defaults are those of a round trip of a millisecond.
void set_pace(replication::ReplicaOptions& replica, uint64_t round_trip_us) {
  for (uint64_t* const patience :
       {&replica.retry_ns, &replica.election_jitter_ns, &replica.stagger_ns,
        &replica.leaderless_patience_ns, &replica.quorum_patience_ns, &replica.lag_patience_ns,
        &replica.fault_after_ns, &replica.slow_after_ns}) {
    *patience = *patience * round_trip_us / 1'000;
  }
}

// Of the ring: from the first entry held to the tail.
uint64_t used_bytes(const LogImpl& log) {
  const uint64_t tail = log.status().tail_end.value;
  log::EntryView first;
  if (log.state().read(log.state().trimmed() + 1, first) != Code::ok) return 0;
  const uint64_t begin = first.cursor.end.value - log::entry_bytes(first.payload.size());
  return tail > begin ? tail - begin : 0;
}

}  // namespace

// One log's messages, on their way. Runs on its poller.
class EngineImpl::LinkOutbox final : public control::Outbox {
 public:
  LinkOutbox(TurnMail& mail, const LogIdentity& identity, ReplicaId self)
      : mail_(mail), identity_(identity), self_(self) {}
  void send(ReplicaId to, const control::Message& message) override {
    mail_.send(to, control::encode({identity_, self_, to, message}),
               std::holds_alternative<control::Seal>(message));
  }

 private:
  TurnMail& mail_;
  const LogIdentity identity_;
  const ReplicaId self_;
};

// ---- Opening ----

EngineImpl::EngineImpl(const EngineOptions& options) : options_(completed(options)) {}

Result<std::unique_ptr<EngineImpl>> EngineImpl::open(const EngineOptions& options) {
  if (const auto checked = check(options); !checked) return tl::unexpected(checked.error());
  std::unique_ptr<EngineImpl> engine(new EngineImpl(options));
  if (const auto started = engine->start(); !started) return tl::unexpected(started.error());
  return engine;
}

Result<void> EngineImpl::start() {
  auto lock = NodeLock::take(options_.directory);
  if (!lock) {
    if (lock.error().code != Code::not_found) return tl::unexpected(lock.error());
    return fail(
        Code::amnesia,
        "the data directory " + options_.directory +
            " is missing: correct node.directory. If its cluster is new, create the replica once, "
            "with caisson node --create. If it ran and is lost, it must not be created again "
            "(P17): have it come back empty, with caisson node --create --join, and be admitted "
            "anew, with caisson member replace");
  }
  lock_ = std::move(*lock);
  auto housekeeper = Housekeeper::start(options_);
  if (!housekeeper) return tl::unexpected(housekeeper.error());
  housekeeper_ = std::move(*housekeeper);
  if (const auto made = make_pollers(); !made) return made;
  if (const auto opened = open_logs(); !opened) return opened;
  housekeeper_->set_chore([this] {
    look_after_node_();
    for (const auto& log : logs_) log->look_at_file();
  });
  make_courier();
  if (const auto linked = start_links(); !linked) return linked;
  if (const auto started = courier_->start(); !started) return started;
  for (const auto& poller : pollers_) {
    if (const auto started = poller->start(); !started) return started;
  }
  return {};
}

Result<void> EngineImpl::make_pollers() {
  auto topology = Topology::load();
  if (!topology) return tl::unexpected(topology.error());
  topology_ = std::move(*topology);
  if (options_.fabric == FabricKind::verbs) {
    const auto site = verbs_site(options_, *topology_);
    if (!site) return tl::unexpected(site.error());
    adapter_site_ = *site;
  }
  auto placement = topology_->place(options_, adapter_site_);
  if (!placement) return tl::unexpected(placement.error());
  placement_ = std::move(*placement);
  if (!placement_.warning.empty()) housekeeper_->say(true, placement_.warning);
  // A poller without a log would only hold the node's heartbeat back.
  placement_.seats.resize(std::clamp<size_t>(options_.logs.size(), 1, placement_.seats.size()));
  if (placement_.seats.size() > kPollersMax) {
    return fail(Code::invalid, std::to_string(placement_.seats.size()) +
                                   " pollers are named; at most " + std::to_string(kPollersMax) +
                                   " are possible");
  }
  auto ground = open_node_ground(
      options_, lock_,
      [keeper = housekeeper_.get()](const Error& error) { keeper->problem(error); });
  if (!ground) return tl::unexpected(ground.error());
  adapter_ = std::move(ground->adapter);
  heartbeats_ = std::move(ground->heartbeats);
  postbox_ = std::move(ground->postbox);
  express_ = std::make_unique<Express>(*postbox_);
  look_after_node_ = std::move(ground->look_after);
  const auto count = static_cast<uint32_t>(placement_.seats.size());
  for (uint32_t i = 0; i < count; ++i) {
    PollerOptions poller;
    poller.index = i;
    poller.runs_inline = options_.inline_poller;
    poller.core = placement_.seats[i].core;
    poller.idle = options_.idle;
    poller.spin_ns = options_.spin_us * 1000;
    poller.priority = options_.poller_priority;
    poller.detection = {options_.suspect_after_us * 1000, options_.link_hint_us * 1000};
    poller.peers = others_of(options_);
    pollers_.push_back(std::make_unique<Poller>(
        poller, std::make_unique<BeatGate>(*heartbeats_, beats_arrived_, i, count)));
    housekeeper_->watch(pollers_.back()->events());
    pollers_.back()->outgoing().set_carrier(
        {[this](ReplicaId to, std::string frame) { carry(to, std::move(frame)); },
         [this](ReplicaId to) {
           const Links* const links = sender_.load(std::memory_order_acquire);
           return links != nullptr && links->version(to) >= kLinkVersionBatches;
         }});
  }
  introduce(*heartbeats_, kLogOfNode, *pollers_.front());
  pollers_.front()->serve(*express_, seam().arrivals(static_cast<ExpressHandler&>(*this)));
  return {};
}

Result<LogParts> EngineImpl::open_parts(const LogOptions& log, Poller& poller) {
  auto ground = open_ground(options_, log, adapter_);
  if (!ground) return tl::unexpected(ground.error());
  LogParts parts;
  parts.region = std::move(ground->region);
  parts.endpoint = std::move(ground->endpoint);
  parts.upkeep = std::move(ground->upkeep);
  const LogIdentity identity = identity_of(options_, log);
  parts.outbox =
      seam().outbox(std::make_unique<LinkOutbox>(poller.outgoing(), identity, options_.replica));
  replication::ReplicaOptions replica;
  replica.identity = identity;
  replica.self = options_.replica;
  replica.peers = others_of(options_);
  replica.seed = random_seed();
  set_pace(replica, options_.round_trip_us);
  replica.auto_apply = log.auto_apply;
  replica.entry_bytes_max = log.entry_bytes_max;
  replica.outstanding_max = log.outstanding_max;
  replica.catch_up_bytes_per_s = log.catch_up_bytes_per_s;
  replica.scrub_bytes_per_s = log.scrub_bytes_per_s;
  replica.demotes_slow = log.slow == SlowPolicy::demote;
  replica.demote_after_ns = log.slow_patience_ms * 1'000'000;
  replica.voters_min = voters_min_of(options_, log);
  replica.standby_bounds = log.standby_lag;
  replica.standby_refuses = log.standby_policy == StandbyPolicy::error;
  auto opened =
      replication::Replica::open(replica, *parts.region, *parts.endpoint, poller.detector(),
                                 *parts.outbox, poller.look_at_clock());
  if (!opened) {
    return fail(opened.error().code,
                "log '" + log.name + "' in " + options_.directory + ": " + opened.error().message);
  }
  parts.replica = std::move(*opened);
  if (const auto bytes = parts.region->read_superblock(); bytes) {
    const auto superblock = log::decode_superblock(*bytes);
    if (superblock) parts.recovered = superblock->recovered;
  }
  const replication::ReplicaStatus status = parts.replica->status();
  const std::vector<PeerRegion> peers = peer_regions(options_, log);
  if (const auto alike = expect_quorum_as_created(options_, log, status.membership, peers);
      !alike) {
    return tl::unexpected(alike.error());
  }
  if (const auto current = expect_not_left_behind(options_, log, status, peers); !current) {
    return tl::unexpected(current.error());
  }
  return parts;
}

Result<void> EngineImpl::open_logs() {
  for (size_t i = 0; i < options_.logs.size(); ++i) {
    Poller& poller = *pollers_[i % pollers_.size()];
    auto parts = open_parts(options_.logs[i], poller);
    if (!parts) return tl::unexpected(parts.error());
    logs_.push_back(std::make_unique<LogImpl>(options_.logs[i], static_cast<uint32_t>(i),
                                              options_.replica, poller, std::move(*parts)));
    poller.add(*logs_.back());
    introduce(logs_.back()->endpoint(), options_.logs[i].id, poller);
    handles_.push_back(std::unique_ptr<Log>(new Log(logs_.back().get())));
    const PollerSeat& seat = placement_.seats[i % pollers_.size()];
    const int core_node = seat.numa_node;
    const pmem::Region& region = logs_.back()->region();
    const int memory_node = topology_->node_of(
        region.ring_data(), std::min(region.geometry().ring_bytes, kNodeSampleBytes));
    memory_nodes_.push_back(memory_node);
    if (core_node < 0 || memory_node < 0 || core_node == memory_node) continue;
    const std::string where = "log " + options_.logs[i].name + ": its ring lies on NUMA node " +
                              std::to_string(memory_node) + ", its poller's core " +
                              std::to_string(seat.core) + " is on node " +
                              std::to_string(core_node);
    // Who named cores meant something by it.
    if (!options_.poller_cores.empty() && !options_.cross_numa) {
      return fail(Code::invalid, where +
                                     ": name cores of the ring's node (poller.cores), or say "
                                     "poller.cross_numa = true");
    }
    housekeeper_->say(true, where + "; name cores of the ring's node (poller.cores)");
  }
  return {};
}

void EngineImpl::make_courier() {
  courier_ = std::make_unique<StateCourier>(
      options_, logs_,
      [this](ReplicaId to, std::string frame) {
        Links* const links = sender_.load(std::memory_order_acquire);
        if (links != nullptr) links->send(to, std::move(frame));
      },
      [this](const Error& error) { housekeeper_->problem(error); });
  for (const auto& log : logs_) {
    log->set_state_status(
        [courier = courier_.get(), index = log->index()] { return courier->status(index); });
  }
}

Result<void> EngineImpl::start_links() {
  auto links =
      Links::start(links_options(options_), seam().arrivals(static_cast<LinksHandler&>(*this)));
  if (!links) return tl::unexpected(links.error());
  links_ = std::move(*links);
  sender_.store(links_.get(), std::memory_order_release);
  return {};
}

// ---- Closing ----

EngineImpl::~EngineImpl() {
  close();
  courier_.reset();
  handles_.clear();
  logs_.clear();
}

void EngineImpl::close() {
  const std::lock_guard lock(closing_);
  if (closed_.exchange(true, std::memory_order_acq_rel)) return;
  if (courier_ != nullptr) courier_->stop();
  for (const auto& poller : pollers_) poller->stop();
  sender_.store(nullptr, std::memory_order_release);
  if (links_ != nullptr) links_->stop();
  housekeeper_.reset();
  postbox_.reset();
  heartbeats_.reset();  // peers see that this node is gone: at once, on the same machine
  bool closed = true;
  for (const auto& log : logs_) closed = log->release() && closed;
  if (closed) {
    lock_.release();
  } else {
    lock_.abandon();
  }
}

// ---- What links bring ----

LogImpl* EngineImpl::addressee(ReplicaId from, const control::Envelope& envelope) const {
  if (envelope.from != from || envelope.to != options_.replica) return nullptr;
  const auto found = std::find_if(logs_.begin(), logs_.end(), [&](const auto& log) {
    return identity_of(options_, log->options()) == envelope.log;
  });
  return found != logs_.end() ? found->get() : nullptr;
}

// By express or by the links; neither blocks.
void EngineImpl::carry(ReplicaId to, std::string frame) {
  if (express_->send(to, frame)) return;
  Links* const links = sender_.load(std::memory_order_acquire);
  if (links != nullptr) links->send(to, std::move(frame));
}

void EngineImpl::introduce(transport::Introducible& part, uint64_t log, Poller& poller) {
  auto introductions = std::make_unique<Introductions>(
      part, LogIdentity{options_.cluster, log}, options_.replica, others_of(options_),
      [this](ReplicaId to, std::string frame) {
        Links* const links = sender_.load(std::memory_order_acquire);
        if (links != nullptr) links->send(to, std::move(frame));
      });
  introduced_.push_back({poller.introduce(std::move(introductions)), poller});
}

void EngineImpl::on_express(ReplicaId from, const std::string& frame, Poller& here,
                            uint64_t now_ns) {
  const auto bytes = std::as_bytes(std::span(frame));
  if (!control::is_batch_frame(bytes)) return take_express(from, bytes, here, now_ns);
  const auto messages = control::decode_batch(bytes);
  if (!messages) return take_express(from, {}, here, now_ns);
  for (const auto message : *messages) take_express(from, message, here, now_ns);
}

void EngineImpl::take_express(ReplicaId from, std::span<const std::byte> message, Poller& here,
                              uint64_t now_ns) {
  const auto envelope = control::decode(message);
  LogImpl* const log = envelope ? addressee(from, *envelope) : nullptr;
  if (log == nullptr) {
    Event event;
    event.kind = Event::Kind::stray;
    event.replica = from;
    return here.events().put(event);
  }
  if (&log->poller() == &here) return log->on_message(from, envelope->message, now_ns);
  mail(*log, from, envelope->message);
}

void EngineImpl::mail(LogImpl& log, ReplicaId from, control::Message message) {
  if (log.messages_waiting.fetch_add(1, std::memory_order_relaxed) >= kFramesWaitingMax) {
    log.messages_waiting.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  log.poller().mailbox().post_function([&log, from, message = std::move(message)](uint64_t now_ns) {
    log.messages_waiting.fetch_sub(1, std::memory_order_relaxed);
    log.on_message(from, message, now_ns);
  });
}

void EngineImpl::on_frame(ReplicaId from, std::string frame) {
  if (control::is_state_frame(std::as_bytes(std::span(frame)))) {
    return courier_->on_frame(from, std::move(frame));
  }
  const auto bytes = std::as_bytes(std::span(frame));
  if (control::is_introduction_frame(bytes)) return take_introduction(from, frame);
  if (!control::is_batch_frame(bytes)) return take(from, bytes);
  const auto messages = control::decode_batch(bytes);
  if (!messages) return housekeeper_->problem(messages.error());
  for (const auto message : *messages) take(from, message);
}

void EngineImpl::take(ReplicaId from, std::span<const std::byte> message) {
  auto envelope = control::decode(message);
  if (!envelope) return housekeeper_->problem(envelope.error());
  LogImpl* const found = addressee(from, *envelope);
  if (found == nullptr) return housekeeper_->problem({Code::wrong_cluster, stray_message(from)});
  mail(*found, from, std::move(envelope->message));
}

void EngineImpl::take_introduction(ReplicaId from, const std::string& frame) {
  const auto said = control::decode_introduction(std::as_bytes(std::span(frame)));
  if (!said) return housekeeper_->problem(said.error());
  const auto found = std::find_if(introduced_.begin(), introduced_.end(), [&](const auto& each) {
    return each.introductions.identity() == said->log;
  });
  if (found == introduced_.end() || said->from != from || said->to != options_.replica) {
    return housekeeper_->problem({Code::wrong_cluster, stray_message(from)});
  }
  if (introductions_waiting_.fetch_add(1, std::memory_order_relaxed) >= kFramesWaitingMax) {
    introductions_waiting_.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  found->poller.mailbox().post_function(
      [this, from, &to = *found,
       bytes =
           std::vector<std::byte>(said->introduction.begin(), said->introduction.end())](uint64_t) {
        introductions_waiting_.fetch_sub(1, std::memory_order_relaxed);
        Event event;
        event.kind = Event::Kind::stranger;
        event.replica = from;
        if (!to.introductions.hear(from, bytes, event.code) || event.code == Code::ok) return;
        const auto log = std::find_if(logs_.begin(), logs_.end(), [&](const auto& each) {
          return each->options().id == to.introductions.identity().log;
        });
        event.log = log != logs_.end() ? (*log)->index() : UINT32_MAX;
        to.poller.events().put(event);
      });
}

void EngineImpl::on_link_key(ReplicaId peer, LinkHalf half, const LinkKey* key) {
  express_->set_key(peer, half, key);
}

void EngineImpl::on_link(ReplicaId peer, bool up) {
  for (const auto& poller : pollers_) poller->on_link(peer, up);
}

std::shared_ptr<ClientHandler> EngineImpl::on_client(const std::string& name,
                                                     std::shared_ptr<ClientChannel> channel) {
  const std::lock_guard lock(acceptor_mutex_);
  return acceptor_ == nullptr ? nullptr : acceptor_->on_client(name, std::move(channel));
}

void EngineImpl::set_client_acceptor(ClientAcceptor* acceptor) {
  const std::lock_guard lock(acceptor_mutex_);
  acceptor_ = acceptor;
}

// ---- The rest ----

LogImpl* EngineImpl::find_log(std::string_view name) const {
  const auto found = std::find_if(logs_.begin(), logs_.end(),
                                  [&](const auto& log) { return log->name() == name; });
  return found == logs_.end() ? nullptr : found->get();
}

Result<Log*> EngineImpl::open_log(std::string_view name) {
  if (closed()) return fail(Code::closed, "the engine is closed");
  const LogImpl* const log = find_log(name);
  if (log != nullptr) return handles_[log->index()].get();
  std::string known;
  for (const auto& each : logs_) known += (known.empty() ? "" : ", ") + each->name();
  return fail(Code::not_found,
              "there is no log '" + std::string(name) + "'; this engine has: " + known);
}

uint32_t EngineImpl::poll() {
  return options_.inline_poller && !closed() ? pollers_.front()->turn() : 0;
}

Code EngineImpl::wait_ready(uint64_t timeout_ns) {
  const uint64_t deadline_ns = Clock::instance().deadline_ns(timeout_ns);
  for (const auto& log : logs_) {
    const Code code = log->await_leader(deadline_ns);
    if (code != Code::ok) return code;
  }
  return Code::ok;
}

std::string EngineImpl::status_json() const {
  nlohmann::json pollers = nlohmann::json::array();
  for (size_t i = 0; i < pollers_.size(); ++i) {
    const Poller& poller = *pollers_[i];
    const MailCounts sent = poller.outgoing().counts();
    pollers.push_back({{"index", i},
                       {"inline", poller.runs_inline()},
                       {"core", placement_.seats[i].core},
                       {"pinned", placement_.seats[i].core >= 0},
                       {"running_on", poller.running_on()},
                       {"numa_node", placement_.seats[i].numa_node},
                       {"idle", std::string(name(options_.idle))},
                       {"priority", options_.poller_priority},
                       {"control_messages", sent.messages},
                       {"control_frames", sent.frames},
                       {"seals", sent.seals},
                       {"seal_frames", sent.seal_frames},
                       {"turns", poller.turns()},
                       {"naps", poller.naps()}});
  }
  nlohmann::json logs = nlohmann::json::array();
  for (const auto& log : logs_) {
    nlohmann::json status = nlohmann::json::parse(log->status_json());
    status["numa_node"] = memory_nodes_[log->index()];
    status["used_bytes"] = closed() ? 0 : used_bytes(*log);
    logs.push_back(std::move(status));
  }
  nlohmann::json links = nlohmann::json::object();
  for (const PeerOptions& peer : options_.peers) {
    if (peer.id == options_.replica) continue;
    links[std::to_string(peer.id.value)] = !closed() && links_->up(peer.id) ? "up" : "down";
  }
  const nlohmann::json json = {{"version", std::string(version())},
                               {"cluster", to_hex(options_.cluster)},
                               {"replica", options_.replica.value},
                               {"closed", closed()},
                               {"directory", options_.directory},
                               {"port", options_.listen_port},
                               {"tls", options_.tls.enabled},
                               {"fabric", std::string(name(options_.fabric))},
                               {"adapter", adapter_site_.name},
                               {"adapter_numa_node", adapter_site_.numa_node},
                               {"persistence", std::string(name(options_.persistence))},
                               {"clock", Clock::instance().invariant() ? "tsc" : "kernel"},
                               {"cores_allowed", placement_.cores_allowed},
                               {"numa_nodes", placement_.numa_nodes},
                               {"warning", placement_.warning},
                               {"pollers", pollers},
                               {"links", links},
                               {"express",
                                {{"sent", express_->sent()},
                                 {"received", express_->received()},
                                 {"refused", express_->refused()}}},
                               {"logs", logs}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace caisson::engine
