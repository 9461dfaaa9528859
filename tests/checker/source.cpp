// SPDX-License-Identifier: BSD-3-Clause
#include "tests/checker/source.hpp"

#include <cerrno>
#include <iostream>

#include "tests/checker/decode.hpp"

namespace caisson::checker {

namespace {

constexpr size_t kPieceBytes = 256 * 1024;

}  // namespace

HistoryFile::HistoryFile(std::string name) : name_(std::move(name)) {
  if (name_ == "-") {
    in_ = &std::cin;
    return;
  }
  errno = 0;
  file_.open(name_, std::ios::binary);
  in_ = &file_;
  if (file_) return;
  if (errno == ENOENT || errno == ENOTDIR) {
    refuse(Refusal::Why::not_found, "there is no such file");
  } else {
    refuse(Refusal::Why::io, "it cannot be opened");
  }
}

bool HistoryFile::refuse(Refusal::Why why, const std::string& what) {
  const std::string at = line_ == 0 ? "" : ":" + std::to_string(line_);
  refusal_ = Refusal{why, name_ + at + ": " + what};
  return false;
}

// `whole`: a newline ends it.
bool HistoryFile::line(std::string_view& line, bool& whole) {
  size_t looked = at_;
  for (;;) {
    const size_t end = buffer_.find('\n', looked);
    whole = end != std::string::npos;
    if (!whole && buffer_.size() - at_ <= kLineBytesMax && *in_) {
      looked = buffer_.size() - at_;
      buffer_.erase(0, at_);
      at_ = 0;
      const size_t held = buffer_.size();
      buffer_.resize(held + kPieceBytes);
      in_->read(buffer_.data() + held, kPieceBytes);
      buffer_.resize(held + static_cast<size_t>(in_->gcount()));
      if (in_->bad()) return refuse(Refusal::Why::io, "it cannot be read");
      continue;
    }
    const size_t bytes = (whole ? end : buffer_.size()) - at_;
    if (bytes == 0 && !whole) return false;
    ++line_;
    if (bytes > kLineBytesMax) {
      return refuse(Refusal::Why::invalid, "it is longer than " + std::to_string(kLineBytesMax) +
                                               " bytes: an operation is one short line");
    }
    line = std::string_view(buffer_).substr(at_, bytes);
    at_ += bytes + (whole ? 1 : 0);
    return true;
  }
}

bool HistoryFile::next(Operation& operation) {
  if (refusal_) return false;
  std::string_view text;
  bool whole = false;
  if (!line(text, whole)) {
    if (!refusal_ && line_ == 0) {
      refuse(Refusal::Why::invalid, "it holds no operation: there is nothing to judge");
    }
    return false;
  }
  const std::string why = decode(text, operation);
  if (!why.empty()) {
    return refuse(Refusal::Why::invalid,
                  whole ? why : "it is cut off: its writer was ended; delete this last line");
  }
  if (operation.return_ns) {
    if (*operation.return_ns < returned_ns_) {
      return refuse(Refusal::Why::invalid,
                    "it ended before the line above it did: write operations in the order in which "
                    "they end, by one clock");
    }
    returned_ns_ = *operation.return_ns;
  }
  return true;
}

Histories::Histories(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    parts_.push_back({std::make_unique<HistoryFile>(name), {}});
    advance(parts_.back());
  }
}

void Histories::advance(Part& part) {
  part.ended = !part.file->next(part.next);
  if (part.file->refusal() && !refusal_) refusal_ = part.file->refusal();
  if (!part.ended) part.at_ns = part.next.return_ns.value_or(part.at_ns);
}

bool Histories::next(Operation& operation, Where& where) {
  Part* first = nullptr;
  for (Part& part : parts_) {
    if (!part.ended && (first == nullptr || part.at_ns < first->at_ns)) first = &part;
  }
  if (refusal_ || first == nullptr) return false;
  operation = std::move(first->next);
  where = first->file->where();
  advance(*first);
  return true;
}

}  // namespace caisson::checker
