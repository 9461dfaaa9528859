// SPDX-License-Identifier: BSD-3-Clause
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "tools/command.hpp"
#include "tools/doctor.hpp"
#include "tools/files.hpp"

namespace caisson::tools {

namespace {

using Level = Finding::Level;

// Three replicas of one log with the default ring, each with its salvage area.
constexpr uint64_t kRoomWanted = 3ull * 2 * (64ull << 20);
constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;
constexpr uint64_t kMapsWanted =
    65530;  // the kernel's default; a re-homed ring takes one per segment

std::string first_line(const std::filesystem::path& path) {
  const auto text = read_text(path);
  return text ? text->substr(0, text->find('\n')) : std::string();
}

uint64_t number_in(const std::filesystem::path& path) {
  const std::string text = first_line(path);
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// The choice in brackets of "always [madvise] never".
std::string chosen(const std::string& text) {
  const size_t open = text.find('[');
  const size_t close = text.find(']');
  if (open == std::string::npos || close == std::string::npos) return text;
  return text.substr(open + 1, close - open - 1);
}

struct Mount {
  std::string point;
  std::string type;
  std::string options;  // ",rw,size=8m,"
};

std::vector<Mount> mounts() {
  std::vector<Mount> found;
  std::ifstream list("/proc/self/mounts");
  for (std::string line; std::getline(list, line);) {
    std::istringstream fields(line);
    std::string device;
    Mount mount;
    fields >> device >> mount.point >> mount.type >> mount.options;
    mount.options = "," + mount.options + ",";
    found.push_back(mount);
  }
  return found;
}

// Where the directory lies: the longest mount point above it, of equal ones the last, which hides
// the others.
Mount mount_of(const std::filesystem::path& directory) {
  std::error_code error;
  const std::string path = std::filesystem::canonical(directory, error).string() + "/";
  Mount best;
  for (const Mount& mount : mounts()) {
    const std::string point = mount.point == "/" ? "/" : mount.point + "/";
    if (path.starts_with(point) && mount.point.size() >= best.point.size()) best = mount;
  }
  return best;
}

void examine_huge_pages(std::vector<Finding>& findings, const std::filesystem::path& directory) {
  findings.push_back({"huge pages", Level::ok,
                      std::to_string(number_in("/proc/sys/vm/nr_hugepages")) +
                          " reserved; the fabric shm needs none",
                      ""});
  // /sys/…/shmem_enabled governs the kernel's own mount; others follow their mount's option, if
  // that file does not overrule it.
  const Mount mount = mount_of(directory);
  if (mount.type != "tmpfs") return;
  const std::string forced =
      chosen(first_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled"));
  const size_t at = mount.options.find(",huge=");
  std::string huge = "never";
  if (at != std::string::npos) {
    const size_t from = at + std::string_view(",huge=").size();
    huge = mount.options.substr(from, mount.options.find(',', from) - from);
  }
  const bool denied = forced.empty() || forced == "deny";
  const bool on = !denied && (huge != "never" || forced == "force");
  findings.push_back(
      {"transparent huge pages of " + mount.point, on ? Level::ok : Level::note,
       forced.empty() ? "not offered by this kernel"
       : denied       ? "denied by /sys/kernel/mm/transparent_hugepage/shmem_enabled"
                      : "huge=" + huge,
       on || denied ? ""
                    : "large rings miss the TLB less with: mount -o remount,huge=within_size " +
                          mount.point});
}

void examine_room(std::vector<Finding>& findings, const std::filesystem::path& directory) {
  if (access(directory.c_str(), W_OK | X_OK) != 0) {
    findings.push_back({"rights in " + directory.string(), Level::warn, "no right to write there",
                        "give this user the right, or name another directory with --dir"});
  }
  struct statvfs room {};
  if (statvfs(directory.c_str(), &room) != 0) {
    findings.push_back({"room in " + directory.string(), Level::warn, "cannot be looked at",
                        "name a directory that exists with --dir"});
    return;
  }
  const uint64_t free_bytes = uint64_t{room.f_bavail} * room.f_frsize;
  const bool enough = free_bytes >= kRoomWanted;
  findings.push_back({"room in " + directory.string(), enough ? Level::ok : Level::warn,
                      human_bytes(static_cast<double>(free_bytes)) + " free",
                      enough ? ""
                             : "three replicas with 64 MiB rings take " +
                                   human_bytes(static_cast<double>(kRoomWanted)) +
                                   ": make room, or give a smaller --ring-bytes"});
}

struct Medium {
  std::string name;
  bool keeps = false;  // outlives a reboot
};

Medium medium_of(const std::filesystem::path& directory) {
  struct statfs info {};
  if (statfs(directory.c_str(), &info) != 0) return {"unknown", false};
  switch (static_cast<uint64_t>(info.f_type)) {
    case TMPFS_MAGIC: return {"tmpfs", false};
    case EXT4_SUPER_MAGIC: return {"ext4", true};
    case XFS_SUPER_MAGIC: return {"xfs", true};
    case BTRFS_SUPER_MAGIC: return {"btrfs", true};
    case OVERLAYFS_SUPER_MAGIC: return {"overlayfs", true};
    default: return {"another file system", true};
  }
}

// Mount points with DAX, from the kernel's own list.
std::vector<std::string> dax_mounts() {
  std::vector<std::string> points;
  for (const Mount& mount : mounts()) {
    if (mount.options.find(",dax,") != std::string::npos ||
        mount.options.find(",dax=always,") != std::string::npos) {
      points.push_back(mount.point);
    }
  }
  return points;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::vector<std::string> entries_of(const std::filesystem::path& folder,
                                    const std::string& prefix) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string found = entry.path().filename().string();
    if (found.starts_with(prefix)) names.push_back(found);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void examine_domain(std::vector<Finding>& findings) {
  const std::filesystem::path nd = "/sys/bus/nd/devices";
  const std::vector<std::string> regions = entries_of(nd, "region");
  if (regions.empty()) {
    findings.push_back(
        {"persistence domain", Level::warn, "no persistent memory (no /sys/bus/nd regions)",
         "regions here survive the death of every process, not the loss of power: "
         "configure persistence = \"emulated\", or add an NVDIMM and see hw-setup.md"});
    return;
  }
  std::vector<std::string> domains;
  bool flushed = true;
  for (const std::string& region : regions) {
    const std::string domain = first_line(nd / region / "persistence_domain");
    const char* const means = domain == "memory_controller"
                                  ? " (ADR: what was flushed from the caches survives)"
                              : domain == "cpu_cache" ? " (eADR: caches survive, too)"
                                                      : "";
    domains.push_back(region + ": " + (domain.empty() ? "unknown" : domain) + means);
    flushed = flushed && (domain == "memory_controller" || domain == "cpu_cache");
  }
  findings.push_back({"persistence domain", flushed ? Level::ok : Level::warn, joined(domains),
                      flushed ? ""
                              : "the platform does not say what a loss of power keeps: "
                                "persistence = \"real\" takes it for ADR, as libpmem does; ask "
                                "its maker, or cut the power under load"});
}

void examine_devices(std::vector<Finding>& findings) {
  const std::vector<std::string> devices = entries_of("/dev", "dax");
  if (devices.empty()) {
    findings.push_back({"device DAX", Level::note, "none",
                        "RDMA onto persistent memory needs it: ndctl create-namespace -m devdax"});
  }
  for (const std::string& device : devices) {
    const std::filesystem::path about = std::filesystem::path("/sys/bus/dax/devices") / device;
    const uint64_t align = number_in(about / "align");
    const std::string node = first_line(about / "numa_node");
    const bool large = align >= kHugePageBytes;
    const bool writable = access(("/dev/" + device).c_str(), R_OK | W_OK) == 0;
    findings.push_back(
        {"device DAX " + device, large && writable ? Level::ok : Level::warn,
         human_bytes(static_cast<double>(number_in(about / "size"))) + ", aligned to " +
             (align == 0 ? "an unknown size" : human_bytes(static_cast<double>(align))) +
             (node.empty() || node[0] == '-' ? "" : ", NUMA node " + node) +
             (writable ? "" : ", not writable by this user"),
         !writable ? "chmod 660, and chgrp to the group of the node (a udev rule keeps it so)"
         : large   ? ""
                   : "small pages miss the TLB: ndctl create-namespace -f -e NAMESPACE -m devdax "
                     "--align=2M"});
  }
}

}  // namespace

void examine_memory(std::vector<Finding>& findings, const std::filesystem::path& directory) {
  examine_huge_pages(findings, directory);
  rlimit lock{};
  getrlimit(RLIMIT_MEMLOCK, &lock);
  const bool unlimited = lock.rlim_cur == RLIM_INFINITY;
  const bool enough = unlimited || lock.rlim_cur >= kRoomWanted;
  findings.push_back({"locked memory limit", enough ? Level::ok : Level::note,
                      unlimited ? "unlimited" : human_bytes(static_cast<double>(lock.rlim_cur)),
                      enough ? ""
                             : "RDMA registers the rings, and needs: ulimit -l unlimited "
                               "(LimitMEMLOCK=infinity in a systemd unit)"});
  const uint64_t maps = number_in("/proc/sys/vm/max_map_count");
  findings.push_back({"mappings per process (vm.max_map_count)",
                      maps >= kMapsWanted ? Level::ok : Level::warn, std::to_string(maps),
                      maps >= kMapsWanted ? ""
                                          : "re-homed segments take a mapping each: sysctl "
                                            "vm.max_map_count=65530"});
}

void examine_persistence(std::vector<Finding>& findings, const std::filesystem::path& directory) {
  examine_domain(findings);
  const std::vector<std::string> dax = dax_mounts();
  findings.push_back(
      {"file systems mounted with DAX", dax.empty() ? Level::note : Level::ok,
       dax.empty() ? "none" : joined(dax),
       dax.empty() ? "persistence = \"real\" on files needs MAP_SYNC: mount -o dax" : ""});
  examine_devices(findings);
  const Medium medium = medium_of(directory);
  findings.push_back(
      {"file system of " + directory.string(), medium.keeps ? Level::ok : Level::warn, medium.name,
       medium.keeps ? "" : "it is gone after a reboot: fine for trials, not for data"});
  examine_room(findings, directory);
  if (directory != "/dev/shm") examine_room(findings, "/dev/shm");
}

}  // namespace caisson::tools
