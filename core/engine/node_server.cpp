// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/node_server.hpp"

#include <pthread.h>
#include <sys/prctl.h>

#include <chrono>
#include <system_error>

#include "core/engine/engine_clock.hpp"
#include "core/engine/engine_wait.hpp"
#include "core/engine/node_server_session.hpp"
#include "core/engine/scheduling.hpp"

namespace caisson::engine {

namespace {

// While something is outstanding: gives way so long, naps so long; then it rests in longer steps.
constexpr uint64_t kGiveWayNs = 100'000;
constexpr uint64_t kNapsNs = 50'000'000;
constexpr std::chrono::nanoseconds kLongRest = std::chrono::microseconds(500);

}  // namespace

NodeServer::NodeServer(EngineImpl& engine)
    : engine_(engine), bell_(std::make_shared<ServerBell>()) {}

Result<std::unique_ptr<NodeServer>> NodeServer::start(Engine& engine) {
  EngineImpl& impl = EngineAccess::of(engine);
  if (impl.options().inline_poller) {
    return fail(Code::unsupported,
                "an inline engine serves no clients: open it with pollers (inline_poller = false)");
  }
  std::unique_ptr<NodeServer> server(new NodeServer(impl));
  try {
    server->thread_ = std::thread([raw = server.get()] { raw->run(); });
  } catch (const std::system_error& error) {
    return fail(Code::io, std::string("cannot start the server thread: ") + error.what());
  }
  pthread_setname_np(server->thread_.native_handle(), "caisson-server");
  impl.set_client_acceptor(server.get());
  return server;
}

NodeServer::~NodeServer() {
  engine_.set_client_acceptor(nullptr);
  stop_.store(true, std::memory_order_release);
  bell_->ring();
  if (thread_.joinable()) thread_.join();
}

std::shared_ptr<ClientHandler> NodeServer::on_client(const std::string& name,
                                                     std::shared_ptr<ClientChannel> channel) {
  auto session =
      std::make_shared<ServerSession>(engine_, bell_, "client " + name, std::move(channel));
  {
    const std::lock_guard lock(mutex_);
    arrived_.push_back(session);
  }
  bell_->ring();
  return session;
}

void NodeServer::run() {
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  prefer_short_turns();
  uint64_t idle_since_ns = Clock::instance().now_ns();
  while (!stop_.load(std::memory_order_acquire)) {
    {
      const std::lock_guard lock(mutex_);
      for (auto& session : arrived_) sessions_.push_back(std::move(session));
      arrived_.clear();
    }
    bool worked = false;
    bool waiting = false;
    std::erase_if(sessions_, [&](const auto& session) {
      worked |= session->turn();
      waiting |= session->waiting();
      return session->over();
    });
    const uint64_t now_ns = Clock::instance().now_ns();
    if (worked) idle_since_ns = now_ns;
    if (!worked) rest(now_ns - idle_since_ns, waiting);
  }
  for (const auto& session : sessions_) session->end();
  const std::lock_guard lock(mutex_);
  for (const auto& session : arrived_) session->end();
}

// Pollers wake nobody, so what they will answer is looked for; everything else wakes this thread.
void NodeServer::rest(uint64_t idle_ns, bool waiting) {
  if (waiting && idle_ns < kGiveWayNs) return give_way();
  if (waiting && idle_ns < kNapsNs) return nap();
  bell_->wait(waiting ? kLongRest : std::chrono::nanoseconds(0));
}

}  // namespace caisson::engine
