// SPDX-License-Identifier: BSD-3-Clause
// A value that one thread writes now and then, and any thread reads without a lock and never torn.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace caisson::engine {

template <class T>
class Published {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Published() { store(T{}); }

  // One writer at a time.
  void store(const T& value) {
    std::array<uint64_t, kWords> words{};
    std::memcpy(words.data(), &value, sizeof value);
    const uint64_t turn = turn_.load(std::memory_order_relaxed);
    turn_.store(turn + 1, std::memory_order_relaxed);
    // Readers that see a new word also see the odd turn: each word is stored with release, after
    // it.
    for (size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_release);
    turn_.store(turn + 2, std::memory_order_release);
  }

  T load() const {
    for (;;) {
      const uint64_t turn = turn_.load(std::memory_order_acquire);
      if (turn % 2 != 0) continue;
      std::array<uint64_t, kWords> words;
      // Acquire keeps the second look at the turn behind every word.
      for (size_t i = 0; i < kWords; ++i) words[i] = words_[i].load(std::memory_order_acquire);
      if (turn_.load(std::memory_order_relaxed) != turn) continue;
      T value;
      std::memcpy(static_cast<void*>(&value), words.data(), sizeof value);
      return value;
    }
  }

 private:
  static constexpr size_t kWords = (sizeof(T) + 7) / 8;
  std::atomic<uint64_t> turn_{0};  // odd while a store is under way
  std::array<std::atomic<uint64_t>, kWords> words_{};
};

}  // namespace caisson::engine
