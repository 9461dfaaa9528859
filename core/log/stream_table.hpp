// SPDX-License-Identifier: BSD-3-Clause
// Exactly-once (R30): what each client has appended so far. The table always describes the log up
// to its tail; truncating the tail rolls it back. A pure function of the log's entries, of which
// checkpoints tell what has been trimmed, and whom to forget.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "caisson/types.hpp"
#include "core/log/checkpoint_format.hpp"
#include "core/log/entry_format.hpp"

namespace caisson::log {

// The payloads of a checkpoint. Used again, it allocates nothing.
class CheckpointParts {
 public:
  std::span<const std::span<const std::byte>> payloads() const { return payloads_; }

 private:
  friend class StreamTable;
  std::vector<std::byte> bytes_;
  std::vector<size_t> begins_;
  std::vector<std::pair<Position, uint64_t>> latest_;  // of each client
  std::vector<std::span<const std::byte>> payloads_;
};

class StreamTable {
 public:
  // window: latest sequences remembered per client; a power of two.
  StreamTable(uint32_t streams_max, uint32_t window);

  struct Verdict {
    // ok: the next of its stream · exists: a duplicate, `position` says of what · stale_stream ·
    // broken_stream · aged_out · identity_reused · too_large: too many clients
    Code code = Code::ok;
    Position position;
  };
  Verdict judge(const EntryIdentity& identity, uint32_t payload_crc, Position tail);

  // The common case of judge(), without the payload's checksum: the next entry of a known stream.
  bool is_next(const EntryIdentity& identity) const {
    const Entry* entry = lookup(identity.client);
    return entry != nullptr && identity.incarnation == entry->now.stream.incarnation &&
           identity.sequence == entry->now.stream.last_sequence + 1;
  }

  // The entry now is part of the log. Entries of client 0 are ignored.
  void apply(const EntryHeader& header, uint32_t payload_crc) {
    if (header.client == 0) return;
    Entry* entry = lookup(header.client);
    if (entry == nullptr || header.incarnation > entry->now.stream.incarnation) [[unlikely]] {
      entry = &open_run(EntryHeader(header));
    }
    entry->now.stream.last_sequence = header.sequence;
    slot(*entry, ++entry->count) = {header.sequence, header.position, header.incarnation,
                                    payload_crc};
  }
  void apply_session(const EntryHeader& header, const SessionPayload& session);
  void apply_receipt(const EntryHeader& header, const ReceiptPayload& receipt);

  // True if, with `entries` more of `client`, the last one at or below `committed` were no longer
  // in its window: a suffix above it could not be rolled back to it. The appender waits.
  bool window_full(uint64_t client, Position committed, uint64_t entries) const {
    Entry* const entry = lookup(client);
    return entry != nullptr && entry->count + entries > mask_ &&
           slot(*entry, entry->count + entries - mask_).position > committed.value;
  }

  // Forgets everything above `tail`.
  void rollback(Position tail);
  void clear();

  struct Stream {
    uint32_t incarnation = 0;
    uint64_t last_sequence = 0;
  };
  // {0, 0} if the client is unknown.
  Stream find(uint64_t client) const;
  // Whether the log holds these bytes of this client under this sequence, whatever incarnation
  // appended them: who resumes numbers them alike.
  struct Recollection {
    enum class Is : uint8_t { absent, same, other, unknown } is = Is::unknown;
    Position position;  // where it is the same, or other bytes under that very identity
  };
  Recollection recall(const EntryIdentity& identity, uint32_t payload_crc) const;

  // ---- Apologies (R13, P20) ----

  // `client` was told that `incarnation` had got as far as `sequence`: which of it is missing from
  // the log, as its next session is to note it. Nothing where it was noted before.
  //   aged_out: so old an incarnation is not remembered · held: too many apologies wait to be
  //   taken
  Code missing(uint64_t client, uint32_t incarnation, uint64_t sequence,
               SessionPayload& note) const;
  // Those not taken yet, oldest first.
  std::vector<Apology> apologies(uint64_t client) const;

  bool full() const { return streams_.size() >= streams_max_; }
  bool empty() const { return streams_.empty() && floor_ == 0; }
  // Whoever had an incarnation up to this one may have been forgotten.
  uint32_t floor() const { return floor_; }

  // ---- Checkpoints ----

  // Writes a checkpoint behind the tail. It leaves out those who have been silent longest where the
  // table is full, or where all would take more than `bytes_max`; nobody of whom there are entries
  // above `committed`. Returns how many it left out.
  size_t carry(Position committed, size_t part_bytes_max, size_t bytes_max,
               CheckpointParts& out) const;
  // A part of a checkpoint is now part of the log: what it remembers, and we do not, is ours.
  void take_over(std::span<const std::byte> part);
  // The checkpoint taken over last, which began at `first`, is committed: whom it left out is
  // forgotten, unless there is something of him behind it.
  void settle(Position first);
  // It is not in the log any more.
  void drop_checkpoint() { carried_.clear(); }
  // The latest change of incarnation of `client`; a second one must wait until it is committed.
  Position session_position(uint64_t client) const;

 private:
  using Slot = CarriedSlot;
  struct Noted {
    Apology apology;
    Position taken;  // of the receipt; 0: it waits
  };
  // An incarnation: its sequences follow on `base`.
  struct Run {
    Stream stream;
    uint64_t base = 0;
  };
  struct Entry {
    Run now;
    Run before;  // what `now` was before the session at session_position
    Position session_position;
    Position first_position;  // of the entry that made this client known
    uint64_t count = 0;       // entries of this client so far; the last one's slot is count & mask
    std::unique_ptr<Slot[]> window;
    std::vector<Noted> apologies;  // in log order
  };
  Position last_position(const Entry& entry) const;
  Position first_held(const Entry& entry) const;
  std::vector<Slot> held_slots(const Entry& entry) const;
  static size_t waiting_apologies(const Entry& entry);
  size_t carried_bytes(const Entry& entry) const;  // … in a checkpoint
  void merge(const CarriedStream& stream, std::span<const CarriedSlot> slots);
  void merge(const CarriedStream& stream, const CarriedApology& carried);
  void write_stream(std::vector<std::byte>& out, uint64_t client, const Entry& entry) const;
  Entry* lookup(uint64_t client) const {
    if (client == last_client_ && last_ != nullptr) [[likely]]
      return last_;
    return find_entry(client);
  }
  Entry* find_entry(uint64_t client) const;
  Entry& open_run(const EntryHeader& header);
  Entry& obtain(uint64_t client, Position first);
  void begin_run(Entry& entry, Position at, uint32_t incarnation, uint64_t base);
  // The window holds a client's entries in log order, so that rolling back is popping, whatever
  // incarnation they belong to.
  Slot& slot(const Entry& entry, uint64_t ordinal) const { return entry.window[ordinal & mask_]; }
  void rollback(Entry& entry, Position tail);

  const uint32_t streams_max_;
  const uint64_t mask_;
  std::unordered_map<uint64_t, Entry> streams_;
  uint32_t floor_ = 0;
  uint32_t carried_floor_ = 0;
  std::vector<uint64_t> carried_;     // who is in the checkpoint taken over last
  mutable uint64_t last_client_ = 0;  // the hot path asks for the same client again and again
  mutable Entry* last_ = nullptr;
};

}  // namespace caisson::log
