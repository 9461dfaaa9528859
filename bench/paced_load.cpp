// SPDX-License-Identifier: BSD-3-Clause
#include "bench/paced_load.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "bench/ticks.hpp"
#include "core/log/entry_format.hpp"

namespace caisson::bench {

namespace {

constexpr uint64_t kStallNs = 30'000'000'000;  // an append that takes so long has failed
constexpr uint64_t kFillOutstanding = 512;
constexpr uint64_t kTrimsPerLap = 64;

}  // namespace

PacedLoad::PacedLoad(const PacedOptions& options, Engine& engine, Log& log,
                     std::unique_ptr<Appender> appender)
    : options_(options),
      entry_bytes_(log::entry_bytes(options.payload_bytes)),
      engine_(engine),
      log_(log),
      appender_(std::move(appender)),
      payload_(std::max<uint64_t>(options.payload_bytes, sizeof(uint64_t))) {}

uint64_t PacedLoad::held_bytes() const { return (last_ - trimmed_) * entry_bytes_; }

void PacedLoad::trim_behind() {
  const uint64_t kept = kept_bytes_ / entry_bytes_;
  if (last_.value <= kept || Position{last_.value - kept} <= trimmed_) return;
  const Position position{last_.value - kept};
  if (log_.trim(position) == Code::ok) trimmed_ = position;
}

Result<void> PacedLoad::fill(uint64_t held_bytes) {
  kept_bytes_ = held_bytes;
  std::array<Completion, 256> completions;
  uint64_t outstanding = 0;
  uint64_t moved_ns = monotonic_ns();
  trimmed_ = std::max(trimmed_, log_.marks().trimmed);
  last_ = std::max(last_, log_.marks().committed);
  const Position until{trimmed_.value + held_bytes / entry_bytes_};
  while (last_ < until || outstanding > 0) {
    while (outstanding < kFillOutstanding && last_ + outstanding < until &&
           appender_->append_async({payload_.data(), options_.payload_bytes}, 0) == Code::ok) {
      ++outstanding;
      ++appended_;
    }
    const size_t taken = appender_->completions(completions);
    for (size_t i = 0; i < taken; ++i) {
      if (completions[i].code != Code::ok) {
        return fail(completions[i].code, "filling the ring: an append ended with '" +
                                             std::string(name(completions[i].code)) + "'");
      }
      last_ = completions[i].position;
    }
    outstanding -= taken;
    if (taken != 0) moved_ns = monotonic_ns();
    if (monotonic_ns() - moved_ns > kStallNs) {
      return fail(Code::timed_out, "filling the ring: nothing was acknowledged for 30 s");
    }
  }
  trim_behind();
  return {};
}

// Nobody but us trims: an append that waited in the library for room would wait for ever.
Result<void> PacedLoad::append_one() {
  std::memcpy(payload_.data(), &appended_, sizeof appended_);
  const uint64_t begun_ns = monotonic_ns();
  const std::span<const std::byte> payload{payload_.data(), options_.payload_bytes};
  Code code = Code::again;
  while ((code = appender_->append_async(payload, 0)) == Code::again) {
    engine_.poll();
    trim_behind();
    if (monotonic_ns() - begun_ns > kStallNs) break;
  }
  Completion completion;
  while (code == Code::ok && appender_->completions({&completion, 1}) == 0) {
    if (monotonic_ns() - begun_ns > kStallNs) code = Code::timed_out;
  }
  if (code == Code::ok) code = completion.code;
  if (code != Code::ok) {
    return fail(code, "an append ended with '" + std::string(name(code)) + "'" + held_by());
  }
  ++appended_;
  last_ = completion.position;
  return {};
}

std::string PacedLoad::held_by() {
  ReplicaId holder;
  if (log_.trim(trimmed_ + 1, &holder) != Code::held) return "";
  return "; replica " + std::to_string(holder.value) + " holds what would be trimmed";
}

Result<uint64_t> PacedLoad::run_until(const std::function<bool()>& done, uint64_t patience_ns,
                                      Samples* samples, bool trims) {
  const double rate = ticks_per_ns();
  const auto ticks_of = [rate](uint64_t ns) {
    return static_cast<uint64_t>(static_cast<double>(ns) * rate);
  };
  const bool paced = options_.appends_per_s != 0;
  const uint64_t interval = paced ? ticks_of(1'000'000'000 / options_.appends_per_s) : 0;
  const uint64_t end = ticks() + ticks_of(patience_ns);
  uint64_t longest = 0;
  uint64_t due = ticks() + interval;
  uint64_t ask_at = 0;
  for (;;) {
    uint64_t now = ticks();
    if (now >= ask_at) {
      // Asking is the benchmark's own doing: nothing is due meanwhile.
      const bool finished = done();
      if (finished) return static_cast<uint64_t>(static_cast<double>(longest) / rate);
      if (now >= end) return fail(Code::timed_out, "the benchmark waited too long");
      if (trims && appended_ >= trim_at_) {
        trim_at_ = appended_ + options_.ring_bytes / kTrimsPerLap / entry_bytes_;
        trim_behind();
      }
      const uint64_t asked = ticks();
      due += asked - now;
      now = asked;
      ask_at = now + ticks_of(kAskEveryNs);
    }
    if (!paced) due = ticks();
    if (now < due && paced) {
      engine_.poll();
      continue;
    }
    if (const auto appended = append_one(); !appended) return tl::unexpected(appended.error());
    const uint64_t took = ticks() - due;
    longest = std::max(longest, took);
    if (samples != nullptr) samples->add(took);
    due += interval;
  }
}

Result<uint64_t> PacedLoad::run_for(uint64_t span_ns, Samples* samples, bool trims) {
  const uint64_t end = monotonic_ns() + span_ns;
  return run_until([end] { return monotonic_ns() >= end; }, span_ns + kStallNs, samples, trims);
}

}  // namespace caisson::bench
