// SPDX-License-Identifier: BSD-3-Clause
// Who stands at the other end of a link: written in certificates as a URI, and nowhere else (R41).
//   caisson://<cluster uuid, 32 hex digits>/node/<1 … 63>
//   caisson://<cluster uuid, 32 hex digits>/client/<name>
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "caisson/types.hpp"
#include "core/engine/config.hpp"

namespace caisson::engine {

enum class PeerRole : uint8_t { node = 1, client = 2 };

struct Identity {
  ClusterUuid cluster{};
  PeerRole role = PeerRole::client;
  ReplicaId node;      // role node
  std::string client;  // role client: 1 to 64 of A-Z a-z 0-9 - _ . @
  bool operator==(const Identity&) const = default;

  static Identity of_node(const ClusterUuid& cluster, ReplicaId id);
  static Identity of_client(const ClusterUuid& cluster, std::string name);
};

inline constexpr size_t kClientNameBytesMax = 64;
bool client_name_allowed(std::string_view name);

std::string to_uri(const Identity& identity);
std::optional<Identity> parse_identity(std::string_view uri);

// "node 2" or "client ops", for people.
std::string describe(const Identity& identity);

}  // namespace caisson::engine
