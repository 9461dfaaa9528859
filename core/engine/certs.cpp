// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/certs.hpp"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>
#include <system_error>
#include <utility>

namespace caisson::engine {
namespace {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* value) const {
    Free(value);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Bio = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;
using Number = std::unique_ptr<BIGNUM, Freed<BN_free>>;

tl::unexpected<Error> openssl_failed(const std::string& what) {
  char reason[256] = "no reason given";
  if (const unsigned long code = ERR_get_error(); code != 0) {
    ERR_error_string_n(code, reason, sizeof reason);
  }
  ERR_clear_error();
  return fail(Code::internal, what + ": OpenSSL says " + reason);
}

Code code_of_errno(int error) {
  switch (error) {
    case ENOENT: return Code::not_found;
    case EEXIST: return Code::exists;
    case EACCES:
    case EPERM:
    case EROFS: return Code::denied;
    case ENOSPC:
    case EDQUOT: return Code::no_space;
    default: return Code::io;
  }
}

tl::unexpected<Error> file_failed(const std::filesystem::path& path, int error) {
  std::string message = path.string() + ": " + std::strerror(error);
  switch (error) {
    case EEXIST:
      message +=
          "; certificates and keys are never overwritten: move it away, or name another file";
      break;
    case ENOENT: message += "; make its directory, or name an existing file"; break;
    case EACCES:
    case EPERM: message += "; run as a user who may use it"; break;
    case ENOSPC: message += "; free some space"; break;
    default: break;
  }
  return fail(code_of_errno(error), std::move(message));
}

// ---- Files -------------------------------------------------------------------------------------

Result<void> write_new_file(const std::filesystem::path& path, const std::string& text,
                            mode_t mode) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return file_failed(path, errno);
  int error = ::fchmod(fd, mode) == 0 ? 0 : errno;  // whatever the umask takes away
  for (size_t done = 0; error == 0 && done < text.size();) {
    const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n >= 0) {
      done += static_cast<size_t>(n);
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (error == 0 && ::fsync(fd) != 0) error = errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0) return {};
  ::unlink(path.c_str());
  return file_failed(path, error);
}

Result<Bio> open_pem(const std::filesystem::path& path) {
  std::error_code unreadable;
  if (std::filesystem::is_directory(path, unreadable)) return file_failed(path, EISDIR);
  errno = 0;
  Bio bio(BIO_new_file(path.c_str(), "r"));
  if (bio) return bio;
  const int error = errno != 0 ? errno : EIO;
  ERR_clear_error();
  return file_failed(path, error);
}

Result<Certificate> read_certificate(const std::filesystem::path& path) {
  auto bio = open_pem(path);
  if (!bio) return tl::unexpected(std::move(bio.error()));
  Certificate certificate(PEM_read_bio_X509(bio->get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!certificate) {
    return fail(Code::invalid, path.string() +
                                   ": holds no PEM certificate; name the file that "
                                   "`caisson cert make` wrote");
  }
  return certificate;
}

int no_passphrase(char*, int, int, void*) { return 0; }

Result<Key> read_key(const std::filesystem::path& path) {
  auto bio = open_pem(path);
  if (!bio) return tl::unexpected(std::move(bio.error()));
  Key key(PEM_read_bio_PrivateKey(bio->get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  if (!key) {
    return fail(Code::invalid, path.string() +
                                   ": holds no unencrypted PEM private key; name the "
                                   "file that `caisson cert make` wrote");
  }
  return key;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long n = BIO_get_mem_data(bio, &data);
  return n > 0 ? std::string(data, static_cast<size_t>(n)) : std::string();
}

Result<void> write_pair(const KeyPairFiles& files, X509* certificate, EVP_PKEY* key) {
  Bio certificate_pem(BIO_new(BIO_s_mem()));
  Bio key_pem(BIO_new(BIO_s_mem()));
  if (!certificate_pem || !key_pem || PEM_write_bio_X509(certificate_pem.get(), certificate) != 1 ||
      PEM_write_bio_PrivateKey(key_pem.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return openssl_failed(files.certificate.string());
  }
  // The certificate first: a lone certificate is harmless, a lone key would be a secret left
  // behind.
  if (auto written = write_new_file(files.certificate, text_of(certificate_pem.get()), 0644);
      !written) {
    return written;
  }
  auto written = write_new_file(files.key, text_of(key_pem.get()), 0600);
  if (!written) ::unlink(files.certificate.c_str());
  return written;
}

Result<void> expect_absent(const KeyPairFiles& files) {
  for (const auto& path : {files.certificate, files.key}) {
    std::error_code unreadable;
    if (std::filesystem::exists(std::filesystem::symlink_status(path, unreadable))) {
      return file_failed(path, EEXIST);
    }
  }
  return {};
}

// ---- Certificates ------------------------------------------------------------------------------

bool set_random_serial(X509* certificate) {
  unsigned char bytes[16];
  if (RAND_bytes(bytes, sizeof bytes) != 1) return false;
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7f) | 0x40);  // positive, always 16 bytes
  const Number number(BN_bin2bn(bytes, sizeof bytes, nullptr));
  return number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_validity(X509* certificate, const Validity& validity) {
  const time_t now = std::time(nullptr);
  return ASN1_TIME_set(X509_getm_notBefore(certificate), now + validity.starts_in.count()) &&
         ASN1_TIME_set(X509_getm_notAfter(certificate), now + validity.ends_in.count());
}

bool add_name(X509_NAME* name, const char* field, const std::string& text) {
  return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(text.data()),
                                    static_cast<int>(text.size()), -1, 0) == 1;
}

bool add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

struct Pair {
  Certificate certificate;
  Key key;
};

// A version 3 certificate with a fresh P-256 key: everything but issuer, extensions and signature.
Result<Pair> fresh(const ClusterUuid& cluster, const std::string& common_name,
                   const Validity& validity) {
  if (validity.ends_in <= validity.starts_in) {
    return fail(Code::invalid,
                "a certificate that ends before it starts is good for nothing: choose "
                "a longer validity");
  }
  Pair pair{Certificate(X509_new()), Key(EVP_EC_gen("P-256"))};
  if (!pair.certificate || !pair.key) return openssl_failed("making a key");
  X509* certificate = pair.certificate.get();
  X509_NAME* subject = X509_get_subject_name(certificate);
  const bool made =
      X509_set_version(certificate, X509_VERSION_3) == 1 && set_random_serial(certificate) &&
      set_validity(certificate, validity) && add_name(subject, "O", "caisson " + to_hex(cluster)) &&
      add_name(subject, "CN", common_name) && X509_set_pubkey(certificate, pair.key.get()) == 1;
  if (!made) return openssl_failed("making a certificate");
  return pair;
}

std::string authority_uri(const ClusterUuid& cluster) {
  return "caisson://" + to_hex(cluster) + "/authority";
}

std::vector<std::string> uris_of(X509* certificate) {
  using Names = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> uris;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                      static_cast<size_t>(ASN1_STRING_length(text)));
  }
  return uris;
}

std::string name_text(const X509_NAME* name) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!bio || X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253) < 0) return {};
  return text_of(bio.get());
}

