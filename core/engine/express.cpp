// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/express.hpp"

#include <openssl/evp.h>

#include <cstring>
#include <span>
#include <utility>

namespace caisson::engine {
namespace {

constexpr size_t kTagBytes = 16;
constexpr size_t kNonceBytes = 12;

// In front of the ciphertext.
struct Front {
  uint64_t counter;
  std::array<uint8_t, kTagBytes> tag;
};
static_assert(sizeof(Front) == 24);

std::array<uint8_t, kNonceBytes> nonce_of(uint64_t counter) {
  std::array<uint8_t, kNonceBytes> nonce{};
  std::memcpy(nonce.data(), &counter, sizeof counter);
  return nonce;
}

}  // namespace

// AES-256-GCM under one key, in one direction.
class AeadContext {
 public:
  AeadContext(const LinkKey& key, bool seals) : context_(EVP_CIPHER_CTX_new()), seals_(seals) {
    ready_ = context_ != nullptr && EVP_CipherInit_ex(context_, EVP_aes_256_gcm(), nullptr,
                                                      key.data(), nullptr, seals_ ? 1 : 0) == 1;
  }
  ~AeadContext() { EVP_CIPHER_CTX_free(context_); }  // wipes the key
  AeadContext(const AeadContext&) = delete;
  AeadContext& operator=(const AeadContext&) = delete;

  // `to` has room for as many bytes as `from`. Opening fails on bytes that were not sealed so.
  bool run(uint64_t counter, std::span<const uint8_t> from, uint8_t* to,
           std::array<uint8_t, kTagBytes>& tag) {
    const auto nonce = nonce_of(counter);
    int n = 0;
    int rest = 0;
    uint8_t end[16];
    if (!ready_ || EVP_CipherInit_ex(context_, nullptr, nullptr, nullptr, nonce.data(), -1) != 1 ||
        EVP_CipherUpdate(context_, to, &n, from.data(), static_cast<int>(from.size())) != 1 ||
        static_cast<size_t>(n) != from.size()) {
      return false;
    }
    if (!seals_ && EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()) != 1)
      return false;
    if (EVP_CipherFinal_ex(context_, end, &rest) != 1 || rest != 0) return false;
    return !seals_ ||
           EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, kTagBytes, tag.data()) == 1;
  }

 private:
  EVP_CIPHER_CTX* const context_;
  const bool seals_;
  bool ready_ = false;
};

Express::Express(transport::Postbox& box) : box_(box), taken_(box.message_bytes_max()) {}
Express::~Express() = default;

void Express::set_key(ReplicaId peer, LinkHalf half, const LinkKey* key) {
  if (peer.value > kReplicaIdMax) return;
  const bool sends = half == LinkHalf::sending;
  auto aead = key != nullptr ? std::make_unique<AeadContext>(*key, sends) : nullptr;
  Half& own = sends ? sending_[peer.value] : receiving_[peer.value];
  const std::lock_guard lock(own.mutex);
  own.aead.swap(aead);
  own.counter = 0;
}

bool Express::send(ReplicaId to, std::string_view frame) {
  if (to.value > kReplicaIdMax || frame.empty()) return false;
  if (sizeof(Front) + frame.size() > box_.message_bytes_max()) return false;
  Half& half = sending_[to.value];
  const std::unique_lock lock(half.mutex, std::try_to_lock);
  if (!lock.owns_lock() || !half.aead) return false;
  half.buffer.resize(sizeof(Front) + frame.size());
  Front front{++half.counter, {}};
  if (!half.aead->run(front.counter, {reinterpret_cast<const uint8_t*>(frame.data()), frame.size()},
                      reinterpret_cast<uint8_t*>(half.buffer.data() + sizeof front), front.tag)) {
    return false;
  }
  std::memcpy(half.buffer.data(), &front, sizeof front);
  if (box_.post(to, half.buffer) != Code::ok) return false;
  sent_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

bool Express::open(Half& half, std::string_view sealed, std::string& frame) {
  Front front;
  if (sealed.size() <= sizeof front) return false;
  std::memcpy(&front, sealed.data(), sizeof front);
  sealed.remove_prefix(sizeof front);
  const std::lock_guard lock(half.mutex);
  if (!half.aead || front.counter <= half.counter) return false;
  frame.resize(sealed.size());
  if (!half.aead->run(front.counter,
                      {reinterpret_cast<const uint8_t*>(sealed.data()), sealed.size()},
                      reinterpret_cast<uint8_t*>(frame.data()), front.tag)) {
    return false;
  }
  half.counter = front.counter;
  return true;
}

bool Express::receive(ReplicaId& from, std::string& frame) {
  for (uint32_t looks = 0; looks <= kReplicaIdMax; ++looks) {
    const size_t n = box_.take(from, taken_);
    if (n == 0) return false;
    if (open(receiving_[from.value], {reinterpret_cast<const char*>(taken_.data()), n}, frame)) {
      received_.fetch_add(1, std::memory_order_relaxed);
      return true;
    }
    refused_.fetch_add(1, std::memory_order_relaxed);
  }
  return false;
}

}  // namespace caisson::engine
