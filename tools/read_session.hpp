// SPDX-License-Identifier: BSD-3-Clause
// Reads committed entries from a cluster: from one named replica, or from whichever serves.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "caisson/reads.hpp"
#include "caisson/types.hpp"
#include "tools/history_file.hpp"
#include "tools/node_link.hpp"

namespace caisson::tools {

struct ReadSessionOptions {
  std::string log;
  ReplicaId replica;  // 0: the leader, so that everything acknowledged before is there
  Position from;      // 0: the first that is held
  Position to{UINT64_MAX};
  Position wait_for;                     // 0: do not wait
  std::optional<ReadPath> linearizable;  // everything acknowledged before the reading begins
  bool follow = false;
  HistoryFile* history = nullptr;  // gets every operation
  std::chrono::milliseconds timeout{30'000};
};

// False ends the reading.
using TakeEntry = std::function<Result<bool>(const protocol::ReadEntry&)>;
using Pause = std::function<Result<bool>()>;

class ReadSession {
 public:
  ReadSession(const Cluster& cluster, const ReadSessionOptions& options)
      : options_(options), links_(cluster, options.log) {}

  // Calls `take` for each entry in order, and `pause` whenever nothing more is there for now; both
  // end the reading by false.
  Result<void> run(const TakeEntry& take, const Pause& pause);

 private:
  Result<NodeLink*> connect();
  Result<void> begin(NodeLink& link);
  // False: the reading has ended; true: it goes on elsewhere.
  Result<bool> read_from(NodeLink& link, const TakeEntry& take, const Pause& pause);
  Result<bool> take_entries(const protocol::Entries& entries, const TakeEntry& take);
  void note_hidden(Position end);

  ReadSessionOptions options_;
  NodeLinks links_;
  bool begun_ = false;
  Position next_;
  Position limit_;
};

}  // namespace caisson::tools
