// SPDX-License-Identifier: BSD-3-Clause
// A whole cluster in one thread and virtual time, from one seed: the real core on simulated
// machines, links and clocks. Faults are calls; chaos.hpp draws them at random, the scenarios place
// them by hand.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/control/failure_detector.hpp"
#include "core/replication/replica.hpp"
#include "pmem/shadow_region.hpp"
#include "tests/sim/checker.hpp"
#include "tests/sim/history.hpp"
#include "transport/sim/sim_fabric.hpp"

namespace caisson::simtest {

using transport::sim::Random;
using transport::sim::SimFabric;

inline constexpr uint64_t kUs = 1'000;
inline constexpr uint64_t kMs = 1'000'000;

struct WorldOptions {
  uint64_t seed = 1;
  uint8_t replicas = 3;
  uint8_t spares = 0;  // machines that run, and may be admitted
  uint64_t ring_bytes = 256 * 1024;
  uint64_t salvage_bytes = 1024 * 1024;
  uint32_t entry_bytes_max = 8 * 1024;
  Persistence persistence = Persistence::adr;
  bool auto_apply = true;
  bool trims = true;                  // the leader is asked to trim now and then
  uint64_t cursor_persist_bytes = 0;  // 0: a sixteenth of the ring
  uint64_t cursor_persist_idle_ns = 300 * kUs;
  transport::sim::SimOptions fabric;
  // Control messages.
  uint64_t message_ns_max = 8 * kUs;
  uint64_t message_late_ns_max = 2 * kMs;
  uint32_t message_late_permille = 10;
  uint32_t message_loss_permille = 0;
  uint32_t message_twice_permille = 20;
  bool link_notices = true;  // a dropped or mended control link is noticed
  // How patient replicas are with each other.
  uint64_t suspect_after_ns = 1 * kMs;
  uint64_t fault_after_ns = 3 * kMs;
  uint64_t slow_after_ns = 2 * kMs;
  bool demotes_slow = false;
  uint64_t demote_after_ns = 4 * kMs;
  uint32_t voters_min = 2;
  log::QuorumSystem quorum;
  // Somebody made this one's region for another quorum system. 0: nobody did.
  uint8_t odd = 0;
  log::QuorumSystem quorum_of_odd;
  uint64_t scrub_bytes_per_s = 100'000'000;
  StandbyBounds standby;
  bool standby_refuses = false;
  // Turns of a machine's poller.
  uint64_t turn_ns = 4 * kUs;
  uint64_t idle_turn_ns = 12 * kUs;
};

enum class Death : uint8_t { process, power, power_all };

// What a run was, in numbers.
struct WorldCounters {
  uint64_t events = 0;  // steps of the simulator itself; those of its fabric are counted there
  uint64_t turns = 0;   // of pollers
  uint64_t messages = 0;
  uint64_t messages_lost = 0;
  uint64_t messages_twice = 0;
  uint64_t messages_late = 0;
  uint64_t messages_clogged = 0;
  uint64_t processes_died = 0;
  uint64_t powers_lost = 0;  // machine by machine
  uint64_t died_inside = 0;  // of those, between two steps of what they were doing
  uint64_t memories_lost = 0;
};

class World;
class Client;

// Watches a run as it happens; changes nothing.
class Witness {
 public:
  virtual ~Witness() = default;
  virtual void saw(const Event& event) = 0;
  virtual void told(uint64_t at_ns, const std::string& what) = 0;
};

// One machine: its memory, and the process that runs its replica while it runs.
struct Machine {
  ReplicaId id;
  std::unique_ptr<pmem::ShadowRegion> region;
  std::unique_ptr<transport::Endpoint> endpoint;
  std::unique_ptr<transport::Heartbeats> heartbeats;
  std::unique_ptr<control::FailureDetector> detector;
  std::unique_ptr<control::Outbox> outbox;
  std::unique_ptr<replication::Replica> replica;  // the process, null while it is dead
  uint64_t life = 0;
  bool paused = false;
  bool wrecked = false;  // its memory was lost or damaged for good: it may refuse to start
  std::vector<std::function<void()>> inbox;  // what arrived while paused
  int64_t clock_offset_ns = 0;
  int64_t clock_drift_ppm = 0;
  uint64_t clock_seen_ns = 0;  // the latest time it ever showed
  uint64_t slowness = 1;
  // Where its reader and its application stand.
  uint64_t shown = 0;
  log::Cursor cursor;
  bool cursor_known = false;
  uint64_t state = 0;  // digest of everything replayed up to `shown`
  bool state_known = true;
  uint64_t applied = 0;  // durable mark of the application, survives its process
  uint64_t applied_state = 0;
  uint64_t trimmed = 0;
  uint64_t unreadable = 0;
  Term led;
  Code refused = Code::ok;  // why the last start failed
  // Dies at the given call or persistence point.
  struct Plan {
    std::string call;        // empty: any
    uint64_t countdown = 0;  // 0: no plan
    Death how = Death::process;
  } plan;

