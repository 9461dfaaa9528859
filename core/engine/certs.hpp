// SPDX-License-Identifier: BSD-3-Clause
// Certificates of a cluster: an authority made once, and certificates for nodes and clients, whose
// identity (identity.hpp) stands in the subject alternative name. ECDSA P-256, PEM files.
//
// Keys are written with mode 0600, certificates with 0644. Nothing is ever overwritten.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "caisson/types.hpp"
#include "core/engine/identity.hpp"

namespace caisson::engine {

struct KeyPairFiles {
  std::filesystem::path certificate;
  std::filesystem::path key;
};

// From now + starts_in to now + ends_in. A certificate starts a little in the past, so that clocks
// that differ by minutes agree that it is valid.
struct Validity {
  std::chrono::seconds starts_in{-3600};
  std::chrono::seconds ends_in{std::chrono::hours(24 * 365)};
};
inline constexpr Validity kAuthorityValidity{std::chrono::seconds(-3600),
                                             std::chrono::hours(24 * 3650)};

// Makes the cluster's authority. exists: one of the files is there · denied, no_space, io, invalid.
Result<void> make_authority(const ClusterUuid& cluster, const KeyPairFiles& files,
                            const Validity& validity = kAuthorityValidity);

// Issues a certificate for `identity`, with a new key. Besides: not_found: an authority file is
// missing · wrong_cluster: the authority is another cluster's · damaged: not the PEM files of one
// key pair.
Result<void> issue_certificate(const KeyPairFiles& authority, const Identity& identity,
                               const KeyPairFiles& files, const Validity& validity = {});

struct CertificateInfo {
  std::string subject;
  std::string issuer;
  std::string serial;             // hexadecimal
  std::vector<std::string> uris;  // as written; one for certificates made here
  std::chrono::system_clock::time_point not_before;
  std::chrono::system_clock::time_point not_after;
  bool authority = false;
};

// The first certificate of a PEM file.
Result<CertificateInfo> inspect_certificate(const std::filesystem::path& certificate);

}  // namespace caisson::engine
