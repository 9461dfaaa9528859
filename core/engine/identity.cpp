// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/identity.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace caisson::engine {
namespace {
constexpr std::string_view kScheme = "caisson://";
constexpr size_t kUuidDigits = 32;
}  // namespace

Identity Identity::of_node(const ClusterUuid& cluster, ReplicaId id) {
  return Identity{cluster, PeerRole::node, id, {}};
}

Identity Identity::of_client(const ClusterUuid& cluster, std::string name) {
  return Identity{cluster, PeerRole::client, ReplicaId{}, std::move(name)};
}

bool client_name_allowed(std::string_view name) {
  return !name.empty() && name.size() <= kClientNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.' || c == '@';
         });
}

std::string to_uri(const Identity& identity) {
  const std::string start = std::string(kScheme) + to_hex(identity.cluster);
  if (identity.role == PeerRole::node)
    return start + "/node/" + std::to_string(identity.node.value);
  return start + "/client/" + identity.client;
}

std::optional<Identity> parse_identity(std::string_view uri) {
  if (!uri.starts_with(kScheme)) return std::nullopt;
  uri.remove_prefix(kScheme.size());
  const std::string_view digits = uri.substr(0, kUuidDigits);
  if (digits.find('-') != std::string_view::npos) return std::nullopt;
  const auto cluster = parse_cluster_uuid(digits);
  if (!cluster) return std::nullopt;
  uri.remove_prefix(digits.size());
  if (uri.starts_with("/client/")) {
    uri.remove_prefix(8);
    if (!client_name_allowed(uri)) return std::nullopt;
    return Identity::of_client(*cluster, std::string(uri));
  }
  if (!uri.starts_with("/node/")) return std::nullopt;
  uri.remove_prefix(6);
  uint8_t id = 0;
  const auto [end, status] = std::from_chars(uri.data(), uri.data() + uri.size(), id);
  if (status != std::errc{} || end != uri.data() + uri.size() || uri.front() == '0' ||
      id > kReplicaIdMax) {
    return std::nullopt;
  }
  return Identity::of_node(*cluster, ReplicaId{id});
}

std::string describe(const Identity& identity) {
  if (identity.role == PeerRole::node) return "node " + std::to_string(identity.node.value);
  return "client " + identity.client;
}

}  // namespace caisson::engine
