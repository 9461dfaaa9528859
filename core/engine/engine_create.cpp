// SPDX-License-Identifier: BSD-3-Clause
// How a replica comes into being: all of its regions or none, and never a second time (P17).
#include <sys/random.h>

#include <filesystem>

#include "core/engine/config.hpp"
#include "core/engine/engine_impl.hpp"
#include "core/engine/engine_parts.hpp"
#include "core/engine/verbs_ground.hpp"

namespace caisson::engine {

namespace {

namespace fs = std::filesystem;

// What lies there already: nothing, or what a creation left that was cut short.
Result<void> expect_blank(const EngineOptions& options) {
  const std::string who = "replica " + std::to_string(options.replica.value);
  const bool cut_short = file_exists(creation_mark_path(options.directory));
  const bool ran = file_exists(heartbeat_path(options.directory));
  for (const LogOptions& log : options.logs) {
    const std::string path = region_path(options.directory, log.name);
    if (file_exists(path)) {
      if (cut_short && !ran) continue;
      return fail(Code::exists, who + " has already been created: " + path +
                                    " is there; start it, or remove the whole cluster first");
    }
    std::string trace;
    if (ran) trace = heartbeat_path(options.directory);
    if (!cut_short && file_exists(fs::path(path).parent_path())) {
      trace = fs::path(path).parent_path();
    }
    if (trace.empty()) continue;
    return fail(
        Code::amnesia,
        who + " has existed before: " + trace + " is there, " + path +
            " is not. An empty replica would vote without knowing what it acknowledged: "
            "put the very file back (an older copy has forgotten, too), or go on without this "
            "replica; to begin anew, remove the data directories of every replica");
  }
  return {};
}

// Each of the regions that are missing. To begin again after a failure changes nothing: whoever
// holds nothing and was never admitted is as good as new.
Result<void> create_to_join(const EngineOptions& options) {
  bool all = true;
  for (const LogOptions& log : options.logs) {
    if (file_exists(region_path(options.directory, log.name))) continue;
    all = false;
    uint64_t birth = 0;
    while (birth == 0) {
      if (getrandom(&birth, sizeof birth, 0) != sizeof birth) {
        return fail(Code::io, "no random numbers");
      }
    }
    if (const auto made = create_ground(options, log, birth); !made) return made;
  }
  if (!all) return {};
  return fail(Code::exists, "replica " + std::to_string(options.replica.value) +
                                " has all of its regions in " + options.directory +
                                ": start it; if they are damaged for good, move them away first");
}

}  // namespace

Result<void> EngineImpl::create(const EngineOptions& wanted, Creation creation) {
  if (const auto checked = check(wanted); !checked) return checked;
  const EngineOptions options = completed(wanted);
  if (const auto made = make_directory(options.directory); !made) return made;
  auto lock = NodeLock::take(options.directory);
  if (!lock) return tl::unexpected(lock.error());
  if (creation == Creation::joining || !voters_of(options).has(options.replica)) {
    return create_to_join(options);
  }
  if (const auto blank = expect_blank(options); !blank) return blank;
  for (const LogOptions& log : options.logs) {
    if (const auto never = expect_never_ran(options, log); !never) return never;
  }
  const std::string mark = creation_mark_path(options.directory);
  if (const auto marked = make_mark(mark); !marked) return marked;
  // The ring's pages belong where its poller will run.
  const auto topology = Topology::load();
  int node = -1;
  if (topology) {
    AdapterSite adapter;
    if (options.fabric == FabricKind::verbs) {
      if (const auto site = verbs_site(options, **topology); site) adapter = *site;
    }
    const auto placement = (*topology)->place(options, adapter);
    if (placement && placement->numa_nodes > 1) node = placement->seats.front().numa_node;
    if (node >= 0) (*topology)->prefer_node(node);
  }
  Result<void> result;
  for (const LogOptions& log : options.logs) {
    result = remove_ground(options, log);
    if (result) result = create_ground(options, log);
    if (!result) break;
  }
  if (node >= 0) (*topology)->prefer_node(-1);
  std::error_code ignored;
  if (!result) {
    bool gone = true;
    for (const LogOptions& log : options.logs) gone = remove_ground(options, log) && gone;
    if (!gone) return result;  // the mark stays: a later creation begins anew
    fs::remove(options.directory + "/logs", ignored);  // if nothing else is in it
  }
  fs::remove(mark, ignored);
  return result;
}

}  // namespace caisson::engine
