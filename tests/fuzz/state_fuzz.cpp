// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes as a frame that carries an application's state: refused with a typed error, or a
// frame that encodes to the very same bytes.
#include "core/control/state_format.hpp"
#include "core/log/crc32c.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

void look(std::span<const std::byte> bytes) {
  using namespace caisson;
  using caisson::fuzz::require;
  const auto decoded = control::decode_state(bytes);
  if (!decoded) {
    const Code code = decoded.error().code;
    require(code == Code::invalid || code == Code::wrong_version || code == Code::damaged,
            "a refusal is typed");
    require(!decoded.error().message.empty(), "a refusal says why");
    return;
  }
  require(control::is_state_frame(bytes), "it begins as such a frame does");
  require(decoded->bytes.size() <= control::kStateChunkBytesMax, "no piece is too large");
  const std::string encoded = control::encode_state(*decoded);
  require(encoded.size() == bytes.size() &&
              std::memcmp(encoded.data(), bytes.data(), bytes.size()) == 0,
          "what was decoded says the same again");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  look(fuzz::as_bytes(data, size));
  // Once more with a checksum that holds: the fields behind it are looked at, too.
  control::StateFrameHeader header;
  if (size < sizeof header) return 0;
  std::string sealed(reinterpret_cast<const char*>(data), size);
  std::memcpy(&header, data, sizeof header);
  uint32_t crc = log::crc32c(log::kCrcSeed, data, offsetof(control::StateFrameHeader, checksum));
  crc = log::crc32c(crc, data + sizeof header, size - sizeof header);
  std::memcpy(sealed.data() + offsetof(control::StateFrameHeader, checksum), &crc, sizeof crc);
  look(fuzz::as_bytes(sealed.data(), sealed.size()));
  return 0;
}
