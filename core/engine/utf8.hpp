// SPDX-License-Identifier: BSD-3-Clause
// Characters of UTF-8 (RFC 3629).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace caisson::engine {

struct Character {
  char32_t code = 0;
  size_t bytes = 0;  // 0: this is no UTF-8
};

// Of a text that is not empty.
Character first_character(std::string_view text);

void append_utf8(std::string& out, char32_t code);

bool is_utf8(std::string_view text);

}  // namespace caisson::engine
