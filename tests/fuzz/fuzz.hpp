// SPDX-License-Identifier: BSD-3-Clause
// What fuzzers share. A fuzzer that finds a broken promise stops the process: that is how
// libFuzzer, and the replay, learn of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace caisson::fuzz {

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

inline std::span<const std::byte> as_bytes(const void* data, size_t size) {
  return {static_cast<const std::byte*>(data), size};
}

// Takes an input apart; reads zeros behind its end.
class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }

  template <class T>
  T take() {
    T value{};
    const size_t n = left_ < sizeof value ? left_ : sizeof value;
    std::memcpy(&value, data_, n);
    data_ += n;
    left_ -= n;
    return value;
  }

  // A value below `limit`; limit > 0.
  uint64_t below(uint64_t limit) { return take<uint32_t>() % limit; }

 private:
  const uint8_t* data_;
  size_t left_;
};

}  // namespace caisson::fuzz
