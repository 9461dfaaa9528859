// SPDX-License-Identifier: BSD-3-Clause
#include "tests/simulator/timeline.hpp"

namespace caisson::simtest {

namespace {

std::string replica(const Event& e) { return "replica " + std::to_string(e.replica); }

std::string members(uint64_t bits) {
  std::string text;
  for (unsigned id = 0; id < 64; ++id) {
    if ((bits >> id & 1) != 0) text += (text.empty() ? "" : ", ") + std::to_string(id);
  }
  return text;
}

// Empty: of no interest unless everything is.
std::string spell(const Event& e) {
  switch (e.what) {
    case What::lead: return replica(e) + " leads term " + std::to_string(e.term);
    case What::unreadable:
      return replica(e) + " cannot show position " + std::to_string(e.position);
    case What::damage: return replica(e) + ": its memory is damaged";
    case What::apology:
      return "client " + std::to_string(e.id.client) + " is told that " + std::to_string(e.count) +
             " of its appends are lost, from sequence " + std::to_string(e.id.sequence) + " on";
    case What::attach:
      return "client " + std::to_string(e.id.client) + " begins incarnation " +
             std::to_string(e.id.incarnation);
    case What::takeover:
      return replica(e) + " goes on alone behind position " + std::to_string(e.position);
    case What::stall: return "NO SERVICE within the bound";
    default: return "";
  }
}

}  // namespace

void Timeline::line(uint64_t at_ns, const std::string& what) {
  if (submitted_ + acknowledged_ != 0) {
    std::printf("%18s%llu submitted, %llu acknowledged, shown through %llu\n", "",
                static_cast<unsigned long long>(submitted_),
                static_cast<unsigned long long>(acknowledged_),
                static_cast<unsigned long long>(shown_through_));
    submitted_ = acknowledged_ = 0;
  }
  std::printf("%12.3f us  %s\n", static_cast<double>(at_ns) / 1e3, what.c_str());
}

void Timeline::told(uint64_t at_ns, const std::string& what) { line(at_ns, what); }

void Timeline::counted(const Event& e) {
  submitted_ += e.what == What::submit;
  acknowledged_ += e.what == What::ack;
  if (e.what == What::expose) shown_through_ = std::max(shown_through_, e.position);
}

void Timeline::saw(const Event& e) {
  if (e.what == What::end) ended_ = true;
  if (all_) {
    std::string text = to_text(e);
    text.resize(text.find(" at_ns="));  // its time stands before it
    return line(e.at_ns, text);
  }
  if (ended_) return;  // the final reading repeats it all
  if (e.what == What::expose && e.kind == kViewKind && views_.insert(e.position).second) {
    return line(e.at_ns, "a view with the voters " + members(e.group) +
                             " is committed at position " + std::to_string(e.position));
  }
  const std::string text = spell(e);
  if (text.empty()) return counted(e);
  line(e.at_ns, text);
}

}  // namespace caisson::simtest
