// SPDX-License-Identifier: BSD-3-Clause
#include "bench/bench_link.hpp"

#include <asio.hpp>
#include <atomic>
#include <chrono>
#include <utility>

namespace caisson::bench {

namespace {

using asio::ip::tcp;
using nlohmann::json;

constexpr std::chrono::seconds kPatience{10};
constexpr std::chrono::milliseconds kLook{50};
constexpr size_t kLineMax = 65'536;

bool read_line(tcp::iostream& stream, std::string& line) {
  line.clear();
  char c = 0;
  while (stream.get(c) && c != '\n') {
    if (line.size() == kLineMax) return false;
    line += c;
  }
  return static_cast<bool>(stream);
}

class Listener final : public BenchListener {
 public:
  Listener(std::string secret, Answer answer)
      : secret_(std::move(secret)), answer_(std::move(answer)), acceptor_(context_) {}
  ~Listener() override {
    stop_.store(true);
    if (thread_.joinable()) thread_.join();
  }

  Result<void> start(uint16_t port) {
    asio::error_code error;
    acceptor_.open(tcp::v4(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind({tcp::v4(), port}, error);
    if (!error) acceptor_.listen(4, error);
    if (!error) acceptor_.non_blocking(true, error);
    if (error) {
      return fail(Code::io, "port " + std::to_string(port) +
                                " cannot be listened on: " + error.message() +
                                "; name another one (port, in the file of hosts)");
    }
    thread_ = std::thread([this] {
      while (!stop_.load()) turn();
    });
    return {};
  }

 private:
  void turn() {
    asio::error_code error;
    tcp::socket socket(context_);
    acceptor_.accept(socket, error);
    if (error) return std::this_thread::sleep_for(kLook);
    tcp::iostream stream(std::move(socket));
    stream.expires_after(kPatience);
    std::string line;
    if (!read_line(stream, line)) return;
    const json question = json::parse(line, nullptr, false);
    if (!question.is_object()) return;
    const auto secret = question.find("secret");
    if (secret == question.end() || *secret != secret_) return;
    json answer;
    try {
      answer = answer_(question);
    } catch (const json::exception& refused) {
      answer = {{"error", refused.what()}};
    }
    stream << answer.dump(-1, ' ', false, json::error_handler_t::replace) << '\n' << std::flush;
  }

  const std::string secret_;
  const Answer answer_;
  asio::io_context context_;
  tcp::acceptor acceptor_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace

Result<json> ask(const std::string& host, uint16_t port, json question, const std::string& secret) {
  question["secret"] = secret;
  const std::string who = host + ":" + std::to_string(port);
  tcp::iostream stream;
  stream.expires_after(kPatience);
  stream.connect(host, std::to_string(port));
  if (!stream)
    return fail(Code::again, "nobody listens at " + who + ": " + stream.error().message());
  stream << question.dump() << '\n' << std::flush;
  std::string line;
  if (!read_line(stream, line)) return fail(Code::io, who + " does not answer");
  json answer = json::parse(line, nullptr, false);
  if (!answer.is_object()) return fail(Code::io, who + " answers what is no answer");
  if (answer.contains("error")) return fail(Code::io, who + ": " + answer["error"].dump());
  return answer;
}

Result<std::unique_ptr<BenchListener>> BenchListener::start(uint16_t port, std::string secret,
                                                            Answer answer) {
  auto listener = std::make_unique<Listener>(std::move(secret), std::move(answer));
  if (const auto started = listener->start(port); !started) return tl::unexpected(started.error());
  return listener;
}

}  // namespace caisson::bench
