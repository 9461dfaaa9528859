// SPDX-License-Identifier: BSD-3-Clause
#include "tools/files.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace caisson::tools {

namespace {

// A descriptor that closes itself.
struct File {
  int fd;
  ~File() {
    if (fd >= 0) close(fd);
  }
};

bool write_all(int fd, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    done += static_cast<size_t>(n);
  }
  return fsync(fd) == 0;
}

}  // namespace

Error system_error(const std::string& what, int error_number) {
  Code code = Code::io;
  switch (error_number) {
    case EACCES:
    case EPERM: code = Code::denied; break;
    case EROFS: code = Code::denied; break;
    case ENOENT:
    case ENOTDIR: code = Code::not_found; break;
    case EEXIST: code = Code::exists; break;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: code = Code::no_space; break;
    case EADDRINUSE: code = Code::busy; break;
    default: break;
  }
  const char* const cure =
      code == Code::no_space ? "; free some space there, or name another place" : "";
  return Error{code, what + ": " + std::strerror(error_number) + cure};
}

Result<std::string> read_text(const std::filesystem::path& path) {
  const File file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) {
    return tl::unexpected(system_error("'" + path.string() + "' cannot be read", errno));
  }
  std::string text;
  std::array<char, 4096> chunk;
  for (;;) {
    const ssize_t n = read(file.fd, chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return tl::unexpected(system_error("'" + path.string() + "' cannot be read", errno));
    }
    if (n == 0) return text;
    text.append(chunk.data(), static_cast<size_t>(n));
  }
}

Result<void> write_text(const std::filesystem::path& path, const std::string& text) {
  const std::string temporary = path.string() + ".new";
  const auto failed = [&]() -> Result<void> {
    const Error error = system_error("'" + path.string() + "' cannot be written", errno);
    unlink(temporary.c_str());
    return tl::unexpected(error);
  };
  {
    const File file{open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (file.fd < 0 || !write_all(file.fd, text)) return failed();
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) return failed();
  const File folder{open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.fd >= 0) fsync(folder.fd);
  return {};
}

Result<void> make_directories(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return tl::unexpected(
        system_error("directory '" + path.string() + "' cannot be made", error.value()));
  }
  return {};
}

Result<FileLock> FileLock::take(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return tl::unexpected(system_error("'" + path.string() + "' cannot be locked", errno));
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error_number = errno;
    close(fd);
    if (error_number == EWOULDBLOCK) {
      return fail(Code::busy, "another command works on '" + path.parent_path().string() +
                                  "'; wait until it has ended");
    }
    return tl::unexpected(system_error("'" + path.string() + "' cannot be locked", error_number));
  }
  return FileLock(fd);
}

FileLock::~FileLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace caisson::tools
