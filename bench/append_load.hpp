// SPDX-License-Identifier: BSD-3-Clause
// The load of `caisson bench append`: appends from the leader's own thread, and trims as it goes,
// so that the ring is lapped again and again.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "bench/samples.hpp"
#include "caisson/caisson.hpp"

namespace caisson::bench {

struct LoadOptions {
  uint64_t payload_bytes = 64;
  uint32_t inflight = 1;
  uint32_t batch = 1;  // entries of one atomic append; at most inflight
  Durability durability = Durability::persisted;
  uint64_t ring_bytes = 0;
};

class Load {
 public:
  Load(const LoadOptions& options, Engine& engine, Log& log, std::unique_ptr<Appender> appender);

  // Appends for about this long; latencies go to `samples`, unless null. Everything is resolved on
  // return.
  Result<void> run_for(uint64_t slice_ns, Samples* samples);
  // Exactly `count` appends.
  Result<void> run_count(uint64_t count, Samples* samples);

  uint64_t appended() const { return acknowledged_; }
  uint64_t ticks_spent() const { return ticks_spent_; }
  uint64_t stalls() const { return stalls_; }
  Position last() const { return last_; }
  Term term() const { return term_; }
  uint64_t entry_bytes() const { return entry_bytes_; }

 private:
  static constexpr uint64_t kSampled = 16;  // pipelined: one append in so many is timed
  static constexpr size_t kTagsMax = 1u << 16;

  template <class More>
  Result<void> run(More more, Samples* samples);
  template <class More>
  Result<void> run_synchronous(More more, Samples* samples);
  template <class More>
  Result<void> run_pipelined(More more, Samples* samples);
  Result<void> drain(Samples* samples);
  Code take_completions(Samples* samples);
  void await_room();
  bool trim_behind(uint64_t kept_bytes);
  Result<void> trim_if_due();
  std::span<const std::byte> next_payload();
  Code submit_batch();
  Error failure(Code code) const;

  const LoadOptions options_;
  const uint64_t entry_bytes_;
  const uint64_t trim_every_;  // appends
  Engine& engine_;
  Log& log_;
  std::unique_ptr<Appender> appender_;
  AppendOptions append_options_;
  std::vector<std::byte> payload_;
  std::vector<std::span<const std::byte>> batch_;  // pieces of payload_
  std::vector<uint64_t> submitted_at_;             // by tag, of those that are timed
  std::array<Completion, 256> completions_{};
  uint64_t submitted_ = 0;
  uint64_t acknowledged_ = 0;
  uint64_t trim_at_ = 0;
  Position trimmed_;
  uint64_t ticks_spent_ = 0;
  uint64_t stalls_ = 0;
  Position last_;
  Term term_;
};

}  // namespace caisson::bench
