// SPDX-License-Identifier: BSD-3-Clause
// Bytes for people and for JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/command.hpp"

namespace caisson::tools {

std::string to_base64(std::span<const std::byte> bytes);
// Of one line. invalid: it is none.
Result<std::vector<std::byte>> from_base64(std::string_view text);
// At most `bytes_max` of it, with everything that is not printable ASCII escaped.
std::string printable(std::span<const std::byte> bytes, size_t bytes_max);
// "payload" if it is UTF-8, else "payload_base64".
void add_payload(Json& object, std::span<const std::byte> payload);

}  // namespace caisson::tools
