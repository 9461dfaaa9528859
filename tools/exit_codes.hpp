// SPDX-License-Identifier: BSD-3-Clause
// How the program ends: one table, repeated in docs/cli.md; a test keeps the two equal.
#pragma once

#include <array>
#include <string_view>

#include "caisson/types.hpp"

namespace caisson::tools {

enum class Exit : int {
  ok = 0,
  failure = 1,
  unfinished = 2,
  damaged = 3,
  usage = 4,
  configuration = 5,
  indefinite = 6,
  timed_out = 7,
  not_found = 8,
  exists = 9,
  busy = 10,
  no_space = 11,
  denied = 12,
  wrong_cluster = 13,
  wrong_version = 14,
  amnesia = 15,
  unreachable = 16,
  trimmed = 17,
  held = 18,
  stream = 19,
  too_large = 20,
  unsupported = 21,
  not_appended = 22,
  io = 23,
  missed = 24,
  wrong_view = 25,
  apology = 26,
};

struct ExitRow {
  Exit exit;
  std::string_view name;
  std::string_view meaning;
};

inline constexpr std::array kExitTable = {
    ExitRow{Exit::ok, "ok", "all of it was done"},
    ExitRow{Exit::failure, "failure", "a fault that no other row names: a bug in caisson"},
    ExitRow{Exit::unfinished, "unfinished",
            "`log verify`: the log is sound up to a torn or unfinished tail, normal after a crash"},
    ExitRow{Exit::damaged, "damaged", "acknowledged bytes are gone or corrupt"},
    ExitRow{Exit::usage, "usage", "bad arguments; nothing was done"},
    ExitRow{Exit::configuration, "configuration", "a configuration or input that is not valid"},
    ExitRow{Exit::indefinite, "indefinite",
            "`append`: the fate of some lines is unknown; the result names them"},
    ExitRow{Exit::timed_out, "timed_out",
            "the time given passed first, or the position is not committed yet"},
    ExitRow{Exit::not_found, "not_found", "no such cluster, log, file or replica"},
    ExitRow{Exit::exists, "exists", "would have to overwrite something"},
    ExitRow{Exit::busy, "busy", "a port, region or directory is in use by a living process"},
    ExitRow{Exit::no_space, "no_space", "the device or file system is full"},
    ExitRow{Exit::denied, "denied", "missing rights, or an identity that is not authorised"},
    ExitRow{Exit::wrong_cluster, "wrong_cluster", "belongs to another cluster, log or replica"},
    ExitRow{Exit::wrong_version, "wrong_version", "a newer format or protocol"},
    ExitRow{Exit::amnesia, "amnesia", "a replica's region is missing; it may not take part"},
    ExitRow{Exit::unreachable, "unreachable", "no leader, no quorum, or nobody answers"},
    ExitRow{Exit::trimmed, "trimmed", "the position lies below the trim point"},
    ExitRow{
        Exit::held, "held",
        "a trim is refused: somebody still needs the entries; or an append: a standby is as far "
        "behind as it may be"},
    ExitRow{Exit::stream, "stream",
            "the stream refuses: a newer incarnation, a gap, too old, or other bytes"},
    ExitRow{Exit::too_large, "too_large", "exceeds a stated limit"},
    ExitRow{Exit::unsupported, "unsupported", "not offered by this build or machine"},
    ExitRow{Exit::not_appended, "not_appended",
            "`append`: some lines are definitely not in the log"},
    ExitRow{Exit::io, "io", "the operating system reported a failure"},
    ExitRow{Exit::missed, "missed",
            "`bench`, `doctor`: it ran, and what was asked of it did not hold"},
    ExitRow{Exit::wrong_view, "wrong_view", "asked for one view, another is in force"},
    ExitRow{Exit::apology, "apology",
            "`append`: lines acknowledged below `persisted` are lost; the result names them"},
};

constexpr Exit exit_of(Code code) {
  switch (code) {
    case Code::ok: return Exit::ok;
    case Code::again:
    case Code::not_leader:
    case Code::fenced:
    case Code::closed:
    case Code::no_quorum: return Exit::unreachable;
    case Code::indefinite: return Exit::indefinite;
    case Code::timed_out:
    case Code::not_yet: return Exit::timed_out;
    case Code::not_appended:
    case Code::revoked: return Exit::not_appended;
    case Code::trimmed: return Exit::trimmed;
    case Code::held: return Exit::held;
    case Code::wrong_view: return Exit::wrong_view;
    case Code::invalid: return Exit::configuration;
    case Code::too_large: return Exit::too_large;
    case Code::unsupported: return Exit::unsupported;
    case Code::exists: return Exit::exists;
    case Code::not_found: return Exit::not_found;
    case Code::wrong_cluster: return Exit::wrong_cluster;
    case Code::wrong_version: return Exit::wrong_version;
    case Code::stale_stream:
    case Code::broken_stream:
    case Code::aged_out:
    case Code::identity_reused: return Exit::stream;
    case Code::denied: return Exit::denied;
    case Code::busy: return Exit::busy;
    case Code::damaged: return Exit::damaged;
    case Code::amnesia: return Exit::amnesia;
    case Code::no_space: return Exit::no_space;
    case Code::io: return Exit::io;
    case Code::internal: return Exit::failure;
  }
  return Exit::failure;
}

}  // namespace caisson::tools
