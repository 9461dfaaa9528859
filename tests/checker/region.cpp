// SPDX-License-Identifier: BSD-3-Clause
#include "tests/checker/region.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "tests/checker/crc32c.hpp"

namespace caisson::checker {

namespace {

using Bytes = std::vector<uint8_t>;

static_assert(std::endian::native == std::endian::little, "formats are little endian");

template <class T>
T load(const Bytes& bytes, size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

template <class T>
uint32_t crc_of(uint32_t crc, T word) {
  return crc32c(crc, &word, sizeof word);
}

constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

constexpr uint64_t kPage = 4096;
constexpr uint64_t kIdentityAt = 8192;
constexpr uint64_t kManifestAt = 36864;
constexpr uint64_t kSegmentMin = 64 * 1024;
constexpr uint64_t kRingMax = uint64_t{1} << 40;
constexpr uint64_t kTaintedMax = 512;
constexpr uint64_t kTaintedBytes = 56;
constexpr size_t kHeader = 64;  // of a slot, and of an entry: the same by chance

enum class SlotKind : uint32_t { superblock = 1, identity = 2, manifest = 3 };

// ---- Slots --------------------------------------------------------------------------------------

// The payload of one slot, and its generation; empty if it does not verify.
Bytes verified_slot(const ReadAt& read, uint64_t at, uint64_t slot_bytes, SlotKind kind,
                    uint64_t& generation, bool& newer) {
  Bytes header(kHeader);
  if (!read(at, header.data(), header.size())) return {};
  generation = load<uint64_t>(header, 0);
  const auto bytes = load<uint32_t>(header, 24);
  const auto crc = load<uint32_t>(header, 28);
  if (generation == 0 || std::memcmp(&header[8], "CISSLOT1", 8) != 0 ||
      load<uint32_t>(header, 20) != static_cast<uint32_t>(kind) || bytes == 0 ||
      bytes > slot_bytes - kHeader) {
    return {};
  }
  Bytes payload(bytes);
  if (!read(at + kHeader, payload.data(), payload.size())) return {};
  std::fill_n(header.begin() + 28, sizeof crc, uint8_t{0});
  const uint32_t over = crc32c(kCrcSeed, header.data(), header.size());
  if (crc32c(over, payload.data(), payload.size()) != crc) return {};
  newer = newer || load<uint32_t>(header, 16) > 1;
  return payload;
}

// The newest of the two that verifies.
std::string newest_slot(const ReadAt& read, uint64_t at, uint64_t slot_bytes, SlotKind kind,
                        const std::string& what, Bytes& payload) {
  uint64_t generations[2] = {};
  bool newer = false;
  Bytes a = verified_slot(read, at, slot_bytes, kind, generations[0], newer);
  Bytes b = verified_slot(read, at + slot_bytes, slot_bytes, kind, generations[1], newer);
  if (newer) return "its " + what + " is of a newer format than 1: take a newer caisson-check";
  if (a.empty() && b.empty()) {
    return "neither slot of its " + what + " verifies: it is no region, or one that is lost";
  }
  payload = std::move(b.empty() || (!a.empty() && generations[0] > generations[1]) ? a : b);
  return {};
}

// ---- The ring -----------------------------------------------------------------------------------

// Where its segments lie, and a window onto its bytes.
class Ring {
 public:
  explicit Ring(const ReadAt& read) : read_(read) {}

  std::string open(uint64_t file_bytes) {
    Bytes identity;
    std::string why =
        newest_slot(read_, kIdentityAt, kPage, SlotKind::identity, "identity", identity);
    if (!why.empty()) return why;
    if (identity.size() < 40) return "its identity is cut short";
    bytes_ = load<uint64_t>(identity, 16);
    segment_ = load<uint64_t>(identity, 24);
    const auto salvage = load<uint64_t>(identity, 32);
    if (!std::has_single_bit(bytes_) || !std::has_single_bit(segment_) || segment_ < kSegmentMin ||
        segment_ > bytes_ || bytes_ > kRingMax || bytes_ > file_bytes || salvage > file_bytes) {
      return "its identity names sizes that no region has";
    }
    const uint64_t segments = bytes_ / segment_;
    const uint64_t slot_bytes =
        round_up(kHeader + 8 + round_up(segments * 4, 8) + kTaintedMax * kTaintedBytes, kPage);
    slots_at_ = round_up(kManifestAt + 2 * slot_bytes + salvage, segment_);
    Bytes manifest;
    why = newest_slot(read_, kManifestAt, slot_bytes, SlotKind::manifest, "manifest", manifest);
    if (!why.empty()) return why;
    if (manifest.size() < 8 + segments * 4 || load<uint32_t>(manifest, 0) != segments) {
      return "its manifest names another number of segments than its identity";
    }
    for (uint64_t i = 0; i < segments; ++i) {
      const auto slot = load<uint32_t>(manifest, 8 + i * 4);
      if (slots_at_ + (uint64_t{slot} + 1) * segment_ > file_bytes) {
        return "its manifest names slot " + std::to_string(slot) + ", behind the end of the file";
      }
      slot_of_.push_back(slot);
    }
    block_.resize(kSegmentMin);
    return {};
  }

  uint64_t bytes() const { return bytes_; }

  bool copy(uint64_t offset, uint8_t* to, uint64_t n) {
    while (n > 0) {
      const uint64_t at = offset % bytes_;
      const uint64_t within = at % kSegmentMin;
      if (!show(at - within)) return false;
      const uint64_t piece = std::min(n, kSegmentMin - within);
      std::memcpy(to, block_.data() + within, piece);
      offset += piece;
      to += piece;
      n -= piece;
    }
    return true;
  }

 private:
  bool show(uint64_t block_at) {
    if (shown_ == block_at) return true;
    const uint64_t at = slots_at_ + slot_of_[block_at / segment_] * segment_ + block_at % segment_;
    shown_ = UINT64_MAX;
    if (!read_(at, block_.data(), block_.size())) return false;
    shown_ = block_at;
    return true;
  }

  const ReadAt& read_;
  uint64_t bytes_ = 0;
  uint64_t segment_ = 0;
  uint64_t slots_at_ = 0;
  std::vector<uint64_t> slot_of_;
  Bytes block_;
  uint64_t shown_ = UINT64_MAX;
};

// ---- Entries ------------------------------------------------------------------------------------

struct Cursor {
  uint64_t position = 0;
  uint64_t end = 0;
  uint64_t term = 0;
  uint32_t chain = 0;
};

constexpr std::array<Kind, 8> kKinds = {Kind::hidden,     Kind::data,   Kind::noop,
                                        Kind::view,       Kind::term,   Kind::session,
                                        Kind::checkpoint, Kind::receipt};

bool decode_view(const Bytes& payload, ImageView& view) {
  constexpr size_t kMemberBytes = 16;
  if (payload.size() < 8) return false;
  const auto members = load<uint16_t>(payload, 4);
  if (payload.size() < 8 + members * kMemberBytes) return false;
  view = {.copies = payload[6]};
  for (size_t i = 0; i < members; ++i) {
    const uint8_t replica = payload[8 + i * kMemberBytes];
    const uint8_t roles = payload[8 + i * kMemberBytes + 1];
    if (replica > 63) return false;
    if ((roles & 1) != 0) view.voters |= uint64_t{1} << replica;
    if ((roles & 2) != 0) view.outgoing |= uint64_t{1} << replica;
  }
  return true;
}

class Walk {
 public:
  Walk(Ring& ring, const Cursor& trim, Image& image)
      : ring_(ring), at_(trim), window_end_(trim.end + ring.bytes()), image_(image) {}

  // Every entry that chains. Empty, or why the bytes cannot be read.
  std::string run() {
    while (image_.end.empty()) {
      if (!step()) return "its ring cannot be read";
    }
    for (const auto& [position, view] : views_) {
      if (position <= image_.shown()) image_.view = view;
    }
    return {};
  }

 private:
  bool end(const char* why) {
    image_.end = why;
    return true;
  }

  bool step() {
    if (window_end_ - at_.end < kHeader) return end("the ring ends");
    if (!ring_.copy(at_.end, header_.data(), kHeader)) return false;
    const uint32_t hash = crc32c(kCrcSeed, &header_[8], kHeader - 8);
    const auto chain = load<uint32_t>(header_, 4);
    const uint8_t kind = header_[32];
    const uint8_t flags = header_[33];
    if (header_ == Bytes(kHeader)) return end("nothing follows");
    if (crc_of(hash, chain) != load<uint32_t>(header_, 0)) return end("a header does not verify");
    if (load<uint16_t>(header_, 34) != 1 || kind == 0 || kind >= kKinds.size() || flags > 1) {
      return end("a header is of an unknown format");
    }
    const auto term = load<uint64_t>(header_, 16);
    if (load<uint64_t>(header_, 8) != at_.position + 1 ||
        load<uint32_t>(header_, 24) != static_cast<uint32_t>(at_.end / kHeader)) {
      return end("a header belongs elsewhere");
    }
    if (term < at_.term) return end("an older term follows");
    const auto payload_bytes = load<uint32_t>(header_, 28);
    const uint64_t bytes = kHeader + round_up(payload_bytes, kHeader);
    if (bytes > window_end_ - at_.end) return end("an entry is larger than the ring's rest");
    payload_.resize(payload_bytes);
    if (!ring_.copy(at_.end + kHeader, payload_.data(), payload_bytes)) return false;
    const uint64_t link = hash + (uint64_t{crc32c(kCrcSeed, payload_.data(), payload_bytes)} << 32);
    if (crc_of(at_.chain, link) != chain) return end("an entry does not chain");
    at_ = {at_.position + 1, at_.end + bytes, term, chain};
    take(kKinds[kind], (flags & 1) != 0);
    return true;
  }

  void take(Kind kind, bool batch_end) {
    ImageEntry entry{at_.term, {.kind = kind}, batch_end};
    Digest digest(payload_.size());
    for (const uint8_t byte : payload_) digest.add(byte);
    entry.value.digest = digest.value();
    const Id id{load<uint64_t>(header_, 40), load<uint32_t>(header_, 56),
                load<uint64_t>(header_, 48)};
    if (kind == Kind::data) entry.value.id = id;
    if (kind == Kind::session) {
      entry.value.id = {id.client, id.incarnation, 0};
      entry.value.resumes = payload_.size() >= 16 && load<uint32_t>(payload_, 12) != 0;
    }
    ImageView view;
    if (kind == Kind::view && decode_view(payload_, view)) views_.emplace_back(at_.position, view);
    // What was committed when it was sealed.
    const auto lag = load<uint32_t>(header_, 60);
    if (lag != UINT32_MAX && lag <= at_.position) {
      image_.committed = std::max(image_.committed, at_.position - lag);
    }
    image_.entries.push_back(entry);
  }

  Ring& ring_;
  Cursor at_;
  const uint64_t window_end_;
  Image& image_;
  Bytes header_ = Bytes(kHeader);
  Bytes payload_;
  std::vector<std::pair<uint64_t, ImageView>> views_;
};

std::string decode_superblock(const Bytes& b, uint64_t ring_bytes, Image& image, Cursor& trim) {
  constexpr size_t kBytesV1 = 256;
  constexpr size_t kBytesV2 = 768;
  if (b.size() < kBytesV1 || std::memcmp(b.data(), "CSLG", 4) != 0) {
    return "its superblock is none of a log";
  }
  const auto version = load<uint16_t>(b, 4);
  if (version == 0 || version > 2) {
    return "its superblock is of version " + std::to_string(version) + "; known are 1 and 2";
  }
  if (version == 2 && b.size() < kBytesV2) return "its superblock is cut short";
  image.replica = b[6];
  image.view.copies = b[7];
  std::memcpy(image.cluster.data(), &b[8], image.cluster.size());
  image.log = load<uint64_t>(b, 24);
  image.view.voters = load<uint64_t>(b, 80);
  image.view.outgoing = load<uint64_t>(b, 192);
  trim = {load<uint64_t>(b, 88), load<uint64_t>(b, 96), load<uint64_t>(b, 104),
          load<uint32_t>(b, 112)};
  image.trimmed = trim.position;
  image.committed = load<uint64_t>(b, 152);
  image.damaged_through = load<uint64_t>(b, 168);
  if (load<uint64_t>(b, 224) != 0) {
    image.lost_from = load<uint64_t>(b, 232);
    image.lost_to = load<uint64_t>(b, 240);
  }
  constexpr uint64_t kFar = uint64_t{1} << 62;
  if (load<uint64_t>(b, 32) != ring_bytes || trim.position > image.committed ||
      image.committed > load<uint64_t>(b, 120) || image.committed > kFar || trim.end > kFar ||
      trim.end % kHeader != 0) {
    return "its superblock contradicts itself";
  }
  // Before the first entry the chain begins with the log's name.
  const uint32_t seed = crc_of(crc32c(kCrcSeed, image.cluster.data(), 16), image.log);
  if (trim.position == 0 && (trim.end != 0 || trim.chain != seed)) {
    return "its superblock contradicts itself: its log begins elsewhere";
  }
  return {};
}

}  // namespace

std::string decode_region(const ReadAt& read, uint64_t file_bytes, Image& image) {
  image = {};
  Bytes superblock;
  std::string why = newest_slot(read, 0, kPage, SlotKind::superblock, "superblock", superblock);
  if (!why.empty()) return why;
  Ring ring(read);
  if (why = ring.open(file_bytes); !why.empty()) return why;
  Cursor trim;
  why = decode_superblock(superblock, ring.bytes(), image, trim);
  if (!why.empty()) return why;
  return Walk(ring, trim, image).run();
}

}  // namespace caisson::checker
