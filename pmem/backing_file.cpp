// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/backing_file.hpp"

#include <fcntl.h>
#include <libpmem2.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "pmem/checksum.hpp"
#include "pmem/region_format.hpp"

namespace caisson::pmem {
namespace {

std::string directory_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

Result<uint64_t> device_bytes(const struct stat& info, const std::string& path) {
  char name[96];
  std::snprintf(name, sizeof name, "/sys/dev/char/%u:%u/size", major(info.st_rdev),
                minor(info.st_rdev));
  unsigned long long bytes = 0;
  FILE* file = std::fopen(name, "re");
  const bool read = file != nullptr && std::fscanf(file, "%llu", &bytes) == 1;
  if (file != nullptr) std::fclose(file);
  if (!read) {
    return fail(Code::invalid, path +
                                   " is a character device that has no size: name a file, or a "
                                   "devdax device such as /dev/dax0.0");
  }
  return bytes;
}

// A store behind the end of a half-allocated file would be a SIGBUS later: find out now. The limit
// is checked first, because exceeding it raises a signal.
Result<void> allocate(int fd, const std::string& path, uint64_t from, uint64_t bytes) {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      bytes > limit.rlim_cur) {
    return fail(Code::no_space, path + ": " + std::to_string(bytes) +
                                    " bytes exceed this process's file size limit of " +
                                    std::to_string(limit.rlim_cur) +
                                    ": raise it with ulimit -f, or choose a smaller ring");
  }
  // From the old end only: the file system walks what it is given, allocated or not.
  const int error =
      ::posix_fallocate(fd, static_cast<off_t>(from), static_cast<off_t>(bytes - from));
  if (error == 0) return {};
  return tl::unexpected(
      os_error("cannot allocate " + std::to_string(bytes) + " bytes for", path, error));
}

}  // namespace

Error os_error(const std::string& what, const std::string& path, int error) {
  const std::string text = what + " " + path + ": " + std::strerror(error);
  switch (error) {
    case ENOENT:
    case ENOTDIR: return {Code::not_found, text + ": create the directory first"};
    case EACCES:
    case EPERM:
    case EROFS: return {Code::denied, text + ": give this user the right to read and write there"};
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return {Code::no_space, text + ": free some space, or choose a smaller ring"};
    case ENOMEM: return {Code::io, text + ": free memory, or raise vm.max_map_count"};
    case EEXIST:
      return {Code::exists, text + ": an existing region is never overwritten; remove it yourself"};
    default: return {Code::io, text};
  }
}

Result<void> sync_directory(const std::string& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return tl::unexpected(os_error("cannot open directory", directory, errno));
  const int result = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  if (result != 0) return tl::unexpected(os_error("cannot sync directory", directory, error));
  return {};
}

BackingFile::~BackingFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

BackingFile::BackingFile(BackingFile&& other) noexcept { *this = std::move(other); }

BackingFile& BackingFile::operator=(BackingFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(bytes_, other.bytes_);
  std::swap(device_, other.device_);
  return *this;
}

Result<BackingFile> BackingFile::create(const std::string& path, uint64_t bytes) {
  BackingFile file;
  file.path_ = path;
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) {
    if (!S_ISCHR(info.st_mode)) return tl::unexpected(os_error("cannot create", path, EEXIST));
    auto device = open(path, Access::owner);
    if (device && device->bytes() < bytes) {
      return fail(Code::no_space, path + " has " + std::to_string(device->bytes()) +
                                      " bytes, the region needs " + std::to_string(bytes) +
                                      ": choose a smaller ring or a larger device");
    }
    return device;
  }
  file.fd_ = ::open(directory_of(path).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
  if (file.fd_ < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
    file.temporary_ = path + ".creating." + std::to_string(::getpid());
    file.fd_ = ::open(file.temporary_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0640);
    if (file.fd_ < 0) file.temporary_.clear();
  }
  if (file.fd_ < 0) return tl::unexpected(os_error("cannot create a region at", path, errno));
  if (auto locked = file.lock(Access::owner); !locked) return tl::unexpected(locked.error());
  if (auto got = allocate(file.fd_, path, 0, bytes); !got) return tl::unexpected(got.error());
  file.bytes_ = bytes;
  return file;
}

