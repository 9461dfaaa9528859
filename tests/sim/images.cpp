// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/images.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/log/ring.hpp"
#include "core/log/superblock_format.hpp"

namespace caisson::simtest {

namespace {

// All subsets up to so many lines; beyond, all that keep, or lose, two lines or fewer.
constexpr size_t kAllSubsetsOf = 16;
constexpr uint64_t kAgainEvery = 16;

// Of a line in its place. The digest of a memory is the sum of those of its lines, so that one line
// can be taken out and another put in.
uint64_t digest_of_line(uint64_t line, const std::byte* content) {
  uint64_t digest = (line + 1) * 0x9e3779b97f4a7c15u;
  for (size_t i = 0; i < kCacheLineBytes; i += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, content + i, sizeof word);
    digest = (digest ^ word) * 0xff51afd7ed558ccdu;
    digest ^= digest >> 32;
  }
  return digest;
}

uint64_t digest_of_space(std::span<const std::byte> space) {
  uint64_t digest = 0;
  for (uint64_t line = 0; line < space.size() / kCacheLineBytes; ++line) {
    digest += digest_of_line(line, space.data() + line * kCacheLineBytes);
  }
  return digest;
}

}  // namespace

Images::Images(World& world, uint64_t enough) : world_(world), enough_(enough) {
  world.watch([this](Machine& m, std::string_view call) { examine(m, call); });
  world.listen([this](ReplicaId from, const control::Message& message) { hear(from, message); });
}

Images::~Images() {
  world_.watch(nullptr);
  world_.listen(nullptr);
}

Images::Bench& Images::bench_of(const Machine& m) {
  Bench& bench = benches_[m.id];
  if (!bench.machine) bench.machine = std::make_unique<Workbench>(world_, m);
  return bench;
}

void Images::everywhere(ReplicaSet voters, Position position, Term term) {
  for_each(voters, [&](ReplicaId id) {
    everywhere_[id] = std::max(everywhere_[id], {position, term});
  });
}

// P3: who says that it sealed has promised for good.
void Images::hear(ReplicaId from, const control::Message& message) {
  Term& promised = promised_[from];
  if (const auto* seal = std::get_if<control::Seal>(&message)) {
    promised = std::max(promised, seal->term);
  } else if (const auto* reply = std::get_if<control::SealReply>(&message)) {
    promised = std::max(promised, reply->promised);
  }
}

// What stands in its memory now may stand in an image of it, and nothing else.
void Images::learn(const Machine& m) {
  const auto payload = m.region->read_superblock();
  const auto superblock = payload ? log::decode_superblock(*payload) : tl::unexpected(Error{});
  if (!superblock) return;
  const log::Ring ring(m.region->ring_data(), m.region->geometry().ring_bytes);
  const Offset end = superblock->trim.end + ring.bytes();
  log::Cursor cursor = superblock->trim;
  for (;;) {
    chains_[cursor.position.value].insert(cursor.chain);
    const log::Step step = log::step(ring, cursor, end);
    if (step.reason != log::Break::none) break;
    cursor = step.next;
  }
  for (const uint8_t id : world_.ids()) {
    const Machine& other = world_.machine(id);
    if (other.up()) committed_ = std::max(committed_, other.replica->log().committed());
    if (other.id == m.id || !other.up()) continue;
    const transport::TargetCell cell = other.endpoint->target_cell(m.id);
    Position& trimmed = trimmed_[m.id];
    trimmed = std::max(trimmed, cell.trimmed);
  }
}

