// SPDX-License-Identifier: BSD-3-Clause
#include <unistd.h>

#include <cinttypes>
#include <cstdio>

#include "tools/append_session.hpp"
#include "tools/command.hpp"
#include "tools/options.hpp"
#include "tools/status.hpp"

namespace caisson::tools {

namespace {

using std::chrono::microseconds;

constexpr size_t kListedLinesMax = 100'000;
// While answers are outstanding and the input is silent, both are looked at this often.
constexpr microseconds kAnswerWait{1'000};

struct AppendOptions {
  LogChoice choice;
  std::string stream;
  bool resume = false;
  std::string durability = "persisted";
  double timeout_s = 60;
  std::string history;
  Framing framing = Framing::lines;
};

class Append {
 public:
  Append(const Cluster& cluster, const AppendSessionOptions& session_options, Framing framing,
         bool json)
      : session_(cluster, session_options), framing_(framing), progress_(json) {}

  Result<void> run() {
    start_ = Clock::now();
    if (const auto opened = session_.open(); !opened) return opened;
    reader_.emplace(
        STDIN_FILENO, framing_,
        static_cast<uint32_t>(std::min<uint64_t>(session_.entry_bytes_max(), kFrameBytesMax)));
    while (!ended_ || !session_.idle()) {
      if (const auto read = take_input(); !read) {
        // What was read before is still brought home.
        problem_ = read.error();
        ended_ = true;
      }
      if (session_.idle()) continue;
      // Full, or nothing more to read: wait for answers; otherwise look, and go on reading.
      const bool hungry = !ended_ && session_.has_room() && reader_->ready();
      if (const auto turned = session_.turn(hungry ? microseconds(0) : kAnswerWait); !turned) {
        return turned;
      }
      show_progress();
    }
    return problem_ ? Result<void>(tl::unexpected(*problem_)) : Result<void>{};
  }

  Json result(const Result<void>& ended, Exit exit) {
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    Json terms = Json::array();
    for (const Term term : session_.terms()) terms.push_back(term.value);
    Json object{{"ok", exit == Exit::ok},
                {"entries", session_.acknowledged()},
                {"first_position", position(session_.first())},
                {"last_position", position(session_.last())},
                {"seconds", seconds},
                {"retries", session_.retries()},
                {"terms", terms},
                {"skipped", skipped_},
                {"stream", session_.client()},
                {"incarnation", session_.incarnation()},
                {"indefinite_lines", lines(session_.indefinite())},
                {"not_appended_lines", lines(session_.not_appended())},
                {"apologies", apologies()}};
    if (!ended)
      object["error"] = {{"code", name(ended.error().code)}, {"message", ended.error().message}};
    object["exit_code"] = static_cast<int>(exit);
    return object;
  }

  // Of the payload that has waited longest.
  uint64_t waiting_bytes() const { return session_.front_bytes(); }

  // Unknown fates come first: they are what a script must act upon.
  Exit exit_for(const Result<void>& ended) const {
    if (ended) return Exit::ok;
    if (session_.lost()) return Exit::apology;
    if (!session_.indefinite().empty()) return Exit::indefinite;
    return exit_of(ended.error().code);
  }

  void print(const Result<void>& ended) {
    progress_.clear();
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    std::fprintf(ended ? stdout : stderr,
                 "%" PRIu64 " entries, positions %" PRIu64 " to %" PRIu64 ", in %.3f s; %" PRIu64
                 " sent again, %zu terms",
                 session_.acknowledged(), session_.first().value, session_.last().value, seconds,
                 session_.retries(), session_.terms().size());
    if (skipped_ > 0) {
      std::fprintf(ended ? stdout : stderr, "; %" PRIu64 " were in the log already", skipped_);
    }
    std::fputc('\n', ended ? stdout : stderr);
    for (const Apology& each : session_.apologies()) {
      std::fprintf(stderr,
                   "caisson: apology: of incarnation %" PRIu32 ", lines %" PRIu64 " to %" PRIu64
                   " were acknowledged and are lost (noted at position %" PRIu64 ")\n",
                   each.incarnation, each.first_sequence, each.last_sequence, each.noted.value);
    }
    if (ended) return;
    print_lines("fate unknown (the same --stream with --resume settles it)", session_.indefinite());
    print_lines("not appended", session_.not_appended());
  }

  void end_history() const { session_.end_history(); }
  // What was shown need not be told again.
  void take_apologies() { session_.take_apologies(); }

 private:
  Json apologies() const {
    Json list = Json::array();
    for (const Apology& each : session_.apologies()) {
      list.push_back({{"incarnation", each.incarnation},
                      {"first_line", each.first_sequence},
                      {"last_line", each.last_sequence},
                      {"noted_at", each.noted.value}});
    }
    return list;
  }
  static Json position(Position at) { return at.value == 0 ? Json(nullptr) : Json(at.value); }

  static Json lines(const std::vector<uint64_t>& numbers) {
    Json list = Json::array();
    for (const uint64_t number : numbers) {
      if (list.size() == kListedLinesMax) break;
      list.push_back(number);
    }
    return list;
  }

  static void print_lines(const char* what, const std::vector<uint64_t>& numbers) {
    if (numbers.empty()) return;
    std::fprintf(stderr, "caisson: lines %" PRIu64 " to %" PRIu64 ": %s\n", numbers.front(),
                 numbers.back(), what);
  }

  // As much input as there is and fits. Waits only while nothing is outstanding.
  Result<void> take_input() {
    while (!ended_ && session_.has_room()) {
      if (!reader_->ready()) {
        const auto filled = reader_->fill(session_.idle() ? -1 : 0);
        if (!filled) return tl::unexpected(filled.error());
        if (!*filled) return {};
        continue;
      }
      std::span<const std::byte> payload;
      const auto taken = reader_->next(payload);
      if (!taken) return tl::unexpected(taken.error());
      if (!*taken) {
        ended_ = true;
      } else if (reader_->taken() <= session_.resumed_behind()) {
        ++skipped_;
      } else {
        session_.push(payload);
      }
    }
    return {};
  }

  void show_progress() {
    if (!progress_.due()) return;
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    const auto acknowledged = static_cast<double>(session_.acknowledged());
    const ReplicaId leader = session_.leader();
    progress_.show(human_count(acknowledged) + " entries, " + human_count(acknowledged / seconds) +
                   "/s, " +
                   (leader.value == 0 ? "looking for a leader"
                                      : "leader: replica " + std::to_string(leader.value)));
  }

  AppendSession session_;
  Framing framing_;
  Progress progress_;
  std::optional<FrameReader> reader_;
  std::optional<Error> problem_;
  Clock::time_point start_;
  bool ended_ = false;
  uint64_t skipped_ = 0;
};

Exit run_append(const AppendOptions& options, bool json) {
  const auto durability = parse_durability(options.durability);
  if (!durability) {
    const Error& error = durability.error();
    if (error.code == Code::invalid) return report_usage("--durability: " + error.message, json);
    return report(error, json);
  }
  if (options.resume && options.stream.empty()) {
    return report_usage("--resume needs --stream: it goes on where that stream ended", json);
  }
  const auto cluster = load_cluster(options.choice.directory);
  if (!cluster) return report(cluster.error(), json);
  const auto log = cluster->log(options.choice.log);
  if (!log) return report(log.error(), json);
  AppendSessionOptions session_options;
  session_options.log = (*log)->name;
  session_options.client = options.stream.empty() ? 0 : stream_id(options.stream);
  session_options.resume = options.resume;
  session_options.durability = *durability;
  session_options.timeout = milliseconds_of(options.timeout_s);
  const auto history = open_history(options.history);
  if (!history) return report(history.error(), json);
  session_options.history = history->get();
  Append append(*cluster, session_options, options.framing, json);
  auto ended = append.run();
  if (!ended && (ended.error().code == Code::timed_out || ended.error().code == Code::held)) {
    std::string why = lagging_standby(*cluster, (*log)->name);
    if (why.empty()) why = full_ring(*cluster, (*log)->name, append.waiting_bytes());
    if (!why.empty()) ended = fail(ended.error().code, ended.error().message + ": " + why);
  }
  append.end_history();
  if (*history) {
    const auto kept = (*history)->flush();
    if (ended && !kept) ended = kept;
  }
  const Exit exit = append.exit_for(ended);
  if (!ended) std::fprintf(stderr, "caisson: %s\n", ended.error().message.c_str());
  if (json) {
    print_json(append.result(ended, exit));
  } else {
    append.print(ended);
  }
  append.take_apologies();
  return exit;
}

}  // namespace

void add_append(Commands& commands) {
  auto options = std::make_shared<AppendOptions>();
  CLI::App* command = commands.add(
      commands.app, "append", "append standard input, one entry a line",
      "  caisson append --dir D < FILE\n"
      "  caisson append --dir D --stream backup-7 --resume < FILE   after a kill: goes on, exactly "
      "once\n"
      "  printf '\\002\\0\\0\\0hi' | caisson append --dir D --frame length32 --json\n\n"
      "Lines are pipelined, and sent again to the next leader if one dies: none is lost, none "
      "appears\n"
      "twice. Exit code 6: the fate of the lines named is unknown. With a --durability below "
      "persisted a\n"
      "leader that dies may take acknowledged lines with it: exit code 26, and the lines are "
      "named.\n",
      options, run_append);
  add_log_choice(command, options->choice);
  command->add_option("--stream", options->stream,
                      "identity of the input: a number or a name. Without --resume it begins anew");
  command->add_flag(
      "--resume", options->resume,
      "skip the lines that this stream has in the log already: line number = sequence");
  command
      ->add_option("--durability", options->durability,
                   "when a line counts as appended: volatile, local, replicated, persisted or all")
      ->capture_default_str();
  add_timeout(command, options->timeout_s, "the longest that one line may wait to be acknowledged");
  add_history(command, options->history);
  add_framing(command, options->framing);
}

}  // namespace caisson::tools
