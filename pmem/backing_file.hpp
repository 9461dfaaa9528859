// SPDX-License-Identifier: BSD-3-Clause
// The file or device beneath a region: created whole or not at all, locked by its owner, grown,
// mapped. Every error names the path and the cure.
#pragma once

#include <cstdint>
#include <string>

#include "caisson/types.hpp"
#include "pmem/ab_slots.hpp"
#include "pmem/persist.hpp"
#include "pmem/poison_guard.hpp"
#include "pmem/process_identity.hpp"

namespace caisson::pmem {

// An errno as a sentence and a code.
Error os_error(const std::string& what, const std::string& path, int error);
// Makes what was created, renamed or removed in it durable.
Result<void> sync_directory(const std::string& directory);

class BackingFile {
 public:
  enum class Access : uint8_t {
    owner,      // read and write, alone: Code::busy while another process owns or verifies it (P7)
    peer,       // read and write beside the owner
    read_only,  // read, and keep owners out meanwhile; Code::busy while one is there
  };

  BackingFile() = default;
  ~BackingFile();
  BackingFile(BackingFile&& other) noexcept;
  BackingFile& operator=(BackingFile&& other) noexcept;

  // A fully allocated file of zeros that has no name yet and is locked by this process; it vanishes
  // unless published. A device (/dev/dax…) is opened as it is, if it is large enough.
  // Code::exists if `path` names a file.
  static Result<BackingFile> create(const std::string& path, uint64_t bytes);

  // Gives the file its name, persistently. Code::exists if the name has been taken meanwhile.
  Result<void> publish();

  // Code::amnesia if there is no such file (P17).
  static Result<BackingFile> open(const std::string& path, Access access);

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }
  bool device() const { return device_; }
  uint64_t bytes() const { return bytes_; }

  // Reads the size again: a peer's file may have grown.
  Result<void> refresh_size();
  // Allocates up to `bytes`. Code::no_space, with the file as it was; damaged: somebody has cut it
  // short, and zeros must not take the place of what is gone.
  Result<void> grow(uint64_t bytes);

 private:
  Result<void> lock(Access access);

  int fd_ = -1;
  std::string path_;
  std::string temporary_;  // a name to remove, where the file system knows no unnamed files
  uint64_t bytes_ = 0;
  bool device_ = false;
};

// What a store to a mapping of this file survives, asked of libpmem2. Code::unsupported where it
// does not survive power loss: emulated persistence has to be configured, it is never guessed
// (P22).
Result<Persistence> established_persistence(const BackingFile& file);

// mmap flags under which a store to a mapping of this file is as durable as `persistence` says.
int map_flags_for(Persistence persistence);

// The owner named in the file's owner record; unknown if there is none.
ProcessIdentity recorded_owner(const BackingFile& file);

// The front of a region file, before its segment slots: [0, bytes) mapped once.
class HeaderMapping final : public SlotMedium {
 public:
  HeaderMapping() = default;
  ~HeaderMapping() override;
  HeaderMapping(const HeaderMapping&) = delete;
  HeaderMapping& operator=(const HeaderMapping&) = delete;

  // `mark` outlives the mapping; null: its own.
  Result<void> map(const BackingFile& file, uint64_t n, int protection, Persistence persistence,
                   PoisonMark* mark = nullptr);
  // A page of it could not be had: what was read from it proves nothing. Of its own mark.
  bool poisoned() const { return own_mark_.found(); }

  std::byte* data() const { return data_; }
  uint64_t size() const { return bytes_; }

  std::span<const std::byte> bytes(uint64_t at, uint64_t n) const override;
  void store(uint64_t at, const void* source, size_t n) override;
  void persist(uint64_t at, uint64_t n) override;

 private:
  void unmap();

  PoisonMark own_mark_;
  GuardedRange guard_;
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
  Kernels kernels_{};
};

}  // namespace caisson::pmem
