// SPDX-License-Identifier: BSD-3-Clause
// A file system of a few pages, mounted where there is the right to: elsewhere its tests skip.
#pragma once

#include <sys/mount.h>

#include <filesystem>
#include <string>

namespace caisson::test {

class SmallDisk {
 public:
  SmallDisk(std::filesystem::path at, const std::string& bytes) : at_(std::move(at)) {
    std::filesystem::create_directories(at_);
    mounted_ = ::mount("caisson-test", at_.c_str(), "tmpfs", 0, ("size=" + bytes).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(at_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return mounted_; }
  const std::filesystem::path& path() const { return at_; }
  // Regular files below it; directories hold nothing that could be taken for whole.
  size_t files() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(at_)) {
      count += entry.is_regular_file() && entry.file_size() > 0 ? 1 : 0;
    }
    return count;
  }
  void fill() const {
    const std::string name = at_ / "ballast";
    FILE* const file = std::fopen(name.c_str(), "w");
    const std::string page(4096, 'x');
    while (std::fwrite(page.data(), 1, page.size(), file) == page.size() && !std::fflush(file)) {
    }
    std::fclose(file);
  }
  void empty() const { std::filesystem::remove(at_ / "ballast"); }

 private:
  const std::filesystem::path at_;
  bool mounted_ = false;
};

}  // namespace caisson::test
