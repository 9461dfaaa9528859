// SPDX-License-Identifier: BSD-3-Clause
#include "transport/shm/shm_postbox.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <thread>

#include "tests/shm/endpoints.hpp"

namespace caisson::transport::shm {
namespace {

using namespace testing;  // NOLINT

PostboxOptions node(const ScratchDirectory& directory, ReplicaId self) {
  PostboxOptions options;
  options.self = self;
  for (const ReplicaId id : {kA, kB, kC}) {
    const std::string path = directory / ("post-" + std::to_string(id.value)).c_str();
    (id == self ? options.own_path : options.peers[id]) = path;
  }
  return options;
}

std::unique_ptr<ShmPostbox> open(const ScratchDirectory& directory, ReplicaId self) {
  auto box = ShmPostbox::open(node(directory, self));
  EXPECT_TRUE(box) << box.error().message;
  return box ? std::move(*box) : nullptr;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// The next message; empty: none.
std::string taken(ShmPostbox& box, ReplicaId& from) {
  std::string text(box.message_bytes_max(), '\0');
  text.resize(box.take(from, std::as_writable_bytes(std::span(text.data(), text.size()))));
  return text;
}

TEST(ShmPostbox, WhatIsPostedIsTakenOnceAndItsSenderIsKnown) {
  ScratchDirectory directory;
  auto a = open(directory, kA);
  auto b = open(directory, kB);
  EXPECT_EQ(a->post(kB, bytes_of("early")), Code::not_found) << "b was not there when a looked";
  EXPECT_EQ(a->connect(), 1u) << "c is not there yet";
  EXPECT_EQ(b->bell().load(), 0u);
  ASSERT_EQ(a->post(kB, bytes_of("from a")), Code::ok);
  EXPECT_NE(b->bell().load(), 0u);
  ReplicaId from;
  EXPECT_EQ(taken(*b, from), "from a");
  EXPECT_EQ(from, kA);
  EXPECT_EQ(taken(*b, from), "");
  EXPECT_EQ(b->bell().load(), 0u);
}

TEST(ShmPostbox, ABoxThatWasMadeAnewIsFound) {
  ScratchDirectory directory;
  auto a = open(directory, kA);
  auto b = open(directory, kB);
  (void)a->connect();
  ASSERT_EQ(a->post(kB, bytes_of("to the old one")), Code::ok);
  b.reset();
  ASSERT_EQ(::unlink(node(directory, kB).own_path.c_str()), 0);
  b = open(directory, kB);
  EXPECT_EQ(a->post(kB, bytes_of("nobody takes it there")), Code::again);
  (void)a->connect();
  ASSERT_EQ(a->post(kB, bytes_of("to the new one")), Code::ok);
  ReplicaId from;
  EXPECT_EQ(taken(*b, from), "to the new one");
}

TEST(ShmPostbox, ASlotHoldsOneMessageAndEachSenderHasItsOwn) {
  ScratchDirectory directory;
  auto c = open(directory, kC);
  auto a = open(directory, kA);
  auto b = open(directory, kB);
  ASSERT_EQ(a->post(kC, bytes_of("first")), Code::ok);
  EXPECT_EQ(a->post(kC, bytes_of("second")), Code::again);
  ASSERT_EQ(b->post(kC, bytes_of("other")), Code::ok);
  ReplicaId from;
  EXPECT_EQ(taken(*c, from), "first");
  ASSERT_EQ(a->post(kC, bytes_of("second")), Code::ok) << "while the other still lies there";
  EXPECT_EQ(taken(*c, from), "other");
  EXPECT_EQ(from, kB);
  EXPECT_EQ(taken(*c, from), "second");
}

TEST(ShmPostbox, SizesAreJudged) {
  ScratchDirectory directory;
  auto b = open(directory, kB);
  auto a = open(directory, kA);
  const std::string largest(a->message_bytes_max(), 'x');
  EXPECT_EQ(a->post(kB, bytes_of("")), Code::too_large);
  EXPECT_EQ(a->post(kB, bytes_of(largest + "x")), Code::too_large);
  EXPECT_EQ(a->post(ReplicaId{9}, bytes_of("x")), Code::not_found);
  ASSERT_EQ(a->post(kB, bytes_of(largest)), Code::ok);
  ReplicaId from;
  EXPECT_EQ(taken(*b, from), largest);
}

TEST(ShmPostbox, WhatLayThereForAPredecessorIsDropped) {
  ScratchDirectory directory;
  auto b = open(directory, kB);
  auto a = open(directory, kA);
  ASSERT_EQ(a->post(kB, bytes_of("to the first")), Code::ok);
  b.reset();
  b = open(directory, kB);
  ReplicaId from;
  EXPECT_EQ(taken(*b, from), "");
  ASSERT_EQ(a->post(kB, bytes_of("to the second")), Code::ok) << "the slot is free again";
  EXPECT_EQ(taken(*b, from), "to the second");
}

TEST(ShmPostbox, ASecondProcessOfTheNodeIsRefused) {
  ScratchDirectory directory;
  auto a = open(directory, kA);
  const auto again = ShmPostbox::open(node(directory, kA));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::busy);
}

// A length that its sender wrote is not believed.
TEST(ShmPostbox, HostileLengthsAreDropped) {
  ScratchDirectory directory;
  auto b = open(directory, kB);
  auto a = open(directory, kA);
  const auto file =
      pmem::BackingFile::open(node(directory, kB).own_path, pmem::BackingFile::Access::peer);
  ASSERT_TRUE(file);
  void* const raw =
      ::mmap(nullptr, sizeof(PostFile), PROT_READ | PROT_WRITE, MAP_SHARED, file->fd(), 0);
  ASSERT_NE(raw, MAP_FAILED);
  PostFile& post = *static_cast<PostFile*>(raw);
  ReplicaId from;
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{kPostBytesMax + 1}, UINT64_MAX}) {
    ASSERT_EQ(a->post(kB, bytes_of("honest")), Code::ok);
    post.slots[kA.value].bytes = bytes;
    EXPECT_EQ(taken(*b, from), "") << bytes;
  }
  post.bell = UINT64_MAX;  // rung for everybody, and nothing there
  EXPECT_EQ(taken(*b, from), "");
  ::munmap(raw, sizeof(PostFile));
}

TEST(ShmPostbox, NoMessageIsTornOrLostBetweenTwoThatKeepPosting) {
  ScratchDirectory directory;
  auto c = open(directory, kC);
  auto a = open(directory, kA);
  auto b = open(directory, kB);
  constexpr int kEach = 3000;
  const auto post_all = [&](ShmPostbox& box, char name) {
    for (int i = 0; i < kEach; ++i) {
      const std::string message =
          std::to_string(i) + std::string(static_cast<size_t>(1 + i % 3000), name);
      while (box.post(kC, bytes_of(message)) == Code::again) std::this_thread::yield();
    }
  };
  std::thread first(post_all, std::ref(*a), 'a');
  std::thread second(post_all, std::ref(*b), 'b');
  int next[2] = {};
  for (int got = 0; got < 2 * kEach;) {
    ReplicaId from;
    const std::string message = taken(*c, from);
    if (message.empty()) {
      std::this_thread::yield();
      continue;
    }
    ++got;
    const int which = from == kA ? 0 : 1;
    const int i = next[which]++;
    ASSERT_EQ(message, std::to_string(i) +
                           std::string(static_cast<size_t>(1 + i % 3000), which == 0 ? 'a' : 'b'));
  }
  first.join();
  second.join();
}

}  // namespace
}  // namespace caisson::transport::shm