Result<void> BackingFile::publish() {
  if (device_) return {};
  if (::fsync(fd_) != 0) return tl::unexpected(os_error("cannot sync", path_, errno));
  // A link, unlike a rename, never replaces what is there.
  const std::string self = "/proc/self/fd/" + std::to_string(fd_);
  if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    return tl::unexpected(os_error("cannot create", path_, errno));
  }
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
  return sync_directory(directory_of(path_));
}

Result<BackingFile> BackingFile::open(const std::string& path, Access access) {
  BackingFile file;
  file.path_ = path;
  const int mode = access == Access::read_only ? O_RDONLY : O_RDWR;
  file.fd_ = ::open(path.c_str(), mode | O_CLOEXEC);
  if (file.fd_ < 0 && errno == ENOENT) {
    return fail(Code::amnesia,
                "region " + path +
                    " is missing: put the very file back, or correct the path. A replica that has "
                    "lost its memory may not take part: have it come back empty, with caisson node "
                    "--create --join, and be admitted anew, with caisson member replace");
  }
  if (file.fd_ < 0 && mode == O_RDONLY && (errno == EACCES || errno == EPERM)) {
    return fail(Code::denied, "cannot open region " + path + ": " + std::strerror(errno) +
                                  ": give this user the right to read it");
  }
  if (file.fd_ < 0) return tl::unexpected(os_error("cannot open region", path, errno));
  if (auto sized = file.refresh_size(); !sized) return tl::unexpected(sized.error());
  if (auto locked = file.lock(access); !locked) return tl::unexpected(locked.error());
  return file;
}

Result<void> BackingFile::lock(Access access) {
  if (access == Access::peer) return {};
  const int kind = access == Access::owner ? LOCK_EX : LOCK_SH;
  if (::flock(fd_, kind | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) return tl::unexpected(os_error("cannot lock region", path_, errno));
  const ProcessIdentity owner = recorded_owner(*this);
  // A reader's lock leaves no record, and an owner that crashed leaves a stale one.
  const std::string holder = owner.known() && !proven_dead(owner)
                                 ? describe(owner) + ", which runs this replica"
                                 : std::string("another process");
  return fail(Code::busy, "region " + path_ + " is in use by " + holder +
                              ": stop it first; two processes never run one replica");
}

Result<void> BackingFile::refresh_size() {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return tl::unexpected(os_error("cannot examine", path_, errno));
  device_ = S_ISCHR(info.st_mode);
  if (device_) {
    auto bytes = device_bytes(info, path_);
    if (!bytes) return tl::unexpected(bytes.error());
    bytes_ = *bytes;
    return {};
  }
  if (!S_ISREG(info.st_mode)) {
    return fail(Code::invalid, path_ + " is neither a file nor a devdax device: name the region");
  }
  bytes_ = static_cast<uint64_t>(info.st_size);
  return {};
}

Result<void> BackingFile::grow(uint64_t bytes) {
  if (bytes <= bytes_) return {};
  if (device_) {
    return fail(Code::no_space, path_ + " cannot grow: it is a device; use a larger one");
  }
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return tl::unexpected(os_error("cannot examine", path_, errno));
  if (static_cast<uint64_t>(info.st_size) < bytes_) {
    return fail(Code::damaged, path_ + " has been cut short while it was in use");
  }
  if (auto got = allocate(fd_, path_, bytes_, bytes); !got) {
    (void)!::ftruncate(fd_, static_cast<off_t>(bytes_));
    return got;
  }
  bytes_ = bytes;
  return {};
}

Result<Persistence> established_persistence(const BackingFile& file) {
  const std::string cure =
      ": put the region on an fsdax file system (mount -o dax) or a devdax device, or configure "
      "persistence = \"emulated\", which survives the death of every process but not power loss";
  pmem2_source* source = nullptr;
  pmem2_config* config = nullptr;
  pmem2_map* map = nullptr;
  const bool mapped =
      pmem2_source_from_fd(&source, file.fd()) == 0 && pmem2_config_new(&config) == 0 &&
      pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_CACHE_LINE) == 0 &&
      pmem2_map_new(&map, config, source) == 0;
  const std::string reason = mapped ? "" : pmem2_errormsg();
  const bool eadr = mapped && pmem2_map_get_store_granularity(map) == PMEM2_GRANULARITY_BYTE;
  if (map != nullptr) pmem2_map_delete(&map);
  if (config != nullptr) pmem2_config_delete(&config);
  if (source != nullptr) pmem2_source_delete(&source);
  if (!mapped) {
    return fail(Code::unsupported,
                file.path() + " does not keep stores through power loss (" + reason + ")" + cure);
  }
  // libpmem2 can be told by its environment to believe anything; the kernel cannot.
  HeaderMapping probe;
  if (!probe.map(file, kPageBytes, PROT_READ, Persistence::adr)) {
    return fail(Code::unsupported, file.path() + " cannot be mapped with MAP_SYNC" + cure);
  }
  return eadr ? Persistence::eadr : Persistence::adr;
}

