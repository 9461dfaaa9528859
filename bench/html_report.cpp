// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "bench/append_run.hpp"
#include "tools/command.hpp"

namespace caisson::bench {

namespace {

struct Bar {
  std::string label;
  double value;
  bool engine;
};

struct Line {
  std::string label;
  Percentiles p;
  bool engine;
};

std::string escaped(const std::string& text) {
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

// Horizontal bars, the longest as wide as the page allows.
std::string bars(const std::vector<Bar>& rows, const std::string& unit) {
  constexpr int kRow = 30, kLabel = 240, kWide = 480;
  double longest = 0;
  for (const Bar& row : rows) longest = std::max(longest, row.value);
  std::ostringstream svg;
  svg << "<svg viewBox='0 0 900 " << rows.size() * kRow << "' role='img'>";
  int y = 0;
  for (const Bar& row : rows) {
    const double width = longest > 0 ? row.value / longest * kWide : 0;
    svg << "<text x='" << kLabel - 8 << "' y='" << y + 20 << "' text-anchor='end'>"
        << escaped(row.label) << "</text><rect class='" << (row.engine ? "engine" : "floor")
        << "' x='" << kLabel << "' y='" << y + 6 << "' width='" << width
        << "' height='18'/><text x='" << kLabel + width + 6 << "' y='" << y + 20 << "'>"
        << tools::human_count(row.value) << unit << "</text>";
    y += kRow;
  }
  svg << "</svg>";
  return svg.str();
}

std::string latency_table(const std::vector<Line>& lines) {
  std::ostringstream html;
  html << "<table><tr><th></th><th>min</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</"
          "th><th>max</th>"
          "<th>samples</th></tr>";
  for (const Line& line : lines) {
    html << "<tr class='" << (line.engine ? "engine" : "") << "'><td>" << escaped(line.label)
         << "</td>";
    for (const double ns : {line.p.min_ns, line.p.p50_ns, line.p.p90_ns, line.p.p99_ns,
                            line.p.p999_ns, line.p.max_ns}) {
      html << "<td>" << tools::human_ns(ns) << "</td>";
    }
    html << "<td>" << line.p.count << "</td></tr>";
  }
  html << "</table>";
  return html.str();
}

constexpr char kStyle[] =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1c2733;background:#fff}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.25rem .5rem;text-align:right;"
    "border-bottom:1px solid #d5dde5}td:first-child,th:first-child{text-align:left}"
    "tr.engine td{font-weight:600}svg{width:100%}svg text{font:13px "
    "system-ui,sans-serif;fill:#1c2733}"
    "rect.engine{fill:#1f6f8b}rect.floor{fill:#b8c4ce}p.note{color:#55626e}"
    "@media(prefers-color-scheme:dark){body{background:#12181e;color:#e3e9ee}svg text{fill:#e3e9ee}"
    "td,th{border-color:#2c3742}rect.engine{fill:#4fb3d0}rect.floor{fill:#55626e}p.note{color:#"
    "9aa7b3}}";

}  // namespace

std::string to_html(const AppendRunResult& result) {
  const AppendRunOptions& options = result.options;
  std::vector<Line> lines{{"caisson", result.engine, true}};
  std::vector<Bar> medians{{"caisson", result.engine.p50_ns, true}};
  std::vector<Bar> rates{{"caisson", result.appends_per_s(), true}};
  for (const FloorVariant& variant : result.floor) {
    const Percentiles p = variant.samples.percentiles();
    lines.push_back({"floor: " + variant.name, p, false});
    medians.push_back({"floor: " + variant.name, p.p50_ns, false});
    rates.push_back({"floor: " + variant.name, variant.entries_per_s(), false});
  }
  const Percentiles floor = result.floor[result.floor_latency].samples.percentiles();
  std::array<char, 160> ratios{};
  std::snprintf(ratios.data(), ratios.size(), "p50 %.2fx, p99 %.2fx, goodput %.0f %%",
                floor.p50_ns > 0 ? result.engine.p50_ns / floor.p50_ns : 0,
                floor.p99_ns > 0 ? result.engine.p99_ns / floor.p99_ns : 0,
                result.floor_goodput() > 0 ? 100 * result.goodput() / result.floor_goodput() : 0);
  std::ostringstream html;
  html << "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' "
          "content='width=device-width'><title>caisson bench append</title><style>"
       << kStyle << "</style><h1>caisson bench append</h1><p>" << options.payload_bytes
       << " B payload, " << options.replicas << " replicas, " << options.inflight << " outstanding"
       << (options.batch > 1 ? " in batches of " + std::to_string(options.batch) : "") << ", "
       << name(options.durability) << ", rings of "
       << tools::human_bytes(static_cast<double>(options.ring_bytes)) << ", persistence "
       << result.persistence << ", on " << escaped(processor_name())
       << "</p><p><b>Against the floor: " << ratios.data() << "</b></p><h2>Median latency (ns)</h2>"
       << bars(medians, " ns") << "<h2>Appends a second</h2>" << bars(rates, "/s")
       << "<h2>Latency</h2>" << latency_table(lines) << "<p class='note'>"
       << result.verified_entries << " entries validated and delivered by every "
       << "follower over " << std::lround(result.laps)
       << " laps of the ring. Raw samples: " << escaped(options.samples.string())
       << "</p></html>\n";
  return html.str();
}

}  // namespace caisson::bench
