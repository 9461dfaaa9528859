// SPDX-License-Identifier: BSD-3-Clause
#include <cstdio>

#include "tools/command.hpp"
#include "tools/doctor.hpp"

namespace caisson::tools {

namespace {

struct DoctorOptions {
  std::string directory = "/dev/shm";
  bool strict = false;
};

std::string_view name(Finding::Level level) {
  switch (level) {
    case Finding::Level::ok: return "ok";
    case Finding::Level::note: return "note";
    case Finding::Level::warn: return "warn";
  }
  return "warn";
}

Exit run_doctor(const DoctorOptions& options, bool json) {
  std::error_code error;
  if (!std::filesystem::is_directory(options.directory, error)) {
    return report({Code::not_found, "'" + options.directory +
                                        "' is no directory: make it, or name another one with "
                                        "--dir"},
                  json);
  }
  const std::vector<Finding> findings = examine(options.directory);
  Json list = Json::array();
  uint64_t warnings = 0;
  for (const Finding& finding : findings) {
    if (finding.level == Finding::Level::warn) ++warnings;
    Json row{
        {"subject", finding.subject}, {"level", name(finding.level)}, {"found", finding.found}};
    if (!finding.cure.empty()) row["cure"] = finding.cure;
    list.push_back(row);
    if (json) continue;
    std::printf("%-4s  %s: %s\n", std::string(name(finding.level)).c_str(), finding.subject.c_str(),
                finding.found.c_str());
    if (!finding.cure.empty()) std::printf("      %s\n", finding.cure.c_str());
  }
  if (json) print_json({{"ok", true}, {"warnings", warnings}, {"findings", list}});
  return options.strict && warnings > 0 ? Exit::missed : Exit::ok;
}

}  // namespace

void add_doctor(Commands& commands) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* command =
      commands.add(commands.app, "doctor", "look at this machine, and say what to do",
                   "  caisson doctor\n"
                   "  caisson doctor --dir /mnt/pmem0 --json\n",
                   options, run_doctor);
  command->add_option("--dir", options->directory, "where regions would lie")
      ->capture_default_str();
  command->add_flag("--strict", options->strict, "a warning is a failure: exit code 24");
}

}  // namespace caisson::tools
