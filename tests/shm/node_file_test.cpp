// SPDX-License-Identifier: BSD-3-Clause
// R44 for the small files by which nodes hear of each other: whoever deletes one, cuts it short or
// puts another in its place ends no process; its peers hear nothing until it is made anew.
#include "transport/shm/node_file.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "tests/shm/endpoints.hpp"
#include "transport/shm/heartbeat_format.hpp"
#include "transport/shm/postbox_format.hpp"
#include "transport/shm/shm_heartbeats.hpp"
#include "transport/shm/shm_postbox.hpp"

namespace caisson::transport::shm {
namespace {

using namespace testing;  // NOLINT
namespace fs = std::filesystem;

// What somebody does to a file that is none of theirs.
struct Harm {
  const char* name;
  void (*done)(const std::string& path);
};
void PrintTo(const Harm& harm, std::ostream* out) { *out << harm.name; }
constexpr Harm kHarms[] = {
    {"CutShort", [](const std::string& path) { fs::resize_file(path, 0); }},
    {"CutAndStretched",
     [](const std::string& path) {
       const auto bytes = fs::file_size(path);
       fs::resize_file(path, 0);
       fs::resize_file(path, bytes);
     }},
    {"Deleted", [](const std::string& path) { fs::remove(path); }},
    {"Replaced",
     [](const std::string& path) {
       fs::copy_file(path, path + ".copy");
       fs::rename(path + ".copy", path);
     }},
    {"ReplacedByAnother",
     [](const std::string& path) {
       fs::remove(path);
       std::ofstream(path) << "another";
       fs::resize_file(path, 1 << 20);
     }},
};

class NodePages : public ::testing::Test {
 protected:
  std::string beat_path(ReplicaId id) const {
    return directory_ / ("beat-" + std::to_string(id.value)).c_str();
  }
  std::string post_path(ReplicaId id) const {
    return directory_ / ("post-" + std::to_string(id.value)).c_str();
  }
  std::unique_ptr<ShmHeartbeats> heartbeats(ReplicaId self) const {
    const ReplicaId peer = self == kA ? kB : kA;
    auto opened = ShmHeartbeats::open({beat_path(self), {{peer, beat_path(peer)}}});
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? std::move(*opened) : nullptr;
  }
  std::unique_ptr<ShmPostbox> postbox(ReplicaId self) const {
    const ReplicaId peer = self == kA ? kB : kA;
    auto opened = ShmPostbox::open({self, post_path(self), {{peer, post_path(peer)}}});
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? std::move(*opened) : nullptr;
  }

  const ScratchDirectory directory_;
};

class NodeFiles : public NodePages, public ::testing::WithParamInterface<Harm> {};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string taken(ShmPostbox& box) {
  std::string text(box.message_bytes_max(), '\0');
  ReplicaId from;
  text.resize(box.take(from, std::as_writable_bytes(std::span(text.data(), text.size()))));
  return text;
}

TEST_P(NodeFiles, AHeartbeatIsMadeAnewAndHeardAgain) {
  auto mine = heartbeats(kA);
  auto theirs = heartbeats(kB);
  ASSERT_EQ(mine->connect(), 0u);
  std::thread poller([&] {
    theirs->beat();
    theirs->beat();
    const uint64_t before = mine->read(kB).counter;
    EXPECT_EQ(before, 2u);
    GetParam().done(beat_path(kB));
    (void)mine->read(kB);
    theirs->beat();
    const auto mended = theirs->mend();
    ASSERT_TRUE(mended) << mended.error().message;
    EXPECT_TRUE(*mended);
    theirs->beat();
    EXPECT_EQ(mine->connect(), 0u);
    theirs->beat();
    EXPECT_TRUE(mine->read(kB).known);
    EXPECT_FALSE(mine->read(kB).dead);
    EXPECT_GT(mine->read(kB).counter, before) << "it goes on counting";
    EXPECT_TRUE(theirs->death_word_armed());
    const auto sound = theirs->mend();
    ASSERT_TRUE(sound);
    EXPECT_FALSE(*sound) << "once is enough";
  });
  poller.join();
  EXPECT_TRUE(mine->read(kB).dead) << "the new file, too, tells of its thread's end";
}

TEST_P(NodeFiles, APostFileIsMadeAnewAndFilledAgain) {
  auto a = postbox(kA);
  auto b = postbox(kB);
  ASSERT_EQ(a->connect(), 0u);
  ASSERT_EQ(a->post(kB, bytes_of("before")), Code::ok);
  GetParam().done(post_path(kB));
  (void)a->post(kB, bytes_of("to nobody"));
  while (!taken(*b).empty()) {
  }
  const auto mended = b->mend();
  ASSERT_TRUE(mended) << mended.error().message;
  EXPECT_TRUE(*mended);
  EXPECT_EQ(b->bell().load(), 0u);
  EXPECT_EQ(a->connect(), 0u);
  ASSERT_EQ(a->post(kB, bytes_of("after")), Code::ok);
  EXPECT_NE(b->bell().load(), 0u);
  EXPECT_EQ(taken(*b), "after");
  const auto sound = b->mend();
  ASSERT_TRUE(sound);
  EXPECT_FALSE(*sound) << "once is enough";
}

INSTANTIATE_TEST_SUITE_P(Harmed, NodeFiles, ::testing::ValuesIn(kHarms),
                         [](const auto& with) { return with.param.name; });

// In a process of its own, which must live to say so.
TEST_F(NodePages, ALostHeartbeatIsSilence) {
  EXPECT_EQ(exit_status(spawn([&] {
              auto mine = heartbeats(kA);
              auto theirs = heartbeats(kB);
              theirs->beat();
              if (mine->connect() != 0 || mine->read(kB).counter != 1) return 1;
              fs::resize_file(beat_path(kB), 0);
              if (mine->read(kB).known) return 2;
              theirs->beat();  // its owner meets the page, too
              if (mine->connect() != 0 || mine->read(kB).known) return 3;
              return 0;
            })),
            0);
}

TEST_F(NodePages, WhatIsPostedToALostPageIsNotSaidToArrive) {
  EXPECT_EQ(exit_status(spawn([&] {
              auto a = postbox(kA);
              auto b = postbox(kB);
              if (a->connect() != 0 || a->post(kB, bytes_of("one")) != Code::ok) return 1;
              if (taken(*b) != "one") return 2;
              fs::resize_file(post_path(kB),
                              kPostSlotBytes);  // the slots are gone, the bell is not
              if (a->post(kB, bytes_of("two")) != Code::not_found) return 3;
              if (!taken(*b).empty()) return 4;
              fs::resize_file(post_path(kB), 0);
              if (a->post(kB, bytes_of("three")) != Code::not_found) return 5;
              return taken(*b).empty() && b->bell().load() == 0 ? 0 : 6;
            })),
            0);
}

// A node that somebody started in our place, on a file of its own: it is not robbed of it.
TEST_F(NodePages, AFileThatHasAnotherOwnerIsLeftAlone) {
  auto mine = heartbeats(kA);
  mine->beat();
  fs::remove(beat_path(kA));
  const auto other = heartbeats(kA);
  ASSERT_NE(other, nullptr);
  const auto refused = mine->mend();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::busy);
  EXPECT_TRUE(fs::exists(beat_path(kA)));
}

TEST_F(NodePages, WhatIsTooShortIsRefusedByName) {
  std::ofstream(beat_path(kA)) << "less";
  const auto refused = ShmHeartbeats::open({beat_path(kA), {}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::io);
  EXPECT_NE(refused.error().message.find(beat_path(kA)), std::string::npos);
}

}  // namespace
}  // namespace caisson::transport::shm