std::chrono::system_clock::time_point time_of(const ASN1_TIME* time) {
  std::tm utc{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &utc) != 1) return {};
  return std::chrono::system_clock::from_time_t(::timegm(&utc));
}

Result<Pair> read_authority(const KeyPairFiles& files, const ClusterUuid& cluster) {
  auto certificate = read_certificate(files.certificate);
  if (!certificate) return tl::unexpected(std::move(certificate.error()));
  auto key = read_key(files.key);
  if (!key) return tl::unexpected(std::move(key.error()));
  if (X509_check_private_key(certificate->get(), key->get()) != 1 ||
      X509_check_ca(certificate->get()) != 1) {
    ERR_clear_error();
    return fail(Code::invalid, files.certificate.string() + " and " + files.key.string() +
                                   " are not the certificate and key of one authority; name the "
                                   "files that `caisson cert make` made together");
  }
  const auto uris = uris_of(certificate->get());
  if (uris.size() != 1 || uris.front() != authority_uri(cluster)) {
    return fail(Code::wrong_cluster, files.certificate.string() +
                                         ": not the authority of cluster " + to_hex(cluster) +
                                         "; name that cluster's authority");
  }
  return Pair{std::move(*certificate), std::move(*key)};
}

}  // namespace

Result<void> make_authority(const ClusterUuid& cluster, const KeyPairFiles& files,
                            const Validity& validity) {
  if (auto absent = expect_absent(files); !absent) return absent;
  auto made = fresh(cluster, "authority", validity);
  if (!made) return tl::unexpected(std::move(made.error()));
  X509* certificate = made->certificate.get();
  const bool signed_by_itself =
      X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1 &&
      add_extension(certificate, certificate, NID_basic_constraints,
                    "critical,CA:TRUE,pathlen:0") &&
      add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign") &&
      add_extension(certificate, certificate, NID_subject_key_identifier, "hash") &&
      add_extension(certificate, certificate, NID_subject_alt_name,
                    "URI:" + authority_uri(cluster)) &&
      X509_sign(certificate, made->key.get(), EVP_sha256()) > 0;
  if (!signed_by_itself) return openssl_failed("signing " + files.certificate.string());
  return write_pair(files, certificate, made->key.get());
}

