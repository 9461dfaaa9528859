// SPDX-License-Identifier: BSD-3-Clause
// Every image that a power cut may leave, at every step of a machine's own code: each subset of the
// lines that are not persistent yet. Each is opened by the real recovery, on a machine of its own,
// beside the world that goes on undisturbed (S4, P24).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tests/sim/workbench.hpp"
#include "tests/sim/world.hpp"

namespace caisson::simtest {

struct ImageCounts {
  uint64_t positions = 0;  // steps at which memory was in a state that no step before had left
  uint64_t images = 0;     // distinct; each was recovered
  uint64_t again = 0;      // recoveries that were cut themselves, and repeated
  uint64_t lines_max = 0;  // most lines in question at one position
  std::map<std::string, uint64_t, std::less<>> calls;  // positions, by the step that was to follow
};

class Images {
 public:
  // Watches `world`, which outlives it, until so many were recovered. What is wrong becomes a
  // breach of the world.
  Images(World& world, uint64_t enough);
  ~Images();
  Images(const Images&) = delete;
  Images& operator=(const Images&) = delete;

  // Whose memory is looked at, and until when: nobody's, if empty.
  void look_at(ReplicaSet machines) { looked_at_ = machines; }
  // An append that its client was told every voter has persisted: no image of one may lack it.
  void everywhere(ReplicaSet voters, Position position, Term term);
  const ImageCounts& counts() const { return counts_; }

 private:
  struct Bench {
    std::unique_ptr<Workbench> machine;
    std::vector<std::byte> base;  // the memory that the subsets start from
    uint64_t digest = 0;          // of that
  };
  using Mark = std::pair<Position, Term>;

  void examine(Machine& m, std::string_view call);
  void learn(const Machine& m);
  void hear(ReplicaId from, const control::Message& message);
  void recover(Machine& m, const std::vector<uint64_t>& lines, const std::vector<bool>& kept);
  Bench& bench_of(const Machine& m);

  World& world_;
  const uint64_t enough_;
  ReplicaSet looked_at_;
  std::map<ReplicaId, Mark> everywhere_;
  std::map<ReplicaId, Term> promised_;     // … to others, in as many words
  std::map<ReplicaId, Position> trimmed_;  // … as the others were told
  Position committed_;                     // that anybody knew of
  std::unordered_set<uint64_t> states_;    // of memories, seen
  std::unordered_set<uint64_t> images_;    // recovered
  std::unordered_map<uint64_t, std::unordered_set<uint32_t>>
      chains_;  // that ever stood at a position
  std::map<ReplicaId, Bench> benches_;
  ImageCounts counts_;
};

}  // namespace caisson::simtest
