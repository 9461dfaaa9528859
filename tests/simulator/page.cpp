// SPDX-License-Identifier: BSD-3-Clause
#include "tests/simulator/page.hpp"

#include <array>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

#include "tools/command.hpp"
#include "tools/html_page.hpp"

namespace caisson::simtest {

namespace {

using tools::html_escaped;

constexpr const char* kWatched = "/core/";

double percent(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

std::string of(uint64_t part, uint64_t whole) {
  std::array<char, 80> text{};
  std::snprintf(text.data(), text.size(), "%.1f %% of %llu", percent(part, whole),
                static_cast<unsigned long long>(whole));
  return text.data();
}

// "…/core/log/ring.cpp": "core/log".
std::string folder_of(const std::string& path) {
  const size_t from = path.rfind(kWatched) + 1;
  return path.substr(from, path.rfind('/') - from);
}

std::string fault_bars(const Totals& t) {
  std::vector<tools::Bar> rows;
  for (size_t i = 0; i < t.by_class.size(); ++i) {
    const auto count = static_cast<double>(t.by_class[i]);
    rows.push_back({std::string(name(static_cast<Fault>(i))), count, tools::human_count(count)});
  }
  return tools::html_bars(rows);
}

std::string coverage_bars(const Coverage& coverage) {
  if (coverage.rows.empty()) return "<p class='note'>Not measured in this run.</p>";
  std::vector<tools::Bar> rows;
  for (const Coverage::Row& row : coverage.rows) {
    rows.push_back({row.folder + ", lines", percent(row.lines_run, row.lines),
                    of(row.lines_run, row.lines), true});
    rows.push_back({row.folder + ", branches", percent(row.branches_run, row.branches),
                    of(row.branches_run, row.branches), false});
  }
  return tools::html_bars(rows, 100);
}

std::string failure_table(const Summary& s) {
  if (s.failures.empty()) return "<p>No seed failed.</p>";
  std::ostringstream html;
  html << "<table><tr><th>seed</th><th>what broke</th><th>again</th></tr>";
  for (const Failure& failure : s.failures) {
    html << "<tr><td>" << failure.seed << "</td><td>";
    for (const Violation& v : failure.violations) {
      html << html_escaped(v.invariant + ": " + v.what) << "<br>";
    }
    html << "</td><td>" << html_escaped(again(failure)) << "</td></tr>";
  }
  html << "</table>";
  return html.str();
}

std::string totals_table(const Totals& t) {
  const std::array<std::pair<const char*, uint64_t>, 12> rows = {
      {{"entries committed", t.committed},
       {"appends acknowledged", t.acknowledged},
       {"linearizable reads answered", t.reads},
       {"apologies", t.apologies},
       {"failovers", t.failovers},
       {"power cuts", t.power_cuts},
       {"process deaths", t.deaths},
       {"… inside a step of their own code", t.died_inside},
       {"views", t.views},
       {"standbys that took over", t.takeovers},
       {"lines that landed", t.lines},
       {"seeds that ended without a sound quorum", t.quorums_damaged}}};
  std::ostringstream html;
  html << "<table>";
  for (const auto& [what, count] : rows) {
    html << "<tr><td>" << what << "</td><td>" << count << "</td></tr>";
  }
  html << "</table>";
  return html.str();
}

}  // namespace

Result<Coverage> coverage_of(const std::string& file) {
  std::ifstream in(file);
  if (!in) return fail(Code::not_found, file + ": there is no such file");
  std::map<std::string, Coverage::Row> folders;
  Coverage::Row all{"core"};
  try {
    const Json json = Json::parse(in);
    for (const Json& each : json.at("data").at(0).at("files")) {
      const std::string path = each.at("filename");
      if (path.find(kWatched) == std::string::npos) continue;
      Coverage::Row& row = folders[folder_of(path)];
      row.folder = folder_of(path);
      const Json& summary = each.at("summary");
      for (Coverage::Row* sum : {&row, &all}) {
        sum->lines += summary.at("lines").at("count").get<uint64_t>();
        sum->lines_run += summary.at("lines").at("covered").get<uint64_t>();
        sum->branches += summary.at("branches").at("count").get<uint64_t>();
        sum->branches_run += summary.at("branches").at("covered").get<uint64_t>();
      }
    }
  } catch (const std::exception& error) {
    return fail(Code::invalid, file + ": not what llvm-cov exports: " + error.what());
  }
  Coverage coverage;
  for (auto& [folder, row] : folders) coverage.rows.push_back(std::move(row));
  coverage.rows.push_back(std::move(all));
  return coverage;
}

std::string to_html(const Summary& s, const Coverage& coverage) {
  const Totals& t = s.totals;
  const double seeds = static_cast<double>(std::max<uint64_t>(t.seeds, 1));
  std::array<char, 320> facts{};
  std::snprintf(facts.data(), facts.size(),
                "%llu seeds in %.0f s, %.0f a minute; %.0f events and %.1f faults a seed; %.2f "
                "hours of clusters' time; after the faults served again within %.1f ms; build %s",
                static_cast<unsigned long long>(t.seeds), s.seconds,
                s.seconds > 0 ? seeds * 60 / s.seconds : 0, static_cast<double>(t.events) / seeds,
                static_cast<double>(t.faults) / seeds, static_cast<double>(t.virtual_ns) / 3.6e12,
                static_cast<double>(t.recovery_ns_max) / 1e6, build().c_str());
  std::ostringstream html;
  html << tools::html_head("caisson: a campaign of the simulator") << "<p>" << facts.data()
       << "</p><h2>Failures</h2>" << failure_table(s) << "<h2>Faults that struck</h2>"
       << fault_bars(t) << "<h2>What happened besides</h2>" << totals_table(t)
       << "<h2>How much of the engine its tests run</h2>" << coverage_bars(coverage)
       << "<p class='note'>Seeds " << s.options.first << " to " << s.options.last
       << ", traces together " << hex(s.trace) << ".</p></html>\n";
  return html.str();
}

}  // namespace caisson::simtest