Result<void> issue_certificate(const KeyPairFiles& authority, const Identity& identity,
                               const KeyPairFiles& files, const Validity& validity) {
  if (!parse_identity(to_uri(identity))) {
    return fail(Code::invalid, describe(identity) +
                                   " is no identity: use a node number from 1 to 63, or a client "
                                   "name of 1 to 64 of A-Z a-z 0-9 - _ . @");
  }
  if (auto absent = expect_absent(files); !absent) return absent;
  auto issuer = read_authority(authority, identity.cluster);
  if (!issuer) return tl::unexpected(std::move(issuer.error()));
  auto made = fresh(identity.cluster, describe(identity), validity);
  if (!made) return tl::unexpected(std::move(made.error()));
  X509* certificate = made->certificate.get();
  X509* signer = issuer->certificate.get();
  // Nodes dial and are dialled; a client never serves.
  const char* usage = identity.role == PeerRole::node ? "serverAuth,clientAuth" : "clientAuth";
  const bool signed_by_authority =
      X509_set_issuer_name(certificate, X509_get_subject_name(signer)) == 1 &&
      add_extension(certificate, signer, NID_basic_constraints, "critical,CA:FALSE") &&
      add_extension(certificate, signer, NID_key_usage, "critical,digitalSignature") &&
      add_extension(certificate, signer, NID_ext_key_usage, usage) &&
      add_extension(certificate, signer, NID_subject_key_identifier, "hash") &&
      add_extension(certificate, signer, NID_authority_key_identifier, "keyid:always") &&
      add_extension(certificate, signer, NID_subject_alt_name, "URI:" + to_uri(identity)) &&
      X509_sign(certificate, issuer->key.get(), EVP_sha256()) > 0;
  if (!signed_by_authority) return openssl_failed("signing " + files.certificate.string());
  return write_pair(files, certificate, made->key.get());
}

Result<CertificateInfo> inspect_certificate(const std::filesystem::path& path) {
  const auto certificate = read_certificate(path);
  if (!certificate) return tl::unexpected(certificate.error());
  X509* x509 = certificate->get();
  CertificateInfo info;
  info.subject = name_text(X509_get_subject_name(x509));
  info.issuer = name_text(X509_get_issuer_name(x509));
  const Number serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509), nullptr));
  if (serial) {
    if (char* digits = BN_bn2hex(serial.get())) {
      info.serial = digits;
      OPENSSL_free(digits);
    }
  }
  info.uris = uris_of(x509);
  info.not_before = time_of(X509_get0_notBefore(x509));
  info.not_after = time_of(X509_get0_notAfter(x509));
  info.authority = X509_check_ca(x509) == 1;
  ERR_clear_error();
  return info;
}

}  // namespace caisson::engine
