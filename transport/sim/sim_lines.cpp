// SPDX-License-Identifier: BSD-3-Clause
// How posted bytes travel: cut into lines, landed, forced, refused, lost.
#include <algorithm>

#include "transport/sim/sim_fabric.hpp"

namespace caisson::transport::sim {

namespace {

constexpr size_t kWordBytes = 8;
constexpr uint64_t kRetryNs = 40'000;  // of what meets a closed link
constexpr uint8_t kTriesMax = 50;      // then a cut link has failed the queue: 2 ms

}  // namespace

uint64_t SimFabric::attach(Node& from, ReplicaId to, uint64_t generation, Offset start) {
  const uint64_t id = ++attachment_ids_;
  Attachment& made = attachments_[id];
  made.from = from.id;
  made.to = to;
  made.generation = generation;
  made.pipe = made.persisted = start;
  from.attached[to.value] = id;
  return id;
}

void SimFabric::post(Attachment& attachment, uint64_t id, Offset at, const std::byte* source,
                     size_t n, bool in_own_ring) {
  const bool live = in_own_ring && random_.permille(options_.live_source_permille);
  const bool scatter = random_.permille(options_.scatter_permille);
  const uint64_t together_ns = delay(options_.land_ns_max, attachment.to);
  if (scatter) counters_.lines_scattered += (n + kCacheLineBytes - 1) / kCacheLineBytes;
  for (size_t done = 0; done < n;) {
    const Offset here = at + done;
    const size_t line = std::min<size_t>(n - done, kCacheLineBytes - here.value % kCacheLineBytes);
    if (!scatter) {
      post_line(attachment, id, here, source + done, line, live, together_ns);
    } else if (!random_.permille(options_.words_permille)) {
      post_line(attachment, id, here, source + done, line, live,
                delay(options_.land_ns_max, attachment.to));
    } else {
      for (size_t word = 0; word < line; word += kWordBytes) {
        post_line(attachment, id, here + word, source + done + word,
                  std::min(kWordBytes, line - word), live,
                  delay(options_.land_ns_max, attachment.to));
      }
    }
    done += line;
  }
}

void SimFabric::post_line(Attachment& attachment, uint64_t id, Offset at, const std::byte* source,
                          size_t n, bool live, uint64_t after_ns) {
  if (free_lines_.empty()) {
    free_lines_.push_back(static_cast<uint32_t>(lines_.size()));
    lines_.emplace_back();
  }
  const uint32_t index = free_lines_.back();
  free_lines_.pop_back();
  Line& line = lines_[index];
  line.attachment = id;
  line.bytes = static_cast<uint8_t>(n);
  line.landed = false;
  line.live = live;
  line.tries = 0;
  line.at = at;
  std::copy_n(source, n, line.data.begin());
  attachment.lines.push_back(index);
  schedule(after_ns, [this, index, stamp = line.stamp] { line_due(index, stamp); });
}

void SimFabric::line_due(uint32_t index, uint32_t stamp) {
  Line& line = lines_[index];
  if (line.attachment == 0 || line.stamp != stamp) return;
  Attachment& attachment = attachments_.at(line.attachment);
  const Link& way = link(attachment.from, attachment.to);
  if (way.cut || line.at >= way.hold) {
    if (way.cut && ++line.tries >= kTriesMax) {
      refuse(line.attachment);
      return;
    }
    schedule(kRetryNs, [this, index, stamp] { line_due(index, stamp); });
    return;
  }
  if (!lets_in(node(attachment.to), attachment.generation)) {
    ++counters_.lines_refused;
    refuse(line.attachment);
    return;
  }
  counters_.lines_again += line.landed;
  store_line(attachment, line);
  if (random_.permille(options_.duplicate_permille)) {
    schedule(delay(options_.land_ns_max, attachment.to),
             [this, index, stamp] { line_due(index, stamp); });
  }
}

void SimFabric::store_line(Attachment& attachment, Line& line) {
  Node& target = node(attachment.to);
  const Node& writer = node(attachment.from);
  if (line.live && attachment.held && writer.alive && !line.landed) {
    const uint64_t ring_bytes = writer.region->geometry().ring_bytes;
    std::copy_n(writer.region->ring_data() + line.at.value % ring_bytes, line.bytes,
                line.data.begin());
  }
  if (random_.permille(options_.flip_permille)) {
    line.data[random_.below(line.bytes)] ^= std::byte{1} << random_.below(8);
    ++counters_.bits_flipped;
  }
  target.region->remote_store(line.at, line.data.data(), line.bytes);
  line.landed = true;
  ++counters_.lines_landed;
  if (!attachment.held) ++counters_.lines_from_dead;
  trace(line.at.value ^ attachment.to.value);
}

void SimFabric::free_line(uint32_t index) {
  lines_[index].attachment = 0;
  ++lines_[index].stamp;
  free_lines_.push_back(index);
}

void SimFabric::land_below(Attachment& attachment, Offset end) {
  std::vector<uint32_t>& lines = attachment.lines;
  // Any order is possible, so the order of posting will do: they were late already.
  std::erase_if(lines, [&](uint32_t index) {
    Line& line = lines_[index];
    if (line.at + line.bytes > end) return false;
    if (!line.landed) store_line(attachment, line);
    free_line(index);
    return true;
  });
}

// Lands any subset of what is on its way and loses the rest. What is held stays where it is: far
// away.
void SimFabric::drop_lines(Attachment& attachment, uint32_t land_permille) {
  const Link& way = link(attachment.from, attachment.to);
  const bool reachable = lets_in(node(attachment.to), attachment.generation) && !way.cut;
  std::erase_if(attachment.lines, [&](uint32_t index) {
    Line& line = lines_[index];
    if (!line.landed && line.at >= way.hold) return false;
    if (!line.landed) {
      if (reachable && random_.permille(land_permille)) {
        store_line(attachment, line);
      } else {
        ++counters_.lines_dropped;
      }
    }
    free_line(index);
    return true;
  });
}

// The owner no longer listens. What its adapter has read by now still travels, and so does all that
// was reported placed; what it would have read later does not.
void SimFabric::let_go(uint64_t id) {
  const auto found = attachments_.find(id);
  if (found == attachments_.end()) return;
  Attachment& attachment = found->second;
  const Node& writer = node(attachment.from);
  const uint64_t ring_bytes = writer.region->geometry().ring_bytes;
  std::erase_if(attachment.lines, [&](uint32_t index) {
    Line& line = lines_[index];
    if (line.landed || !line.live) return false;
    if (line.at + line.bytes > attachment.pipe && random_.permille(500)) {
      free_line(index);
      ++counters_.lines_dropped;
      return true;
    }
    std::copy_n(writer.region->ring_data() + line.at.value % ring_bytes, line.bytes,
                line.data.begin());
    line.live = false;
    return false;
  });
  attachment.held = false;
}

// The target's adapter, or ours, has failed the queue: nothing further is sent, and the owner is
// told. What was reported placed is there.
void SimFabric::refuse(uint64_t id) {
  const auto found = attachments_.find(id);
  if (found == attachments_.end()) return;
  if (lets_in(node(found->second.to), found->second.generation)) {
    land_below(found->second, found->second.pipe);
  }
  Attachment gone = std::move(found->second);
  for (const uint32_t index : gone.lines) free_line(index);
  attachments_.erase(found);
  if (!gone.held) return;
  schedule(delay(options_.report_ns_max, gone.from), [this, id, from = gone.from, to = gone.to] {
    Node& writer = node(from);
    if (writer.attached[to.value] == id) {
      writer.completions.push_back({to, Code::fenced, Offset{}, Offset{}});
    }
  });
}

void SimFabric::complete(uint64_t id, Offset end) {
  const ReplicaId to = attachments_.at(id).to;
  const bool early = random_.permille(options_.early_placed_permille);
  schedule(delay(options_.land_ns_max, to), [this, id, end, early] {
    const auto found = attachments_.find(id);
    if (found == attachments_.end()) return;
    Attachment& attachment = found->second;
    const Link& way = link(attachment.from, attachment.to);
    if (way.cut || end > way.hold || end <= attachment.pipe ||
        !lets_in(node(attachment.to), attachment.generation)) {
      return;
    }
    if (!early) land_below(attachment, end);
    attachment.pipe = end;
    report(id, end, attachment.persisted, 0);
  });
  schedule(delay(options_.persist_ns_max, to), [this, id, end] { persist_due(id, end, 0); });
}

void SimFabric::persist_due(uint64_t id, Offset end, uint32_t tries) {
  const auto found = attachments_.find(id);
  if (found == attachments_.end()) return;
  Attachment& attachment = found->second;
  const Link& way = link(attachment.from, attachment.to);
  if (way.cut || end > way.hold) {
    if (way.cut && tries >= kTriesMax) return refuse(id);
    schedule(kRetryNs, [this, id, end, tries] { persist_due(id, end, tries + 1); });
    return;
  }
  Node& target = node(attachment.to);
  if (!lets_in(target, attachment.generation)) return refuse(id);
  if (end <= attachment.persisted) return;
  land_below(attachment, end);
  target.region->persist_ring(attachment.persisted, end - attachment.persisted);
  attachment.persisted = end;
  attachment.pipe = std::max(attachment.pipe, end);
  report(id, attachment.pipe, end, 0);
}

void SimFabric::report(uint64_t id, Offset placed, Offset persisted, uint32_t tries) {
  const auto found = attachments_.find(id);
  if (found == attachments_.end() || !found->second.held) return;
  const Attachment& attachment = found->second;
  const uint64_t after_ns = tries == 0 ? delay(options_.report_ns_max, attachment.to) : kRetryNs;
  schedule(after_ns, [this, id, placed, persisted, tries] {
    const auto still = attachments_.find(id);
    if (still == attachments_.end() || !still->second.held) return;
    if (!passes(still->second.to, still->second.from)) {
      if (tries >= kTriesMax) return refuse(id);
      return report(id, placed, persisted, tries + 1);
    }
    node(still->second.from).completions.push_back({still->second.to, Code::ok, placed, persisted});
    trace(persisted.value);
  });
}

// After this nothing of any grant becomes visible. Lines reported placed do now (unless the power
// is gone); of the others any subset does.
void SimFabric::end_grants(Node& target, bool power) {
  const uint32_t land_permille = random_.permille(300) ? 0
                                 : random_.permille(300)
                                     ? 1000
                                     : static_cast<uint32_t>(random_.below(1000));
  for (auto& [id, attachment] : attachments_) {
    if (attachment.to != target.id || !lets_in(target, attachment.generation)) continue;
    if (!power) land_below(attachment, attachment.pipe);
    drop_lines(attachment, land_permille);
  }
  target.open_generations.clear();
}

}  // namespace caisson::transport::sim
