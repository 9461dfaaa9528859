// SPDX-License-Identifier: BSD-3-Clause
// What the stream table can tell about an entry that is not of this log.
#include "core/log/stream_table.hpp"

namespace caisson::log {

StreamTable::Recollection StreamTable::recall(const EntryIdentity& identity,
                                              uint32_t payload_crc) const {
  using Is = Recollection::Is;
  const Entry* const entry = lookup(identity.client);
  if (entry == nullptr) {
    const bool forgotten = floor_ != 0 && identity.incarnation <= floor_;
    return {forgotten ? Is::unknown : Is::absent, {}};
  }
  const Stream& now = entry->now.stream;
  if (identity.incarnation > now.incarnation) return {Is::absent, {}};
  const bool current = identity.incarnation == now.incarnation;
  if (current && identity.sequence > now.last_sequence) return {Is::absent, {}};
  bool taken = false;  // the latest incarnation has used the number, for something else
  const uint64_t oldest = entry->count > mask_ ? entry->count - mask_ : 1;
  for (uint64_t i = entry->count; i >= oldest && i > 0; --i) {
    const Slot& known = slot(*entry, i);
    if (known.position == 0 || known.sequence != identity.sequence) continue;
    if (known.incarnation < identity.incarnation) continue;
    if (known.payload_crc == payload_crc) return {Is::same, Position{known.position}};
    if (known.incarnation == identity.incarnation) return {Is::other, Position{known.position}};
    taken |= known.incarnation == now.incarnation;
  }
  // Nothing of this client was ever forgotten.
  const bool whole = entry->count <= mask_ && entry->first_position != Position{0};
  const Run& before = entry->before;
  const bool never = identity.incarnation == before.stream.incarnation &&
                     identity.sequence > before.stream.last_sequence &&
                     (taken || identity.sequence > now.last_sequence);
  return {whole || never ? Is::absent : Is::unknown, {}};
}

}  // namespace caisson::log
