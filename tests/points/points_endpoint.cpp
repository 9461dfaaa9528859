// SPDX-License-Identifier: BSD-3-Clause
#include <cstring>
#include <utility>

#include "core/log/entry_format.hpp"
#include "tests/points/board.hpp"
#include "tests/points/points_seam.hpp"

namespace caisson::points {

namespace {

using namespace transport;

// Finds the headers in what a leader hands over, piece by piece.
class Headers {
 public:
  // Calls `found(kind)` for each that lies whole in these bytes.
  template <class Found>
  void look(uint64_t from, const std::byte* source, size_t n, Found found) {
    if (from != expected_) next_ = from;  // another term: it begins with an entry
    expected_ = from + n;
    while (next_ >= from && next_ + log::kHeaderBytes <= from + n) {
      log::EntryHeader header;
      std::memcpy(&header, source + (next_ - from), sizeof header);
      found(static_cast<log::Kind>(header.kind));
      next_ += log::entry_bytes(header.payload_bytes);
    }
  }

 private:
  uint64_t expected_ = 0;
  uint64_t next_ = 0;
};

class PointsEndpoint final : public Endpoint {
 public:
  explicit PointsEndpoint(std::unique_ptr<Endpoint> under) : under_(std::move(under)) {}

  std::vector<std::byte> introduction(ReplicaId peer, uint64_t now_ns) override {
    return under_->introduction(peer, now_ns);
  }
  Code meet(ReplicaId peer, std::span<const std::byte> said) override {
    return under_->meet(peer, said);
  }

  std::string_view persists_by() const override { return under_->persists_by(); }
  std::vector<std::pair<std::string_view, uint64_t>> counters() const override {
    return under_->counters();
  }
  uint32_t attend() override { return under_->attend(); }

  // ---- As target ----

  Code revoke_all() override {
    if (pass(at("endpoint.revoke"))) return Code::io;
    const Code code = under_->revoke_all();
    (void)pass(at("endpoint.revoked"));
    return code;
  }
  Result<Grant> grant(ReplicaId writer, Term term) override {
    if (pass(at("endpoint.grant"))) return fail(Code::io, "a grant cannot be given");
    auto given = under_->grant(writer, term);
    (void)pass(at("endpoint.granted"));
    return given;
  }
  void publish(const TargetCell& cell) override {
    (void)pass(at("endpoint.publish"));
    under_->publish(cell);
  }
  void publish_promise(Term promised, uint64_t birth) override {
    (void)pass(at("endpoint.promise"));
    under_->publish_promise(promised, birth);
  }
  CommitCell commit_cell(ReplicaId writer) const override { return under_->commit_cell(writer); }

  // ---- As initiator ----

  Code attach(ReplicaId target, const Grant& grant, Offset from) override {
    if (pass(at("endpoint.attach"))) return Code::io;
    const Code code = under_->attach(target, grant, from);
    if (code == Code::ok) attached_.add(target);
    (void)pass(at("endpoint.attached"));
    return code;
  }
  void detach(ReplicaId target) override {
    (void)pass(at("endpoint.detach"));
    under_->detach(target);
    attached_.remove(target);
  }
  void fan_out(ReplicaSet targets, Offset to, const void* source, size_t n) override {
    headers_.look(to.value, static_cast<const std::byte*>(source), n,
                  [](log::Kind kind) { about_to_place(kind); });
    // Nobody promises that the rings are written at once. What lies there may be written again.
    if (board().strikes_next(at("append.torn"))) under_->fan_out({}, to, source, n);
    (void)pass(at("append.torn"));
    under_->fan_out(targets, to, source, n);
  }
  void fan_out_own(ReplicaSet targets, Offset to, size_t n) override {
    under_->fan_out_own(targets, to, n);
  }
  void write(ReplicaId target, Offset to, size_t n) override {
    (void)pass(at("endpoint.write"));
    under_->write(target, to, n);
  }
  void complete_through(ReplicaSet targets, bool own, Offset end) override {
    (void)pass(at("endpoint.complete"));
    under_->complete_through(targets, own, end);
  }
  size_t poll(std::span<transport::Completion> out) override {
    const size_t n = under_->poll(out);
    for (size_t i = 0; i < n; ++i) {
      // Our own ring needs no grant.
      if (!attached_.has(out[i].target) || !pass(at("endpoint.persisted"))) continue;
      under_->detach(out[i].target);
      attached_.remove(out[i].target);
      out[i].code = Code::fenced;
    }
    return n;
  }
  bool read(ReplicaId target, Offset from, void* destination, size_t n) override {
    return !pass(at("endpoint.read")) && under_->read(target, from, destination, n);
  }
  TargetCell target_cell(ReplicaId target) const override { return under_->target_cell(target); }
  Standing standing_of(ReplicaId target) const override {
    return pass(at("endpoint.standing")) ? Standing{} : under_->standing_of(target);
  }
  void write_commit_cell(ReplicaSet targets, const CommitCell& cell) override {
    (void)pass(at("endpoint.commit_cell"));
    under_->write_commit_cell(targets, cell);
  }
  uint64_t window_bytes() const override { return under_->window_bytes(); }

