// SPDX-License-Identifier: BSD-3-Clause
// caisson: a replicated, durable, ordered log. This is the whole C++ API.
//
// Threads. An Engine and a Log may be used from any thread. An Appender, a Subscription and a Claim
// belong to one thread at a time. With EngineOptions::inline_poller every call, Engine::poll()
// included, comes from one and the same thread.
//
// Fork. Do not fork a process that holds an open Engine, unless the child calls exec at once: the
// rings are not mapped in the child (MADV_DONTFORK), and it shares the locks: as long as it lives,
// the replica may not be opened again, even after close().
//
// Order is promised within a log only (R1). Nothing here throws; errors are values.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "caisson/appender.hpp"
#include "caisson/hold.hpp"
#include "caisson/log.hpp"
#include "caisson/members.hpp"
#include "caisson/options.hpp"
#include "caisson/orphans.hpp"
#include "caisson/state_transfer.hpp"
#include "caisson/subscription.hpp"
#include "caisson/types.hpp"

namespace caisson {

namespace engine {
class EngineImpl;
struct EngineAccess;
}  // namespace engine

class Engine {
 public:
  // Creates the regions of a new replica, all of them or none, once, with its cluster (P17).
  // exists: there is one already · amnesia: it may have run before, and must not begin anew · busy:
  // another process runs it · invalid · unsupported: the configured persistence cannot be had here
  // · denied · no_space · io.
  //
  // A spare, or Creation::joining: makes the regions that are missing, as ones that hold nothing,
  // vote in nothing, and wait to be admitted (Log::change_members). So a replica whose memory is
  // lost comes back (R43): the others first remove it, then admit it under its new birth. exists:
  // none is missing.
  enum class Creation : uint8_t { founding, joining };
  static Result<void> create(const EngineOptions& options, Creation creation = Creation::founding);

  // Opens what was created, and takes part; waits, for seconds at most, until a process that ran it
  // and was killed is gone. busy: another process runs this replica (P7) · amnesia:
  // its region is missing (P17) · invalid · not_found: the configuration file, or a file of [tls] ·
  // unsupported: the fabric or persistence asked for · denied · no_space · wrong_cluster ·
  // wrong_version · damaged · io.
  static Result<std::unique_ptr<Engine>> open(const EngineOptions& options);
  static Result<std::unique_ptr<Engine>> open(const std::string& configuration_file);
  ~Engine();  // closes
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // The log of that name; it belongs to the Engine and lives as long. not_found, naming those there
  // are · closed.
  Result<Log*> open_log(std::string_view name);

  // Inline mode: one turn of the engine; returns how much was done.
  uint32_t poll();

  // Waits until every log knows a leader. ok or timed_out.
  [[nodiscard]] Code wait_ready(uint64_t timeout_ns);

  // What runs where: cores, NUMA nodes, persistence, fabric, logs, as a JSON object (R36, P22).
  std::string status_json() const;

  // Stops serving, persists cursors, releases locks: the replica may be opened again, elsewhere
  // too. Outstanding appends complete as closed; everything else is answered `closed`. What
  // subscriptions have handed out stays mapped until the Engine's end.
  void close();

 private:
  friend struct engine::EngineAccess;
  explicit Engine(std::unique_ptr<engine::EngineImpl> impl);
  std::unique_ptr<engine::EngineImpl> impl_;
};

std::string_view version();

}  // namespace caisson