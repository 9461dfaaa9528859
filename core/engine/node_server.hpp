// SPDX-License-Identifier: BSD-3-Clause
// What a node runs beside its engine: clients come over the links, their appends travel to the
// pollers through lanes like any application's, and the answers go back as they become ready. One
// thread of its own; pollers are never waited for by a lock, and never wake anybody.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "caisson/caisson.hpp"
#include "core/engine/engine_impl.hpp"
#include "core/engine/links.hpp"

namespace caisson::engine {

class ServerBell;
class ServerSession;

class NodeServer final : public ClientAcceptor {
 public:
  // Serves until its end, which must come before the engine closes. unsupported: an inline engine
  // is driven by its application's thread, and serves nobody else.
  static Result<std::unique_ptr<NodeServer>> start(Engine& engine);
  ~NodeServer() override;
  NodeServer(const NodeServer&) = delete;
  NodeServer& operator=(const NodeServer&) = delete;

  std::shared_ptr<ClientHandler> on_client(const std::string& name,
                                           std::shared_ptr<ClientChannel> channel) override;

 private:
  explicit NodeServer(EngineImpl& engine);
  void run();
  void rest(uint64_t idle_ns, bool waiting);

  EngineImpl& engine_;
  const std::shared_ptr<ServerBell> bell_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<ServerSession>> arrived_;  // guarded by mutex_
  std::atomic<bool> stop_{false};
  std::vector<std::shared_ptr<ServerSession>> sessions_;  // the server thread's
  std::thread thread_;
};

}  // namespace caisson::engine
