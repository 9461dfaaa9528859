// SPDX-License-Identifier: BSD-3-Clause
#include "transport/shm/node_file.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <utility>

namespace caisson::transport::shm {

Result<pmem::BackingFile> open_or_create(const std::string& path, uint64_t bytes) {
  auto file = pmem::BackingFile::open(path, pmem::BackingFile::Access::owner);
  if (file || file.error().code != Code::amnesia) return file;
  auto created = pmem::BackingFile::create(path, bytes);
  if (!created) return created;
  if (auto published = created->publish(); !published) return tl::unexpected(published.error());
  return created;
}

void* map_node_file(const pmem::BackingFile& file, uint64_t bytes, int protection) {
  if (file.bytes() < bytes) return nullptr;
  void* const got = ::mmap(nullptr, bytes, protection, MAP_SHARED, file.fd(), 0);
  if (got == MAP_FAILED) return nullptr;
  ::madvise(got, bytes, MADV_DONTFORK);
  return got;
}

void unmap_node_file(const void* at, uint64_t bytes) {
  if (at != nullptr) ::munmap(const_cast<void*>(at), bytes);
}

std::optional<FileIdentity> identity_at(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return std::nullopt;
  return FileIdentity{found.st_dev, found.st_ino};
}

}  // namespace caisson::transport::shm
