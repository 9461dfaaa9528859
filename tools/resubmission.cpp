// SPDX-License-Identifier: BSD-3-Clause
#include "tools/resubmission.hpp"

#include <thread>

namespace caisson::tools {

namespace {

constexpr std::chrono::microseconds kAnswerWait{1'000};
constexpr std::chrono::milliseconds kAskEvery{20};

}  // namespace

Result<void> Resubmission::survey(uint64_t record) {
  const auto whole =
      source_.walk(record, OrphanPayloads::left_out, [&](const OrphanEntry& entry) -> Result<bool> {
        if (runs_.empty() || runs_.back().term != entry.term) {
          runs_.push_back({entry.term, entry.position, 0});
        }
        if (!entry.data) return true;
        ++entries_;
        ++runs_.back().entries;
        doubtful_ += entry.fate == OrphanFate::present || entry.fate == OrphanFate::unknown;
        return true;
      });
  if (!whole) return tl::unexpected(whole.error());
  if (*whole) return {};
  return fail(Code::damaged, "record " + std::to_string(record) +
                                 " cannot be read whole: export what is left of it, append that, "
                                 "and discard the record");
}

Result<void> Resubmission::open(const Run& run) {
  AppendSessionOptions options;
  options.log = options_.log;
  options.client =
      replication::resubmission_client({cluster_.uuid, source_.log_id()}, run.term, run.first);
  options.resume = true;
  options.timeout = options_.timeout;
  session_.emplace(cluster_, options);
  return session_->open();
}

Result<void> Resubmission::close() {
  while (session_ && !session_->idle()) {
    if (const auto turned = session_->turn(kAnswerWait); !turned) return turned;
  }
  if (session_) {
    appended_ += session_->acknowledged();
    if (first_ == Position{}) first_ = session_->first();
    last_ = std::max(last_, session_->last());
  }
  session_.reset();
  return {};
}

Result<void> Resubmission::append(uint64_t record) {
  auto run = runs_.begin();
  uint64_t sequence = 0;
  const auto whole =
      source_.walk(record, OrphanPayloads::copied, [&](const OrphanEntry& entry) -> Result<bool> {
        if (!entry.data) return true;
        while (run->term != entry.term || sequence == run->entries) {
          if (const auto closed = close(); !closed) return tl::unexpected(closed.error());
          sequence = 0;
          if (++run == runs_.end()) {
            return fail(Code::internal, "the record is not what it was a moment ago");
          }
        }
        if (!session_) {
          if (const auto opened = open(*run); !opened) return tl::unexpected(opened.error());
          // What was begun is finished.
          begun_ |= session_->resumed_behind() > 0;
          if (doubtful_ > 0 && !begun_ && !options_.again) {
            return fail(Code::exists,
                        std::to_string(doubtful_) + " of the " + std::to_string(entries_) +
                            " entries of record " + std::to_string(record) +
                            " are in the log again, or may be (caisson salvage list): discard the "
                            "record, or append the others (salvage export --missing), or all of "
                            "them a second time with --again");
          }
          begun_ = true;
        }
        if (++sequence <= session_->resumed_behind()) return true;
        while (!session_->has_room()) {
          if (const auto turned = session_->turn(kAnswerWait); !turned) {
            return tl::unexpected(turned.error());
          }
        }
        session_->push(entry.payload);
        if (const auto turned = session_->turn({}); !turned) return tl::unexpected(turned.error());
        return true;
      });
  if (!whole) return tl::unexpected(whole.error());
  return close();
}

// The replica may be between two leaders.
Result<void> Resubmission::discard(uint64_t record) {
  const auto deadline = Clock::now() + options_.timeout;
  for (;;) {
    auto done = source_.discard(record);
    const bool passing =
        !done && (done.error().code == Code::not_yet || done.error().code == Code::closed);
    if (done || !passing || Clock::now() >= deadline) return done;
    std::this_thread::sleep_for(kAskEvery);
  }
}

Result<void> Resubmission::run(uint64_t record) {
  runs_.clear();
  entries_ = doubtful_ = appended_ = 0;
  begun_ = false;
  first_ = last_ = {};
  if (const auto known = survey(record); !known) return known;
  if (const auto appended = append(record); !appended) {
    session_.reset();
    return fail(appended.error().code,
                "record " + std::to_string(record) +
                    " stays, and nothing of it is appended twice if this is tried again: " +
                    appended.error().message);
  }
  return discard(record);
}

}  // namespace caisson::tools
