// SPDX-License-Identifier: BSD-3-Clause
#include "bench/append_load.hpp"

#include <algorithm>
#include <cstring>

#include "bench/ticks.hpp"
#include "core/log/entry_format.hpp"

namespace caisson::bench {

namespace {

constexpr uint64_t kStallNs = 5'000'000'000;  // back-pressure that lasts so long is a failure
constexpr uint64_t kTrimsPerLap = 32;
// What stays behind the tail: followers publish what they have applied every sixteenth of a ring.
constexpr uint64_t kKeptEighths = 3;
constexpr uint64_t kFullEighths = 6;

}  // namespace

Load::Load(const LoadOptions& options, Engine& engine, Log& log, std::unique_ptr<Appender> appender)
    : options_(options),
      entry_bytes_(log::entry_bytes(options.payload_bytes)),
      trim_every_(std::max<uint64_t>(1, options.ring_bytes / kTrimsPerLap / entry_bytes_)),
      engine_(engine),
      log_(log),
      appender_(std::move(appender)),
      payload_(std::max<uint64_t>(options.payload_bytes * options.batch, sizeof(uint64_t))),
      submitted_at_(kTagsMax),
      trim_at_(trim_every_) {
  append_options_.durability = options.durability;
  for (size_t i = 0; i < payload_.size(); ++i) payload_[i] = static_cast<std::byte>(i * 131);
  for (size_t i = 0; i < options.batch; ++i) {
    batch_.emplace_back(payload_.data() + i * options.payload_bytes, options.payload_bytes);
  }
}

std::span<const std::byte> Load::next_payload() {
  std::memcpy(payload_.data(), &submitted_, sizeof submitted_);
  return {payload_.data(), options_.payload_bytes};
}

Error Load::failure(Code code) const {
  return Error{code, "append " + std::to_string(acknowledged_ + 1) + " ended with '" +
                         std::string(name(code)) + "'"};
}

bool Load::trim_behind(uint64_t kept_bytes) {
  const uint64_t kept = kept_bytes / entry_bytes_;
  if (last_.value <= kept || Position{last_.value - kept} <= trimmed_) return false;
  if (log_.trim(Position{last_.value - kept}) != Code::ok)
    return false;  // held: the next one will do
  trimmed_ = Position{last_.value - kept};
  return true;
}

// Never lets the ring fill up: a synchronous append would wait in it for the trim that only we can
// do.
Result<void> Load::trim_if_due() {
  if (acknowledged_ < trim_at_) return {};
  trim_at_ = acknowledged_ + trim_every_;
  if (trim_behind(options_.ring_bytes * kKeptEighths / 8)) return {};
  if ((last_ - trimmed_) * entry_bytes_ < options_.ring_bytes * kFullEighths / 8) return {};
  ++stalls_;
  const uint64_t until = monotonic_ns() + kStallNs;
  while (!trim_behind(options_.ring_bytes * kKeptEighths / 8)) {
    engine_.poll();
    if (monotonic_ns() >= until) {
      return fail(Code::held, "the followers have not applied for 5 s what the ring must give up");
    }
  }
  return {};
}

// Back-pressure: the followers have to catch up first.
void Load::await_room() {
  ++stalls_;
  engine_.poll();
  (void)trim_behind(options_.ring_bytes * kKeptEighths / 8);
}

template <class More>
Result<void> Load::run_synchronous(More more, Samples* samples) {
  uint64_t before = ticks();
  const uint64_t start = before;
  uint64_t stalled_since = 0;
  do {
    const Completion completion = appender_->append(next_payload(), append_options_);
    if (completion.code == Code::again) [[unlikely]] {
      if (stalled_since == 0) stalled_since = monotonic_ns();
      if (monotonic_ns() - stalled_since > kStallNs)
        return tl::unexpected(failure(Code::timed_out));
      await_room();
      continue;  // the wait is part of this append's latency
    }
    if (completion.code != Code::ok) [[unlikely]]
      return tl::unexpected(failure(completion.code));
    stalled_since = 0;
    ++submitted_;
    ++acknowledged_;
    last_ = completion.position;
    term_ = completion.term;
    if (const auto trimmed = trim_if_due(); !trimmed) return trimmed;
    const uint64_t after = ticks();
    if (samples != nullptr) samples->add(after - before);
    before = after;
  } while (more(before));
  ticks_spent_ += before - start;
  return {};
}

Code Load::take_completions(Samples* samples) {
  const size_t taken = appender_->completions(completions_);
  if (taken == 0) return Code::again;
  const uint64_t now = __rdtsc();
  for (size_t i = 0; i < taken; ++i) {
    const Completion& completion = completions_[i];
    if (completion.code != Code::ok) [[unlikely]]
      return completion.code;
    if (samples != nullptr && completion.tag % kSampled == 0) {
      samples->add(now - submitted_at_[completion.tag % kTagsMax]);
    }
  }
  acknowledged_ += taken * options_.batch;
  last_ = completions_[taken - 1].position;
  term_ = completions_[taken - 1].term;
  return Code::ok;
}

Code Load::submit_batch() {
  (void)next_payload();
  return appender_->append_batch_async(batch_, submitted_, append_options_);
}

template <class More>
Result<void> Load::run_pipelined(More more, Samples* samples) {
  const uint64_t start = __rdtsc();
  uint64_t now = start;
  uint64_t stalled_since = 0;
  do {
    while (submitted_ - acknowledged_ + options_.batch <= options_.inflight) {
      if (submitted_ % kSampled == 0) submitted_at_[submitted_ % kTagsMax] = __rdtsc();
      const Code code = options_.batch == 1
                            ? appender_->append_async(next_payload(), submitted_, append_options_)
                            : submit_batch();
      if (code == Code::again) break;
      if (code != Code::ok) [[unlikely]]
        return tl::unexpected(failure(code));
      submitted_ += options_.batch;
    }
    const Code code = take_completions(samples);
    if (code == Code::ok) {
      stalled_since = 0;
      if (const auto trimmed = trim_if_due(); !trimmed) return trimmed;
    } else if (code != Code::again) {
      return tl::unexpected(failure(code));
    } else {
      if (stalled_since == 0) stalled_since = monotonic_ns();
      if (monotonic_ns() - stalled_since > kStallNs)
        return tl::unexpected(failure(Code::timed_out));
      if (submitted_ == acknowledged_) await_room();
    }
    now = __rdtsc();
  } while (more(now));
  const auto drained = drain(samples);
  ticks_spent_ += ticks() - start;
  return drained;
}

Result<void> Load::drain(Samples* samples) {
  const uint64_t until = monotonic_ns() + kStallNs;
  while (acknowledged_ < submitted_) {
    const Code code = take_completions(samples);
    if (code == Code::ok) continue;
    if (code != Code::again) return tl::unexpected(failure(code));
    if (monotonic_ns() >= until) return tl::unexpected(failure(Code::timed_out));
  }
  return {};
}

template <class More>
Result<void> Load::run(More more, Samples* samples) {
  return options_.inflight == 1 ? run_synchronous(more, samples) : run_pipelined(more, samples);
}

Result<void> Load::run_for(uint64_t slice_ns, Samples* samples) {
  const auto slice = static_cast<uint64_t>(static_cast<double>(slice_ns) * ticks_per_ns());
  const uint64_t until = __rdtsc() + slice;
  return run([until](uint64_t now) { return now < until; }, samples);
}

Result<void> Load::run_count(uint64_t count, Samples* samples) {
  const uint64_t until = acknowledged_ + count;
  return run([this, until](uint64_t) { return submitted_ < until; }, samples);
}

}  // namespace caisson::bench
