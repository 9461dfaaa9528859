// SPDX-License-Identifier: BSD-3-Clause
#include "core/log/view_format.hpp"

#include <cstring>

namespace caisson::log {

namespace {

struct RoleSet {
  uint8_t role;
  ReplicaSet Membership::*set;
};
constexpr RoleSet kRoles[] = {
    {kRoleVoter, &Membership::voters},     {kRoleOutgoing, &Membership::outgoing},
    {kRoleLearner, &Membership::learners}, {kRoleJoining, &Membership::joining},
    {kRoleLeaving, &Membership::leaving},  {kRoleStandby, &Membership::standbys}};

}  // namespace

bool consistent(const Membership& m) {
  const ReplicaSet electors = m.electors();
  // Who leaves the voters may stay as a learner.
  const ReplicaSet staying = m.voters - m.leaving;
  return m.quorum.sound() && !m.voters.empty() && !m.members().has(ReplicaId{}) &&
         (m.learners & staying).empty() && (m.joining & (electors | m.learners)).empty() &&
         (m.leaving - m.voters).empty() && (!m.joint() || (m.joining | m.leaving).empty()) &&
         (m.standbys - m.learners).empty() && m.standbys.empty() == (m.standby_bounds.bytes == 0) &&
         (!m.standbys.empty() || m.standby_bounds == StandbyBounds{});
}

std::vector<std::byte> encode_view(const Membership& m) {
  const ReplicaSet members = m.members();
  std::vector<std::byte> bytes(sizeof(ViewPayloadHeader) +
                               static_cast<size_t>(members.count()) * sizeof(ViewPayloadMember));
  const ViewPayloadHeader header{static_cast<uint32_t>(m.view.value),
                                 static_cast<uint16_t>(members.count()), m.quorum.commit, 0};
  std::memcpy(bytes.data(), &header, sizeof header);
  std::byte* at = bytes.data() + sizeof header;
  for_each(members, [&](ReplicaId id) {
    ViewPayloadMember member{id.value, 0, 0, 0, m.births[id.value]};
    for (const RoleSet& role : kRoles) {
      if ((m.*role.set).has(id)) member.roles |= role.role;
    }
    std::memcpy(at, &member, sizeof member);
    at += sizeof member;
  });
  if (!m.standbys.empty()) {
    const auto bounds = std::as_bytes(std::span(&m.standby_bounds, 1));
    bytes.insert(bytes.end(), bounds.begin(), bounds.end());
  }
  return bytes;
}

std::optional<Membership> decode_view(std::span<const std::byte> payload) {
  ViewPayloadHeader header;
  if (payload.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, payload.data(), sizeof header);
  payload = payload.subspan(sizeof header);
  Membership m;
  m.view = View{header.view};
  m.quorum.commit = header.commit;
  const uint64_t members_bytes = uint64_t{header.members} * sizeof(ViewPayloadMember);
  const bool bounded = payload.size() == members_bytes + sizeof m.standby_bounds;
  if (header.reserved != 0 || header.members == 0 ||
      (payload.size() != members_bytes && !bounded)) {
    return std::nullopt;
  }
  if (bounded) {
    std::memcpy(&m.standby_bounds, payload.data() + members_bytes, sizeof m.standby_bounds);
  }
  uint8_t before = 0;
  for (uint32_t i = 0; i < header.members; ++i) {
    ViewPayloadMember member;
    std::memcpy(&member, payload.data() + i * sizeof member, sizeof member);
    if (member.replica <= before || member.replica > kReplicaIdMax || member.roles == 0) {
      return std::nullopt;
    }
    before = member.replica;
    uint8_t known = 0;
    for (const RoleSet& role : kRoles) {
      known |= role.role;
      if ((member.roles & role.role) != 0) (m.*role.set).add(ReplicaId{member.replica});
    }
    if ((member.roles & ~known) != 0) return std::nullopt;
    m.births[member.replica] = member.birth;
  }
  return consistent(m) ? std::optional(m) : std::nullopt;
}

}  // namespace caisson::log
