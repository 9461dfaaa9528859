// SPDX-License-Identifier: BSD-3-Clause
#include "bench/samples.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>

#include "bench/ticks.hpp"

namespace caisson::bench {

uint64_t monotonic_ns() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

double ticks_per_ns() {
  static const double kRate = [] {
    constexpr uint64_t kSpanNs = 20'000'000;
    const uint64_t ns_before = monotonic_ns();
    const uint64_t ticks_before = ticks();
    while (monotonic_ns() - ns_before < kSpanNs) {
    }
    const uint64_t ticks_after = ticks();
    const uint64_t ns_after = monotonic_ns();
    return static_cast<double>(ticks_after - ticks_before) /
           static_cast<double>(ns_after - ns_before);
  }();
  return kRate;
}

Percentiles percentiles_of(std::vector<uint64_t> times_ns) {
  if (times_ns.empty()) return {};
  std::sort(times_ns.begin(), times_ns.end());
  const auto at = [&](double quantile) {
    const auto last = static_cast<double>(times_ns.size() - 1);
    return static_cast<double>(times_ns[static_cast<size_t>(std::ceil(quantile * last))]);
  };
  return {at(0), at(0.5), at(0.9), at(0.99), at(0.999), at(1), times_ns.size()};
}

Samples::Samples(size_t capacity) : kept_(capacity, 0) {}

std::vector<uint32_t> Samples::sorted() const {
  std::vector<uint32_t> copy(kept_.begin(), kept_.begin() + static_cast<ptrdiff_t>(used_));
  std::sort(copy.begin(), copy.end());
  return copy;
}

namespace {

double at(const std::vector<uint32_t>& sorted, double quantile) {
  if (sorted.empty()) return 0;
  const auto last = static_cast<double>(sorted.size() - 1);
  const auto rank = static_cast<size_t>(std::ceil(quantile * last));
  return static_cast<double>(sorted[rank]) / ticks_per_ns();
}

}  // namespace

double Samples::quantile_ns(double quantile) const { return at(sorted(), quantile); }

Percentiles Samples::percentiles() const {
  const std::vector<uint32_t> all = sorted();
  return {at(all, 0), at(all, 0.5), at(all, 0.9), at(all, 0.99), at(all, 0.999), at(all, 1), used_};
}

Result<void> Samples::save(const std::filesystem::path& path) const {
  errno = EIO;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(kept_.data()),
             static_cast<std::streamsize>(used_ * sizeof(uint32_t)));
  file.close();
  if (!file) {
    const int error = errno;
    std::filesystem::remove(path);  // half of them would be taken for all of them
    const bool full = error == ENOSPC || error == EDQUOT;
    return fail(full ? Code::no_space : Code::io,
                "samples cannot be written to '" + path.string() + "': " + std::strerror(error) +
                    (full ? "; free some space there, or name another place" : ""));
  }
  return {};
}

}  // namespace caisson::bench
