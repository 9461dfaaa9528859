// SPDX-License-Identifier: BSD-3-Clause
// Bytes as an adversary, or a broken wire, would hand them to a decoder.
#pragma once

#include <rapidcheck.h>

#include <cstddef>
#include <span>
#include <string>

namespace caisson::tests {

inline std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

// Flips, overwrites, removes and inserts a few bytes. Call inside a property.
inline std::string mutated(std::string bytes) {
  const int changes = *rc::gen::inRange(1, 6);
  for (int i = 0; i < changes && !bytes.empty(); ++i) {
    const size_t at = *rc::gen::inRange<size_t>(0, bytes.size());
    switch (*rc::gen::inRange(0, 5)) {
      case 0: bytes[at] = static_cast<char>(bytes[at] ^ (1 << *rc::gen::inRange(0, 8))); break;
      case 1: bytes[at] = *rc::gen::arbitrary<char>(); break;
      case 2: bytes.erase(at, *rc::gen::inRange<size_t>(1, 9)); break;
      case 3: bytes.insert(at, *rc::gen::container<std::string>(rc::gen::arbitrary<char>())); break;
      default: bytes[at] = static_cast<char>(0xff); break;
    }
  }
  return bytes;
}

}  // namespace caisson::tests
