// SPDX-License-Identifier: BSD-3-Clause
// TLS of control links: version 1.3 only, both sides show a certificate of the cluster's own
// authority, and no other authority of the machine counts.
#pragma once

#include <asio/ssl/context.hpp>
#include <memory>
#include <optional>
#include <string>

#include "caisson/options.hpp"
#include "core/engine/identity.hpp"
#include "core/engine/link_key.hpp"

namespace caisson::engine {

using TlsContext = std::shared_ptr<asio::ssl::context>;

// Null where TLS is not enabled. not_found, denied, damaged: name the file and the cure.
Result<TlsContext> make_tls_context(const TlsOptions& options);

// The identity in our own certificate. invalid: it has none.
Result<Identity> own_identity(const TlsOptions& options, asio::ssl::context& context);

// The identity that the other side's certificate proves. denied: none.
Result<Identity> proven_identity(SSL* ssl);

// A key of this session that its other end derives, too. Nothing before the handshake is over.
std::optional<LinkKey> derive_key(SSL* ssl);

// Why a connection to `who` ended, told from the error, the verification result and TLS's alerts.
Error explain(const asio::error_code& error, SSL* ssl, const std::string& who);

}  // namespace caisson::engine
