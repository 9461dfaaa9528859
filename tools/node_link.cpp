// SPDX-License-Identifier: BSD-3-Clause
#include "tools/node_link.hpp"

#include <algorithm>
#include <thread>

#include "core/engine/link_tls.hpp"

namespace caisson::tools {

namespace {

using std::chrono::milliseconds;

// A node that neither answers nor hangs up (stopped, or its host is gone) must not hold up the
// search.
constexpr milliseconds kProbeTimeout{300};
constexpr milliseconds kSearchPause{1};

bool lasting(Code code) {
  return code == Code::denied || code == Code::not_found || code == Code::wrong_cluster ||
         code == Code::invalid;
}

}  // namespace

Result<void> check_client_files(const Cluster& cluster) {
  const auto context = engine::make_tls_context(cluster.client_tls());
  if (!context) return tl::unexpected(context.error());
  return {};
}

Result<std::unique_ptr<NodeLink>> NodeLink::connect(const Cluster& cluster, ReplicaId id,
                                                    milliseconds timeout) {
  const auto replica = cluster.replica(id);
  if (!replica) return tl::unexpected(replica.error());
  engine::ClientConnectionOptions options;
  options.host = (*replica)->host;
  options.port = (*replica)->port;
  options.cluster = cluster.uuid;
  options.expected_node = id;
  options.tls = cluster.client_tls();
  options.timeout = timeout;
  auto connection = engine::ClientConnection::connect(options);
  if (!connection) return tl::unexpected(connection.error());
  return std::unique_ptr<NodeLink>(new NodeLink(id, std::move(*connection)));
}

uint64_t NodeLink::send(protocol::RequestBody&& body) {
  const uint64_t id = next_id_++;
  const Code code = connection_->send(protocol::encode(protocol::Request{id, std::move(body)}));
  return code == Code::ok ? id : 0;
}

Result<protocol::Reply> NodeLink::receive(std::chrono::microseconds timeout) {
  const auto frame = connection_->receive(timeout);
  if (!frame) return tl::unexpected(frame.error());
  return protocol::decode_reply(std::as_bytes(std::span(frame->data(), frame->size())));
}

Result<protocol::Reply> NodeLink::call_any(protocol::RequestBody body, milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  const uint64_t id = send(std::move(body));
  if (id == 0) return fail(Code::closed, who() + " hung up");
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::microseconds>(deadline - Clock::now());
    if (left.count() <= 0) return fail(Code::timed_out, who() + " does not answer");
    auto reply = receive(left);
    if (!reply && reply.error().code == Code::timed_out) {
      return fail(Code::timed_out, who() + " does not answer");
    }
    if (!reply && reply.error().code == Code::again) continue;
    if (!reply) return reply;
    if (reply->id != id) continue;
    if (const auto* failed = std::get_if<protocol::Failed>(&reply->body)) {
      hint_ = failed->hint;
      return fail(failed->code, who() + ": " + failed->message);
    }
    return reply;
  }
}

Result<protocol::LogOpened> NodeLink::open_log(const std::string& name, milliseconds timeout) {
  auto opened = call<protocol::LogOpened>(protocol::OpenLog{name}, timeout);
  if (opened) log_ = opened->log;
  return opened;
}

NodeLinks::NodeLinks(const Cluster& cluster, std::string log_name)
    : cluster_(cluster), log_name_(std::move(log_name)) {
  for (const ClusterReplica& replica : cluster.replicas)
    slots_.push_back({replica.id, nullptr, "", std::nullopt});
}

NodeLinks::Slot* NodeLinks::slot(ReplicaId id) {
  const auto found = std::find_if(slots_.begin(), slots_.end(),
                                  [id](const Slot& candidate) { return candidate.id == id; });
  return found == slots_.end() ? nullptr : &*found;
}

Result<NodeLink*> NodeLinks::node(ReplicaId id, milliseconds timeout) {
  Slot* const place = slot(id);
  if (place == nullptr) return tl::unexpected(cluster_.replica(id).error());
  if (!place->link) {
    auto link = NodeLink::connect(cluster_, id, timeout);
    if (!link) {
      place->problem = link.error().message;
      return tl::unexpected(link.error());
    }
    place->link = std::move(*link);
    if (const auto opened = place->link->open_log(log_name_, timeout); !opened) {
      place->problem = opened.error().message;
      place->link.reset();
      return tl::unexpected(opened.error());
    }
  }
  place->problem.clear();
  return place->link.get();
}

void NodeLinks::drop(ReplicaId id) {
  if (Slot* const place = slot(id)) place->link.reset();
}

void NodeLinks::warm_up() {
  for (const Slot& place : slots_) (void)node(place.id, kProbeTimeout);
}

// The link, if this node says that it leads; otherwise remembers whom it names.
NodeLink* NodeLinks::try_leader(Slot& place) {
  place.refusal.reset();
  const auto link = node(place.id, kProbeTimeout);
  if (!link) {
    if (lasting(link.error().code)) place.refusal = link.error();
    return nullptr;
  }
  const auto opened = (*link)->open_log(log_name_, kProbeTimeout);
  if (!opened) {
    place.problem = opened.error().message;
    place.link.reset();
    return nullptr;
  }
  if (opened->leader == place.id) return *link;
  place.problem = opened->leader.value == 0
                      ? "replica " + std::to_string(place.id.value) + " knows no leader"
                      : "replica " + std::to_string(place.id.value) + " follows replica " +
                            std::to_string(opened->leader.value);
  if (opened->leader.value != 0) suggested_ = opened->leader;
  return nullptr;
}

Error NodeLinks::unreachable() const {
  std::string text = "log '" + log_name_ + "' has no leader that can be reached";
  for (const Slot& place : slots_) {
    if (!place.problem.empty()) text += "\n  " + place.problem;
  }
  return Error{Code::no_quorum, text};
}

// Whom the last one named is asked next, and nobody twice in a round: those who have been dismissed
// name leaders of the past, and would send us round and round.
NodeLinks::Slot* NodeLinks::next_to_ask(ReplicaSet asked) {
  if (Slot* const named = slot(suggested_); named != nullptr && !asked.has(named->id)) return named;
  const auto found = std::find_if(slots_.begin(), slots_.end(),
                                  [asked](const Slot& place) { return !asked.has(place.id); });
  return found == slots_.end() ? nullptr : &*found;
}

Result<NodeLink*> NodeLinks::leader(Clock::time_point deadline) {
  for (;;) {
    ReplicaSet asked;
    while (Slot* const place = next_to_ask(asked)) {
      asked.add(place->id);
      if (NodeLink* const link = try_leader(*place)) return link;
    }
    if (refused_by_all()) return tl::unexpected(*slots_.front().refusal);
    if (Clock::now() >= deadline) return tl::unexpected(unreachable());
    std::this_thread::sleep_for(kSearchPause);
  }
}

// One alone may be a stranger who has taken a dead node's port.
bool NodeLinks::refused_by_all() const {
  return std::all_of(slots_.begin(), slots_.end(),
                     [](const Slot& place) { return place.refusal.has_value(); });
}

bool NodeLinks::superseded(ReplicaId leader, Term term) {
  for (Slot& place : slots_) {
    if (place.id == leader) continue;
    const auto link = node(place.id, kProbeTimeout);
    if (!link) continue;
    const auto opened = (*link)->open_log(log_name_, kProbeTimeout);
    if (!opened) {
      place.link.reset();
      continue;
    }
    if (opened->leader.value == 0 || opened->leader == leader || opened->term <= term) continue;
    suggested_ = opened->leader;
    return true;
  }
  return false;
}

}  // namespace caisson::tools
