// SPDX-License-Identifier: BSD-3-Clause
// Control messages, and clients.
#include <array>
#include <span>
#include <string>
#include <utility>
#include <variant>

#include "core/control/batch_format.hpp"
#include "core/control/state_format.hpp"
#include "core/control/wire.hpp"
#include "core/engine/client_protocol.hpp"
#include "tests/points/board.hpp"
#include "tests/points/points_seam.hpp"

namespace caisson::points {

namespace {

using engine::ClientChannel;
using engine::ClientHandler;

// By index of control::Message.
constexpr std::array kSent{at("send.pre_seal"),   at("send.pre_seal_reply"), at("send.seal"),
                           at("send.seal_reply"), at("send.grant_request"),  at("send.grant_reply"),
                           at("send.hello"),      at("send.fenced"),         at("send.rebase"),
                           at("send.succeed"),    at("send.read_request"),   at("send.read_reply")};
constexpr std::array kReceived{
    at("received.pre_seal"),   at("received.pre_seal_reply"), at("received.seal"),
    at("received.seal_reply"), at("received.grant_request"),  at("received.grant_reply"),
    at("received.hello"),      at("received.fenced"),         at("received.rebase"),
    at("received.succeed"),    at("received.read_request"),   at("received.read_reply")};
static_assert(kSent.size() == std::variant_size_v<control::Message>);
static_assert(kReceived.size() == std::variant_size_v<control::Message>);
template <class Message>
constexpr size_t kIndexOf = control::Message(Message{}).index();
static_assert(kSent[kIndexOf<control::SealReply>] == at("send.seal_reply"));
static_assert(kSent[kIndexOf<control::Fenced>] == at("send.fenced"));
static_assert(kReceived[kIndexOf<control::ReadReply>] == at("received.read_reply"));

class PointsOutbox final : public control::Outbox {
 public:
  explicit PointsOutbox(std::unique_ptr<control::Outbox> under) : under_(std::move(under)) {}
  void send(ReplicaId to, const control::Message& message) override {
    if (!pass(kSent[message.index()])) under_->send(to, message);
  }

 private:
  std::unique_ptr<control::Outbox> under_;
};

// True: the frame is to be lost.
bool pass_message(std::span<const std::byte> bytes) {
  const auto envelope = control::decode(bytes);
  return envelope && pass(kReceived[envelope->message.index()]);
}

bool pass_frame(const std::string& frame) {
  const auto bytes = std::as_bytes(std::span(frame));
  if (control::is_state_frame(bytes)) return false;
  if (!control::is_batch_frame(bytes)) return pass_message(bytes);
  const auto messages = control::decode_batch(bytes);
  bool lost = false;
  if (messages) {
    for (const auto message : *messages) lost = pass_message(message) || lost;
  }
  return lost;
}

// ---- Clients ----

class PointsChannel final : public ClientChannel {
 public:
  explicit PointsChannel(std::shared_ptr<ClientChannel> under) : under_(std::move(under)) {}
  Code send(std::string frame) override {
    const auto reply = engine::client::decode_reply(std::as_bytes(std::span(frame)));
    const bool appended =
        reply && std::holds_alternative<engine::client::AppendResult>(reply->body);
    if (pass(appended ? at("client.reply.append") : at("client.reply.read"))) {
      under_->close();
      return Code::closed;
    }
    return under_->send(std::move(frame));
  }
  size_t queued_bytes() const override { return under_->queued_bytes(); }
  void pause_reading(bool paused) override { under_->pause_reading(paused); }
  void close() override { under_->close(); }

 private:
  const std::shared_ptr<ClientChannel> under_;
};

class PointsClient final : public ClientHandler {
 public:
  PointsClient(std::shared_ptr<ClientHandler> under, std::shared_ptr<ClientChannel> channel)
      : under_(std::move(under)), channel_(std::move(channel)) {}
  void on_frame(std::string frame) override {
    const auto request = engine::client::decode_request(std::as_bytes(std::span(frame)));
    const bool appends = request && std::holds_alternative<engine::client::Append>(request->body);
    if (pass(appends ? at("client.request.append") : at("client.request.read"))) {
      return channel_->close();
    }
    under_->on_frame(std::move(frame));
  }
  void on_drained() override { under_->on_drained(); }
  void on_closed(const Error& why) override { under_->on_closed(why); }

 private:
  const std::shared_ptr<ClientHandler> under_;
  const std::shared_ptr<ClientChannel> channel_;
};

// ---- What arrives ----

class PointsByLinks final : public engine::LinksHandler {
 public:
  explicit PointsByLinks(engine::LinksHandler& to) : to_(to) {}
  void on_frame(ReplicaId from, std::string frame) override {
    if (!pass_frame(frame)) to_.on_frame(from, std::move(frame));
  }
  void on_link(ReplicaId peer, bool up) override { to_.on_link(peer, up); }
  void on_link_key(ReplicaId peer, engine::LinkHalf half, const engine::LinkKey* key) override {
    to_.on_link_key(peer, half, key);
  }
  std::shared_ptr<ClientHandler> on_client(const std::string& name,
                                           std::shared_ptr<ClientChannel> channel) override {
    if (pass(at("client.connected"))) return nullptr;
    const auto between = std::make_shared<PointsChannel>(std::move(channel));
    auto handler = to_.on_client(name, between);
    if (handler == nullptr) return nullptr;
    return std::make_shared<PointsClient>(std::move(handler), between);
  }
  void on_problem(const Error& error) override { to_.on_problem(error); }

 private:
  engine::LinksHandler& to_;
};

class PointsByExpress final : public engine::ExpressHandler {
 public:
  explicit PointsByExpress(engine::ExpressHandler& to) : to_(to) {}
  void on_express(ReplicaId from, const std::string& frame, engine::Poller& here,
                  uint64_t now_ns) override {
    if (!pass_frame(frame)) to_.on_express(from, frame, here, now_ns);
  }

 private:
  engine::ExpressHandler& to_;
};

}  // namespace

std::unique_ptr<control::Outbox> PointsSeam::outbox(std::unique_ptr<control::Outbox> made) {
  return std::make_unique<PointsOutbox>(std::move(made));
}

engine::LinksHandler& PointsSeam::arrivals(engine::LinksHandler& to) {
  return *by_links_.emplace_back(std::make_unique<PointsByLinks>(to));
}

engine::ExpressHandler& PointsSeam::arrivals(engine::ExpressHandler& to) {
  return *by_express_.emplace_back(std::make_unique<PointsByExpress>(to));
}

}  // namespace caisson::points
