// SPDX-License-Identifier: BSD-3-Clause
// Reading and writing the shared cells without ever taking a torn value for a whole one.
#pragma once

#include <cstdint>
#include <span>

#include "caisson/types.hpp"
#include "transport/cells.hpp"
#include "transport/fabric.hpp"
#include "transport/shm/control_format.hpp"

namespace caisson::transport::shm {

void publish_cell(PublishedLine& line, const TargetCell& cell);

// The newest whole value; `fallback` if nothing is published, or if the publisher kept overtaking.
TargetCell read_cell(const PublishedLine& line, const TargetCell& fallback);

void write_process(pmem::ProcessIdentity& where, const pmem::ProcessIdentity& process);
pmem::ProcessIdentity read_process(const pmem::ProcessIdentity& where);

// Checks hostile bytes. Code::invalid if they are no grant of this fabric.
Result<GrantBlob> decode_grant_blob(std::span<const std::byte> blob);

}  // namespace caisson::transport::shm
