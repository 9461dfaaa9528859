// SPDX-License-Identifier: BSD-3-Clause
#include "transport/verbs/verbs_format.hpp"

#include <bit>
#include <cstring>
#include <type_traits>

#include "pmem/checksum.hpp"

namespace caisson::transport::verbs {

namespace {

constexpr uint64_t kIntroductionMagic = 0x3262726576736961;  // "aisverb2", little endian
constexpr uint32_t kSessionsMax = 1u << 31;                  // none is ever counted so far
constexpr uint32_t kConnected = 1;
constexpr uint32_t kFlushes = 2;
constexpr uint32_t kHeard = 4;
constexpr uint64_t kGrantMagic = 0x3162726772736961;

// As they travel.
struct IntroductionBytes {
  uint64_t magic;
  uint64_t life;
  uint64_t your_life;
  uint32_t session;
  uint32_t flags;
  std::array<uint8_t, 16> gid;
  uint16_t lid;
  uint16_t reads;
  uint32_t mtu;
  uint32_t read_pair;
  uint32_t write_pair;
  uint64_t ring_at;
  uint64_t ring_bytes;
  uint64_t told_at;
  uint32_t ring_key;
  uint32_t told_key;
};
static_assert(sizeof(IntroductionBytes) == 96);

struct GrantBytes {
  uint64_t magic;
  uint64_t life;
  uint64_t to_life;
  uint32_t pair;
  uint32_t psn;
  uint64_t slot_at;
  uint32_t slot_key;
  uint32_t method;
};
static_assert(sizeof(GrantBytes) == 48);

template <class T>
std::vector<std::byte> bytes_of(const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  return {bytes.begin(), bytes.end()};
}

template <class T>
bool load(std::span<const std::byte> bytes, uint64_t magic, T& value) {
  if (bytes.size() != sizeof value) return false;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value.magic == magic;
}

bool queue_pair_number(uint32_t number) { return number != 0 && number <= 0xffffff; }

template <class T>
uint64_t crc_of(const T& words) {
  static_assert(std::is_trivially_copyable_v<T>);
  return pmem::checksum(pmem::kChecksumSeed, &words, sizeof words);
}

uint64_t crc_of(uint64_t promised, uint64_t birth) {
  return crc_of(std::array<uint64_t, 2>{promised, birth});
}
uint64_t crc_of(uint64_t sequence, const TargetCellWords& words) {
  return pmem::checksum(static_cast<uint32_t>(crc_of(words)), &sequence, sizeof sequence);
}
uint64_t crc_of(uint64_t generation, uint64_t low, uint64_t high) {
  return crc_of(std::array<uint64_t, 3>{generation, low, high});
}

}  // namespace

std::vector<std::byte> encode(const Introduction& introduction) {
  IntroductionBytes out{};
  out.magic = kIntroductionMagic;
  out.life = introduction.acquaintance.life;
  out.your_life = introduction.acquaintance.your_life;
  out.session = introduction.acquaintance.session;
  out.flags = (introduction.acquaintance.connected ? kConnected : 0) |
              (introduction.acquaintance.heard ? kHeard : 0) |
              (introduction.flushes ? kFlushes : 0);
  std::memcpy(out.gid.data(), introduction.address.gid.raw, out.gid.size());
  out.lid = introduction.address.lid;
  out.reads = introduction.address.reads;
  out.mtu = introduction.address.mtu;
  out.read_pair = introduction.read_pair;
  out.write_pair = introduction.write_pair;
  out.ring_at = introduction.ring.at;
  out.ring_key = introduction.ring.key;
  out.ring_bytes = introduction.ring_bytes;
  out.told_at = introduction.told.at;
  out.told_key = introduction.told.key;
  return bytes_of(out);
}

Result<Introduction> decode_introduction(std::span<const std::byte> bytes) {
  IntroductionBytes in;
  if (!load(bytes, kIntroductionMagic, in)) {
    return fail(Code::invalid, "not an introduction of a verbs endpoint of this version");
  }
  // Of a node's heartbeats: no ring, and nothing writes.
  const bool no_ring = in.ring_bytes == 0 && in.ring_at == 0 && in.write_pair == 0;
  const bool ring = std::has_single_bit(in.ring_bytes) &&
                    in.ring_at <= UINT64_MAX - in.ring_bytes && queue_pair_number(in.write_pair);
  const bool sound = in.life != 0 && in.session < kSessionsMax &&
                     in.flags <= (kConnected | kFlushes | kHeard) && in.reads >= 1 &&
                     in.reads <= UINT8_MAX && in.mtu >= IBV_MTU_256 && in.mtu <= IBV_MTU_4096 &&
                     queue_pair_number(in.read_pair) && (ring || no_ring) &&
                     in.told_at <= UINT64_MAX - sizeof(Told);
  if (!sound) return fail(Code::invalid, "an introduction of a verbs endpoint makes no sense");
  Introduction introduction;
  introduction.acquaintance = {in.life, in.your_life, in.session, (in.flags & kConnected) != 0,
                               (in.flags & kHeard) != 0};
  introduction.flushes = (in.flags & kFlushes) != 0;
  std::memcpy(introduction.address.gid.raw, in.gid.data(), in.gid.size());
  introduction.address.lid = in.lid;
  introduction.address.reads = static_cast<uint8_t>(in.reads);
  introduction.address.mtu = static_cast<ibv_mtu>(in.mtu);
  introduction.read_pair = in.read_pair;
  introduction.write_pair = in.write_pair;
  introduction.ring = {in.ring_at, in.ring_key};
  introduction.ring_bytes = in.ring_bytes;
  introduction.told = {in.told_at, in.told_key};
  return introduction;
}

std::vector<std::byte> encode(const VerbsGrant& grant) {
  GrantBytes out{};
  out.magic = kGrantMagic;
  out.life = grant.life;
  out.to_life = grant.to_life;
  out.pair = grant.pair;
  out.psn = grant.psn;
  out.slot_at = grant.slot.at;
  out.slot_key = grant.slot.key;
  out.method = static_cast<uint32_t>(grant.method);
  return bytes_of(out);
}

Result<VerbsGrant> decode_grant(std::span<const std::byte> bytes) {
  GrantBytes in;
  if (!load(bytes, kGrantMagic, in)) {
    return fail(Code::invalid, "not a grant of a verbs endpoint of this version");
  }
  if (in.life == 0 || in.to_life == 0 || in.slot_at > UINT64_MAX - sizeof(Slot) ||
      !queue_pair_number(in.pair) || in.psn > kPsnMask ||
      in.method > static_cast<uint32_t>(Method::target_flush)) {
    return fail(Code::invalid, "a grant of a verbs endpoint makes no sense");
  }
  return VerbsGrant{in.life,
                    in.to_life,
                    in.pair,
                    in.psn,
                    {in.slot_at, in.slot_key},
                    static_cast<Method>(in.method)};
}

void publish(Told& told, const TargetCell& cell) {
  PublishedCell& newest = told.published[told.published[1].sequence > told.published[0].sequence];
  PublishedCell& other = &newest == &told.published[0] ? told.published[1] : told.published[0];
  const uint64_t sequence = newest.sequence + 1;
  const TargetCellWords words = words_of(cell);
  for (size_t i = 0; i < words.size(); ++i) store_word(other.words[i], words[i]);
  store_word(other.crc, crc_of(sequence, words));
  store_word(other.sequence, sequence);
}

void publish(Told& told, Term promised, uint64_t birth) {
  store_word(told.promise.birth, birth);
  store_word(told.promise.crc, crc_of(promised.value, birth));
  store_word(told.promise.promised, promised.value);
}

bool published(const Told& told, TargetCell& cell) {
  const PublishedCell* best = nullptr;
  for (const PublishedCell& each : told.published) {
    if (each.sequence == 0 || each.crc != crc_of(each.sequence, each.words)) continue;
    if (best == nullptr || each.sequence > best->sequence) best = &each;
  }
  if (best == nullptr) return false;
  cell = cell_of(best->words);
  return true;
}

bool promised(const Told& told, Term& term, uint64_t& birth) {
  const PromiseCell& cell = told.promise;
  if (cell.promised == 0 || cell.crc != crc_of(cell.promised, cell.birth)) return false;
  term = Term{cell.promised};
  birth = cell.birth;
  return true;
}

uint32_t mark_of(Offset end) {
  return static_cast<uint32_t>((end.value + kCacheLineBytes - 1) / kCacheLineBytes);
}

Offset marked(uint32_t mark, Offset from) {
  const uint64_t units = from.value / kCacheLineBytes;
  const uint32_t ahead = mark - static_cast<uint32_t>(units);
  return Offset{(units + ahead) * kCacheLineBytes};
}

Flushed flushed(uint64_t generation, Offset through) {
  return {generation, through.value, crc_of(std::array<uint64_t, 2>{generation, through.value})};
}

bool flushed(const Flushed& message, uint64_t& generation, Offset& through) {
  if (message.crc != crc_of(std::array<uint64_t, 2>{message.generation, message.through}))
    return false;
  generation = message.generation;
  through = Offset{message.through};
  return true;
}

WindowCell window_cell(uint64_t generation, Offset low, Offset high) {
  return {generation, low.value, high.value, crc_of(generation, low.value, high.value), {}};
}

bool window(const WindowCell& cell, uint64_t& generation, Offset& low, Offset& high) {
  if (cell.crc != crc_of(cell.generation, cell.low, cell.high) || cell.low > cell.high)
    return false;
  generation = cell.generation;
  low = Offset{cell.low};
  high = Offset{cell.high};
  return true;
}

}  // namespace caisson::transport::verbs
