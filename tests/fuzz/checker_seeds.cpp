// SPDX-License-Identifier: BSD-3-Clause
#include <cstring>
#include <string>

#include "core/log/superblock_format.hpp"
#include "pmem/manifest.hpp"
#include "pmem/region_format.hpp"
#include "tests/fuzz/ring_builder.hpp"
#include "tests/fuzz/seeds.hpp"

namespace caisson::fuzz {
namespace {

constexpr uint64_t kRegionRingBytes = 64 * 1024;

std::string with_length(const void* bytes, size_t n) {
  std::string text(2, '\0');
  const auto length = static_cast<uint16_t>(n);
  std::memcpy(text.data(), &length, sizeof length);
  return text.append(static_cast<const char*>(bytes), n);
}

void add_entry(RingBuilder& ring, log::Kind kind, size_t bytes) {
  log::EntryHeader header{};
  header.kind = static_cast<uint8_t>(kind);
  header.flags = log::kFlagBatchEnd;
  header.term = 257;
  header.view = 1;
  header.client = kind == log::Kind::data || kind == log::Kind::session ? 42 : 0;
  header.sequence = ring.tail().position.value;
  header.incarnation = 1;
  header.commit_lag = 1;
  ring.append(header, std::vector<std::byte>(bytes, std::byte{1}));
}

}  // namespace

// As check_region_fuzz puts them together: three slots, then the ring.
void check_region_seeds(const AddSeed& add) {
  log::Superblock superblock;
  superblock.identity = fuzz_identity();
  superblock.replica = ReplicaId{2};
  superblock.ring_bytes = kRegionRingBytes;
  superblock.membership.view = View{1};
  superblock.membership.voters = {0b1110};
  superblock.trim = superblock.validated = log::origin(superblock.identity);
  const log::SuperblockBytes super = log::encode(superblock);
  pmem::RegionIdentity identity{};
  identity.ring_bytes = identity.segment_bytes = kRegionRingBytes;
  std::vector<std::byte> manifest;
  pmem::encode_manifest(pmem::Manifest::identity_map(1), manifest);
  std::string seed = with_length(super.data(), super.size()) +
                     with_length(&identity, sizeof identity) +
                     with_length(manifest.data(), manifest.size());
  add(seed);
  RingBuilder ring;
  for (const log::Kind kind : {log::Kind::view, log::Kind::term_start, log::Kind::session,
                               log::Kind::data, log::Kind::data, log::Kind::noop}) {
    add_entry(ring, kind, kind == log::Kind::session ? 40 : 24 + ring.tail().position.value);
  }
  add_entry(ring, log::Kind::data, 0);
  add(seed.append(reinterpret_cast<const char*>(ring.ring().at(Offset{0})), ring.tail().end.value));
}

void check_history_seeds(const AddSeed& add) {
  const std::string instants =
      R"({"process":"replica-1.1","op":"deliver","value":"view:0123456789abcdef","position":1,"return_ns":5,"result":"ok","term":1}
{"process":"replica-1.1","op":"deliver","value":"session:7.2:resumed:0123456789abcdef","position":2,"return_ns":5,"result":"ok","term":257}
{"process":"replica-1.1","op":"deliver","value":null,"position":3,"return_ns":6,"result":"ok"}
{"process":"replica-1.1","op":"deliver","position":4,"return_ns":6,"result":"unreadable"}
{"process":"replica-1.1","op":"skip","position":4,"return_ns":6,"result":"ok"}
{"process":"replica-1.1","op":"trim","position":3,"return_ns":7,"result":"ok"}
{"process":"replica-1.1","op":"state","value":"0123456789abcdef","position":8,"return_ns":7,"result":"ok"}
{"process":"replica-1.1","op":"lead","return_ns":7,"result":"ok","term":257}
{"process":"replica-1.1","op":"loss","return_ns":7,"result":"ok"}
{"process":"replica-4.1","op":"takeover","position":1,"return_ns":8,"result":"ok","count":2}
{"process":"all","op":"end","return_ns":9,"result":"ok"}
)";
  const std::string clients =
      R"({"process":"client-7.1","op":"append","value":"7.1.1:0123456789abcdef","position":2,"durability":"volatile","invoke_ns":1,"return_ns":5,"result":"ok","term":257,"batch":1,"count":2}
{"process":"client-7.1","op":"append","value":"7.1.2:0123456789abcdef","invoke_ns":1,"return_ns":null,"result":"unknown","batch":1,"count":2}
{"process":"client-7.1","op":"attempt","value":"7.1.3:0123456789abcdef","invoke_ns":1,"return_ns":5,"result":"not_appended","term":257}
{"process":"client-7.2","op":"attach","value":"7.2","return_ns":6,"result":"ok"}
{"process":"client-7.2","op":"apology","value":"7.1.2","position":5,"return_ns":6,"result":"ok","count":1}
{"process":"client-7.2","op":"taken","value":"7.2","position":5,"return_ns":6,"result":"ok"}
{"process":"replica-1.1","op":"read","position":2,"invoke_ns":6,"return_ns":8,"result":"ok"}
{"process":"replica-1.1","op":"read","invoke_ns":6,"result":"unknown"}
)";
  add(instants);
  add(clients);
  add(clients + instants);
}

}  // namespace caisson::fuzz
