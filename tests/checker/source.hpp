// SPDX-License-Identifier: BSD-3-Clause
// Histories from files, line by line; those of several processes are merged by the times at which
// their operations ended.
#pragma once

#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/checker/operation.hpp"

namespace caisson::checker {

// Why something cannot be judged.
struct Refusal {
  enum class Why : uint8_t { not_found, io, invalid };
  Why why = Why::invalid;
  std::string what;
};

struct Where {
  const std::string* file = nullptr;
  uint64_t line = 0;  // 0: the file as a whole
};

// One file; "-" is standard input.
class HistoryFile {
 public:
  explicit HistoryFile(std::string name);

  // False at the end, or where `refusal` says why not.
  bool next(Operation& operation);
  const std::optional<Refusal>& refusal() const { return refusal_; }
  Where where() const { return {&name_, line_}; }

 private:
  bool line(std::string_view& line, bool& whole);
  bool refuse(Refusal::Why why, const std::string& what);

  const std::string name_;
  std::ifstream file_;
  std::istream* in_ = nullptr;
  std::string buffer_;
  size_t at_ = 0;  // what lies before was taken
  uint64_t line_ = 0;
  uint64_t returned_ns_ = 0;
  std::optional<Refusal> refusal_;
};

class Histories {
 public:
  explicit Histories(const std::vector<std::string>& names);

  bool next(Operation& operation, Where& where);
  const std::optional<Refusal>& refusal() const { return refusal_; }

 private:
  struct Part {
    std::unique_ptr<HistoryFile> file;
    Operation next;
    uint64_t at_ns = 0;  // where `next` belongs
    bool ended = false;
  };
  void advance(Part& part);

  std::vector<Part> parts_;
  std::optional<Refusal> refusal_;
};

}  // namespace caisson::checker