int map_flags_for(Persistence persistence) {
  const bool real = persistence == Persistence::adr || persistence == Persistence::eadr;
  return real ? MAP_SHARED_VALIDATE | MAP_SYNC : MAP_SHARED;
}

ProcessIdentity recorded_owner(const BackingFile& file) {
  OwnerRecord record{};
  HeaderMapping header;
  const uint64_t n = kOwnerAt + kOwnerBytes;
  if (file.bytes() < n || !header.map(file, n, PROT_READ, Persistence::none)) return {};
  std::memcpy(&record, header.data() + kOwnerAt, sizeof record);
  const bool sound = checksum(kChecksumSeed, &record.process, sizeof record.process) == record.crc;
  return sound ? record.process : ProcessIdentity{};
}

HeaderMapping::~HeaderMapping() { unmap(); }

void HeaderMapping::unmap() {
  guard_.release();
  if (data_ != nullptr) ::munmap(data_, bytes_);
  data_ = nullptr;
}

Result<void> HeaderMapping::map(const BackingFile& file, uint64_t n, int protection,
                                Persistence persistence, PoisonMark* mark) {
  if (file.device()) n = round_up(n, kDeviceAlignBytes);
  void* got = ::mmap(nullptr, n, protection, map_flags_for(persistence), file.fd(), 0);
  if (got == MAP_FAILED) return tl::unexpected(os_error("cannot map", file.path(), errno));
  ::madvise(got, n, MADV_DONTFORK);
  unmap();
  data_ = static_cast<std::byte*>(got);
  bytes_ = n;
  if (guard_.guard(data_, n, mark != nullptr ? *mark : own_mark_) != Code::ok) {
    unmap();
    return fail(Code::too_large, "cannot map " + file.path() + ": this process guards " +
                                     std::to_string(kGuardedRangesMax) +
                                     " mappings already; open fewer logs in it");
  }
  kernels_ = choose_kernels(persistence);
  return {};
}

std::span<const std::byte> HeaderMapping::bytes(uint64_t at, uint64_t n) const {
  return {data_ + at, n};
}

void HeaderMapping::store(uint64_t at, const void* source, size_t n) {
  std::byte* to = data_ + at;
  if (n == sizeof(uint64_t) && at % sizeof(uint64_t) == 0) {
    // A slot's generation: one store, never torn.
    uint64_t word;
    std::memcpy(&word, source, sizeof word);
    std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(to)).store(word);
    kernels_.flush_lines(to, n);
    return;
  }
  kernels_.copy(to, source, n);
}

void HeaderMapping::persist(uint64_t at, uint64_t n) {
  kernels_.flush_lines(data_ + at, n);
  store_fence();
}

}  // namespace caisson::pmem
