// SPDX-License-Identifier: BSD-3-Clause
// Reading and writing the shared cells without ever taking a torn value for a whole one.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "caisson/types.hpp"
#include "transport/fabric.hpp"
#include "transport/shm/control_format.hpp"

namespace caisson::transport::shm {

// Shared words are accessed as atomics only. The pages are writable for every process that maps
// them.
inline uint64_t load_word(const uint64_t& word) {
  return std::atomic_ref<uint64_t>(const_cast<uint64_t&>(word)).load(std::memory_order_acquire);
}
inline void store_word(uint64_t& word, uint64_t value) {
  std::atomic_ref<uint64_t>(word).store(value, std::memory_order_release);
}

void publish_cell(PublishedLine& line, const TargetCell& cell);

// The newest whole value; `fallback` if nothing is published, or if the publisher kept overtaking.
TargetCell read_cell(const PublishedLine& line, const TargetCell& fallback);

void write_commit(CommitLine& line, const CommitCell& cell);

// All zero if torn or never written.
CommitCell read_commit(const CommitLine& line);

void write_process(pmem::ProcessIdentity& where, const pmem::ProcessIdentity& process);
pmem::ProcessIdentity read_process(const pmem::ProcessIdentity& where);

// Checks hostile bytes. Code::invalid if they are no grant of this fabric.
Result<GrantBlob> decode_grant_blob(std::span<const std::byte> blob);

}  // namespace caisson::transport::shm
