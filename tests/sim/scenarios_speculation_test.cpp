// SPDX-License-Identifier: BSD-3-Clause
// S8, R32: readers that do not wait for the commit, while leaders die and minorities append what
// will never be.
#include <gtest/gtest.h>

#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "core/log/speculation.hpp"
#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

struct Counts {
  uint64_t speculative = 0;  // entries delivered before their commit
  uint64_t revoked = 0;
  uint64_t settled = 0;  // barriers passed
};

// Reads what one machine holds at random times, and believes what it is told. What it has seen dies
// with the process; what a barrier has promised does not.
class Speculator {
 public:
  Speculator(World& world, uint8_t id) : world_(world), id_(id), random_(world.random().next()) {
    world_.after(random_.below(kEveryNs), [this] { turn(); });
  }

  // Compares with what was committed in the end, as far as this machine still holds it. First it
  // hears what there is to hear: the day may end before its next turn.
  void judge(const Machine& m, std::vector<Violation>& out) {
    const log::LogState& log = m.replica->log();
    // Its closing reading counts as one more life.
    if (m.life != life_ + 1) seen_.clear();
    while (m.life == life_ + 1 && read(log)) {
    }
    for (const auto& [position, identity] : seen_) expect_committed(log, position, identity, out);
    for (const auto& [position, identity] : final_) expect_committed(log, position, identity, out);
  }
  const Counts& counts() const { return counts_; }

 private:
  struct Identity {
    uint64_t term;
    uint32_t digest;
    bool operator==(const Identity&) const = default;
  };
  static constexpr uint64_t kEveryNs = 30 * kUs;

  void turn() {
    world_.after(kEveryNs / 2 + random_.below(kEveryNs), [this] { turn(); });
    Machine& m = world_.machine(id_);
    if (!m.turns()) return;
    const log::LogState& log = m.replica->log();
    if (m.life != life_) {
      life_ = m.life;
      seen_.clear();
      reader_.emplace(log.committed());
    }
    for (uint64_t i = random_.below(20); i > 0; --i) {
      if (!read(log)) break;
    }
    if (random_.permille(200)) barrier(log);
  }

  bool read(const log::LogState& log) {
    log::EntryView view;
    const Code code = reader_->next(log, view);
    if (code == Code::revoked) take_back();
    if (code == Code::trimmed) {
      seen_.clear();
      reader_.emplace(log.committed());
    }
    if (code != Code::ok) return code == Code::revoked;
    const Position position = view.cursor.position;
    const uint32_t digest =
        log::crc32c(log::kCrcSeed, view.payload.data(), view.payload.size()) ^ view.header.kind;
    counts_.speculative += position > log.committed();
    const auto [old, fresh] = seen_.try_emplace(position, Identity{view.header.term, digest});
    if (!fresh) world_.breach("R32", "position " + text(position) + " comes twice");
    return true;
  }

  void take_back() {
    const auto from = seen_.upper_bound(reader_->last());
    counts_.revoked += static_cast<uint64_t>(std::distance(from, seen_.end()));
    if (from != seen_.end() && final_.contains(from->first)) {
      world_.breach("R32", "revoked behind a barrier: position " + text(from->first));
    }
    seen_.erase(from, seen_.end());
  }

  void barrier(const log::LogState& log) {
    const Code code = reader_->settled(log);
    if (code == Code::revoked) take_back();
    if (code != Code::ok) return;
    ++counts_.settled;
    for (const auto& [position, identity] : seen_) {
      const auto [old, fresh] = final_.try_emplace(position, identity);
      if (!fresh && old->second != identity) {
        world_.breach("R32", "two entries are final at position " + text(position));
      }
    }
    seen_.clear();
  }

  void expect_committed(const log::LogState& log, Position position, const Identity& identity,
                        std::vector<Violation>& out) const {
    log::EntryView view;
    if (position > log.committed() && final_.contains(position)) {
      out.push_back({"R32", "a final entry is not committed: position " + text(position)});
    }
    if (position <= log.trimmed() || log.read(position, view) != Code::ok) return;
    const uint32_t digest =
        log::crc32c(log::kCrcSeed, view.payload.data(), view.payload.size()) ^ view.header.kind;
    if (Identity{view.header.term, digest} != identity) {
      out.push_back({"R32", "delivered, not revoked and not committed: " + text(position)});
    }
  }

  static std::string text(Position p) { return std::to_string(p.value); }

  World& world_;
  const uint8_t id_;
  Random random_;
  uint64_t life_ = 0;
  std::optional<log::Speculation> reader_;
  std::map<Position, Identity> seen_;   // since the last barrier
  std::map<Position, Identity> final_;  // up to it
  Counts counts_;
};

// The leader is cut off with appends that only it has, and reveals them to its readers; another one
// takes its place. Some seeds kill it between.
Outcome minority_appends(uint64_t seed, Counts& sum) {
  World world(quiet_world(seed));
  Script script(world);
  add_clients(world, 2);
  std::vector<std::unique_ptr<Speculator>> readers;
  for (const uint8_t id : world.ids()) {
    readers.push_back(std::make_unique<Speculator>(world, id));
  }
  for (int round = 0; round < 4; ++round) {
    const uint8_t leader = script.await_leader();
    if (leader == 0) break;
    world.run_for(world.random().between(1, 2) * kMs);
    script.hold_all(leader, script.tail(leader));
    for (int i = 0; i < 3; ++i) script.append(leader);
    world.run_for(world.random().below(400) * kUs);
    world.isolate(leader);
    world.run_for(world.random().between(1, 12) * kMs);
    if (seed % 3 == 0) world.kill(leader, seed % 2 == 0 ? Death::process : Death::power);
    script.release_all(leader);
    world.heal();
    world.run_for(world.random().below(2 * kMs));
  }
  Outcome outcome = conclude(world);
  for (const auto& reader : readers) {
    sum.speculative += reader->counts().speculative;
    sum.revoked += reader->counts().revoked;
    sum.settled += reader->counts().settled;
  }
  for (const uint8_t id : world.ids()) {
    if (!world.machine(id).up()) continue;
    readers[id - 1u]->judge(world.machine(id), outcome.violations);
  }
  return outcome;
}

TEST(S8, NothingIsRevokedBehindTheBarrier) {
  Counts sum;
  over_seeds(1, 24, [&](uint64_t seed) { return minority_appends(seed, sum); });
  EXPECT_GT(sum.speculative, 100u);
  EXPECT_GT(sum.revoked, 0u);
  EXPECT_GT(sum.settled, 0u);
}

}  // namespace
}  // namespace caisson::simtest