  uint64_t birth = 0;

  bool up() const { return replica != nullptr; }
  bool turns() const { return up() && !paused; }
};

// What became of one submission; see Resolution.
using OnResolution = std::function<void(const replication::Resolution&)>;
using OnReadPoint = std::function<void(const replication::ReadPoint&)>;

class World {
 public:
  explicit World(const WorldOptions& options);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // ---- Time ----
  uint64_t now() const { return now_ns_; }
  void run_for(uint64_t ns) { run_until_time(now_ns_ + ns); }
  // True once `done` holds; false if it did not within `ns`.
  bool run_until(const std::function<bool()>& done, uint64_t ns);
  void after(uint64_t ns, std::function<void()> run);
  uint64_t local_now(const Machine& m) const;  // as the machine's own clock shows it

  // ---- Machines ----
  Machine& machine(uint8_t id) { return *machines_[id - 1u]; }
  size_t size() const { return machines_.size(); }
  std::vector<uint8_t> ids() const;
  uint8_t leader() const;  // who leads the highest term and runs; 0: nobody
  bool start(uint8_t id);  // false: the region was refused, see Machine::refused
  void kill(uint8_t id, Death how = Death::process);
  // Dies when the machine's own code makes its `count`-th call named `call` (empty: any call on
  // region, endpoint or outbox).
  void kill_at(uint8_t id, std::string call, uint64_t count, Death how = Death::process);
  void pause(uint8_t id) { machine(id).paused = true; }
  void resume(uint8_t id);
  // Power of all machines at once.
  void power_cut_all();
  // Some of the machine's bytes are about to be spoilt, and whoever reads them may be told so.
  void wreck(uint8_t id);
  // The machine's memory is gone for good. What starts there holds nothing, under a new birth.
  void destroy(uint8_t id);
  // The leader is asked for it.
  Code change(const MemberChange& change);
  Code hand_over(uint8_t to);
  // Members whose memory is gone are removed, as an operator would. True if there were any.
  bool dismiss_the_lost();
  // Damaged ones that the others' logs no longer reach back to are wiped, to be dismissed (R43).
  void wipe_the_damaged();
  // A standby goes on alone behind `last`, and says that at most `lost` entries are lost.
  void take_over(uint8_t id, Position last, uint64_t lost);
  // The view in force where somebody leads; no voters if nobody does.
  log::Membership view() const;
  // Its region is the one that has that place in the view.
  bool admitted(const Machine& m, const log::Membership& view) const;
  LogIdentity identity() const;
  // The leader, if there is one, is asked to trim all but the latest entries.
  void trim();

  // ---- Links ----
  // Data and control, one way.
  void cut(uint8_t from, uint8_t to, bool data = true, bool control = true);
  // What is sent that way waits, and then all of it arrives.
  void clog(uint8_t from, uint8_t to, bool data = true, bool control = true);
  void unclog(uint8_t from, uint8_t to);
  void mend(uint8_t from, uint8_t to);
  void isolate(uint8_t id);
  void heal();  // links, pauses, clocks, slowness; starts what is down
  SimFabric& fabric() { return *fabric_; }

  // ---- Work ----
  // Runs `f` as the machine's own code: hooks may kill it there. False if it died.
  bool inside(Machine& m, const std::function<void()>& f);
  // Submits for a client; resolutions come back through `done`.
  Code submit(uint8_t id, replication::Submission submission, OnResolution done);
  uint64_t new_tag(OnResolution done);
  // A linearizable read; the judge compares it with what was acknowledged before.
  void read(uint8_t id, ReadPath path, uint64_t timeout_ns, OnReadPoint done);
  Client& add_client(std::unique_ptr<Client> client);
  std::vector<std::unique_ptr<Client>>& clients() { return clients_; }