  std::byte* claim(Offset from, size_t n) override { return under_->claim(from, n); }
  void revoke_claims() override { under_->revoke_claims(); }

 private:
  static void about_to_place(log::Kind kind) {
    switch (kind) {
      case log::Kind::data: (void)pass(at("append.data")); break;
      case log::Kind::term_start: (void)pass(at("append.term_start")); break;
      case log::Kind::view: (void)pass(at("append.view")); break;
      case log::Kind::session: (void)pass(at("append.session")); break;
      case log::Kind::checkpoint: (void)pass(at("append.checkpoint")); break;
      default: break;
    }
  }

  std::unique_ptr<Endpoint> under_;
  Headers headers_;
  ReplicaSet attached_;
};

class PointsHeartbeats final : public Heartbeats {
 public:
  explicit PointsHeartbeats(std::unique_ptr<Heartbeats> under) : under_(std::move(under)) {}
  std::vector<std::byte> introduction(ReplicaId peer, uint64_t now_ns) override {
    return under_->introduction(peer, now_ns);
  }
  Code meet(ReplicaId peer, std::span<const std::byte> said) override {
    return under_->meet(peer, said);
  }
  void beat() override {
    (void)pass(at("node.beat"));
    under_->beat();
  }
  Beat read(ReplicaId peer) const override {
    return pass(at("node.beat.read")) ? Beat{} : under_->read(peer);
  }

 private:
  std::unique_ptr<Heartbeats> under_;
};

class PointsPostbox final : public Postbox {
 public:
  explicit PointsPostbox(std::unique_ptr<Postbox> under) : under_(std::move(under)) {}
  Code post(ReplicaId to, std::span<const std::byte> message) override {
    return pass(at("express.post")) ? Code::again : under_->post(to, message);
  }
  size_t message_bytes_max() const override { return under_->message_bytes_max(); }
  const std::atomic<uint64_t>& bell() const override { return under_->bell(); }
  size_t take(ReplicaId& from, std::span<std::byte> out) override {
    const bool lost = pass(at("express.take"));
    const size_t n = under_->take(from, out);
    return lost ? 0 : n;
  }

 private:
  std::unique_ptr<Postbox> under_;
};

}  // namespace

std::unique_ptr<Endpoint> PointsSeam::endpoint(std::unique_ptr<Endpoint> made,
                                               const pmem::Region&) {
  return std::make_unique<PointsEndpoint>(std::move(made));
}

std::unique_ptr<Heartbeats> PointsSeam::heartbeats(std::unique_ptr<Heartbeats> made) {
  return std::make_unique<PointsHeartbeats>(std::move(made));
}

std::unique_ptr<Postbox> PointsSeam::postbox(std::unique_ptr<Postbox> made) {
  return std::make_unique<PointsPostbox>(std::move(made));
}

}  // namespace caisson::points
