// SPDX-License-Identifier: BSD-3-Clause
// make_seeds DIRECTORY: writes every fuzzer's seeds to DIRECTORY/<fuzzer>/seed-<n>.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/fuzz/seeds.hpp"

namespace {

bool write_seeds(const std::filesystem::path& directory,
                 void (*seeds)(const caisson::fuzz::AddSeed&)) {
  std::filesystem::create_directories(directory);
  int count = 0;
  bool good = true;
  seeds([&](std::string_view bytes) {
    std::ofstream out(directory / ("seed-" + std::to_string(++count)), std::ios::binary);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.close();
    good = good && out.good();
  });
  return good && count > 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_seeds DIRECTORY\n");
    return 2;
  }
  const std::filesystem::path root = argv[1];
  const struct {
    const char* fuzzer;
    void (*seeds)(const caisson::fuzz::AddSeed&);
  } all[] = {
      {"entry_fuzz", caisson::fuzz::entry_seeds},
      {"ring_fuzz", caisson::fuzz::ring_seeds},
      {"superblock_fuzz", caisson::fuzz::superblock_seeds},
      {"slot_fuzz", caisson::fuzz::slot_seeds},
      {"manifest_fuzz", caisson::fuzz::manifest_seeds},
      {"control_fuzz", caisson::fuzz::control_seeds},
      {"batch_fuzz", caisson::fuzz::batch_seeds},
      {"config_fuzz", caisson::fuzz::config_seeds},
      {"hosts_fuzz", caisson::fuzz::hosts_seeds},
      {"express_fuzz", caisson::fuzz::express_seeds},
      {"greeting_fuzz", caisson::fuzz::greeting_seeds},
      {"client_fuzz", caisson::fuzz::client_seeds},
      {"state_fuzz", caisson::fuzz::state_seeds},
      {"salvage_fuzz", caisson::fuzz::salvage_seeds},
      {"introduction_fuzz", caisson::fuzz::introduction_seeds},
      {"introduction_frame_fuzz", caisson::fuzz::introduction_frame_seeds},
      {"check_region_fuzz", caisson::fuzz::check_region_seeds},
      {"check_history_fuzz", caisson::fuzz::check_history_seeds},
  };
  bool good = true;
  for (const auto& [fuzzer, seeds] : all) good = good && write_seeds(root / fuzzer, seeds);
  if (!good) std::fprintf(stderr, "make_seeds: cannot write below %s\n", argv[1]);
  return good ? 0 : 1;
}
