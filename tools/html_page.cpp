// SPDX-License-Identifier: BSD-3-Clause
#include "tools/html_page.hpp"

#include <algorithm>
#include <sstream>

namespace caisson::tools {

namespace {

constexpr char kStyle[] =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1c2733;background:#fff}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.25rem .5rem;text-align:right;"
    "border-bottom:1px solid #d5dde5}td:first-child,th:first-child{text-align:left}"
    "tr.engine td{font-weight:600}svg{width:100%}svg text{font:13px "
    "system-ui,sans-serif;fill:#1c2733}"
    "rect.bright{fill:#1f6f8b}rect.pale{fill:#b8c4ce}p.note{color:#55626e}"
    "@media(prefers-color-scheme:dark){body{background:#12181e;color:#e3e9ee}svg text{fill:#e3e9ee}"
    "td,th{border-color:#2c3742}rect.bright{fill:#4fb3d0}rect.pale{fill:#55626e}p.note{color:#"
    "9aa7b3}}";

}  // namespace

std::string html_escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string html_head(const std::string& title) {
  const std::string text = html_escaped(title);
  return "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' "
         "content='width=device-width'><title>" +
         text + "</title><style>" + kStyle + "</style><h1>" + text + "</h1>";
}

std::string html_bars(const std::vector<Bar>& rows, double full) {
  constexpr int kRow = 30, kLabel = 240, kWide = 480;
  double longest = full;
  if (full == 0) {
    for (const Bar& row : rows) longest = std::max(longest, row.value);
  }
  std::ostringstream svg;
  svg << "<svg viewBox='0 0 900 " << rows.size() * kRow << "' role='img'>";
  int y = 0;
  for (const Bar& row : rows) {
    const double width = longest > 0 ? row.value / longest * kWide : 0;
    svg << "<text x='" << kLabel - 8 << "' y='" << y + 20 << "' text-anchor='end'>"
        << html_escaped(row.label) << "</text><rect class='" << (row.bright ? "bright" : "pale")
        << "' x='" << kLabel << "' y='" << y + 6 << "' width='" << width
        << "' height='18'/><text x='" << kLabel + width + 6 << "' y='" << y + 20 << "'>"
        << html_escaped(row.text) << "</text>";
    y += kRow;
  }
  svg << "</svg>";
  return svg.str();
}

}  // namespace caisson::tools
