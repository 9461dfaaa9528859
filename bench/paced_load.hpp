// SPDX-License-Identifier: BSD-3-Clause
// A steady load of small appends with one outstanding, from the leader's own thread. Each is due
// when the one before it is acknowledged, or, with a rate, at its time: then what delays the
// engine's turn counts as latency whether or not an append was under way just then.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/samples.hpp"
#include "caisson/caisson.hpp"

namespace caisson::bench {

struct PacedOptions {
  uint64_t payload_bytes = 64;
  uint64_t appends_per_s = 0;  // 0: as fast as they are acknowledged
  uint64_t ring_bytes = 0;
};

class PacedLoad {
 public:
  PacedLoad(const PacedOptions& options, Engine& engine, Log& log,
            std::unique_ptr<Appender> appender);

  // Appends, as fast as it goes, until so much of the ring is held; trims what is more.
  Result<void> fill(uint64_t held_bytes);
  // Steady appends until `done()`, which is asked every `ask_every_ns`. Latencies, each from when
  // the append was due to its acknowledgement, go to `samples`; its longest one is returned.
  // timed_out: not done within `patience_ns`. Trims nothing unless `trims`.
  Result<uint64_t> run_until(const std::function<bool()>& done, uint64_t patience_ns,
                             Samples* samples, bool trims);
  Result<uint64_t> run_for(uint64_t span_ns, Samples* samples, bool trims);

  uint64_t held_bytes() const;  // of the ring, by entries of this load
  uint64_t appended() const { return appended_; }

 private:
  Result<void> append_one();
  void trim_behind();  // down to what fill() was asked to keep
  std::string held_by();

  static constexpr uint64_t kAskEveryNs = 50'000;

  const PacedOptions options_;
  const uint64_t entry_bytes_;
  Engine& engine_;
  Log& log_;
  std::unique_ptr<Appender> appender_;
  std::vector<std::byte> payload_;
  uint64_t appended_ = 0;
  uint64_t trim_at_ = 0;  // appends
  Position last_;
  Position trimmed_;
  uint64_t kept_bytes_ = 0;
};

}  // namespace caisson::bench
