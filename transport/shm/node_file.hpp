// SPDX-License-Identifier: BSD-3-Clause
// Small files of a node, one of a kind, that its peers map: heartbeats and post.
#pragma once

#include <string>

#include "pmem/backing_file.hpp"

namespace caisson::transport::shm {

// Opens the file as its owner, or makes one of `bytes` zeros. Code::busy while another process of
// this node lives.
Result<pmem::BackingFile> open_or_create(const std::string& path, uint64_t bytes);

// [0, bytes) of the file, shared, not inherited by children; null if it cannot be mapped, or is
// shorter.
void* map_node_file(const pmem::BackingFile& file, uint64_t bytes, int protection);
void unmap_node_file(const void* at, uint64_t bytes);

}  // namespace caisson::transport::shm
