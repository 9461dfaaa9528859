// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "pmem/ab_slots.hpp"
#include "pmem/file_region.hpp"
#include "pmem/region_format.hpp"
#include "tools/files.hpp"
#include "tools/verify.hpp"

namespace caisson::tools {

namespace {

// As the engine names it: DATA/logs/NAME/region.
constexpr std::string_view kRegionName = "region";

}  // namespace

Result<std::filesystem::path> find_region_file(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    return fail(
        error && error != std::errc::no_such_file_or_directory ? Code::denied : Code::not_found,
        "'" + path.string() +
            "' does not exist, or may not be looked at; name a region file or "
            "the directory that holds it");
  }
  if (!fs::is_directory(status)) return path;
  std::vector<fs::path> found;
  fs::recursive_directory_iterator entries(path, fs::directory_options::skip_permission_denied,
                                           error);
  for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    if (entries->path().filename() == kRegionName) found.push_back(entries->path());
  }
  if (error) {
    return tl::unexpected(system_error("'" + path.string() + "' cannot be listed", error.value()));
  }
  if (found.empty()) {
    return fail(Code::amnesia, "'" + path.string() + "' holds no file named '" +
                                   std::string(kRegionName) + "': it was removed, or never there");
  }
  if (found.size() > 1) {
    std::string names;
    for (const fs::path& file : found) names += "\n  " + file.string();
    return fail(Code::invalid,
                "'" + path.string() + "' holds several region files; name one:" + names);
  }
  return found.front();
}

Result<std::unique_ptr<const pmem::Region>> open_offline(const std::filesystem::path& file) {
  auto region = pmem::FileRegion::open_read_only(file.string());
  if (!region) return tl::unexpected(region.error());
  return std::unique_ptr<const pmem::Region>(std::move(*region));
}

Result<std::array<SlotReport, 2>> examine_slots(const std::filesystem::path& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return tl::unexpected(system_error("'" + file.string() + "' cannot be read", errno));
  std::array<SlotReport, 2> reports;
  std::vector<std::byte> bytes(pmem::kSuperblockSlotBytes);
  for (size_t i = 0; i < reports.size(); ++i) {
    const auto at = static_cast<off_t>(pmem::kSuperblockAt + i * pmem::kSuperblockSlotBytes);
    const ssize_t n = pread(fd, bytes.data(), bytes.size(), at);
    if (n != static_cast<ssize_t>(bytes.size())) {
      reports[i].what = "the file ends before it";
      continue;
    }
    const auto slot = pmem::decode_slot(bytes, pmem::SlotKind::superblock);
    reports[i].valid = slot.has_value();
    if (slot) {
      reports[i].generation = slot->generation;
    } else {
      reports[i].what = slot.error().message;
    }
  }
  close(fd);
  return reports;
}

}  // namespace caisson::tools
