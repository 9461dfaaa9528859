// SPDX-License-Identifier: BSD-3-Clause
#include "tools/history_file.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>

#include "tools/files.hpp"

namespace caisson::tools {

namespace {

constexpr size_t kBufferBytesMax = 64 * 1024;

uint64_t digest_of(std::string_view bytes) {
  uint64_t digest = 0xcbf29ce484222325u ^ bytes.size();
  for (const char byte : bytes) digest = (digest ^ static_cast<uint8_t>(byte)) * 0x100000001b3u;
  return digest;
}

std::string stream_of(uint64_t client, uint32_t incarnation) {
  return std::to_string(client) + "." + std::to_string(incarnation);
}

std::string value_of(const EntryIdentity& identity, std::string_view payload) {
  std::array<char, 17> digest{};
  std::snprintf(digest.data(), digest.size(), "%016" PRIx64, digest_of(payload));
  return stream_of(identity.client, identity.incarnation) + "." +
         std::to_string(identity.sequence) + ":" + digest.data();
}

// Process numbers come again, and are the same on other machines.
std::string new_reader() {
  uint32_t number = 0;
  if (getrandom(&number, sizeof number, 0) != sizeof number) {
    number = static_cast<uint32_t>(getpid());
  }
  return "reader-" + std::to_string(number) + ".1";
}

}  // namespace

struct HistoryFile::Line {
  std::string process{};
  std::string_view op{};
  std::string value{};  // empty: null
  Position position{UINT64_MAX};
  std::string_view durability{};
  uint64_t invoke_ns = 0;
  uint64_t return_ns = 0;  // 0: null
  std::string_view result = "ok";
  Term term{};  // 0: not known
  uint64_t count = 0;
};

HistoryFile::HistoryFile(std::string path, int fd)
    : path_(std::move(path)), reader_(new_reader()), fd_(fd) {}

HistoryFile::~HistoryFile() {
  (void)flush();
  ::close(fd_);
}

Result<std::unique_ptr<HistoryFile>> HistoryFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0)
    return tl::unexpected(system_error("the history '" + path + "' cannot be written", errno));
  return std::unique_ptr<HistoryFile>(new HistoryFile(path, fd));
}

uint64_t HistoryFile::now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// ---- Appends ------------------------------------------------------------------------------------

void HistoryFile::append(const Asked& append, Line line) {
  line.process = "client-" + stream_of(append.identity.client, append.identity.incarnation);
  line.value = value_of(append.identity, append.payload);
  line.invoke_ns = append.since_ns;
  write(line);
}

void HistoryFile::asked(const Asked& append) {
  this->append(append, {.op = "append", .result = "unknown"});
}

void HistoryFile::appended(const Asked& append, Position position, Durability level, Term term) {
  this->append(append, {.op = "append",
                        .position = position,
                        .durability = name(level),
                        .return_ns = now_ns(),
                        .term = term});
}

void HistoryFile::attempt_refused(const Asked& append, Term term) {
  this->append(append,
               {.op = "attempt", .return_ns = now_ns(), .result = "not_appended", .term = term});
}

void HistoryFile::not_appended(const Asked& append) {
  this->append(append, {.op = "append", .return_ns = now_ns(), .result = "not_appended"});
}

void HistoryFile::of_client(uint64_t client, uint32_t incarnation, Line line) {
  line.process = "client-" + stream_of(client, incarnation);
  line.invoke_ns = line.return_ns = now_ns();
  write(line);
}

void HistoryFile::attached(uint64_t client, uint32_t incarnation,
                           const std::vector<Apology>& apologies) {
  of_client(client, incarnation, {.op = "attach", .value = stream_of(client, incarnation)});
  for (const Apology& each : apologies) {
    of_client(
        client, incarnation,
        {.op = "apology",
         .value = stream_of(client, each.incarnation) + "." + std::to_string(each.first_sequence),
         .position = each.noted,
         .count = each.last_sequence - each.first_sequence + 1});
  }
}

void HistoryFile::apologies_taken(uint64_t client, uint32_t incarnation, Position through) {
  of_client(client, incarnation,
            {.op = "taken", .value = stream_of(client, incarnation), .position = through});
}

// ---- Reads --------------------------------------------------------------------------------------

void HistoryFile::read(Position through, uint64_t since_ns) {
  write({.process = reader_,
         .op = "read",
         .position = through,
         .invoke_ns = since_ns,
         .return_ns = now_ns()});
}

void HistoryFile::delivered(Position position, Term term, const EntryIdentity& identity,
                            std::string_view payload) {
  const uint64_t now = now_ns();
  write({.process = reader_,
         .op = "deliver",
         .value = value_of(identity, payload),
         .position = position,
         .invoke_ns = now,
         .return_ns = now,
         .term = term});
}

void HistoryFile::hidden(Position position) {
  const uint64_t now = now_ns();
  write({.process = reader_,
         .op = "deliver",
         .position = position,
         .invoke_ns = now,
         .return_ns = now});
}

// ---- The file -----------------------------------------------------------------------------------

void HistoryFile::write(const Line& line) {
  const auto text = [](std::string_view word) {
    return word.empty() ? "null" : "\"" + std::string(word) + "\"";
  };
  const auto number = [](bool known, uint64_t value) {
    return known ? std::to_string(value) : "null";
  };
  const bool placed = line.position.value != UINT64_MAX;
  buffer_ += "{\"process\":" + text(line.process) + ",\"op\":" + text(line.op) +
             ",\"value\":" + text(line.value) +
             ",\"position\":" + number(placed, line.position.value) +
             ",\"durability\":" + text(line.durability) +
             ",\"invoke_ns\":" + number(true, line.invoke_ns) +
             ",\"return_ns\":" + number(line.return_ns != 0, line.return_ns) +
             ",\"result\":" + text(line.result);
  if (line.term.value != 0) buffer_ += ",\"term\":" + std::to_string(line.term.value);
  if (line.count != 0) buffer_ += ",\"count\":" + std::to_string(line.count);
  buffer_ += "}\n";
  if (buffer_.size() >= kBufferBytesMax) (void)flush();
}

Result<void> HistoryFile::flush() {
  std::string_view left = buffer_;
  while (!left.empty() && error_ == 0) {
    const ssize_t n = ::write(fd_, left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) error_ = errno;
    if (n > 0) left.remove_prefix(static_cast<size_t>(n));
  }
  buffer_.clear();
  if (error_ == 0) return {};
  return tl::unexpected(system_error("the history '" + path_ + "' cannot be written", error_));
}

Result<std::unique_ptr<HistoryFile>> open_history(const std::string& path) {
  if (path.empty()) return std::unique_ptr<HistoryFile>();
  return HistoryFile::open(path);
}

}  // namespace caisson::tools
