// SPDX-License-Identifier: BSD-3-Clause
#include "caisson/checkpointed_state.hpp"

#include <sys/mman.h>

#include <new>

#include "pmem/backing_file.hpp"
#include "pmem/region_format.hpp"
#include "pmem/state_slots.hpp"

namespace caisson {

namespace engine {

class CheckpointedFile {
 public:
  CheckpointedFile(pmem::BackingFile file, Persistence persistence, uint64_t slot_bytes)
      : file_(std::move(file)), persistence_(persistence), slots_(slot_bytes) {}

  Result<void> map() {
    return medium_.map(file_, file_.bytes(), PROT_READ | PROT_WRITE, persistence_);
  }
  Result<void> found() {
    const auto view = slots_.load(medium_);
    if (medium_.poisoned()) {
      return fail(Code::damaged, file_.path() +
                                     ": a page of it cannot be read any more (memory "
                                     "poison, or it was cut short): remove it, and "
                                     "replay from the oldest entry or another copy");
    }
    if (view) {
      position_ = view->position;
      return {};
    }
    const Code code =
        view.error().code == Code::wrong_version ? Code::wrong_version : Code::damaged;
    return fail(code, file_.path() + " holds no state that can be trusted (" +
                          view.error().message +
                          "): remove it, and replay from the oldest entry or another copy");
  }
  Result<void> begin() {
    const Code code = slots_.commit(medium_, Position{}, {}, pmem::Region::Slots::both);
    if (code != Code::ok) return fail(code, file_.path() + " could not be begun");
    return file_.publish();
  }

  Checkpoint load() const {
    const auto view = slots_.load(medium_);
    return view ? Checkpoint{view->position, view->bytes} : Checkpoint{};
  }
  Code commit(Position position, std::span<const std::byte> bytes) {
    if (position < position_) return Code::invalid;
    Code code = slots_.commit(medium_, position, bytes, pmem::Region::Slots::one);
    // What was stored to a page that is gone is in this process alone (R44).
    if (medium_.poisoned()) code = Code::damaged;
    if (code == Code::ok) position_ = position;
    return code;
  }
  uint64_t bytes_max() const { return slots_.bytes_max(); }
  Persistence persistence() const { return persistence_; }

 private:
  pmem::BackingFile file_;
  Persistence persistence_;
  pmem::HeaderMapping medium_;
  pmem::StateSlots slots_;
  Position position_;
};

namespace {

using Opened = Result<std::unique_ptr<CheckpointedFile>>;

Result<Persistence> persistence_of(const pmem::BackingFile& file, PersistenceMode mode) {
  if (mode == PersistenceMode::emulated) return Persistence::emulated;
  return pmem::established_persistence(file);
}

Opened make(const std::string& path, uint64_t bytes_max, PersistenceMode mode) {
  const uint64_t slot_bytes = pmem::StateSlots::slot_bytes_for(bytes_max);
  auto file = pmem::BackingFile::create(path, 2 * slot_bytes);
  if (!file) return tl::unexpected(file.error());
  const auto persistence = persistence_of(*file, mode);
  if (!persistence) return tl::unexpected(persistence.error());
  auto made = std::make_unique<CheckpointedFile>(std::move(*file), *persistence, slot_bytes);
  if (const auto mapped = made->map(); !mapped) return tl::unexpected(mapped.error());
  if (const auto begun = made->begin(); !begun) return tl::unexpected(begun.error());
  return made;
}

Opened reopen(pmem::BackingFile file, uint64_t bytes_max, PersistenceMode mode) {
  const std::string path = file.path();
  if (file.device()) {
    return fail(Code::unsupported, path + " is a device: name a file, such as one on fsdax");
  }
  const uint64_t slot_bytes = file.bytes() / 2;
  if (slot_bytes % pmem::kPageBytes != 0 || slot_bytes == 0) {
    return fail(Code::damaged, path + " is no state, or was cut short: remove it, and replay");
  }
  const auto persistence = persistence_of(file, mode);
  if (!persistence) return tl::unexpected(persistence.error());
  auto opened = std::make_unique<CheckpointedFile>(std::move(file), *persistence, slot_bytes);
  if (const auto mapped = opened->map(); !mapped) return tl::unexpected(mapped.error());
  if (const auto found = opened->found(); !found) return tl::unexpected(found.error());
  if (opened->bytes_max() < bytes_max) {
    return fail(Code::too_large, path + " was made for states of at most " +
                                     std::to_string(opened->bytes_max()) + " bytes, not " +
                                     std::to_string(bytes_max) +
                                     ": commit its state to a new, larger file");
  }
  return opened;
}

Opened open_file(const std::string& path, uint64_t bytes_max, PersistenceMode mode) {
  if (mode == PersistenceMode::unset) {
    return fail(Code::invalid, path + ": say which persistence is meant, emulated or real");
  }
  if (bytes_max > CheckpointedState::kBytesLimit) {
    return fail(Code::too_large, path + ": a state of " + std::to_string(bytes_max) +
                                     " bytes exceeds the limit of 1 GiB");
  }
  auto file = pmem::BackingFile::open(path, pmem::BackingFile::Access::owner);
  if (file) return reopen(std::move(*file), bytes_max, mode);
  switch (file.error().code) {
    case Code::amnesia: return make(path, bytes_max, mode);  // there is none
    case Code::busy:
      return fail(Code::busy, path + " is in use by another process: one at a time commits to it");
    default: return tl::unexpected(file.error());
  }
}

}  // namespace

}  // namespace engine

Result<std::unique_ptr<CheckpointedState>> CheckpointedState::open(
    const std::string& path, uint64_t bytes_max, PersistenceMode persistence) try {
  auto opened = engine::open_file(path, bytes_max, persistence);
  if (!opened) return tl::unexpected(opened.error());
  return std::unique_ptr<CheckpointedState>(new CheckpointedState(std::move(*opened)));
} catch (const std::bad_alloc&) {
  return fail(Code::internal, path + ": out of memory; a commit needs room for one state");
}

CheckpointedState::CheckpointedState(std::unique_ptr<engine::CheckpointedFile> impl)
    : impl_(std::move(impl)) {}
CheckpointedState::~CheckpointedState() = default;

Checkpoint CheckpointedState::load() const { return impl_->load(); }
Code CheckpointedState::commit(Position position, std::span<const std::byte> bytes) {
  return impl_->commit(position, bytes);
}
uint64_t CheckpointedState::bytes_max() const { return impl_->bytes_max(); }
Persistence CheckpointedState::persistence() const { return impl_->persistence(); }

}  // namespace caisson
