// SPDX-License-Identifier: BSD-3-Clause
// Keeping entries from being trimmed while somebody reads them (R8). See caisson.hpp for threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "caisson/types.hpp"

namespace caisson {

namespace engine {
class ReaderHoldImpl;
}  // namespace engine

class Log;

struct HoldOptions {
  std::string name;                  // whom a refused trim names; at most 47 bytes are kept
  uint64_t ttl_ns = 10'000'000'000;  // it expires when it was not renewed for so long
};

// While it stands, no replica trims what it holds. It ends with its destruction, or when it expires
// by the poller's clock: so a reader that was forgotten does not fill the ring for ever. Not
// durable: a process that dies takes its holds along. May be used from any thread. Must not outlive
// its Engine.
class ReaderHold {
 public:
  ~ReaderHold();
  ReaderHold(const ReaderHold&) = delete;
  ReaderHold& operator=(const ReaderHold&) = delete;

  // Holds for another ttl. trimmed: it has expired, for good; what it held may be gone.
  [[nodiscard]] Code renew();
  // As renew(), and from now on only entries from `from` on are held. invalid: below what is held.
  [[nodiscard]] Code advance(Position from);
  Position from() const;  // the first entry held

 private:
  friend class Log;
  explicit ReaderHold(std::unique_ptr<engine::ReaderHoldImpl> impl);
  std::unique_ptr<engine::ReaderHoldImpl> impl_;
};

// Who still needs entries that were to be trimmed.
struct TrimHolder {
  ReplicaId replica;           // 0: a reader of this process
  std::string reader;          // its name
  uint64_t expires_in_ns = 0;  // of the reader; UINT64_MAX: never, it has to end
};

}  // namespace caisson
