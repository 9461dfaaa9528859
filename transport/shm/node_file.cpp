// SPDX-License-Identifier: BSD-3-Clause
#include "transport/shm/node_file.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace caisson::transport::shm {
namespace {

Result<pmem::BackingFile> open_or_create(const std::string& path, uint64_t bytes) {
  auto file = pmem::BackingFile::open(path, pmem::BackingFile::Access::owner);
  if (file || file.error().code != Code::amnesia) return file;
  auto created = pmem::BackingFile::create(path, bytes);
  if (!created) return created;
  if (auto published = created->publish(); !published) return tl::unexpected(published.error());
  return created;
}

}  // namespace

std::optional<FileAtPath> file_at(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return std::nullopt;
  return FileAtPath{{found.st_dev, found.st_ino}, static_cast<uint64_t>(found.st_size)};
}

std::unique_ptr<NodeMapping> NodeMapping::map(const pmem::BackingFile& file, uint64_t bytes,
                                              int protection) {
  if (file.bytes() < bytes) return nullptr;
  void* const got = ::mmap(nullptr, bytes, protection, MAP_SHARED, file.fd(), 0);
  if (got == MAP_FAILED) return nullptr;
  ::madvise(got, bytes, MADV_DONTFORK);
  std::unique_ptr<NodeMapping> mapping(new NodeMapping(got, bytes));
  if (mapping->guard_.guard(got, bytes, mapping->mark_) != Code::ok) return nullptr;
  return mapping;
}

NodeMapping::~NodeMapping() {
  guard_.release();
  ::munmap(at_, bytes_);
}

Result<OwnFile> OwnFile::open(const std::string& path, uint64_t bytes) {
  auto file = open_or_create(path, bytes);
  if (!file) return tl::unexpected(file.error());
  struct stat found {};
  auto mapping = NodeMapping::map(*file, bytes, PROT_READ | PROT_WRITE);
  if (mapping == nullptr || ::fstat(file->fd(), &found) != 0) {
    return fail(Code::io, "cannot map " + path + ": remove it");
  }
  return OwnFile(std::move(*file), bytes, {found.st_dev, found.st_ino}, std::move(mapping));
}

bool OwnFile::sound() const {
  const auto there = file_at(file_.path());
  return there && there->identity == identity_ && there->bytes >= bytes_ && !mapping_->lost();
}

Result<OwnFile> OwnFile::successor() const {
  // Only this one: another that somebody has put there may have an owner.
  const auto there = file_at(file_.path());
  if (there && there->identity == identity_) ::unlink(file_.path().c_str());
  return open(file_.path(), bytes_);
}

size_t PeerFiles::connect(const std::map<ReplicaId, std::string>& paths,
                          const std::string& own_path) {
  size_t missing = 0;
  for (const auto& [id, path] : paths) {
    if (id.value >= current_.size() || path == own_path) continue;
    const auto there = file_at(path);
    if (there && there->identity != identities_[id.value]) {
      const auto file = pmem::BackingFile::open(path, pmem::BackingFile::Access::peer);
      auto mapping = file ? NodeMapping::map(*file, bytes_, protection_) : nullptr;
      if (mapping != nullptr) {
        identities_[id.value] = there->identity;
        current_[id.value].store(mapping.get(), std::memory_order_release);
        all_.push_back(std::move(mapping));
      }
    }
    if (of(id) == nullptr) ++missing;
  }
  return missing;
}

}  // namespace caisson::transport::shm
