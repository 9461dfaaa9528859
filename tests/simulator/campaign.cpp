// SPDX-License-Identifier: BSD-3-Clause
#include "tests/simulator/campaign.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>

#include "tests/simulator/second_judge.hpp"
#include "tools/command.hpp"

namespace caisson::simtest {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kSeedSecondsMax = 60;  // of processor time; some thousand times what a seed takes

// What a worker tells of one seed: this, and the violations as text behind it.
struct Record {
  uint64_t seed = 0;
  uint64_t trace = 0;
  Totals totals;
  uint64_t text_bytes = 0;
};
static_assert(std::is_trivially_copyable_v<Record>);

std::string spell(const std::vector<Violation>& violations) {
  std::string text;
  for (const Violation& v : violations) text += v.invariant + '\0' + v.what + '\0';
  return text;
}

std::vector<Violation> parse_violations(std::string_view text) {
  std::vector<Violation> violations;
  const auto next = [&text] {
    const size_t end = std::min(text.find('\0'), text.size());
    const std::string word(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    return word;
  };
  while (!text.empty()) {
    Violation v;
    v.invariant = next();
    v.what = next();
    violations.push_back(std::move(v));
  }
  return violations;
}

void write_all(int fd, const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) _exit(0);  // nobody listens any more
    done += static_cast<size_t>(n);
  }
}

void tell(int fd, uint64_t seed, const Verdict& verdict) {
  const std::string text = spell(verdict.violations);
  const Record record{seed, verdict.trace, verdict.totals, text.size()};
  write_all(fd, std::string(reinterpret_cast<const char*>(&record), sizeof record) + text);
}

// The end of a seed that has none: SIGVTALRM, which nobody handles.
void limit_time() {
  itimerval limit{};
  limit.it_value.tv_sec = kSeedSecondsMax;
  ::setitimer(ITIMER_VIRTUAL, &limit, nullptr);
}

// One process that runs every `step`-th seed, and what has been heard of it.
class Worker {
 public:
  using Run = std::function<Verdict(uint64_t seed)>;

  Worker(uint64_t first, uint64_t last, uint64_t step, const Run& run)
      : next_(first), last_(last), step_(step) {
    int ends[2];
    if (::pipe(ends) != 0) return;
    std::fflush(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(ends[0]);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      work(ends[1], run);
    }
    ::close(ends[1]);
    fd_ = ends[0];
  }
  ~Worker() { stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  int fd() const { return fd_; }
  uint64_t next() const { return next_; }
  bool finished() const { return next_ > last_; }

  // False: it has ended.
  bool hear() {
    char piece[65536];
    const ssize_t n = ::read(fd_, piece, sizeof piece);
    if (n < 0 && errno == EINTR) return true;
    if (n <= 0) return false;
    heard_.append(piece, static_cast<size_t>(n));
    return true;
  }
  bool take(Record& record, std::vector<Violation>& violations) {
    if (heard_.size() < sizeof record) return false;
    std::memcpy(&record, heard_.data(), sizeof record);
    if (heard_.size() < sizeof record + record.text_bytes) return false;
    violations =
        parse_violations(std::string_view(heard_).substr(sizeof record, record.text_bytes));
    heard_.erase(0, sizeof record + record.text_bytes);
    next_ = last_ - record.seed < step_ ? last_ + 1 : record.seed + step_;
    return true;
  }
  // Why it ended before its last seed.
  std::string epitaph() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    if (!WIFSIGNALED(status)) return "its process ended";
    if (WTERMSIG(status) == SIGVTALRM) {
      return "there was no end after " + std::to_string(kSeedSecondsMax) + " s of processor time";
    }
    return std::string("its process was ended by a signal: ") + ::strsignal(WTERMSIG(status));
  }

 private:
  [[noreturn]] void work(int fd, const Run& run) {
    for (uint64_t seed = next_;; seed += step_) {
      limit_time();
      tell(fd, seed, run(seed));
      if (last_ - seed < step_) break;
    }
    _exit(0);
  }
  void stop() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    if (fd_ >= 0) ::close(fd_);
  }

  uint64_t next_;
  const uint64_t last_;
  const uint64_t step_;
  pid_t pid_ = -1;
  int fd_ = -1;
  std::string heard_;
};

