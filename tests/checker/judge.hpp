// SPDX-License-Identifier: BSD-3-Clause
// Judges operations as they come. What it keeps grows with the log and its identities, not with the
// history.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/checker/operation.hpp"
#include "tests/checker/rules.hpp"
#include "tests/checker/source.hpp"

namespace caisson::checker {

struct Violation {
  std::string invariant;
  std::string what;
  Where where;
};

struct Counts {
  uint64_t operations = 0;
  uint64_t acknowledged = 0;
  uint64_t delivered = 0;
  uint64_t reads = 0;
};

// What is known of one identity that somebody asked for.
struct Append {
  uint64_t digest = 0;
  uint64_t batch = 0;  // the sequence of its first entry; 0: it stands alone
  uint64_t count = 1;
  uint64_t position = 0;  // 0: never acknowledged
  Level level = Level::volatile_;
  uint64_t told = 0;     // by which operation it last was
  bool refused = false;  // for good
  Where where;
};

class Judge {
 public:
  void take(const Operation& o, const Where& where);
  // Once everything was taken.
  void finish();
  void violated(std::string_view invariant, const std::string& what, const Where& where);

  // The first of each kind: a broken run repeats itself.
  const std::vector<Violation>& violations() const { return violations_; }
  const Counts& counts() const { return counts_; }
  size_t positions() const { return log_.size(); }
  const std::map<Id, Append>& appends() const { return appends_; }
  bool may_be_lost(const Append& append) const;

 private:
  struct Shown {
    Value value;
    std::optional<uint64_t> term;
    uint32_t by = 0;       // the first replica that did
    bool several = false;  // … and another one
    bool at_the_end = false;
    Where where;
  };
  struct Known {
    uint64_t at_ns = 0;
    uint64_t position = 0;
  };
  struct Range {
    uint64_t first = 0;
    uint64_t last = 0;
    Where where;
  };

  void append(const Operation& o, const Where& where);
  void acknowledge(Append& append, const Operation& o, const Where& where);
  void read(const Operation& o, const Where& where);
  void deliver(const Operation& o, const Where& where);
  void contiguous(const Operation& o, const Where& where);
  void compare(Shown& shown, const Operation& o, uint32_t by, const Where& where);
  void state(const Operation& o, const Where& where);
  void lead(const Operation& o, const Where& where);
  void apology(const Operation& o, const Where& where);
  void takeover(const Operation& o, const Where& where);
  void learn(uint64_t at_ns, uint64_t position);
  uint64_t known_before(uint64_t at_ns) const;

  void judge_places();
  void judge_promises();
  void judge_owed(const Id& id, const Append& append);
  void judge_outcomes();
  void judge_streams();
  void judge_batches();
  bool apologised(const Id& id) const;

  std::vector<Violation> violations_;
  Counts counts_;
  std::map<uint64_t, Shown> log_;
  std::map<Id, Append> appends_;
  std::map<Id, uint64_t> places_;                     // where each identity stands in the log
  std::map<std::pair<Id, uint64_t>, Where> refused_;  // attempts, with their term
  std::vector<Known> known_;  // the highest position known to anybody, over time
  uint64_t read_ = 0;         // the highest one that was read
  Where read_where_;
  uint64_t trimmed_ = 0;
  std::map<std::string, uint64_t, std::less<>> next_;      // of each life
  std::map<std::string, uint32_t, std::less<>> replicas_;  // numbers for their names
  std::map<uint64_t, std::pair<uint64_t, std::string>> states_;
  std::map<uint64_t, std::string> leaders_;
  std::map<uint64_t, uint64_t> attached_;  // client -> when it last came back
  std::map<uint64_t, uint64_t> taken_;     // client -> through where it has taken its apologies
  std::map<std::pair<uint64_t, uint64_t>, std::vector<Range>> apologies_;  // by client, incarnation
  bool memory_lost_ = false;
  bool damaged_ = false;
  bool ended_ = false;
};

}  // namespace caisson::checker
