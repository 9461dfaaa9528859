// SPDX-License-Identifier: BSD-3-Clause
// Carries the states of applications between the nodes (R26): one thread, beside pollers and links,
// that calls the applications' hooks. There is no thread where no log has a hook.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <thread>
#include <vector>

#include "caisson/options.hpp"
#include "core/engine/log_impl.hpp"
#include "core/engine/state_ground.hpp"

namespace caisson::engine {

class StateCourier {
 public:
  using Send = std::function<void(ReplicaId to, std::string frame)>;
  using Problem = std::function<void(const Error&)>;

  // `logs` outlive it. `send` and `problem`: any thread.
  StateCourier(const EngineOptions& options, const std::vector<std::unique_ptr<LogImpl>>& logs,
               Send send, Problem problem);
  ~StateCourier();  // stops

  Result<void> start();
  // No hook is called once it returns.
  void stop();

  // A frame of the links whose first byte is 0. Any thread; does not block.
  void on_frame(ReplicaId from, std::string frame);

  nlohmann::json status(uint32_t log) const;  // any thread

 private:
  struct Post;
  struct Arrival {
    ReplicaId from;
    std::string frame;
  };

  void run();
  void serve(std::deque<Arrival> arrivals, uint64_t now_ns);
  void take(const Arrival& arrival, uint64_t now_ns);
  void answer_asked(uint64_t now_ns);
  void publish();
  uint64_t next_due_ns(uint64_t now_ns) const;

  const ReplicaId self_;
  const Send send_;
  const Problem problem_;
  const bool has_hooks_;
  StatePace pace_;
  std::vector<std::unique_ptr<Post>> posts_;  // one for each log, in their order
  std::deque<Arrival> asked_;                 // questions that wait for the pace

  std::thread thread_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Arrival> arrived_;  // guarded by mutex_
  bool stop_ = false;            // guarded by mutex_
};

}  // namespace caisson::engine
