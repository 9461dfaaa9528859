// SPDX-License-Identifier: BSD-3-Clause
// The public classes, as thin as they can be. What throws underneath (memory, threads) ends here.
#include "caisson/caisson.hpp"

#include <exception>
#include <new>
#include <utility>

#include "core/engine/appender_impl.hpp"
#include "core/engine/config.hpp"
#include "core/engine/engine_impl.hpp"
#include "core/engine/reader_hold_impl.hpp"
#include "core/engine/subscription_impl.hpp"

namespace caisson {

namespace {

// Runs `work`; what it throws becomes an Error.
template <class Work>
auto guarded(Work&& work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return fail(Code::no_space, "out of memory; lower ring, window or stream limits");
  } catch (const std::exception& error) {
    return fail(Code::internal, error.what());
  }
}

template <class Work>
std::string guarded_json(Work&& work) {
  try {
    return work();
  } catch (const std::exception&) {
    return "{}";
  }
}

template <class Work>
Code guarded_code(Work&& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Code::no_space;
  } catch (const std::exception&) {
    return Code::internal;
  }
}

}  // namespace

// ---- Claim ----

Claim::Claim(Claim&& other) noexcept
    : appender_(std::exchange(other.appender_, nullptr)),
      number_(std::exchange(other.number_, 0)),
      payload_(std::exchange(other.payload_, {})) {}

Claim& Claim::operator=(Claim&& other) noexcept {
  std::swap(appender_, other.appender_);
  std::swap(number_, other.number_);
  std::swap(payload_, other.payload_);
  return *this;
}

Claim::~Claim() {
  if (appender_ == nullptr) return;
  (void)guarded_code([&] {
    appender_->abandon(number_);
    return Code::ok;
  });
}

// ---- Appender ----

Appender::Appender(std::unique_ptr<engine::AppenderImpl> impl) : impl_(std::move(impl)) {}
Appender::~Appender() = default;

Code Appender::append_async(std::span<const std::byte> payload, uint64_t tag,
                            const AppendOptions& options) {
  return impl_->append_async(payload, tag, options);
}

Code Appender::append_batch_async(std::span<const std::span<const std::byte>> payloads,
                                  uint64_t tag, const AppendOptions& options) {
  return impl_->append_batch_async(payloads, tag, options);
}

Completion Appender::append(std::span<const std::byte> payload, const AppendOptions& options) {
  return impl_->append(payload, options);
}

Result<Claim> Appender::claim(uint32_t payload_bytes) {
  return guarded([&]() -> Result<Claim> {
    const auto claimed = impl_->claim(payload_bytes);
    if (!claimed) return tl::unexpected(claimed.error());
    Claim claim;
    claim.appender_ = impl_.get();
    claim.number_ = claimed->number;
    claim.payload_ = {claimed->payload, claimed->payload_bytes};
    return claim;
  });
}

Code Appender::submit(Claim&& claim, uint32_t payload_bytes, uint64_t tag,
                      const AppendOptions& options) {
  Claim used = std::move(claim);
  if (used.appender_ != impl_.get())
    return used.appender_ == nullptr ? Code::fenced : Code::invalid;
  return guarded_code([&] {
    const Code code = impl_->submit(used.number_, payload_bytes, tag, options);
    // Too large a length leaves the claim open; it ends here with `used`.
    if (code != Code::too_large) used.appender_ = nullptr;
    return code;
  });
}

size_t Appender::completions(std::span<Completion> out) { return impl_->completions(out); }
Code Appender::flush(uint64_t timeout_ns) { return impl_->flush(timeout_ns); }
Code Appender::make_durable(uint64_t timeout_ns) {
  return impl_->make_durable(impl_->deadline_ns(timeout_ns));
}
Code barrier(std::span<Appender* const> appenders, uint64_t timeout_ns) {
  if (appenders.empty()) return Code::ok;
  const uint64_t deadline_ns = appenders.front()->impl_->deadline_ns(timeout_ns);
  for (Appender* const appender : appenders) {
    if (const Code code = appender->impl_->make_durable(deadline_ns); code != Code::ok) return code;
  }
  return Code::ok;
}
EntryIdentity Appender::last_identity() const { return impl_->last_identity(); }
EntryIdentity Appender::acknowledged() const { return impl_->acknowledged(); }
const std::vector<Apology>& Appender::apologies() const { return impl_->apologies(); }
Code Appender::take_apologies(Position through, uint64_t timeout_ns) {
  return impl_->take_apologies(through, timeout_ns);
}

// ---- Subscription ----

Subscription::Subscription(std::unique_ptr<engine::SubscriptionImpl> impl)
    : impl_(std::move(impl)) {}
Subscription::~Subscription() = default;
Code Subscription::next(Entry& out) { return impl_->next(out); }
Code Subscription::next_wait(Entry& out, uint64_t timeout_ns) {
  return impl_->next_wait(out, timeout_ns);
}
Code Subscription::flush(uint64_t timeout_ns) { return impl_->flush(timeout_ns); }

// ---- ReaderHold ----

