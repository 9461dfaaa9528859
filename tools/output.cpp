// SPDX-License-Identifier: BSD-3-Clause
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdio>

#include "tools/command.hpp"
#include "tools/files.hpp"

namespace caisson::tools {

namespace {

std::string scaled(double value, double base, std::initializer_list<const char*> units) {
  auto unit = units.begin();
  while (value >= base && unit + 1 != units.end()) {
    value /= base;
    ++unit;
  }
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(),
                value < 10    ? "%.2f%s"
                : value < 100 ? "%.1f%s"
                              : "%.0f%s",
                value, *unit);
  return text.data();
}

constexpr auto kProgressPeriod = std::chrono::milliseconds(200);

}  // namespace

void print_json(const Json& object) {
  const std::string text =
      object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
  (void)finish_output();
}

Result<void> finish_output() {
  static int lost = 0;  // why, as it was first seen
  errno = 0;
  if ((std::fflush(stdout) != 0 || std::ferror(stdout) != 0) && lost == 0) {
    lost = errno == 0 ? EIO : errno;
  }
  if (lost == 0) return {};
  return tl::unexpected(system_error("standard output cannot be written", lost));
}

Json error_object(const Error& error) {
  return Json{{"ok", false},
              {"error", {{"code", name(error.code)}, {"message", error.message}}},
              {"exit_code", static_cast<int>(exit_of(error.code))}};
}

Exit report(const Error& error, bool json) {
  if (json) print_json(error_object(error));
  std::fprintf(stderr, "caisson: %s\n", error.message.c_str());
  return exit_of(error.code);
}

Exit report_usage(const std::string& message, bool json) {
  if (json) {
    print_json({{"ok", false},
                {"error", {{"code", "usage"}, {"message", message}}},
                {"exit_code", static_cast<int>(Exit::usage)}});
  }
  std::fprintf(stderr, "caisson: %s\n", message.c_str());
  return Exit::usage;
}

std::string human_bytes(double bytes) {
  return scaled(bytes, 1024, {" B", " KiB", " MiB", " GiB", " TiB"});
}
std::string human_ns(double ns) { return scaled(ns, 1000, {" ns", " us", " ms", " s"}); }
std::string human_count(double count) { return scaled(count, 1000, {"", " k", " M", " G"}); }

Result<uint64_t> parse_bytes(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto bad = [&] {
    return fail(Code::invalid, "'" + std::string(text) +
                                   "' is not a size: write bytes, or a number with KiB, MiB, GiB, "
                                   "TiB, KB, MB or GB");
  };
  if (error != std::errc() || end == text.data()) return bad();
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  struct Unit {
    std::string_view name;
    uint64_t factor;
  };
  static constexpr std::array kUnits = {Unit{"", 1},
                                        Unit{"B", 1},
                                        Unit{"KiB", uint64_t{1} << 10},
                                        Unit{"MiB", uint64_t{1} << 20},
                                        Unit{"GiB", uint64_t{1} << 30},
                                        Unit{"TiB", uint64_t{1} << 40},
                                        Unit{"K", uint64_t{1} << 10},
                                        Unit{"M", uint64_t{1} << 20},
                                        Unit{"G", uint64_t{1} << 30},
                                        Unit{"KB", 1'000},
                                        Unit{"MB", 1'000'000},
                                        Unit{"GB", 1'000'000'000}};
  for (const Unit& candidate : kUnits) {
    if (candidate.name.size() != unit.size()) continue;
    bool equal = true;
    for (size_t i = 0; i < unit.size(); ++i) {
      equal = equal && std::tolower(static_cast<unsigned char>(unit[i])) ==
                           std::tolower(static_cast<unsigned char>(candidate.name[i]));
    }
    if (!equal) continue;
    if (number > UINT64_MAX / candidate.factor) return bad();
    return number * candidate.factor;
  }
  return bad();
}

CLI::Option* add_bytes(CLI::App* command, const std::string& name, uint64_t& bytes,
                       const std::string& description) {
  return command
      ->add_option_function<std::string>(
          name,
          [&bytes, name](const std::string& text) {
            const auto parsed = parse_bytes(text);
            if (!parsed) throw CLI::ValidationError(name, parsed.error().message);
            bytes = *parsed;
          },
          description)
      ->type_name("BYTES");
}

Progress::Progress(bool quiet) : enabled_(!quiet && isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { clear(); }

bool Progress::due() {
  if (!enabled_) return false;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return false;
  next_ = now + kProgressPeriod;
  return true;
}

void Progress::show(const std::string& line) {
  if (!enabled_) return;
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
  shown_ = true;
}

void Progress::clear() {
  if (!shown_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  shown_ = false;
}

}  // namespace caisson::tools
