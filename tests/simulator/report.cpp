// SPDX-License-Identifier: BSD-3-Clause
#include "tests/simulator/report.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>

#include "tests/sim/schedule_json.hpp"

namespace caisson::simtest {

namespace {

std::string_view name(Ending ending) {
  for (const EndingRow& row : kEndings) {
    if (row.ending == ending) return row.name;
  }
  return "failure";
}

double per(double sum, double of) { return of == 0 ? 0 : sum / of; }

void print_faults(const Totals& t) {
  std::printf("faults       %s, %.1f a seed\n", std::to_string(t.faults).c_str(),
              per(static_cast<double>(t.faults), static_cast<double>(t.seeds)));
  for (size_t i = 0; i < kFaults; i += 3) {
    std::printf("            ");
    for (size_t j = i; j < std::min(i + 3, kFaults); ++j) {
      std::printf(" %-17s %8llu", std::string(simtest::name(static_cast<Fault>(j))).c_str(),
                  static_cast<unsigned long long>(t.by_class[j]));
    }
    std::printf("\n");
  }
}

void print_failure(const Failure& failure, const Options& options) {
  const std::string of = options.schedule_file.empty() ? "seed " + std::to_string(failure.seed)
                                                       : options.schedule_file;
  for (const Violation& v : failure.violations) {
    std::printf("%s: %s: %s\n", of.c_str(), v.invariant.c_str(), v.what.c_str());
  }
  std::printf("  build %s, trace %s\n", build().c_str(), hex(failure.trace).c_str());
  if (options.schedule_file.empty()) std::printf("  again: %s\n", again(failure).c_str());
}

}  // namespace

Ending ending_of(const Verdict& verdict) {
  if (verdict.sound()) return Ending::ok;
  return verdict.only_stuck() ? Ending::stuck : Ending::violated;
}

Ending Summary::ending() const {
  if (options.canary != Canary::none) return unreported == 0 ? Ending::ok : Ending::missed;
  Ending worst = Ending::ok;
  // A broken invariant says more than a crash, and a crash more than silence.
  const auto rank = [](Ending e) {
    return e == Ending::violated ? 3 : e == Ending::failure ? 2 : e == Ending::stuck ? 1 : 0;
  };
  for (const Failure& f : failures) {
    if (rank(f.kind) > rank(worst)) worst = f.kind;
  }
  return worst;
}

std::string hex(uint64_t word) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(word));
  return text.data();
}

std::string build() {
  static const std::string id = [] {
    std::ifstream self("/proc/self/exe", std::ios::binary);
    uint64_t digest = 0xcbf29ce484222325u;
    std::array<char, 65536> piece;
    while (self.read(piece.data(), piece.size()) || self.gcount() > 0) {
      const auto bytes = static_cast<size_t>(self.gcount());
      const auto words = std::as_bytes(std::span(piece.data(), bytes));
      digest = (digest ^ digest_of(words)) * 0x100000001b3u;
    }
    return hex(digest);
  }();
  return id;
}

std::string again(const Failure& failure) {
  return "caisson-sim --replay " + std::to_string(failure.seed) +
         " --trace; smaller: caisson-sim --shrink " + std::to_string(failure.seed);
}

Json to_json(const Totals& t) {
  const auto seeds = static_cast<double>(t.seeds);
  Json faults = Json::object();
  for (size_t i = 0; i < kFaults; ++i) {
    faults[std::string(name(static_cast<Fault>(i)))] = t.by_class[i];
  }
  return {{"seeds", t.seeds},
          {"events", t.events},
          {"events_least", t.events_least},
          {"events_per_seed", per(static_cast<double>(t.events), seeds)},
          {"faults", t.faults},
          {"faults_least", t.faults_least},
          {"faults_per_seed", per(static_cast<double>(t.faults), seeds)},
          {"faults_by_class", faults},
          {"cluster_hours", static_cast<double>(t.virtual_ns) / 3.6e12},
          {"failovers", t.failovers},
          {"power_cuts", t.power_cuts},
          {"process_deaths", t.deaths},
          {"deaths_inside_a_step", t.died_inside},
          {"views", t.views},
          {"takeovers", t.takeovers},
          {"committed", t.committed},
          {"acknowledged", t.acknowledged},
          {"reads", t.reads},
          {"apologies", t.apologies},
          {"quorums_damaged", t.quorums_damaged},
          {"recovery_ns_max", t.recovery_ns_max},
          {"links",
           {{"messages", t.messages},
            {"lost", t.messages_lost},
            {"twice", t.messages_twice},
            {"late", t.messages_late + t.late},
            {"clogged", t.messages_clogged},
            {"lines", t.lines},
            {"lines_scattered", t.lines_scattered},
            {"lines_again", t.lines_again},
            {"lines_dropped", t.lines_dropped},
            {"lines_refused", t.lines_refused},
            {"lines_from_dead", t.lines_from_dead}}}};
}

