// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "bench/append_run.hpp"
#include "tools/command.hpp"
#include "tools/html_page.hpp"

namespace caisson::bench {

namespace {

using tools::Bar;
using tools::html_escaped;

struct Line {
  std::string label;
  Percentiles p;
  bool engine;
};

std::string latency_table(const std::vector<Line>& lines) {
  std::ostringstream html;
  html << "<table><tr><th></th><th>min</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</"
          "th><th>max</th>"
          "<th>samples</th></tr>";
  for (const Line& line : lines) {
    html << "<tr class='" << (line.engine ? "engine" : "") << "'><td>" << html_escaped(line.label)
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

}  // namespace

std::string to_html(const AppendRunResult& result) {
  const AppendRunOptions& options = result.options;
  std::vector<Line> lines{{"caisson", result.engine, true}};
  const auto bar = [](const std::string& label, double value, const char* unit, bool engine) {
    return Bar{label, value, tools::human_count(value) + unit, engine};
  };
  std::vector<Bar> medians{bar("caisson", result.engine.p50_ns, " ns", true)};
  std::vector<Bar> rates{bar("caisson", result.appends_per_s(), "/s", true)};
  for (const FloorVariant& variant : result.floor) {
    const Percentiles p = variant.samples.percentiles();
    lines.push_back({"floor: " + variant.name, p, false});
    medians.push_back(bar("floor: " + variant.name, p.p50_ns, " ns", false));
    rates.push_back(bar("floor: " + variant.name, variant.entries_per_s(), "/s", false));
  }
  const Percentiles floor = result.floor[result.floor_latency].samples.percentiles();
  std::array<char, 160> ratios{};
  std::snprintf(ratios.data(), ratios.size(), "p50 %.2fx, p99 %.2fx, goodput %.0f %%",
                floor.p50_ns > 0 ? result.engine.p50_ns / floor.p50_ns : 0,
                floor.p99_ns > 0 ? result.engine.p99_ns / floor.p99_ns : 0,
                result.floor_goodput() > 0 ? 100 * result.goodput() / result.floor_goodput() : 0);
  std::ostringstream html;
  html << tools::html_head("caisson bench append") << "<p>" << options.payload_bytes
       << " B payload, " << options.replicas << " replicas, " << options.inflight << " outstanding"
       << (options.batch > 1 ? " in batches of " + std::to_string(options.batch) : "") << ", "
       << name(options.durability) << ", rings of "
       << tools::human_bytes(static_cast<double>(options.ring_bytes)) << ", persistence "
       << result.persistence << ", on " << html_escaped(processor_name())
       << "</p><p><b>Against the floor: " << ratios.data() << "</b></p><h2>Median latency (ns)</h2>"
       << tools::html_bars(medians) << "<h2>Appends a second</h2>" << tools::html_bars(rates)
       << "<h2>Latency</h2>" << latency_table(lines) << "<p class='note'>"
       << result.verified_entries << " entries validated and delivered by every "
       << "follower over " << std::lround(result.laps)
       << " laps of the ring. Raw samples: " << html_escaped(options.samples.string())
       << "</p></html>\n";
  return html.str();
}

}  // namespace caisson::bench
