// SPDX-License-Identifier: BSD-3-Clause
// One connection of the command line to one node, and the finding of the node that leads.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/engine/client_connection.hpp"
#include "core/engine/client_protocol.hpp"
#include "tools/cluster.hpp"

namespace caisson::tools {

namespace protocol = engine::client;
using Clock = std::chrono::steady_clock;

class NodeLink {
 public:
  static Result<std::unique_ptr<NodeLink>> connect(const Cluster& cluster, ReplicaId id,
                                                   std::chrono::milliseconds timeout);
  ReplicaId node() const { return id_; }

  // Queues a request; its replies carry the id returned. 0: the connection is gone.
  uint64_t send(protocol::RequestBody&& body);
  size_t queued_bytes() const { return connection_->queued_bytes(); }
  // The next reply to anything. timed_out · closed · invalid.
  Result<protocol::Reply> receive(std::chrono::microseconds timeout);

  // One request, and its one reply; replies to others are dropped. Failed comes back as an Error.
  template <class Answer>
  Result<Answer> call(protocol::RequestBody body, std::chrono::milliseconds timeout) {
    auto reply = call_any(std::move(body), timeout);
    if (!reply) return tl::unexpected(reply.error());
    if (auto* answer = std::get_if<Answer>(&reply->body)) return std::move(*answer);
    return fail(Code::internal, who() + " gave another answer than was asked for");
  }

  // Names a log of the node; opened once.
  Result<protocol::LogOpened> open_log(const std::string& name, std::chrono::milliseconds timeout);
  // The log as last opened; 0: not yet.
  uint64_t log() const { return log_; }
  std::string who() const { return "replica " + std::to_string(id_.value); }
  // What the last Failed said about the leader.
  const protocol::LeaderHint& hint() const { return hint_; }

 private:
  NodeLink(ReplicaId id, std::unique_ptr<engine::ClientConnection> connection)
      : id_(id), connection_(std::move(connection)) {}
  Result<protocol::Reply> call_any(protocol::RequestBody body, std::chrono::milliseconds timeout);

  ReplicaId id_;
  std::unique_ptr<engine::ClientConnection> connection_;
  uint64_t next_id_ = 1;
  uint64_t log_ = 0;
  protocol::LeaderHint hint_;
};

// That the files that this program shows the nodes are there, readable and whole. denied,
// not_found, invalid.
Result<void> check_client_files(const Cluster& cluster);

// The links to all nodes of a cluster; made when needed, kept until they break.
class NodeLinks {
 public:
  NodeLinks(const Cluster& cluster, std::string log_name);

  // A link to the node that leads and serves, with the log opened. no_quorum: not found before the
  // deadline; the message says what each node answered. denied, not_found, invalid, wrong_cluster:
  // at once, if every node is refused or refuses so.
  Result<NodeLink*> leader(Clock::time_point deadline);
  // Where to look first.
  void suggest(ReplicaId id) { suggested_ = id; }
  Result<NodeLink*> node(ReplicaId id, std::chrono::milliseconds timeout);
  void drop(ReplicaId id);
  // Connects to every node that answers.
  void warm_up();

  // True if some other node knows of a leader with a higher term than `term`, and suggests it.
  bool superseded(ReplicaId leader, Term term);

 private:
  struct Slot {
    ReplicaId id;
    std::unique_ptr<NodeLink> link;
    std::string problem;
    std::optional<Error> refusal;  // the last error, if it will not pass
  };
  Slot* slot(ReplicaId id);
  Slot* next_to_ask(ReplicaSet asked);
  NodeLink* try_leader(Slot& slot);
  Error unreachable() const;
  bool refused_by_all() const;

  const Cluster& cluster_;
  const std::string log_name_;
  std::vector<Slot> slots_;
  ReplicaId suggested_;
};

}  // namespace caisson::tools
