// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <sstream>

#include "bench/cluster_run.hpp"
#include "tools/command.hpp"
#include "tools/html_page.hpp"

namespace caisson::bench {

namespace {

using Json = ClusterRunResult;
using tools::Curve;
using tools::html_escaped;

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// What tells one curve from another, besides what is on the axis; only what differs anywhere.
class Names {
 public:
  explicit Names(const Json& points, const std::set<std::string>& without) {
    for (const char* key : {"replicas", "batch", "inflight", "durability", "numa"}) {
      std::set<std::string> values;
      for (const Json& point : points) values.insert(text_of(point[key]));
      if (values.size() > 1 && !without.contains(key)) keys_.emplace_back(key);
    }
  }
  std::string of(const Json& point) const {
    std::string name;
    for (const std::string& key : keys_) {
      name +=
          (name.empty() ? "" : ", ") + (key == "durability" ? "" : key + " ") + text_of(point[key]);
    }
    return name;
  }

 private:
  std::vector<std::string> keys_;
};

void add(std::map<std::string, Curve>& curves, const std::string& name, bool bright, double x,
         double y) {
  Curve& curve = curves[name];
  curve.label = name;
  curve.bright = bright;
  curve.points.emplace_back(x, y);
}

std::string drawn(const std::map<std::string, Curve>& by_name, const std::string& x,
                  const std::string& y, bool bytes, bool x_logarithmic = true) {
  std::vector<Curve> curves;
  for (const auto& [name, curve] : by_name) curves.push_back(curve);
  return tools::html_curves(curves, x, y, bytes, x_logarithmic);
}

std::string joined(const std::string& what, const std::string& name) {
  return name.empty() ? what : what + ": " + name;
}

// Median and 99th percentile against the size, one append at a time.
std::string latencies(const Json& result) {
  uint32_t least = UINT32_MAX;
  for (const Json& point : result["points"]) {
    least = std::min(least, point.value("inflight", UINT32_MAX));
  }
  const Names names(result["points"], {"inflight", "batch"});
  std::map<std::string, Curve> curves;
  for (const Json& point : result["points"]) {
    if (point.value("inflight", 0u) != least || point.value("batch", 0u) != 1) continue;
    const double bytes = point.value("bytes", 0.0);
    const std::string name = names.of(point);
    add(curves, joined("caisson p50", name), true, bytes, point["caisson"].value("p50_ns", 0.0));
    add(curves, joined("caisson p99", name), true, bytes, point["caisson"].value("p99_ns", 0.0));
    if (!point.contains("bare")) continue;
    add(curves, joined("bare loop p50", name), false, bytes, point["bare"].value("p50_ns", 0.0));
  }
  for (const Json& floor : result["perftest"]) {
    if (floor.contains("lat")) {
      add(curves, "ib_write_lat typical", false, floor.value("bytes", 0.0),
          floor["lat"].value("typical_ns", 0.0));
    }
  }
  return drawn(curves, "bytes of an entry", "nanoseconds", false);
}

// All percentiles of the smallest entry.
std::string distributions(const Json& result) {
  uint64_t least = UINT64_MAX;
  for (const Json& point : result["points"]) {
    least = std::min(least, point.value("bytes", UINT64_MAX));
  }
  const Names names(result["points"], {});
  std::map<std::string, Curve> curves;
  for (const Json& point : result["points"]) {
    if (point.value("bytes", uint64_t{0}) != least) continue;
    for (const char* which : {"caisson", "bare"}) {
      if (!point.contains(which)) continue;
      const Json& quantiles = point[which]["quantiles_ns"];
      const bool engine = std::string_view(which) == "caisson";
      const std::string name = joined(engine ? "caisson" : "bare loop", names.of(point));
      for (size_t i = 1; i < quantiles.size(); ++i) {
        add(curves, name, engine, 100.0 * static_cast<double>(i) / 200, quantiles[i].get<double>());
      }
    }
  }
  return drawn(curves, "percentile", "nanoseconds", false, false);
}

std::string goodputs(const Json& result) {
  const Names names(result["points"], {});
  std::map<std::string, Curve> curves;
  for (const Json& point : result["points"]) {
    add(curves, joined("caisson", names.of(point)), true, point.value("bytes", 0.0),
        point.value("wire_bytes_per_s", 0.0));
  }
  for (const Json& floor : result["perftest"]) {
    if (!floor.contains("bw_bytes_per_s")) continue;
    add(curves, "ib_write_bw, " + text_of(floor["replicas"]) + " replicas", false,
        floor.value("bytes", 0.0), floor.value("bw_bytes_per_s", 0.0));
  }
  return drawn(curves, "bytes of an entry", "payload bytes a second, to all followers", true);
}

std::string durabilities(const Json& result) {
  const Names names(result["points"], {"durability"});
  std::vector<tools::Bar> bars;
  std::set<std::string> levels;
  for (const Json& point : result["points"]) {
    levels.insert(point.value("durability", ""));
    const double p50 = point["caisson"].value("p50_ns", 0.0);
    bars.push_back({joined(point.value("durability", "") + ", " + text_of(point["bytes"]) + " B",
                           names.of(point)),
                    p50, tools::human_ns(p50), point.value("durability", "") == "persisted"});
  }
  if (levels.size() < 2) {
    return "<p class='note'>One level only: run with --durability replicated,persisted,all.</p>";
  }
  return tools::html_bars(bars);
}

std::string number(const Json& point, const char* key, double factor, const char* unit) {
  if (!point.contains(key)) return "<td></td>";
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f%s", point.value(key, 0.0) * factor, unit);
  return std::string("<td>") + text.data() + "</td>";
}

std::string table(const Json& result) {
  std::ostringstream html;
  html
      << "<table><tr><th>replicas</th><th>bytes</th><th>batch</th><th>outstanding</th><th>level</"
         "th>"
         "<th>NUMA</th><th>p50</th><th>p99</th><th>p99.9</th><th>entries/s</th><th>p50 of the bare "
         "loop</th><th>rate of the bare loop</th><th>of ib_write_bw</th></tr>";
  for (const Json& point : result["points"]) {
    const Json& engine = point["caisson"];
    html << "<tr><td>" << point["replicas"] << "</td><td>" << point["bytes"] << "</td><td>"
         << point["batch"] << "</td><td>" << point["inflight"] << "</td><td>"
         << html_escaped(text_of(point["durability"])) << "</td><td>"
         << html_escaped(text_of(point["numa"])) << "</td>";
    for (const char* key : {"p50_ns", "p99_ns", "p999_ns"}) {
      html << "<td>" << tools::human_ns(engine.value(key, 0.0)) << "</td>";
    }
    html << "<td>" << tools::human_count(engine.value("per_s", 0.0)) << "</td>"
         << number(point, "ratio_p50", 1, "x") << number(point, "ratio_rate", 100, " %")
         << number(point, "ratio_line", 100, " %") << "</tr>";
  }
  html << "</table>";
  return html.str();
}

std::string hosts_text(const Json& result) {
  std::ostringstream html;
  html << "<ul>";
  for (const Json& host : result["hosts"]) {
    html << "<li>" << html_escaped(text_of(host["name"])) << " at "
         << html_escaped(text_of(host["address"]));
    if (host["device"] != "") html << ", ring on " << html_escaped(text_of(host["device"]));
    html << "</li>";
  }
  html << "</ul>";
  for (const Json& leader : result["leaders"]) {
    html << "<p class='note'>" << leader["replicas"] << " replicas, NUMA "
         << text_of(leader["numa"]) << ": the leader's thread on core " << leader.value("core", -1)
         << " of node " << leader.value("core_numa_node", -1) << ", adapter "
         << html_escaped(leader.value("adapter", "none")) << " on node "
         << leader.value("adapter_numa_node", -1) << "; "
         << leader.value("acknowledged_while_stopped", uint64_t{0})
         << " appends acknowledged while every follower's process was stopped; made persistent by "
         << html_escaped(leader.value("persists_by", "store")) << " ("
         << html_escaped(leader.value("persistence", "")) << ")</p>";
  }
  for (const Json& floor : result["perftest"]) {
    if (floor.contains("why_not")) {
      html << "<p class='note'>perftest, " << floor["bytes"]
           << " bytes: not measured: " << html_escaped(text_of(floor["why_not"])) << "</p>";
    }
  }
  return html.str();
}

}  // namespace

std::string cluster_page(const ClusterRunResult& result) {
  std::ostringstream html;
  html << tools::html_head("caisson bench cluster") << "<p>caisson "
       << html_escaped(text_of(result["version"])) << ", fabric "
       << html_escaped(text_of(result["fabric"])) << ", persistence "
       << html_escaped(text_of(result["persistence"])) << ", rings of "
       << tools::human_bytes(result.value("ring_bytes", 0.0)) << "</p>" << hosts_text(result)
       << "<h2>Latency of an append</h2>" << latencies(result)
       << "<h2>Every percentile of the smallest entry</h2>" << distributions(result)
       << "<h2>Goodput against line rate</h2>" << goodputs(result)
       << "<h2>What durability costs (median)</h2>" << durabilities(result) << "<h2>All points</h2>"
       << table(result)
       << "<p class='note'>The bare loop posts a write of as many bytes as the entry takes, and "
          "what "
          "makes them persistent, to every follower, from the same process, in turns with the "
          "engine. Raw samples: "
       << html_escaped(text_of(result["samples_path"])) << "</p></html>\n";
  return html.str();
}

}  // namespace caisson::bench
