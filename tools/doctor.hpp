// SPDX-License-Identifier: BSD-3-Clause
// What `caisson doctor` finds out about a machine, and what to do about it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace caisson::tools {

struct Finding {
  enum class Level : uint8_t { ok, note, warn };
  std::string subject;  // "huge pages"
  Level level = Level::ok;
  std::string found;  // what there is
  std::string cure;   // what to do; empty where level is ok
};

// The PCIe root port above an adapter, which decides whether what it writes lands in the caches.
struct RootPort {
  std::string address;  // 0000:16:00.0
  uint16_t vendor = 0;
  uint16_t device = 0;
  std::optional<uint8_t> control;  // low byte of PERFCTRLSTS_0; not to be read without rights
};
// Nothing for `port`: the adapter is no PCI device.
Finding ddio_finding(const std::string& adapter, const std::optional<RootPort>& port);

// `directory`: where regions would lie; judged for its file system and room.
std::vector<Finding> examine(const std::filesystem::path& directory);

// Groups of findings, one function each.
void examine_processor(std::vector<Finding>& findings);
void examine_topology(std::vector<Finding>& findings);
void examine_memory(std::vector<Finding>& findings, const std::filesystem::path& directory);
void examine_persistence(std::vector<Finding>& findings, const std::filesystem::path& directory);
void examine_adapters(std::vector<Finding>& findings);
void examine_fabrics(std::vector<Finding>& findings);
void examine_kernel(std::vector<Finding>& findings);

}  // namespace caisson::tools
