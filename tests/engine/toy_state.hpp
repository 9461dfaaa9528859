// SPDX-License-Identifier: BSD-3-Clause
// An application with a state: a table that every entry changes, on a "disk" that outlives the
// engine, and the hook that carries it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <vector>

#include "caisson/caisson.hpp"

namespace caisson::engine_test {

// What the application has written durably.
struct ToyDisk {
  static constexpr size_t kWords = size_t{256} << 10;  // 2 MiB
  std::mutex mutex;
  Position position;
  std::vector<uint64_t> table = std::vector<uint64_t>(kWords, 7);
  StateSnapshot arriving;
  std::vector<std::byte> arrived;
  std::atomic<uint64_t> begun{0};  // transfers that began at their first byte
  std::atomic<uint64_t> finished{0};

  void apply(Position at, std::span<const std::byte> payload) {
    const std::lock_guard lock(mutex);
    uint64_t hash = at.value * 0x9e3779b97f4a7c15;
    for (const std::byte b : payload) hash = hash * 31 + static_cast<uint64_t>(b);
    for (size_t i = 0; i < 64; ++i) {
      uint64_t& word = table[(hash + i * 4099) % kWords];
      word = word * 6364136223846793005u + hash;
    }
    position = at;
  }
  Position reached() {
    const std::lock_guard lock(mutex);
    return position;
  }
  uint64_t digest() {
    const std::lock_guard lock(mutex);
    uint64_t sum = position.value;
    for (const uint64_t word : table) sum = sum * 31 + word;
    return sum;
  }
};

class ToyState final : public StateHook {
 public:
  explicit ToyState(ToyDisk& disk) : disk_(disk) {}

  Result<StateSnapshot> begin_reading(Position wanted, uint64_t identity) override {
    const std::lock_guard lock(disk_.mutex);
    // The same entries make the same bytes, here and on every other replica.
    const uint64_t now = disk_.position.value;
    if (identity != 0 && identity != now) return fail(Code::not_found, "the state has moved on");
    if (disk_.position < wanted) return fail(Code::not_yet, "not applied yet");
    frozen_ = disk_.table;
    return StateSnapshot{now, disk_.position, frozen_.size() * 8};
  }
  Result<size_t> read(uint64_t offset, std::span<std::byte> out) override {
    const auto bytes = std::as_bytes(std::span(frozen_));
    if (offset >= bytes.size()) return 0;
    const size_t count = std::min<size_t>(out.size(), bytes.size() - offset);
    std::memcpy(out.data(), bytes.data() + offset, count);
    return count;
  }
  void end_reading() override { frozen_.clear(); }

  Position installed() override { return disk_.reached(); }
  StatePart held() override {
    const std::lock_guard lock(disk_.mutex);
    return {disk_.arriving, disk_.arrived.size()};
  }
  Result<void> begin_writing(const StateSnapshot& snapshot) override {
    const std::lock_guard lock(disk_.mutex);
    ++disk_.begun;
    disk_.arriving = snapshot;
    disk_.arrived.clear();
    return {};
  }
  Result<void> write(uint64_t offset, std::span<const std::byte> bytes) override {
    if (fails != nullptr && fails->exchange(false)) return fail(Code::no_space, "the disk is full");
    const std::lock_guard lock(disk_.mutex);
    if (offset != disk_.arrived.size()) return fail(Code::invalid, "out of order");
    disk_.arrived.insert(disk_.arrived.end(), bytes.begin(), bytes.end());
    return {};
  }
  Result<void> finish() override {
    const std::lock_guard lock(disk_.mutex);
    if (disk_.arrived.size() != ToyDisk::kWords * 8) return fail(Code::invalid, "too short");
    std::memcpy(disk_.table.data(), disk_.arrived.data(), disk_.arrived.size());
    disk_.position = disk_.arriving.position;
    disk_.arriving = {};
    disk_.arrived.clear();
    ++disk_.finished;
    return {};
  }

  std::atomic<bool>* fails = nullptr;  // the next write, where true

 private:
  ToyDisk& disk_;
  std::vector<uint64_t> frozen_;
};

}  // namespace caisson::engine_test
