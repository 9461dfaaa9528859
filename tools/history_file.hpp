// SPDX-License-Identifier: BSD-3-Clause
// Writes what a command did to a log as operations, one JSON object a line, for checkers
// (docs/history.md). An append is written when it is asked for, and again when it is answered: what
// a command that is killed leaves behind names everything that may be in the log.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "caisson/types.hpp"

namespace caisson::tools {

// An append as its history names it.
struct Asked {
  EntryIdentity identity;
  std::string_view payload;
  uint64_t since_ns = 0;
};

class HistoryFile {
 public:
  // Goes on behind what is there.
  static Result<std::unique_ptr<HistoryFile>> open(const std::string& path);
  ~HistoryFile();
  HistoryFile(const HistoryFile&) = delete;
  HistoryFile& operator=(const HistoryFile&) = delete;

  // Now, by the clock of its operations.
  static uint64_t now_ns();

  void asked(const Asked& append);
  void appended(const Asked& append, Position position, Durability level, Term term);
  void attempt_refused(const Asked& append, Term term);
  void not_appended(const Asked& append);
  void attached(uint64_t client, uint32_t incarnation, const std::vector<Apology>& apologies);
  void apologies_taken(uint64_t client, uint32_t incarnation, Position through);

  void read(Position through, uint64_t since_ns);
  // Of a client, or (between what a reader is shown) the engine's own.
  void delivered(Position position, Term term, const EntryIdentity& identity,
                 std::string_view payload);
  void hidden(Position position);

  // Out of this process: it may be killed now. Whether all of it could be written so far.
  Result<void> flush();

 private:
  HistoryFile(std::string path, int fd);
  struct Line;
  void append(const Asked& append, Line line);
  void of_client(uint64_t client, uint32_t incarnation, Line line);
  void write(const Line& line);

  const std::string path_;
  const std::string reader_;
  int fd_;
  int error_ = 0;
  std::string buffer_;
};

// None where no path is given.
Result<std::unique_ptr<HistoryFile>> open_history(const std::string& path);

}  // namespace caisson::tools
