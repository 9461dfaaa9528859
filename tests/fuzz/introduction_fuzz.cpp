// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes as an introduction or a grant of a verbs endpoint, or a half of a bare loop:
// refused with a typed error, or a value that encodes to the same bytes. Whatever introductions
// say, in whatever order, a handshake is connected only where both sides have named the same lives
// and session.
#include "tests/fuzz/fuzz.hpp"
#include "transport/verbs/bare_loop.hpp"
#include "transport/verbs/verbs_format.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  using namespace caisson::transport::verbs;
  using caisson::fuzz::require;
  const auto bytes = fuzz::as_bytes(data, size);

  const auto judge = [&](const auto& decoded) {
    if (!decoded) return require(decoded.error().code == Code::invalid, "a refusal is typed");
    const auto again = encode(*decoded);
    require(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()),
            "what was decoded has one encoding");
  };
  judge(decode_introduction(bytes));
  judge(decode_grant(bytes));
  judge(decode_bare_half(bytes));

  constexpr uint64_t kOwn = 5;
  Handshake handshake(kOwn);
  fuzz::Reader in(data, size);
  while (!in.empty()) {
    Acquaintance said;
    said.life = in.below(8);
    said.your_life = in.below(8);
    said.session = static_cast<uint32_t>(in.below(5));
    said.connected = in.below(2) == 1;
    said.heard = in.below(2) == 1;
    const uint32_t before = handshake.session();
    if (handshake.hear(said) == Handshake::Step::connect) {
      require(said.your_life == kOwn && said.life == handshake.peer_life(),
              "nobody connects with whom it does not know, or who does not know it");
      require(!handshake.is_connected(), "what is connected is not connected again");
      if (in.below(2) == 1) {
        handshake.connected();
      } else {
        handshake.failed();
      }
    }
    require(handshake.session() >= before, "sessions count up");
    require(!handshake.is_open() || handshake.is_connected(), "both halves or none");
    if (in.below(4) == 0) (void)handshake.say(in.below(1'000'000));
    if (in.below(8) == 0) handshake.failed();
  }
  return 0;
}
