// SPDX-License-Identifier: BSD-3-Clause
// An application's state and the position it has applied, committed together (R33): after a crash
// or a power cut both are those of one commit, never of two. So an application that replays from
// there applies each entry exactly once.
//
//   auto state = CheckpointedState::open("/pmem/orders", 1 << 20, PersistenceMode::real);
//   const Checkpoint last = (*state)->load();
//   Orders orders = decode(last.bytes);  // no bytes: nothing was committed yet
//   auto entries = log.subscribe(last.position + 1);
//   Entry entry;
//   while ((*entries)->next_wait(entry, timeout_ns) == Code::ok) {
//     orders.apply(entry.payload);  // in memory only
//     if ((*state)->commit(entry.position, encode(orders)) != Code::ok) break;
//     (void)log.mark_applied(entry.position);  // with auto_apply = false
//   }
//
// A crash anywhere in the loop: load() gives the state before or after the entry, and the position
// that belongs to it. Committing every so many entries is as good: what was applied since is
// applied again, to a state that has not seen it. What goes into the state has to come from the
// entries alone; effects elsewhere are not undone.
//
// The state is kept twice, and a commit writes it once: it costs the time to checksum and store its
// bytes. Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "caisson/options.hpp"
#include "caisson/types.hpp"

namespace caisson {

namespace engine {
class CheckpointedFile;
}  // namespace engine

struct Checkpoint {
  Position position;                 // applied through here; 0: nothing yet
  std::span<const std::byte> bytes;  // good until the next commit
};

class CheckpointedState {
 public:
  static constexpr uint64_t kBytesLimit = uint64_t{1} << 30;

  // Opens the file, or makes it, with room for a state of `bytes_max` bytes. It appears whole, or
  // not at all. busy: another process has it open · too_large: it was made for less than bytes_max,
  // or that exceeds kBytesLimit · damaged: it holds no state that can be trusted; remove it and
  // replay · wrong_version · unsupported: `persistence` is real, and stores there do not survive
  // the loss of power; or a device · invalid: persistence is unset · not_found: no such directory ·
  // denied · no_space · io.
  static Result<std::unique_ptr<CheckpointedState>> open(const std::string& path,
                                                         uint64_t bytes_max,
                                                         PersistenceMode persistence);
  ~CheckpointedState();
  CheckpointedState(const CheckpointedState&) = delete;
  CheckpointedState& operator=(const CheckpointedState&) = delete;

  // What was committed last.
  Checkpoint load() const;

  // Persistent on return, as far as persistence() says; before, load() gives the last one.
  // too_large · invalid: a lower position than the last one · damaged: a page of the file cannot be
  // had any more, and nothing that is committed to it is kept (R44).
  [[nodiscard]] Code commit(Position position, std::span<const std::byte> bytes);

  uint64_t bytes_max() const;
  Persistence persistence() const;

 private:
  explicit CheckpointedState(std::unique_ptr<engine::CheckpointedFile> impl);
  std::unique_ptr<engine::CheckpointedFile> impl_;
};

}  // namespace caisson
