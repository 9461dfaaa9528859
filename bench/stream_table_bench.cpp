// SPDX-License-Identifier: BSD-3-Clause
// What exactly-once costs an append: judge, then apply, with one client and with many in turn.
#include <benchmark/benchmark.h>

#include <vector>

#include "core/log/stream_table.hpp"

namespace caisson::log {
namespace {

constexpr uint32_t kStreamsMax = 4096;
constexpr uint32_t kWindow = 1024;

void judge_and_apply(benchmark::State& state) {
  const auto clients = static_cast<uint64_t>(state.range(0));
  StreamTable table(kStreamsMax, kWindow);
  std::vector<uint64_t> sequences(clients, 0);
  EntryHeader header{};
  for (uint64_t client = 1; client <= clients; ++client) {
    header.client = client;
    header.incarnation = 1;
    header.position = client;
    table.apply_session(header, SessionPayload{});
  }
  uint64_t position = clients;
  uint64_t turn = 0;
  for (auto _ : state) {
    const uint64_t client = turn++ % clients;
    const EntryIdentity identity{client + 1, 1, ++sequences[client]};
    if (table.judge(identity, 7, Position{position}).code != Code::ok) {
      state.SkipWithError("refused");
      break;
    }
    header.client = identity.client;
    header.sequence = identity.sequence;
    header.position = ++position;
    table.apply(header, 7);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(judge_and_apply)->Arg(1)->Arg(16)->Arg(1024);

}  // namespace
}  // namespace caisson::log

BENCHMARK_MAIN();
