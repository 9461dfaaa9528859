// SPDX-License-Identifier: BSD-3-Clause
#include "tests/checker/images.hpp"

#include <algorithm>
#include <bit>
#include <filesystem>
#include <fstream>

namespace caisson::checker {

namespace {

namespace fs = std::filesystem;

int count(uint64_t set) { return std::popcount(set); }

// How many of the view's voters hold what is persisted.
int quorum(const ImageView& view) {
  const int voters = count(view.voters);
  if (view.copies == 0) return voters / 2 + 1;
  return std::min<int>(view.copies, voters);
}

// Whatever the view, one has it. A copy that is not here, or is damaged, may be one of those that
// count.
int copies_due(const ImageView& view, uint64_t sound) {
  if (view.outgoing != 0) return 1;
  return std::max(1, quorum(view) - count(view.voters & ~sound));
}

void show_image(const RegionFile& file, Judge& judge) {
  const Image& image = file.image;
  Operation o;
  o.process = "replica-" + std::to_string(image.replica) + ".image";
  o.op = Op::deliver;
  o.result = Outcome::ok;
  o.invoke_ns = o.return_ns = UINT64_MAX;
  for (uint64_t p = image.trimmed + 1; p <= image.shown(); ++p) {
    const ImageEntry& entry = *image.at(p);
    o.position = p;
    o.value = entry.value;
    o.term = entry.term;
    judge.take(o, {&file.name, 0});
  }
  if (image.damaged_through != 0) return;  // it says so itself, and is not believed
  if (image.last() < image.committed) {
    judge.violated("I2",
                   "its log ends behind position " + std::to_string(image.last()) + " (" +
                       image.end + "), committed is " + std::to_string(image.committed),
                   {&file.name, 0});
    return;
  }
  const ImageEntry* const last = image.at(image.committed);
  if (last != nullptr && !last->batch_end) {
    judge.violated("R5",
                   "what is committed ends at position " + std::to_string(image.committed) +
                       ", within a batch",
                   {&file.name, 0});
  }
}

int holders(const std::vector<RegionFile>& files, uint64_t position, const Value& value) {
  int holding = 0;
  for (const RegionFile& file : files) {
    const ImageEntry* const entry = file.image.at(position);
    if (position <= file.image.trimmed || (entry != nullptr && entry->value == value)) ++holding;
  }
  return holding;
}

}  // namespace

std::optional<Refusal> read_region(const std::string& name, RegionFile& file) {
  using Why = Refusal::Why;
  std::error_code error;
  const bool there = fs::exists(name, error);
  if (!there && !error) return Refusal{Why::not_found, name + ": there is no such file"};
  const uint64_t bytes = fs::file_size(name, error);
  std::ifstream in(name, std::ios::binary);
  if (error || !in) return Refusal{Why::io, name + ": it cannot be read as a file"};
  const ReadAt read = [&](uint64_t at, void* to, size_t n) {
    in.clear();
    in.seekg(static_cast<std::streamoff>(at));
    in.read(static_cast<char*>(to), static_cast<std::streamsize>(n));
    return static_cast<bool>(in);
  };
  file.name = name;
  const std::string why = decode_region(read, bytes, file.image);
  if (why.empty()) return std::nullopt;
  return Refusal{Why::invalid, name + ": " + why};
}

std::optional<Refusal> belong_together(const std::vector<RegionFile>& files) {
  uint64_t seen = 0;
  for (const RegionFile& file : files) {
    const Image& first = files.front().image;
    const std::string refused = file.name + ": ";
    if (file.image.cluster != first.cluster || file.image.log != first.log) {
      return Refusal{Refusal::Why::invalid,
                     refused + "it belongs to another log than " + files.front().name};
    }
    const uint64_t replica = uint64_t{1} << (file.image.replica & 63);
    if ((seen & replica) != 0) {
      return Refusal{Refusal::Why::invalid, refused + "replica " +
                                                std::to_string(file.image.replica) +
                                                " was given already: give each once"};
    }
    seen |= replica;
  }
  return std::nullopt;
}

void show(const std::vector<RegionFile>& files, Judge& judge) {
  for (const RegionFile& file : files) show_image(file, judge);
}

void judge_copies(const std::vector<RegionFile>& files, Judge& judge) {
  const Image* newest = nullptr;  // of those that know the last view, the one that knows most
  uint64_t sound = 0;
  for (const RegionFile& file : files) {
    if (newest == nullptr || file.image.shown() > newest->shown()) newest = &file.image;
    if (file.image.damaged_through == 0) sound |= uint64_t{1} << (file.image.replica & 63);
  }
  if (newest == nullptr) return;
  const int due = copies_due(newest->view, sound);
  for (const auto& [id, append] : judge.appends()) {
    if (append.position == 0 || judge.may_be_lost(append)) continue;
    if (newest->lost_from != 0 && append.position >= newest->lost_from &&
        append.position < newest->lost_to) {
      continue;
    }
    const int copies = holders(files, append.position, {Kind::data, id, append.digest});
    if (copies >= due) continue;
    judge.violated("I6",
                   spell(id) + " was acknowledged at position " + std::to_string(append.position) +
                       "; " + std::to_string(copies) + " of " + std::to_string(files.size()) +
                       " images hold it, at least " + std::to_string(due) + " have to",
                   append.where);
  }
}

}  // namespace caisson::checker
