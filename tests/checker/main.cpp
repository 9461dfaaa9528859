// SPDX-License-Identifier: BSD-3-Clause
// caisson-check: judges histories and the images of replicas. It shares no code with what it
// judges.
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/checker/images.hpp"
#include "tests/checker/options.hpp"

namespace caisson::checker {

namespace {

using Json = nlohmann::ordered_json;

// What one judgement, or the sum of several, comes to.
struct Summary {
  uint64_t histories = 0;
  Counts counts;
  uint64_t positions = 0;
  std::vector<RegionFile> regions;
  std::vector<Violation> violations;
};

std::string place(const Where& where) {
  if (where.file == nullptr) return "";
  return *where.file + (where.line == 0 ? "" : ":" + std::to_string(where.line));
}

void add(Summary& summary, const Judge& judge, uint64_t histories) {
  const Counts& c = judge.counts();
  summary.histories += histories;
  summary.counts.operations += c.operations;
  summary.counts.acknowledged += c.acknowledged;
  summary.counts.delivered += c.delivered;
  summary.counts.reads += c.reads;
  summary.positions += judge.positions();
  const auto& found = judge.violations();
  summary.violations.insert(summary.violations.end(), found.begin(), found.end());
}

std::optional<Refusal> take_all(Histories& histories, Judge& judge) {
  Operation operation;
  Where where;
  while (histories.next(operation, where)) judge.take(operation, where);
  return histories.refusal();
}

Json to_json(const RegionFile& file) {
  const Image& image = file.image;
  return {{"file", file.name},
          {"replica", image.replica},
          {"first", image.trimmed + 1},
          {"committed", image.committed},
          {"verified", image.last()},
          {"ends_because", image.end},
          {"damaged_through", image.damaged_through}};
}

void print_json(const Summary& s, Ending ending) {
  Json object{{"ok", ending == Ending::ok},
              {"histories", s.histories},
              {"operations", s.counts.operations},
              {"acknowledged", s.counts.acknowledged},
              {"delivered", s.counts.delivered},
              {"reads", s.counts.reads},
              {"positions", s.positions},
              {"regions", Json::array()},
              {"judged", Json::array()},
              {"violations", Json::array()},
              {"exit_code", static_cast<int>(ending)}};
  for (const RegionFile& file : s.regions) object["regions"].push_back(to_json(file));
  for (const Rule& rule : kRules) object["judged"].push_back(rule.name);
  for (const Violation& v : s.violations) {
    object["violations"].push_back(
        {{"invariant", v.invariant}, {"what", v.what}, {"where", place(v.where)}});
  }
  std::printf("%s\n", object.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

void print(const Summary& s) {
  for (const Violation& v : s.violations) {
    std::printf("%s: %s: %s\n", place(v.where).c_str(), v.invariant.c_str(), v.what.c_str());
  }
  for (const RegionFile& file : s.regions) {
    const Image& image = file.image;
    std::printf("%s: replica %llu, positions %llu to %llu verify, committed through %llu; %s\n",
                file.name.c_str(), static_cast<unsigned long long>(image.replica),
                static_cast<unsigned long long>(image.trimmed + 1),
                static_cast<unsigned long long>(image.last()),
                static_cast<unsigned long long>(image.committed), image.end.c_str());
  }
  std::printf(
      "%llu operations, %llu acknowledged, %llu delivered, %llu reads, %llu positions: %s\n",
      static_cast<unsigned long long>(s.counts.operations),
      static_cast<unsigned long long>(s.counts.acknowledged),
      static_cast<unsigned long long>(s.counts.delivered),
      static_cast<unsigned long long>(s.counts.reads), static_cast<unsigned long long>(s.positions),
      s.violations.empty() ? "nothing broke" : "an invariant broke");
}

Ending refused(const Refusal& refusal, bool json) {
  const Ending ending = refusal.why == Refusal::Why::not_found ? Ending::not_found
                        : refusal.why == Refusal::Why::io      ? Ending::io
                                                               : Ending::invalid;
  return report(ending, refusal.what, json);
}

Ending run(const Options& options) {
  Summary summary;
  std::vector<RegionFile>& regions = summary.regions;
  for (const std::string& name : options.regions) {
    regions.emplace_back();
    if (const auto refusal = read_region(name, regions.back())) {
      return refused(*refusal, options.json);
    }
  }
  if (const auto refusal = belong_together(regions)) return refused(*refusal, options.json);
  std::vector<std::vector<std::string>> all{options.histories};
  if (options.each) {
    all.clear();
    for (const std::string& name : options.histories) all.push_back({name});
  }
  std::vector<std::unique_ptr<Histories>> open;  // whose names violations refer to
  for (const std::vector<std::string>& names : all) {
    open.push_back(std::make_unique<Histories>(names));
    Judge judge;
    if (const auto refusal = take_all(*open.back(), judge)) return refused(*refusal, options.json);
    show(regions, judge);
    judge.finish();
    judge_copies(regions, judge);
    add(summary, judge, names.size());
  }
  const Ending ending = summary.violations.empty() ? Ending::ok : Ending::violated;
  options.json ? print_json(summary, ending) : print(summary);
  return ending;
}

}  // namespace

}  // namespace caisson::checker

int main(int argc, char** argv) {
  using namespace caisson::checker;
  const Parsed parsed = parse(argc, argv);
  const Ending ending = parsed.ending ? *parsed.ending : run(parsed.options);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return static_cast<int>(report(Ending::io, "standard output cannot be written", false));
  }
  return static_cast<int>(ending);
}
