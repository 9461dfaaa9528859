// SPDX-License-Identifier: BSD-3-Clause
#include <hwloc.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

#include "core/engine/scheduling.hpp"
#include "tools/doctor.hpp"
#include "tools/files.hpp"

namespace caisson::tools {

namespace {

using Level = Finding::Level;

constexpr int kPollersOnOneMachine = 3;  // `cluster start` with its default of three replicas

std::set<std::string> processor_flags() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    std::set<std::string> flags;
    for (std::string word; words >> word;) flags.insert(word);
    return flags;
  }
  return {};
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string first_line(const std::filesystem::path& path) {
  const auto text = read_text(path);
  return text ? text->substr(0, text->find('\n')) : std::string();
}

}  // namespace

void examine_processor(std::vector<Finding>& findings) {
  const std::set<std::string> flags = processor_flags();
  findings.push_back({"processor", Level::ok, processor_name(), ""});
  const auto require = [&](const char* subject, const char* flag, Level missing, const char* cure) {
    const bool there = flags.contains(flag);
    findings.push_back(
        {subject, there ? Level::ok : missing, there ? "yes" : "no", there ? "" : cure});
  };
  require("CRC32 instruction (sse4_2)", "sse4_2", Level::warn,
          "caisson needs it: use an x86-64 processor made after 2008");
  require("512-bit stores (avx512f)", "avx512f", Level::note,
          "rings are written with narrower stores; small entries take a little longer");
  require("cache line write-back (clwb)", "clwb", Level::note,
          "flushes also evict the line (clflushopt); reading back costs a miss");
  require("steady time stamp counter (constant_tsc)", "constant_tsc", Level::warn,
          "`caisson bench` times with it: its figures are not to be trusted here");
}

void examine_topology(std::vector<Finding>& findings) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return;
  const std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)> topology(
      raw, hwloc_topology_destroy);
  if (hwloc_topology_load(topology.get()) != 0) {
    findings.push_back({"topology", Level::warn, "hwloc cannot load it",
                        "pollers run unpinned: set poller.cores in node.toml"});
    return;
  }
  const int nodes = hwloc_get_nbobjs_by_type(topology.get(), HWLOC_OBJ_NUMANODE);
  findings.push_back({"NUMA nodes", Level::ok, std::to_string(nodes), ""});
  cpu_set_t allowed;
  const int cores = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
  const bool enough = cores > kPollersOnOneMachine;
  findings.push_back(
      {"cores for pollers", enough ? Level::ok : Level::warn, std::to_string(cores) + " usable",
       enough ? ""
              : "three replicas on this machine share cores: keep poller.idle = \"adaptive\"; "
                "busy pollers would starve each other"});
  const bool may = engine::priority_allowed();
  findings.push_back(
      {"real-time priority", Level::note, may ? "allowed" : "not allowed",
       may ? "poller.priority = 1 halves a failover where cores are shared"
           : "for poller.priority raise the limit: ulimit -r, or LimitRTPRIO= of the "
             "systemd unit"});
}

void examine_fabrics(std::vector<Finding>& findings) {
  const long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  const bool expedited = commands > 0 && (commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0;
  findings.push_back(
      {"fabric shm", expedited ? Level::ok : Level::note,
       expedited ? "available" : "available, without membarrier(GLOBAL_EXPEDITED)",
       expedited ? "" : "writers fence for themselves: a Linux of 4.16 or newer is faster"});
}

void examine_kernel(std::vector<Finding>& findings) {
  const int slack_ns = prctl(PR_GET_TIMERSLACK);
  findings.push_back({"timer slack", Level::ok, std::to_string(slack_ns) + " ns", ""});
  const std::string clock =
      first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  const bool fast = clock == "tsc" || clock == "kvm-clock" || clock.starts_with("hyperv");
  findings.push_back(
      {"clock source", fast ? Level::ok : Level::warn, clock.empty() ? "unknown" : clock,
       fast ? "" : "reading the clock enters the kernel: boot with clocksource=tsc"});
  const std::string governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  if (!governor.empty()) {
    const bool steady = governor == "performance";
    findings.push_back({"frequency governor", steady ? Level::ok : Level::note, governor,
                        steady ? "" : "for steady latency: cpupower frequency-set -g performance"});
  }
  const std::string paranoid = first_line("/proc/sys/kernel/perf_event_paranoid");
  const bool open = !paranoid.empty() && (paranoid[0] == '-' || paranoid[0] == '0' ||
                                          paranoid[0] == '1' || geteuid() == 0);
  findings.push_back({"performance counters", open ? Level::ok : Level::note,
                      paranoid.empty() ? "not offered" : "perf_event_paranoid = " + paranoid,
                      open ? "" : "for profiles: sysctl kernel.perf_event_paranoid=1"});
  const std::string scope = first_line("/proc/sys/kernel/yama/ptrace_scope");
  const bool traceable = scope.empty() || scope == "0" || scope == "1" || geteuid() == 0;
  findings.push_back({"tracing of own processes", traceable ? Level::ok : Level::note,
                      scope.empty() ? "allowed" : "ptrace_scope = " + scope,
                      traceable ? ""
                                : "`caisson bench append` cannot count system calls: sysctl "
                                  "kernel.yama.ptrace_scope=1"});
}

std::vector<Finding> examine(const std::filesystem::path& directory) {
  std::vector<Finding> findings;
  examine_processor(findings);
  examine_topology(findings);
  examine_memory(findings, directory);
  examine_persistence(findings, directory);
  examine_fabrics(findings);
  examine_adapters(findings);
  examine_kernel(findings);
  return findings;
}

}  // namespace caisson::tools
