// SPDX-License-Identifier: BSD-3-Clause
// Where the program reads what was displaced (R15): from a running node, or from the region file of
// a stopped one.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "caisson/orphans.hpp"
#include "core/replication/orphans.hpp"
#include "tools/cluster.hpp"
#include "tools/node_link.hpp"

namespace caisson::tools {

class OrphanSource {
 public:
  virtual ~OrphanSource() = default;
  virtual ReplicaId replica() const = 0;
  virtual uint64_t log_id() const = 0;
  // The records, without their entries.
  virtual Result<Orphans> records() = 0;
  // Lets go of one. not_found · not_yet: undecided · unsupported: a file is only read.
  virtual Result<void> discard(uint64_t record) = 0;

  // Every entry of a record in order; false ends the walk early. Returns false if what follows the
  // last entry cannot be read any more.
  using Visit = std::function<Result<bool>(const OrphanEntry&)>;
  Result<bool> walk(uint64_t record, OrphanPayloads payloads, const Visit& visit);

 protected:
  // A cursor that is all 0 is the beginning.
  virtual Result<replication::OrphanPage> page(uint64_t record, const log::Cursor& from,
                                               OrphanPayloads payloads) = 0;
};

Result<std::unique_ptr<OrphanSource>> orphans_of_node(const Cluster& cluster,
                                                      const std::string& log, ReplicaId replica);
// A region file, or the only one below a directory. busy: a living replica owns it.
Result<std::unique_ptr<OrphanSource>> orphans_of_file(const std::filesystem::path& path);

// JSON's word for it.
std::string_view name(OrphanFate fate);

}  // namespace caisson::tools
