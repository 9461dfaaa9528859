// SPDX-License-Identifier: BSD-3-Clause
#include "core/control/state_format.hpp"

#include <cstring>

#include "core/control/wire_code.hpp"
#include "core/log/crc32c.hpp"

namespace caisson::control {

namespace {

uint32_t checksum_of(const StateFrameHeader& header, std::span<const std::byte> payload) {
  const uint32_t crc = log::crc32c(log::kCrcSeed, &header, offsetof(StateFrameHeader, checksum));
  return log::crc32c(crc, payload.data(), payload.size());
}

tl::unexpected<Error> refuse(const char* why) {
  return fail(Code::invalid, std::string("state transfer: ") + why);
}

// Null: the fields fit together.
const char* contradiction(const StateFrame& frame, const StateFrameHeader& header) {
  const auto known = [](ReplicaId id) { return id.value >= 1 && id.value <= kReplicaIdMax; };
  if (!known(frame.from) || !known(frame.to)) return "no such replica";
  if (header.last > 1 || header.reserved0 != 0 || header.reserved1 != 0) return "unknown flags";
  const bool gives = frame.kind == StateKind::give && frame.code == Code::ok;
  if (!gives && (!frame.bytes.empty() || frame.last)) return "bytes where none belong";
  if (frame.kind == StateKind::ask) {
    if (frame.code != Code::ok || frame.state_bytes != 0) return "a question that answers";
    if (frame.bytes_max == 0 || frame.bytes_max > kStateChunkBytesMax)
      return "a limit out of range";
    if (frame.identity == 0 && frame.offset != 0) return "an offset into no snapshot";
    return nullptr;
  }
  if (frame.bytes_max != 0) return "an answer that asks";
  if (!gives) return nullptr;
  if (frame.identity == 0) return "bytes of no snapshot";
  if (frame.bytes.empty() && !frame.last) return "an empty piece";
  if (frame.offset > UINT64_MAX - frame.bytes.size()) return "an offset out of range";
  const uint64_t end = frame.offset + frame.bytes.size();
  if (frame.state_bytes == UINT64_MAX) return nullptr;
  if (end > frame.state_bytes || (frame.last && end != frame.state_bytes)) {
    return "more or less than the snapshot holds";
  }
  return nullptr;
}

}  // namespace

bool is_state_frame(std::span<const std::byte> frame) {
  return !frame.empty() && frame.front() == std::byte{0};
}

std::string encode_state(const StateFrame& frame) {
  StateFrameHeader header{};
  header.magic = kStateMagic;
  header.version = kStateVersion;
  header.kind = static_cast<uint8_t>(frame.kind);
  header.last = frame.last ? 1 : 0;
  std::memcpy(header.cluster, frame.log.cluster.data(), sizeof header.cluster);
  header.log = frame.log.log;
  header.from = frame.from.value;
  header.to = frame.to.value;
  header.code = code_to_wire(frame.code);
  header.nonce = frame.nonce;
  header.identity = frame.identity;
  header.position = frame.position.value;
  header.state_bytes = frame.state_bytes;
  header.offset = frame.offset;
  header.bytes_max = frame.bytes_max;
  header.payload_bytes = static_cast<uint32_t>(frame.bytes.size());
  header.checksum = checksum_of(header, frame.bytes);
  std::string out(sizeof header + frame.bytes.size(), '\0');
  std::memcpy(out.data(), &header, sizeof header);
  if (!frame.bytes.empty()) {
    std::memcpy(out.data() + sizeof header, frame.bytes.data(), frame.bytes.size());
  }
  return out;
}

Result<StateFrame> decode_state(std::span<const std::byte> bytes) {
  StateFrameHeader header;
  if (bytes.size() < sizeof header) return refuse("too short");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kStateMagic) return refuse("not such a frame");
  if (header.version > kStateVersion) {
    return fail(Code::wrong_version, "state transfer: version " + std::to_string(header.version) +
                                         ", this program knows up to " +
                                         std::to_string(kStateVersion) + "; use a newer caisson");
  }
  StateFrame frame;
  frame.bytes = bytes.subspan(sizeof header);
  if (header.version == 0 || header.payload_bytes != frame.bytes.size() ||
      frame.bytes.size() > kStateChunkBytesMax) {
    return refuse("a length that is not its own");
  }
  if (header.checksum != checksum_of(header, frame.bytes)) {
    return fail(Code::damaged, "state transfer: a piece arrived damaged; it is asked for again");
  }
  if (header.kind != static_cast<uint8_t>(StateKind::ask) &&
      header.kind != static_cast<uint8_t>(StateKind::give)) {
    return refuse("an unknown kind");
  }
  frame.kind = static_cast<StateKind>(header.kind);
  const auto code = code_from_wire(header.code);
  if (!code) return refuse("an unknown code");
  frame.code = *code;
  frame.last = header.last == 1;
  std::memcpy(frame.log.cluster.data(), header.cluster, sizeof header.cluster);
  frame.log.log = header.log;
  frame.from = ReplicaId{header.from};
  frame.to = ReplicaId{header.to};
  frame.nonce = header.nonce;
  frame.identity = header.identity;
  frame.position = Position{header.position};
  frame.state_bytes = header.state_bytes;
  frame.offset = header.offset;
  frame.bytes_max = header.bytes_max;
  if (const char* why = contradiction(frame, header)) return refuse(why);
  return frame;
}

}  // namespace caisson::control
