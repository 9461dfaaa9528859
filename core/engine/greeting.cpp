// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/greeting.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "core/control/wire_code.hpp"
#include "core/engine/greeting.pb.h"

namespace caisson::engine {
namespace {

constexpr uint32_t kMagic = 0x53494143;  // "CAIS"
constexpr size_t kMessageTextBytesMax = 1000;

tl::unexpected<Error> refuse(std::string_view what) {
  return fail(Code::invalid, "the other side does not greet as caisson does: " + std::string(what));
}

template <class T>
bool parse(std::span<const std::byte> bytes, T& out) {
  return bytes.size() <= kGreetingBytesMax &&
         out.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) && out.magic() == kMagic;
}

// What comes from elsewhere is shown to people: keep it to plain characters.
std::string plain_text(const std::string& text) {
  std::string out = text.substr(0, kMessageTextBytesMax);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < 0x20 || c == 0x7f; }, '?');
  return out;
}

std::string versions(uint32_t min, uint32_t max) {
  return min == max ? std::to_string(max) : std::to_string(min) + " to " + std::to_string(max);
}

}  // namespace

std::string encode(const Greeting& greeting) {
  pb::Greeting out;
  out.set_magic(kMagic);
  out.set_version_min(greeting.version_min);
  out.set_version_max(greeting.version_max);
  out.set_identity(to_uri(greeting.self));
  out.set_expected_node(greeting.expected_node.value);
  return out.SerializeAsString();
}

std::string encode(const Welcome& welcome) {
  pb::Welcome out;
  out.set_magic(kMagic);
  out.set_version(welcome.version);
  out.set_code(control::code_to_wire(welcome.code));
  out.set_message(welcome.message.substr(0, kMessageTextBytesMax));
  out.set_identity(to_uri(welcome.self));
  return out.SerializeAsString();
}

Result<Greeting> decode_greeting(std::span<const std::byte> bytes) try {
  pb::Greeting in;
  if (!parse(bytes, in)) return refuse("no greeting");
  if (in.version_min() > in.version_max() || in.version_min() == 0) return refuse("bad versions");
  if (in.expected_node() > kReplicaIdMax) return refuse("expected_node is no replica id");
  const auto identity = parse_identity(in.identity());
  if (!identity) return refuse("bad identity");
  return Greeting{in.version_min(), in.version_max(), *identity,
                  ReplicaId{static_cast<uint8_t>(in.expected_node())}};
} catch (const std::exception&) {
  return refuse("out of memory");
}

Result<Welcome> decode_welcome(std::span<const std::byte> bytes) try {
  pb::Welcome in;
  if (!parse(bytes, in)) return refuse("no welcome");
  const auto code = control::code_from_wire(in.code());
  const auto identity = parse_identity(in.identity());
  if (!code || !identity || identity->role != PeerRole::node) return refuse("bad welcome");
  return Welcome{*code, in.version(), *identity, plain_text(in.message())};
} catch (const std::exception&) {
  return refuse("out of memory");
}

Welcome judge(const Greeting& greeting, const std::optional<Identity>& certificate,
              const Identity& self, transport::ReplicaSet peers) {
  const auto refused = [&self](Code code, std::string message) {
    return Welcome{code, kLinkVersion, self, std::move(message)};
  };
  const std::string who = describe(greeting.self);
  if (greeting.version_min > kLinkVersion || greeting.version_max < kLinkVersionMin) {
    return refused(Code::wrong_version, describe(self) + " speaks protocol version " +
                                            versions(kLinkVersionMin, kLinkVersion) + ", " + who +
                                            " speaks " +
                                            versions(greeting.version_min, greeting.version_max) +
                                            ": upgrade the older one");
  }
  if (greeting.self.cluster != self.cluster) {
    return refused(Code::wrong_cluster, who + " is of cluster " + to_hex(greeting.self.cluster) +
                                            ", " + describe(self) + " is of cluster " +
                                            to_hex(self.cluster) +
                                            ": check cluster.uuid and the "
                                            "address");
  }
  if (certificate && *certificate != greeting.self) {
    return refused(Code::denied, who + " shows the certificate of " + describe(*certificate) +
                                     ": give it its own, made by `caisson cert make`");
  }
  if (greeting.expected_node.value != 0 && greeting.expected_node != self.node) {
    return refused(Code::wrong_cluster, "this is " + describe(self) + ", not node " +
                                            std::to_string(greeting.expected_node.value) +
                                            ": check the address");
  }
  if (greeting.self.role == PeerRole::node &&
      (greeting.self.node == self.node || !peers.has(greeting.self.node))) {
    return refused(Code::denied, who + " is no peer of " + describe(self) +
                                     ": list it as [[peer]] in its configuration");
  }
  return Welcome{Code::ok, std::min(kLinkVersion, greeting.version_max), self, {}};
}

}  // namespace caisson::engine
