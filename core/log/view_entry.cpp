// SPDX-License-Identifier: BSD-3-Clause
#include "core/log/view_entry.hpp"

#include <cstring>

#include "core/log/crc32c.hpp"

namespace caisson::log {

ViewEntry view_entry(const Cursor& at, const Membership& view, Term term) {
  const std::vector<std::byte> payload = encode_view(view);
  EntryHeader header{};
  header.position = at.position.value + 1;
  header.term = term.value;
  header.offset_line = offset_line(at.end);
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  header.kind = static_cast<uint8_t>(Kind::view);
  header.flags = kFlagBatchEnd;
  header.format = kEntryFormat;
  header.view = static_cast<uint32_t>(view.view.value);
  header.commit_lag = 0;
  seal_header(header, at.chain, crc32c(kCrcSeed, payload.data(), payload.size()));
  ViewEntry entry;
  entry.bytes.resize(entry_bytes(payload.size()));
  std::memcpy(entry.bytes.data(), &header, sizeof header);
  std::memcpy(entry.bytes.data() + sizeof header, payload.data(), payload.size());
  entry.behind = {Position{header.position}, at.end + entry.bytes.size(), term, header.chain};
  return entry;
}

}  // namespace caisson::log
