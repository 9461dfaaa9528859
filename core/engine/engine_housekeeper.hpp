// SPDX-License-Identifier: BSD-3-Clause
// Tells people what pollers and links report. The only thread of an engine that writes log lines.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "caisson/options.hpp"
#include "core/engine/engine_events.hpp"

namespace spdlog {
class logger;
}

namespace caisson::engine {

// What is wrong with a control message that is well made, and not for us.
std::string stray_message(ReplicaId from);

class Housekeeper {
 public:
  // denied, not_found, io: the log file; invalid: the log level.
  static Result<std::unique_ptr<Housekeeper>> start(const EngineOptions& options);
  ~Housekeeper();  // stops, after a last look
  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;

  // A ring stays watched until the end; it must outlive the housekeeper.
  void watch(EventRing& ring);

  // Runs `chore` now and then.
  void set_chore(std::function<void()> chore);

  // Any thread but a poller's.
  void say(bool warning, const std::string& text);
  void problem(const Error& error);

 private:
  explicit Housekeeper(const EngineOptions& options);
  void run();
  void look();
  void tell(const Event& event);
  void tell_role(const Event& event);
  void tell_stranger(const Event& event);
  std::string log_name(uint32_t index) const;

  // What was last said of a log: a replica that seeks a quorum in vain changes its role for ever.
  struct Said {
    Term term;
    ReplicaId leader;
    bool anything = false;
  };

  const std::vector<LogOptions> logs_;
  std::vector<Said> said_;  // by index of logs_; the thread's
  std::shared_ptr<spdlog::logger> logger_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<EventRing*> rings_;  // guarded by mutex_
  std::function<void()> chore_;    // guarded by mutex_
  bool stop_ = false;              // guarded by mutex_
  std::thread thread_;
};

}  // namespace caisson::engine
