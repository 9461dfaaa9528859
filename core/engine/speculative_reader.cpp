// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/speculative_reader.hpp"

#include <algorithm>

#include "core/engine/poller.hpp"

namespace caisson::engine {

namespace {

// In one turn of the poller, which others wait for.
constexpr size_t kCopiesMax = 256;
constexpr size_t kBytesMax = 64 * 1024;

}  // namespace

// What was fetched and revoked before it was handed out was never delivered.
void SpeculativeReader::revoke_behind(Position last) {
  while (copies_.size() > handed_ && Position{copies_.back().header.position} > last) {
    copies_.pop_back();
  }
  if (last_ <= last) return;
  last_ = last;
  revoked_from_ = last + 1;
}

Code SpeculativeReader::fetch() {
  seen_turn_ = log_.held_turn();
  copies_.clear();
  bytes_.clear();
  handed_ = 0;
  Code code = Code::ok;
  const bool ran = log_.poller().call([&](uint64_t) {
    if (log_.closed()) return void(code = Code::closed);
    const log::LogState& state = log_.state();
    log::EntryView view;
    while (copies_.size() < kCopiesMax && bytes_.size() < kBytesMax) {
      code = speculation_.next(state, view);
      if (code != Code::ok) break;
      copies_.push_back({view.header, bytes_.size(), view.cursor.position <= state.committed()});
      bytes_.insert(bytes_.end(), view.payload.begin(), view.payload.end());
    }
    certain_ = speculation_.certain();
  });
  if (!ran) return Code::closed;
  if (code == Code::revoked) revoke_behind(speculation_.last());
  // More may be there, or follow what was revoked.
  if (code == Code::ok || code == Code::revoked) seen_turn_ = UINT64_MAX;
  return copies_.empty() ? code : Code::ok;
}

Code SpeculativeReader::next(Fetched& out, Position& from) {
  if (handed_ == copies_.size() && revoked_from_.value == 0) {
    const Code code = fetch();
    if (code != Code::ok && code != Code::revoked) return code;
    if (code == Code::revoked && revoked_from_.value == 0) return Code::not_yet;
  }
  if (revoked_from_.value != 0) {
    from = std::exchange(revoked_from_, Position{});
    return Code::revoked;
  }
  const Copy& copy = copies_[handed_++];
  out = {copy.header, std::span(bytes_).subspan(copy.at, copy.header.payload_bytes),
         copy.committed};
  last_ = Position{copy.header.position};
  return Code::ok;
}

Code SpeculativeReader::settled() {
  if (revoked_from_.value != 0) return Code::revoked;
  Code code = Code::closed;
  const bool ran = log_.poller().call([&](uint64_t) {
    if (log_.closed()) return;
    code = speculation_.settled(log_.state());
    certain_ = speculation_.certain();
  });
  if (!ran || code != Code::revoked) return code;
  revoke_behind(speculation_.last());
  seen_turn_ = UINT64_MAX;
  return revoked_from_.value != 0 ? Code::revoked : Code::not_yet;
}

}  // namespace caisson::engine
