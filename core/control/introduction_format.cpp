// SPDX-License-Identifier: BSD-3-Clause
#include "core/control/introduction_format.hpp"

#include <cstring>

#include "core/log/crc32c.hpp"

namespace caisson::control {

namespace {

uint32_t checksum_of(const IntroductionHeader& header, std::span<const std::byte> payload) {
  const uint32_t crc = log::crc32c(log::kCrcSeed, &header, offsetof(IntroductionHeader, checksum));
  return log::crc32c(crc, payload.data(), payload.size());
}

tl::unexpected<Error> refuse(const char* why, Code code = Code::invalid) {
  return fail(code, std::string("introduction: ") + why);
}

}  // namespace

bool is_introduction_frame(std::span<const std::byte> frame) {
  return !frame.empty() && frame.front() == std::byte{kIntroductionMagic & 0xff};
}

std::string encode_introduction(const IntroductionFrame& frame) {
  IntroductionHeader header{};
  header.magic = kIntroductionMagic;
  header.version = kIntroductionVersion;
  header.from = frame.from.value;
  header.to = frame.to.value;
  std::memcpy(header.cluster, frame.log.cluster.data(), sizeof header.cluster);
  header.log = frame.log.log;
  header.payload_bytes = static_cast<uint32_t>(frame.introduction.size());
  header.checksum = checksum_of(header, frame.introduction);
  std::string out(sizeof header + frame.introduction.size(), '\0');
  std::memcpy(out.data(), &header, sizeof header);
  std::memcpy(out.data() + sizeof header, frame.introduction.data(), frame.introduction.size());
  return out;
}

Result<IntroductionFrame> decode_introduction(std::span<const std::byte> bytes) {
  IntroductionHeader header;
  if (bytes.size() <= sizeof header) return refuse("too short");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kIntroductionMagic || header.version == 0) return refuse("not such a frame");
  if (header.version > kIntroductionVersion) {
    return refuse("of a newer version than this program knows; use a newer caisson",
                  Code::wrong_version);
  }
  const auto payload = bytes.subspan(sizeof header);
  if (header.payload_bytes != payload.size() || payload.size() > kIntroductionBytesMax) {
    return refuse("a length that is not its own");
  }
  if (header.checksum != checksum_of(header, payload)) {
    return refuse("it arrived damaged; it is told again", Code::damaged);
  }
  const auto known = [](uint8_t id) { return id >= 1 && id <= kReplicaIdMax; };
  if (!known(header.from) || !known(header.to)) return refuse("no such replica");
  IntroductionFrame frame;
  std::memcpy(frame.log.cluster.data(), header.cluster, sizeof header.cluster);
  frame.log.log = header.log;
  frame.from = ReplicaId{header.from};
  frame.to = ReplicaId{header.to};
  frame.introduction = payload;
  return frame;
}

}  // namespace caisson::control
