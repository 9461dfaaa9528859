// SPDX-License-Identifier: BSD-3-Clause
// The smallest program on the installed library: one replica, its data below a directory of its
// own, three appends, and everything read back.
//   consumer DIRECTORY [PORT]
#include <caisson/caisson.hpp>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

caisson::EngineOptions options_for(const std::string& directory, uint16_t port) {
  caisson::EngineOptions options;
  options.cluster.fill(0x42);
  options.replica = caisson::ReplicaId{1};
  options.directory = directory;
  options.listen_port = port;
  options.peers = {{options.replica, "127.0.0.1", port, directory}};
  options.tls.enabled = false;  // one process: nobody to talk to
  options.persistence = caisson::PersistenceMode::emulated;
  options.logs.resize(1);
  options.logs[0].name = "journal";
  options.logs[0].id = 1;
  options.logs[0].ring_bytes = 1 << 20;
  options.log_level = "error";
  return options;
}

int complain(const char* what, const std::string& why) {
  std::fprintf(stderr, "%s: %s\n", what, why.c_str());
  return 1;
}

int append_and_read(caisson::Log& log) {
  auto appender = log.appender();
  if (!appender) return complain("appender", appender.error().message);
  for (const std::string_view word : {"one", "two", "three"}) {
    const auto done = (*appender)->append(std::as_bytes(std::span(word)));
    if (done.code != caisson::Code::ok) return complain("append", std::string(name(done.code)));
  }

  auto entries = log.subscribe(caisson::Position{1});
  if (!entries) return complain("subscribe", entries.error().message);
  constexpr uint64_t kSecond_ns = 1'000'000'000;
  for (int count = 0; count < 3; ++count) {
    caisson::Entry entry;
    const caisson::Code code = (*entries)->next_wait(entry, kSecond_ns);
    if (code != caisson::Code::ok) return complain("read", std::string(name(code)));
    std::printf("%llu %.*s\n", static_cast<unsigned long long>(entry.position.value),
                static_cast<int>(entry.payload.size()),
                reinterpret_cast<const char*>(entry.payload.data()));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return complain("usage", "consumer DIRECTORY [PORT]");
  const auto port = static_cast<uint16_t>(argc > 2 ? std::atoi(argv[2]) : 7400);
  const caisson::EngineOptions options = options_for(argv[1], port);

  const auto created = caisson::Engine::create(options);
  if (!created) return complain("create", created.error().message);
  auto engine = caisson::Engine::open(options);
  if (!engine) return complain("open", engine.error().message);
  const caisson::Code ready = (*engine)->wait_ready(10'000'000'000);
  if (ready != caisson::Code::ok) return complain("wait_ready", std::string(name(ready)));
  const auto log = (*engine)->open_log("journal");
  if (!log) return complain("open_log", log.error().message);
  return append_and_read(**log);
}