Json to_json(const Failure& failure) {
  Json json{{"seed", failure.seed},
            {"kind", name(failure.kind)},
            {"trace", hex(failure.trace)},
            {"violations", Json::array()},
            {"again", again(failure)}};
  for (const Violation& v : failure.violations) {
    json["violations"].push_back({{"invariant", v.invariant}, {"what", v.what}});
  }
  return json;
}

void print(const Summary& s) {
  const Totals& t = s.totals;
  const double rate = per(static_cast<double>(t.seeds) * 60, s.seconds);
  if (s.options.json) {
    Json json{{"ok", s.ending() == Ending::ok}, {"build", build()},
              {"trace", hex(s.trace)},          {"seconds", s.seconds},
              {"jobs", s.options.jobs},         {"seeds_per_minute", rate}};
    json.update(to_json(t));
    if (s.options.canary != Canary::none) {
      json["canary"] = name(s.options.canary);
      json["unreported"] = s.unreported;
    }
    json["failures"] = Json::array();
    for (const Failure& f : s.failures) json["failures"].push_back(to_json(f));
    json["exit_code"] = static_cast<int>(s.ending());
    return print_json(json);
  }
  const auto u = [](uint64_t n) { return static_cast<unsigned long long>(n); };
  std::printf("seeds        %llu in %.1f s, %.0f a minute\n", u(t.seeds), s.seconds, rate);
  std::printf("events       %llu, %.0f a seed, at least %llu\n", u(t.events),
              per(static_cast<double>(t.events), static_cast<double>(t.seeds)), u(t.events_least));
  print_faults(t);
  std::printf(
      "links        %llu messages: %llu lost, %llu twice; %llu lines: %llu alone, %llu "
      "again, %llu dropped, %llu refused; %llu late, %llu clogged\n",
      u(t.messages), u(t.messages_lost), u(t.messages_twice), u(t.lines), u(t.lines_scattered),
      u(t.lines_again), u(t.lines_dropped), u(t.lines_refused), u(t.late + t.messages_late),
      u(t.messages_clogged));
  std::printf(
      "simulated    %.4f cluster-hours, %llu failovers, %llu power cuts, %llu deaths, %llu "
      "views, %llu takeovers\n",
      static_cast<double>(t.virtual_ns) / 3.6e12, u(t.failovers), u(t.power_cuts), u(t.deaths),
      u(t.views), u(t.takeovers));
  std::printf(
      "log          %llu committed, %llu acknowledged, %llu reads, %llu apologies; served "
      "again within %.1f ms\n",
      u(t.committed), u(t.acknowledged), u(t.reads), u(t.apologies),
      static_cast<double>(t.recovery_ns_max) / 1e6);
  if (t.quorums_damaged != 0) {
    std::printf("damaged      %llu seeds ended with too few sound voters to serve\n",
                u(t.quorums_damaged));
  }
  std::printf("trace        %s, build %s\n", hex(s.trace).c_str(), build().c_str());
  if (s.options.canary != Canary::none) {
    std::printf("canary       %s: %llu of %llu were not reported\n",
                std::string(name(s.options.canary)).c_str(), u(s.unreported), u(t.seeds));
    return;
  }
  for (const Failure& f : s.failures) print_failure(f, s.options);
  std::printf(s.failures.empty() ? "no seed failed\n" : "%llu failed\n", u(s.failures.size()));
}

void print_json(const Json& object) {
  const std::string text =
      object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
}

Ending report(Ending ending, const std::string& message, bool json) {
  if (json) {
    print_json({{"ok", false},
                {"error", {{"code", name(ending)}, {"message", message}}},
                {"exit_code", static_cast<int>(ending)}});
  }
  std::fprintf(stderr, "caisson-sim: %s\n", message.c_str());
  return ending;
}

}  // namespace caisson::simtest