void Images::examine(Machine& m, std::string_view call) {
  if (!looked_at_.has(m.id) || counts_.images >= enough_) return;
  learn(m);
  const pmem::ShadowRegion& region = *m.region;
  const std::vector<uint64_t> lines = region.unpersisted();
  Bench& bench = bench_of(m);
  const uint64_t base = digest_of_space(region.media());
  uint64_t state = base;
  for (const uint64_t line : lines) state ^= digest_of_line(~line, region.visible_line(line));
  if (!states_.insert(state).second) return;
  ++counts_.positions;
  ++counts_.calls[std::string(call)];
  counts_.lines_max = std::max<uint64_t>(counts_.lines_max, lines.size());
  bench.base.assign(region.media().begin(), region.media().end());
  bench.digest = base;
  bench.machine->region().load(bench.base);
  const size_t n = lines.size();
  std::vector<bool> kept(n, false);
  if (n <= kAllSubsetsOf) {
    for (uint64_t subset = 0; subset < uint64_t{1} << n; ++subset) {
      for (size_t i = 0; i < n; ++i) kept[i] = ((subset >> i) & 1) != 0;
      recover(m, lines, kept);
    }
    return;
  }
  for (const bool most : {false, true}) {
    kept.assign(n, most);
    recover(m, lines, kept);
    for (size_t i = 0; i < n; ++i) {
      for (size_t k = i; k < n; ++k) {
        kept[i] = kept[k] = !most;
        recover(m, lines, kept);
        kept[i] = kept[k] = most;
      }
    }
  }
}

void Images::recover(Machine& m, const std::vector<uint64_t>& lines,
                     const std::vector<bool>& kept) {
  Bench& bench = bench_of(m);
  uint64_t image = bench.digest;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!kept[i]) continue;
    image -= digest_of_line(lines[i], bench.base.data() + lines[i] * kCacheLineBytes);
    image += digest_of_line(lines[i], m.region->visible_line(lines[i]));
  }
  if (!images_.insert(image).second) return;
  ++counts_.images;
  const auto put = [&] {
    bench.machine->region().reload(bench.base);
    for (size_t i = 0; i < lines.size(); ++i) {
      if (kept[i]) bench.machine->region().place(lines[i], m.region->visible_line(lines[i]));
    }
  };
  const auto judge = [&](const Workbench::Found& found, const char* when) {
    const auto wrong = [&](const char* invariant, const std::string& what) {
      world_.breach(invariant,
                    std::string(when) + ", replica " + std::to_string(m.id.value) + ": " + what);
    };
    if (found.refused != Code::ok) {
      return wrong("S4", "refused: " + std::string(name(found.refused)));
    }
    if (found.status.role == replication::Role::damaged && found.tail.position >= committed_) {
      wrong("P16", "a tail that lacks nothing committed is taken for damage");
    }
    if (found.status.promised < promised_[m.id]) wrong("P3", "a promise is forgotten");
    if (found.trimmed < trimmed_[m.id]) wrong("P13", "a trim that was told is forgotten");
    if (!chains_[found.tail.position.value].contains(found.tail.chain)) {
      wrong("I1", "entry " + std::to_string(found.tail.position.value) + " was never written");
    }
    const auto& [position, term] = everywhere_[m.id];
    if (found.trimmed < position && found.asked != term) {
      wrong("I6", "entry " + std::to_string(position.value) + " was acknowledged, and is lost");
    }
  };
  const Position asked = everywhere_[m.id].first;
  put();
  const uint64_t begun = bench.machine->region().points();
  const Workbench::Found first = bench.machine->open(asked);
  const uint64_t steps = bench.machine->region().points() - begun;
  judge(first, "recovered");
  if (counts_.images % kAgainEvery != 0 || steps == 0) return;
  // Cut within the recovery, at a step that moves on from image to image.
  ++counts_.again;
  put();
  bench.machine->region().arm_cut(bench.machine->region().points() + counts_.again % steps,
                                  counts_.again);
  (void)bench.machine->open(asked);
  bench.machine->region().power_cut();
  const Workbench::Found second = bench.machine->open(asked);
  judge(second, "recovered again");
  if (second.tail != first.tail || second.trimmed != first.trimmed ||
      second.status.promised != first.status.promised) {
    world_.breach("S4", "a recovery that was cut and repeated finds another log");
  }
}

}  // namespace caisson::simtest