ReaderHold::ReaderHold(std::unique_ptr<engine::ReaderHoldImpl> impl) : impl_(std::move(impl)) {}
ReaderHold::~ReaderHold() = default;
Code ReaderHold::renew() { return impl_->renew(); }
Code ReaderHold::advance(Position from) { return impl_->advance(from); }
Position ReaderHold::from() const { return impl_->from(); }

// ---- Log ----

const std::string& Log::name() const { return impl_->name(); }

Result<std::unique_ptr<Appender>> Log::appender(const AppenderOptions& options) {
  return guarded([&]() -> Result<std::unique_ptr<Appender>> {
    auto impl = engine::AppenderImpl::open(*impl_, options);
    if (!impl) return tl::unexpected(impl.error());
    return std::unique_ptr<Appender>(new Appender(std::move(*impl)));
  });
}

Code Log::read(Position position, std::vector<std::byte>& out, Token* token) const {
  return guarded_code([&] { return impl_->read(position, out, token); });
}

Code Log::read(Position position, const ReadOptions& options, std::vector<std::byte>& out,
               Token* token) const {
  return guarded_code([&] { return impl_->read_at_least(position, options, out, token); });
}

Result<Position> Log::read_point(ReadPath path, uint64_t timeout_ns) {
  return guarded(
      [&]() -> Result<Position> { return impl_->read_point_and_wait(path, timeout_ns); });
}

Result<std::unique_ptr<Subscription>> Log::subscribe(Position from,
                                                     const SubscribeOptions& options) {
  return guarded([&]() -> Result<std::unique_ptr<Subscription>> {
    auto impl = engine::SubscriptionImpl::open(*impl_, from, options);
    if (!impl) return tl::unexpected(impl.error());
    return std::unique_ptr<Subscription>(new Subscription(std::move(*impl)));
  });
}

Code Log::wait_for(Position position, uint64_t timeout_ns) const {
  return impl_->wait_for(position, timeout_ns);
}

Position Log::tail() const { return impl_->state().committed(); }
Marks Log::marks() const { return impl_->marks(); }
Leadership Log::leadership() const { return impl_->leadership(); }
Token Log::token() const { return {impl_->leadership().term, tail()}; }

Result<std::unique_ptr<ReaderHold>> Log::hold(Position from, const HoldOptions& options) {
  return guarded([&]() -> Result<std::unique_ptr<ReaderHold>> {
    auto impl = engine::ReaderHoldImpl::open(*impl_, from, options);
    if (!impl) return tl::unexpected(impl.error());
    return std::unique_ptr<ReaderHold>(new ReaderHold(std::move(*impl)));
  });
}

Code Log::trim(Position position, ReplicaId* holder) {
  TrimHolder held_by;
  const Code code = trim(position, held_by);
  if (holder != nullptr) *holder = held_by.replica;
  return code;
}
Code Log::trim(Position position, TrimHolder& holder) {
  return guarded_code([&] { return impl_->trim(position, holder); });
}

Members Log::members() const { return impl_->members(); }

std::vector<StandbyLag> Log::standbys() const { return impl_->standbys(); }
Code Log::change_members(const MemberChange& change, uint64_t timeout_ns) {
  return guarded_code([&] { return impl_->change_members_and_wait(change, timeout_ns); });
}
Code Log::hand_over(ReplicaId to, uint64_t timeout_ns) {
  return guarded_code([&] { return impl_->hand_over_and_wait(to, timeout_ns); });
}

Result<Orphans> Log::orphans(OrphanPayloads payloads) {
  return guarded([&] { return impl_->orphans(payloads); });
}
Code Log::discard_orphans(uint64_t id) {
  return guarded_code([&] { return impl_->discard_orphans(id); });
}

Code Log::mark_applied(Position position) { return impl_->mark_applied(position); }
std::string Log::status_json() const {
  return guarded_json([&] { return impl_->status_json(); });
}

// ---- Engine ----

Engine::Engine(std::unique_ptr<engine::EngineImpl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<void> Engine::create(const EngineOptions& options, Creation creation) {
  return guarded([&]() -> Result<void> { return engine::EngineImpl::create(options, creation); });
}

Result<std::unique_ptr<Engine>> Engine::open(const EngineOptions& options) {
  return guarded([&]() -> Result<std::unique_ptr<Engine>> {
    auto impl = engine::EngineImpl::open(options);
    if (!impl) return tl::unexpected(impl.error());
    return std::unique_ptr<Engine>(new Engine(std::move(*impl)));
  });
}

Result<std::unique_ptr<Engine>> Engine::open(const std::string& configuration_file) {
  return guarded([&]() -> Result<std::unique_ptr<Engine>> {
    const auto options = engine::load_config(configuration_file);
    if (!options) return tl::unexpected(options.error());
    return open(*options);
  });
}

Result<Log*> Engine::open_log(std::string_view name) {
  return guarded([&]() -> Result<Log*> { return impl_->open_log(name); });
}

uint32_t Engine::poll() { return impl_->poll(); }
Code Engine::wait_ready(uint64_t timeout_ns) { return impl_->wait_ready(timeout_ns); }
std::string Engine::status_json() const {
  return guarded_json([&] { return impl_->status_json(); });
}
void Engine::close() { impl_->close(); }

std::string_view version() { return CAISSON_VERSION; }

}  // namespace caisson
