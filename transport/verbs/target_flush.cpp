// SPDX-License-Identifier: BSD-3-Clause
// Method::target_flush: where neither adapter nor platform makes persistent what comes in, the
// target's poller does. The writer marks the end of each batch, the target flushes that far and
// answers, and only the answer counts. There is a buffer for every mark and for every answer:
// nobody marks a 65th batch before the first one was answered for.
#include <endian.h>

#include <array>
#include <utility>

#include "transport/verbs/verbs_endpoint_impl.hpp"

namespace caisson::transport::verbs {

namespace {

// Of a completion of the half that the writer is connected to; the rest is the grant's generation.
constexpr uint64_t kAnswerSent = uint64_t{1} << 63;
constexpr int kWindowTries = 10'000;

}  // namespace

std::vector<std::pair<std::string_view, uint64_t>> VerbsEndpoint::counters() const {
  return {{"batches", counts_.batches},         {"revoked", counts_.revoked},
          {"unreachable", counts_.unreachable}, {"broken", counts_.broken},
          {"reads_late", counts_.reads_late},   {"sessions", counts_.sessions},
          {"flushes", counts_.flushes}};
}

// ---- As target ----------------------------------------------------------------------------------

bool VerbsEndpoint::await_batch(QueuePair& in) const {
  return in.receive(generation_, nullptr, 0, 0) == Code::ok;
}

uint32_t VerbsEndpoint::attend() {
  if (!service_.needed) return 0;
  QueuePair& in = peer_of(writer_)->in;
  std::array<ibv_wc, 32> done;
  uint32_t taken = 0;
  bool sound = true;
  int n = 0;
  do {
    n = ::ibv_poll_cq(served_.get(), static_cast<int>(done.size()), done.data());
    for (int i = 0; i < n; ++i) {
      const ibv_wc& wc = done[static_cast<size_t>(i)];
      // Of an earlier grant, or of a writer that has gone: nobody waits for an answer.
      if ((wc.wr_id & ~kAnswerSent) != generation_) continue;
      if (wc.status != IBV_WC_SUCCESS) {
        service_.needed = false;
        return taken;
      }
      if ((wc.wr_id & kAnswerSent) != 0) {
        --service_.answers;
        continue;
      }
      ++taken;
      sound = sound && flush_through(be32toh(wc.imm_data)) && await_batch(in);
    }
  } while (n == static_cast<int>(done.size()));
  if (sound && service_.owed && service_.answers < kBatchesMax) sound = answer(in);
  if (!sound) {  // it notices, and takes up a new grant
    service_.needed = false;
    in.stop();
  }
  return taken;
}

// What the connection that is no more has left would leave no room for the next one's.
void VerbsEndpoint::end_service() {
  service_ = {};
  std::array<ibv_wc, 32> done;
  while (::ibv_poll_cq(served_.get(), static_cast<int>(done.size()), done.data()) > 0) {
  }
}

// False: that makes no sense.
bool VerbsEndpoint::flush_through(uint32_t mark) {
  if (!service_.begun) {
    uint64_t generation = 0;
    Offset low, high;
    const WindowCell& cell = memory_->slots[writer_.value].window;
    // The writer may be telling the next one just now.
    bool whole = false;
    for (int tries = 0; tries < kWindowTries && !whole; ++tries) {
      whole = window(cell, generation, low, high);
    }
    if (!whole || generation != generation_) return false;
    service_.flushed = Offset{low.value & ~uint64_t{kCacheLineBytes - 1}};
    service_.begun = true;
  }
  const Offset through = marked(mark, service_.flushed);
  const uint64_t bytes = through - service_.flushed;
  if (bytes > ring_bytes_ || region_.poisoned()) return false;
  region_.persist_ring(service_.flushed, bytes);
  service_.flushed = through;
  service_.owed = true;
  ++counts_.flushes;
  return true;
}

bool VerbsEndpoint::answer(QueuePair& in) {
  Flushed message = flushed(generation_, service_.flushed);
  ibv_sge piece{reinterpret_cast<uint64_t>(&message), sizeof message, 0};
  ibv_send_wr request{};
  request.wr_id = generation_ | kAnswerSent;
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_SEND;
  request.send_flags =
      static_cast<unsigned>(IBV_SEND_INLINE) | static_cast<unsigned>(IBV_SEND_SIGNALED);
  ibv_send_wr* bad = nullptr;
  if (::ibv_post_send(in.get(), &request, &bad) != 0) return false;
  ++service_.answers;
  service_.owed = false;
  return true;
}

// ---- As writer ----------------------------------------------------------------------------------

bool VerbsEndpoint::await_answer(Peer& peer, uint32_t slot) {
  return peer.out.pair.receive(work_id(peer.id, peer.out.epoch, slot) | kReceived,
                               &peer.fetched->answers[slot], sizeof(Flushed),
                               peer.own->lkey) == Code::ok;
}

// A target that cannot answer any more, because its half is closed or the network lost the answer
// too often, is noticed by what is posted to it only: a read, now and then.
void VerbsEndpoint::look_after_answers(Peer& peer) {
  Outgoing& out = peer.out;
  if (!out.awaits_answers() || out.answered == out.number || out.count != 0 || out.fenced) {
    out.waits_since_ns = 0;
    return;
  }
  const uint64_t now = now_ns();
  if (out.waits_since_ns == 0) out.waits_since_ns = now;
  if (now - out.waits_since_ns < options_.read_patience_ns) return;
  out.waits_since_ns = 0;
  if (out.in_flight + out.loose + 1 > options_.queue_depth) return;
  // In the name of the newest batch: none is under way.
  Work look = look_at_grant(peer, out.number);
  if (!submit(peer, {&look, 1})) return;
  ++out.loose;
  close_batch(out, out.posted);
}

void VerbsEndpoint::take_answer(Peer& peer, const ibv_wc& wc) {
  Outgoing& out = peer.out;
  const uint32_t slot = number_of_work(wc.wr_id) % kBatchesMax;
  uint64_t generation = 0;
  Offset through;
  const bool ours = wc.byte_len == sizeof(Flushed) &&
                    flushed(peer.fetched->answers[slot], generation, through) &&
                    generation == out.generation && through.value < out.posted + kCacheLineBytes;
  if (!ours || !await_answer(peer, slot)) return lose(out, IBV_WC_GENERAL_ERR);
  out.flushed = std::max(out.flushed, through.value);
  out.settle_answers();
}

}  // namespace caisson::transport::verbs