  // Called before each step of a machine's own code, on memory or on the fabric, takes effect; and
  // with each message that it sends.
  using Watcher = std::function<void(Machine&, std::string_view call)>;
  using Listener = std::function<void(ReplicaId from, const control::Message&)>;
  void watch(Watcher watcher) { watcher_ = std::move(watcher); }
  void listen(Listener listener) { listener_ = std::move(listener); }
  // Called with each message before it is handled; and when a step of the simulation is over.
  using Hearer = std::function<void(ReplicaId to, ReplicaId from, const control::Message&)>;
  void hear(Hearer hearer) { hearer_ = std::move(hearer); }
  void after_each_step(std::function<void()> look) { look_ = std::move(look); }

  // ---- Judgement ----
  Event& record(Event event);
  // A breach that needs no history to be seen.
  void breach(const std::string& invariant, const std::string& what);
  // Heals, waits for service and agreement, reads every log again, judges. Empty: sound.
  std::vector<Violation> finish(uint64_t bound_ns = 400 * kMs);
  const History& history() const { return history_; }
  const WorldCounters& counters() const { return counters_; }
  // finish() found nobody who could serve: too many voters are damaged for a quorum.
  bool quorum_damaged() const { return quorum_damaged_; }
  // Outlives the world, or none. Set before anything happens, it sees everything but the first
  // starts.
  void set_witness(Witness* witness) { witness_ = witness; }
  bool watched() const { return witness_ != nullptr; }
  void tell(const std::string& what) {
    if (witness_ != nullptr) witness_->told(now_ns_, what);
  }
  uint64_t trace() const { return trace_ ^ fabric_->trace(); }
  Random& random() { return random_; }
  const WorldOptions& options() const { return options_; }
  replication::ReplicaOptions replica_options(ReplicaId id) const;
  bool exposed(const Id& id) const;  // it, or a later one of its stream, is committed
  std::string describe() const;      // who stands where; for a run that got stuck
  uint64_t committed_max() const;    // highest position any replica ever exposed

  void observe(Machine& m);

 private:
  class MachineOutbox;
  struct Timed {
    uint64_t at_ns;
    uint64_t order;
    std::function<void()> run;
    bool operator>(const Timed& other) const {
      return at_ns != other.at_ns ? at_ns > other.at_ns : order > other.order;
    }
  };

  void run_until_time(uint64_t until_ns);
  bool step(uint64_t until_ns);
  void turn(uint8_t id, uint64_t life);
  void pass(ReplicaId id, std::string_view call);
  void drop(Machine& m, Death how);
  void send(ReplicaId from, ReplicaId to, const control::Message& message);
  void deliver(ReplicaId from, ReplicaId to, const std::string& bytes);
  void notice(uint8_t of, bool up);
  void show(Machine& m);
  void show_entry(Machine& m, const log::EntryView& view);
  void restart_reader(Machine& m);
  void install(Machine& m);
  void observe_reads(Machine& m);
  void answer(Machine& m, const replication::ReadPoint& point);
  void make_region(Machine& m, ReplicaSet voters);
  void trim_now_and_then();
  bool agreed() const;
  bool quorum_is_sound() const;
  void read_again();

  WorldOptions options_;
  Random random_;
  uint64_t now_ns_ = kMs;
  uint64_t order_ = 0;
  std::priority_queue<Timed, std::vector<Timed>, std::greater<>> timed_;
  std::vector<std::unique_ptr<Machine>> machines_;
  std::unique_ptr<SimFabric> fabric_;
  std::array<std::array<bool, 64>, 64> control_cut_{};
  std::map<std::pair<uint8_t, uint8_t>, std::vector<std::string>> clogged_;  // what waits there
  std::vector<std::unique_ptr<Client>> clients_;
  std::unordered_map<uint64_t, OnResolution> waiting_;
  uint64_t tags_ = 0;
  std::unordered_map<uint64_t, OnReadPoint> reading_;
  uint64_t reads_ = 0;
  ReplicaId inside_;
  Watcher watcher_;
  Listener listener_;
  Hearer hearer_;
  std::function<void()> look_;
  History history_;
  std::vector<Violation> breaches_;
  std::unordered_map<uint64_t, uint64_t> states_;  // position -> replay digest, as first seen
  std::map<uint64_t, std::pair<uint64_t, uint64_t>> latest_of_;  // client -> the latest
                                                                 // that anybody exposed of it
  uint64_t shown_max_ = 0;
  uint64_t trace_ = 0;
  WorldCounters counters_;
  bool quorum_damaged_ = false;
  Witness* witness_ = nullptr;
};

// A digest of bytes; the checker compares nothing else.
uint64_t digest_of(std::span<const std::byte> bytes);

}  // namespace caisson::simtest
