// SPDX-License-Identifier: BSD-3-Clause
// An open engine: pollers, logs and links, put together and taken apart.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caisson/caisson.hpp"
#include "core/control/wire.hpp"
#include "core/engine/engine_directory.hpp"
#include "core/engine/engine_housekeeper.hpp"
#include "core/engine/engine_parts.hpp"
#include "core/engine/links.hpp"
#include "core/engine/log_impl.hpp"
#include "core/engine/placement.hpp"
#include "core/engine/poller.hpp"
#include "core/engine/state_courier.hpp"

namespace caisson::engine {

// Who serves clients that come to the engine's port; see NodeServer.
class ClientAcceptor {
 public:
  virtual ~ClientAcceptor() = default;
  // On the links thread. Null refuses the client.
  virtual std::shared_ptr<ClientHandler> on_client(const std::string& name,
                                                   std::shared_ptr<ClientChannel> channel) = 0;
};

using Creation = Engine::Creation;

class EngineImpl final : private LinksHandler, private ExpressHandler {
 public:
  static Result<void> create(const EngineOptions& options, Creation creation);
  static Result<std::unique_ptr<EngineImpl>> open(const EngineOptions& options);
  ~EngineImpl() override;
  EngineImpl(const EngineImpl&) = delete;
  EngineImpl& operator=(const EngineImpl&) = delete;

  Result<Log*> open_log(std::string_view name);
  uint32_t poll();
  Code wait_ready(uint64_t timeout_ns);
  std::string status_json() const;
  void close();

  const EngineOptions& options() const { return options_; }
  LogImpl* find_log(std::string_view name) const;
  const std::vector<std::unique_ptr<LogImpl>>& logs() const { return logs_; }
  bool closed() const { return closed_.load(std::memory_order_acquire); }
  // Clients are refused while there is none. Returns only when the old one is no longer being
  // called.
  void set_client_acceptor(ClientAcceptor* acceptor);
  void report(const Error& error) {
    if (housekeeper_ != nullptr) housekeeper_->problem(error);
  }

 private:
  class LinkOutbox;
  explicit EngineImpl(const EngineOptions& options);
  Result<void> start();
  Result<void> make_pollers();
  Result<void> open_logs();
  void make_courier();
  Result<void> start_links();
  Result<LogParts> open_parts(const LogOptions& log, Poller& poller);

  void on_frame(ReplicaId from, std::string frame) override;
  void carry(ReplicaId to, std::string frame);
  void introduce(transport::Introducible& part, uint64_t log, Poller& poller);
  void take_introduction(ReplicaId from, const std::string& frame);
  void take(ReplicaId from, std::span<const std::byte> message);
  void take_express(ReplicaId from, std::span<const std::byte> message, Poller& here,
                    uint64_t now_ns);
  void on_express(ReplicaId from, const std::string& frame, Poller& here, uint64_t now_ns) override;
  // The log that a control message is for; null: it is none of ours, or not its sender's.
  LogImpl* addressee(ReplicaId from, const control::Envelope& envelope) const;
  void mail(LogImpl& log, ReplicaId from, control::Message message);  // to the log's poller
  void on_link(ReplicaId peer, bool up) override;
  void on_link_key(ReplicaId peer, LinkHalf half, const LinkKey* key) override;
  std::shared_ptr<ClientHandler> on_client(const std::string& name,
                                           std::shared_ptr<ClientChannel> channel) override;
  void on_problem(const Error& error) override { housekeeper_->problem(error); }

  EngineOptions options_;  // with every default filled in; constant after start()
  NodeLock lock_;
  std::unique_ptr<Housekeeper> housekeeper_;
  std::unique_ptr<Topology> topology_;
  AdapterSite adapter_site_;
  Placement placement_;
  std::unique_ptr<transport::Heartbeats> heartbeats_;
  std::unique_ptr<transport::Postbox> postbox_;
  Adapter adapter_;
  std::function<void()> look_after_node_;  // the files of these two
  std::unique_ptr<Express> express_;
  std::atomic<uint64_t> beats_arrived_{0};
  // Of a log, and who turns them. Log 0: the node's heartbeats.
  struct Introduced {
    Introductions& introductions;
    Poller& poller;
  };
  std::vector<Introduced> introduced_;  // constant after start()
  std::atomic<uint32_t> introductions_waiting_{0};
  std::vector<std::unique_ptr<Poller>> pollers_;
  std::vector<std::unique_ptr<LogImpl>> logs_;
  std::vector<std::unique_ptr<Log>> handles_;  // by index of logs_
  std::vector<int> memory_nodes_;              // NUMA nodes of their rings; -1: not known
  std::atomic<Links*> sender_{nullptr};        // what outboxes send through
  std::unique_ptr<StateCourier> courier_;
  std::unique_ptr<Links> links_;
  std::mutex acceptor_mutex_;
  ClientAcceptor* acceptor_ = nullptr;  // guarded by acceptor_mutex_
  std::mutex closing_;
  std::atomic<bool> closed_{false};
};

// For what runs beside an engine in its own process (NodeServer, tests).
struct EngineAccess {
  static EngineImpl& of(Engine& engine) { return *engine.impl_; }
};

}  // namespace caisson::engine
