// SPDX-License-Identifier: BSD-3-Clause
// What a simulated cluster does, as steps of tests/model/view_change.pml: this is the one place
// that says which observation is which step (docs/simulation.md has the table). The steps are given
// to the model by tests/model/trace, which finds out whether it could have taken them, each in its
// turn.
//
// Seen are: a ring's bytes, after every step of the simulation; promise, role and commit mark, as a
// replica's own status says them; and the control messages. Nothing is asked of the core that only
// the model would want to know.
//
// Out of its reach: power cuts (the model's logs persist), trims, batches, other quorum systems.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/world.hpp"

namespace caisson::simtest {

// The bounds of tests/model/trace.pml.
inline constexpr size_t kModelReplicas = 5;
inline constexpr size_t kModelPositions = 40;
inline constexpr size_t kModelTerms = 6;

enum class ModelKind : uint8_t { start = 1, value, joint1, final1, joint2, final2 };

struct ModelEntry {
  ModelKind kind = ModelKind::value;
  Term term;
  bool operator==(const ModelEntry&) const = default;
};

// One line of a trace. The term is written as the third argument; terms are numbered at the end.
struct ModelStep {
  std::string what;
  uint64_t who = 0;
  uint64_t a = 0;
  uint64_t b = 0;
  Term term{};
};

struct ModelTrace {
  std::array<uint64_t, 4> views{7, 7, 0, 0};  // first voters; those of two changes; out of which
  std::vector<ModelStep> steps;
  std::map<uint64_t, uint64_t> terms;  // the model's number of each
  std::string outside;                 // which of the bounds was passed; empty: none
  std::string text(const std::string& name) const;
  uint64_t count(const std::string& what) const;
};

class ModelObserver {
 public:
  // Before anything happens in `world`, which it outlives. What is done to the world is done inside
  // of its steps (World::after).
  explicit ModelObserver(World& world);
  // What the replicas hold in the end, too.
  ModelTrace finish();

 private:
  using Steps = std::list<ModelStep>;
  enum class Part : uint8_t { follower, candidate, leader };

  // What a memory's ring holds, entry by entry; entry 1, the first view, is not the model's.
  struct Reading {
    std::vector<log::Cursor> behind;  // behind each entry
    std::vector<std::array<std::byte, log::kHeaderBytes>> headers;
    std::vector<ModelEntry> entries;  // from the log's position 2 on
    std::vector<uint64_t> committed;  // as each says: what its leader knew when it wrote it
  };
  // A memory and its replica: a machine's next memory is another one. What the model holds of it.
  struct Holder {
    ReplicaId machine;
    uint64_t birth = 0;
    bool lost = false;
    size_t number = SIZE_MAX;  // the model's name of it; none before its first step
    bool voice = false;        // some view names it
    uint64_t life = 0;
    Reading reading;
    // As in the model:
    std::vector<ModelEntry> log;
    Term promised;
    Term grant;
    Part part = Part::follower;
    uint64_t mark = 0;
    // As in the core: above `promised` if whom it promised to was no candidate any more.
    Term told;
    std::map<Term, Steps::iterator> ended;  // by which step its promise of a term ended
    // Died before its own ring was sealed under the term that it took: till then it took writes.
    Term unrevoked;
  };
  // A term that somebody leads, or led.
  struct Reign {
    Holder* leader = nullptr;
    std::vector<ModelEntry> log;
    bool over = false;
    Steps::iterator end;  // the step that ended it
  };
  struct Answer {
    Holder* holder;
    uint64_t tail = 0;
    Term last;
  };

  void look();
  void heard(ReplicaId to, ReplicaId from, const control::Message& message);
  void sent(ReplicaId from, const control::Message& message);

  void meet(Machine& m);
  void read(Holder& h);
  ModelEntry entry_of(Holder& h, const log::EntryHeader& header, const log::Cursor& before);
  ModelKind view_kind(Holder& h, const log::Membership& view);
  uint64_t members(ReplicaSet set, const log::Membership& view);
  const replication::Replica* process(const Holder& h);

  void land(Holder& h);
  void attach_and_land(Holder& h);
  void count(Holder& h);
  void append(Holder& h);
  void counted(Term term, uint64_t mark);
  void attach(Holder& h, Term term, uint64_t behind);
  void promise(Holder& h);
  void take(Holder& h, Term term);
  void unexplained(Holder& h, uint64_t tail);
  void restart(Holder& h);
  void lead(Holder& h);
  void stop_half_way(Holder& h);
  void learn(Holder& h);
  void lose(Holder& h);
  void leave(Holder& h, Steps::iterator step, Part next, Term promised);
  void write(Holder& h, Term reign, Steps::iterator before);
  void add_lead(Holder& h, Term term);

  Steps::iterator add(Steps::iterator before, const char* what, Holder& who, uint64_t a = 0,
                      uint64_t b = 0, Term term = {});
  Steps::iterator add(const char* what, Holder& who, uint64_t a = 0, uint64_t b = 0,
                      Term term = {}) {
    return add(steps_.end(), what, who, a, b, term);
  }
  Steps::iterator while_led(Term term);
  uint64_t number(Holder& h);
  Holder* current(ReplicaId machine);
  Holder* born(ReplicaId machine, uint64_t birth);
  uint64_t heard_by(Holder& h, Term term);
  Steps::iterator earlier(Steps::iterator one, Steps::iterator other);

  World& world_;
  std::deque<Holder> holders_;
  Steps steps_;
  std::map<Term, Reign> reigns_;
  std::map<Term, std::vector<Answer>> answers_;        // to the candidate of that term
  std::vector<Term> sought_;                           // terms whose seals were sent in this step
  std::vector<std::pair<uint64_t, uint64_t>> joints_;  // out of which voters, which voters
  size_t numbers_ = 0;
  std::string outside_;
};

}  // namespace caisson::simtest
