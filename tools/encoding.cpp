// SPDX-License-Identifier: BSD-3-Clause
#include "tools/encoding.hpp"

#include <algorithm>

namespace caisson::tools {

namespace {

constexpr char kHex[] = "0123456789abcdef";
constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

uint32_t byte_at(std::span<const std::byte> bytes, size_t i) {
  return i < bytes.size() ? std::to_integer<uint32_t>(bytes[i]) : 0;
}

// Length of the well-formed UTF-8 sequence at `i` (RFC 3629), or 0.
size_t sequence_at(std::span<const std::byte> bytes, size_t i) {
  const uint32_t lead = byte_at(bytes, i);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || i + length > bytes.size()) return 0;
  for (size_t k = 1; k < length; ++k) {
    if ((byte_at(bytes, i + k) & 0xc0) != 0x80) return 0;
  }
  const uint32_t second = byte_at(bytes, i + 1);
  const bool malformed = (lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
                         (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f);
  return malformed ? 0 : length;
}

}  // namespace

std::string to_base64(std::span<const std::byte> bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const uint32_t triple =
        byte_at(bytes, i) << 16 | byte_at(bytes, i + 1) << 8 | byte_at(bytes, i + 2);
    const size_t held = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < 4; ++k) {
      text.push_back(k <= held ? kBase64[triple >> (18 - 6 * k) & 63] : '=');
    }
  }
  return text;
}

bool is_utf8(std::span<const std::byte> bytes) {
  for (size_t i = 0; i < bytes.size();) {
    const size_t length = sequence_at(bytes, i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

std::string printable(std::span<const std::byte> bytes, size_t bytes_max) {
  std::string text;
  for (const std::byte byte : bytes.first(std::min(bytes.size(), bytes_max))) {
    const auto c = std::to_integer<unsigned char>(byte);
    if (c >= 0x20 && c < 0x7f && c != '\\') {
      text.push_back(static_cast<char>(c));
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '\\') {
      text += "\\\\";
    } else {
      text += std::string("\\x") + kHex[c >> 4] + kHex[c & 15];
    }
  }
  if (bytes.size() > bytes_max) text += " …";
  return text;
}

void add_payload(Json& object, std::span<const std::byte> payload) {
  if (is_utf8(payload)) {
    object["payload"] = std::string(reinterpret_cast<const char*>(payload.data()), payload.size());
  } else {
    object["payload_base64"] = to_base64(payload);
  }
}

}  // namespace caisson::tools
