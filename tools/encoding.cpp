// SPDX-License-Identifier: BSD-3-Clause
#include "tools/encoding.hpp"

#include <algorithm>

#include "core/engine/utf8.hpp"

namespace caisson::tools {

namespace {

constexpr char kHex[] = "0123456789abcdef";
constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

uint32_t byte_at(std::span<const std::byte> bytes, size_t i) {
  return i < bytes.size() ? std::to_integer<uint32_t>(bytes[i]) : 0;
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

Result<std::vector<std::byte>> from_base64(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::vector<std::byte> bytes;
  bytes.reserve(text.size() / 4 * 3);
  uint32_t triple = 0;
  size_t held = 0;
  for (const char c : text.substr(0, text.size() - padding)) {
    const size_t value = std::string_view(kBase64, 64).find(c);
    if (value == std::string_view::npos) return fail(Code::invalid, "that is no base64");
    triple = triple << 6 | static_cast<uint32_t>(value);
    if (++held % 4 != 0) continue;
    for (const int shift : {16, 8, 0}) bytes.push_back(static_cast<std::byte>(triple >> shift));
  }
  const size_t rest = held % 4;
  if (text.size() % 4 != 0 || rest == 1) return fail(Code::invalid, "that is no base64");
  if (rest > 1) bytes.push_back(static_cast<std::byte>(triple >> (rest == 2 ? 4 : 10)));
  if (rest > 2) bytes.push_back(static_cast<std::byte>(triple >> 2));
  return bytes;
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
  const std::string_view text(reinterpret_cast<const char*>(payload.data()), payload.size());
  if (engine::is_utf8(text)) {
    object["payload"] = text;
  } else {
    object["payload_base64"] = to_base64(payload);
  }
}

}  // namespace caisson::tools
