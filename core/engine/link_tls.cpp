// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/link_tls.hpp"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <asio/error.hpp>
#include <asio/ssl/error.hpp>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

namespace caisson::engine {
namespace {

constexpr const char* kIssueCure = "issue a new one with `caisson cert make`";

Result<void> expect_readable(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    ::close(fd);
    return {};
  }
  const int error = errno;
  const std::string what = path + ": " + std::strerror(error);
  if (error == ENOENT) return fail(Code::not_found, what + "; make it with `caisson cert make`");
  return fail(error == EACCES ? Code::denied : Code::io,
              what + "; make it readable for the user who runs this");
}

std::optional<Identity> identity_of(X509* certificate) {
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  std::optional<Identity> identity;
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
    const auto one = parse_identity({reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                                     static_cast<size_t>(ASN1_STRING_length(text))});
    if (!one) continue;
    if (identity) {  // two identities are none
      identity.reset();
      break;
    }
    identity = one;
  }
  GENERAL_NAMES_free(names);
  return identity;
}

Error denied(std::string message) { return Error{Code::denied, std::move(message)}; }

Error explain_verification(long result, const std::string& who) {
  const std::string theirs = "the certificate of " + who;
  switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return denied(theirs + " has expired: " + kIssueCure);
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return denied(theirs + " is not valid yet: check both clocks");
    case X509_V_ERR_INVALID_PURPOSE:
      return denied(theirs +
                    " is not made for that end of a link: a node needs a node's certificate");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return Error{
          Code::wrong_cluster,
          theirs + " is not signed by this cluster's authority: check tls.ca and the address"};
    default:
      return denied(theirs + " is not accepted (" + X509_verify_cert_error_string(result) +
                    "): " + kIssueCure);
  }
}

std::optional<Error> explain_alert(int reason, const std::string& who) {
  switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return denied(who + " shows no certificate: give it one with `caisson cert make`");
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return denied(who + " wants a certificate: name one in [tls]");
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      return denied(who + " says that our certificate has expired: " + kIssueCure);
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      return Error{Code::wrong_cluster,
                   who +
                       " does not know the authority of our certificate: check "
                       "tls.ca, tls.certificate and the address"};
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
      return denied(who + " does not accept our certificate: " + kIssueCure);
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_UNEXPECTED_MESSAGE:
      return Error{Code::invalid, who +
                                      " does not speak TLS 1.3 here: check the port, and that "
                                      "tls.enabled is the same at both ends"};
    default: return std::nullopt;
  }
}

}  // namespace

Result<TlsContext> make_tls_context(const TlsOptions& options) {
  if (!options.enabled) return TlsContext{};
  for (const std::string* path : {&options.ca_file, &options.certificate_file, &options.key_file}) {
    if (auto readable = expect_readable(*path); !readable) {
      return tl::unexpected(std::move(readable.error()));
    }
  }
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls);
  SSL_CTX* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_3_VERSION);
  SSL_CTX_set_num_tickets(native, 0);  // links stay up: nothing is ever resumed
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(native, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_verify_depth(native, 1);
  // The shorter key first: both are beyond reach, and latency counts here.
  SSL_CTX_set_ciphersuites(native,
                           "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                           "TLS_CHACHA20_POLY1305_SHA256");
  const bool authority = SSL_CTX_load_verify_file(native, options.ca_file.c_str()) == 1;
  const bool certificate =
      SSL_CTX_use_certificate_chain_file(native, options.certificate_file.c_str()) == 1;
  const bool key =
      SSL_CTX_use_PrivateKey_file(native, options.key_file.c_str(), SSL_FILETYPE_PEM) == 1 &&
      SSL_CTX_check_private_key(native) == 1;
  ERR_clear_error();
  if (!authority) {
    return fail(Code::invalid, options.ca_file + ": holds no PEM certificate of an authority");
  }
  if (!certificate)
    return fail(Code::invalid, options.certificate_file + ": holds no PEM certificate");
  if (!key) {
    return fail(Code::invalid,
                options.key_file + ": is not the PEM key of " + options.certificate_file);
  }
  return context;
}

Result<Identity> own_identity(const TlsOptions& options, asio::ssl::context& context) {
  X509* certificate = SSL_CTX_get0_certificate(context.native_handle());
  const auto identity = certificate != nullptr ? identity_of(certificate) : std::nullopt;
  if (!identity) {
    return fail(Code::invalid,
                options.certificate_file +
                    ": names no caisson identity; make one with `caisson cert make`");
  }
  return *identity;
}

Result<Identity> proven_identity(SSL* ssl) {
  X509* certificate = SSL_get0_peer_certificate(ssl);
  const auto identity = certificate != nullptr && SSL_get_verify_result(ssl) == X509_V_OK
                            ? identity_of(certificate)
                            : std::nullopt;
  if (!identity) {
    return fail(Code::denied,
                "its certificate names no caisson identity: make one with `caisson cert make`");
  }
  return *identity;
}

std::optional<LinkKey> derive_key(SSL* ssl) {
  constexpr std::string_view kLabel = "EXPORTER-caisson-express";
  LinkKey key;
  if (SSL_export_keying_material(ssl, key.data(), key.size(), kLabel.data(), kLabel.size(), nullptr,
                                 0, 0) != 1) {
    return std::nullopt;
  }
  return key;
}

Error explain(const asio::error_code& error, SSL* ssl, const std::string& who) {
  if (ssl != nullptr) {
    if (const long result = SSL_get_verify_result(ssl); result != X509_V_OK) {
      return explain_verification(result, who);
    }
  }
  if (error.category() == asio::error::get_ssl_category()) {
    const int reason = ERR_GET_REASON(static_cast<unsigned long>(error.value()));
    if (auto known = explain_alert(reason, who)) return *known;
    return Error{Code::invalid, who + ": TLS failed: " + error.message()};
  }
  if (error == asio::error::connection_refused) {
    return Error{Code::closed,
                 who +
                     " refuses connections: no node runs there, start it or check the "
                     "address"};
  }
  if (error == asio::error::timed_out) {
    return Error{Code::timed_out, who + " does not answer: check the address and the network"};
  }
  if (error == asio::error::host_unreachable || error == asio::error::network_unreachable) {
    return Error{Code::closed, who + " cannot be reached: check the address and the network"};
  }
  if (error == asio::error::host_not_found || error == asio::error::host_not_found_try_again) {
    return Error{Code::not_found, who + ": no such host: check the name"};
  }
  return Error{Code::closed, who + " hung up (" + error.message() + ")"};
}

}  // namespace caisson::engine