class Campaign {
 public:
  explicit Campaign(const Options& options) : options_(options) { summary_.options = options; }

  Summary run() {
    const uint64_t jobs = std::min<uint64_t>(options_.jobs, options_.last - options_.first + 1);
    for (uint64_t i = 0; i < jobs; ++i) start(options_.first + i, jobs);
    while (!workers_.empty() && !over()) listen(jobs);
    progress_.clear();
    summary_.seconds = seconds();
    std::sort(summary_.failures.begin(), summary_.failures.end(),
              [](const Failure& a, const Failure& b) { return a.seed < b.seed; });
    return std::move(summary_);
  }

 private:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }
  bool over() const {
    if (!summary_.failures.empty() && !options_.keep_going) return true;
    return options_.minutes != 0 && seconds() >= static_cast<double>(options_.minutes) * 60;
  }

  void start(uint64_t first, uint64_t step) {
    workers_.push_back(
        std::make_unique<Worker>(first, options_.last, step, [&options = options_](uint64_t seed) {
          return run_judged_day(draw_schedule(seed), {.canary = options.canary}, options.checker);
        }));
  }

  void listen(uint64_t jobs) {
    std::vector<pollfd> fds;
    for (const auto& worker : workers_) fds.push_back({worker->fd(), POLLIN, 0});
    ::poll(fds.data(), fds.size(), 200);
    for (size_t i = fds.size(); i-- > 0;) {
      if (fds[i].revents == 0) continue;
      Worker& worker = *workers_[i];
      const bool lives = worker.hear();
      take(worker);
      if (lives) continue;
      const uint64_t seed = worker.next();
      const bool finished = worker.finished();
      if (!finished) lose(worker, seed);
      workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(i));
      if (!finished && options_.last - seed >= jobs) start(seed + jobs, jobs);
    }
    show();
  }

  void take(Worker& worker) {
    Record record;
    Verdict verdict;
    while (worker.take(record, verdict.violations)) {
      add(summary_.totals, record.totals);
      summary_.trace ^= record.trace;
      if (options_.canary != Canary::none) {
        summary_.unreported += verdict.sound();
      } else if (!verdict.sound()) {
        summary_.failures.push_back(
            {record.seed, ending_of(verdict), verdict.violations, record.trace});
      }
    }
  }

  void lose(Worker& worker, uint64_t seed) {
    summary_.failures.push_back({seed, Ending::failure, {{"CRASH", worker.epitaph()}}, 0});
    summary_.unreported += options_.canary != Canary::none;
  }

  void show() {
    if (!progress_.due()) return;
    const Totals& t = summary_.totals;
    progress_.show(std::to_string(t.seeds) + " seeds, " +
                   tools::human_count(static_cast<double>(t.seeds) * 60 / seconds()) + "/min, " +
                   tools::human_count(static_cast<double>(t.events)) + " events, " +
                   std::to_string(t.faults) + " faults, " + std::to_string(t.failovers) +
                   " failovers, " + std::to_string(summary_.failures.size()) + " failed");
  }

  const Options options_;
  const Clock::time_point begin_ = Clock::now();
  Summary summary_;
  std::vector<std::unique_ptr<Worker>> workers_;
  tools::Progress progress_;
};

}  // namespace

Summary run_campaign(const Options& options) { return Campaign(options).run(); }

Apart run_apart(const Schedule& day, const Options& options) {
  Worker worker(0, 0, 1, [&](uint64_t) {
    return run_judged_day(day, {.canary = options.canary}, options.checker);
  });
  while (worker.hear()) {
  }
  Apart apart;
  Record record;
  if (!worker.take(record, apart.verdict.violations)) {
    apart.ending = Ending::failure;
    apart.verdict.violations = {{"CRASH", worker.epitaph()}};
    return apart;
  }
  apart.verdict.trace = record.trace;
  apart.verdict.totals = record.totals;
  apart.ending = ending_of(apart.verdict);
  return apart;
}

}  // namespace caisson::simtest
