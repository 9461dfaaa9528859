// SPDX-License-Identifier: BSD-3-Clause
#include "tools/framing.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/program.hpp"

namespace caisson::tools {
namespace {

// A file in memory that holds `text`, at its beginning.
int memory_file(const std::string& text) {
  const int fd = memfd_create("framing", 0);
  EXPECT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  lseek(fd, 0, SEEK_SET);
  return fd;
}

std::string text_of(int fd) {
  std::string text(static_cast<size_t>(lseek(fd, 0, SEEK_END)), '\0');
  EXPECT_EQ(pread(fd, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  return text;
}

Result<std::vector<std::string>> cut(const std::string& text, Framing framing, uint32_t bytes_max) {
  const int fd = memory_file(text);
  FrameReader reader(fd, framing, bytes_max);
  std::vector<std::string> payloads;
  std::span<const std::byte> payload;
  for (;;) {
    const auto more = reader.next(payload);
    if (!more) {
      close(fd);
      return tl::unexpected(more.error());
    }
    if (!*more) break;
    payloads.emplace_back(reinterpret_cast<const char*>(payload.data()), payload.size());
  }
  close(fd);
  return payloads;
}

std::string join(const std::vector<std::string>& payloads, Framing framing) {
  const int fd = memory_file("");
  FrameWriter writer(fd, framing);
  for (const std::string& payload : payloads) {
    EXPECT_TRUE(writer.write(std::as_bytes(std::span(payload.data(), payload.size()))));
  }
  EXPECT_TRUE(writer.flush());
  const std::string text = text_of(fd);
  close(fd);
  return text;
}

RC_GTEST_PROP(Framing, AnyTextComesBackByteForByteFromItsLines, (const std::string& text)) {
  const auto payloads = cut(text, Framing::lines, 1 << 20);
  RC_ASSERT(payloads.has_value());
  RC_ASSERT(join(*payloads, Framing::lines) == text);
}

RC_GTEST_PROP(Framing, AnyPayloadsComeBackFromFrames, (const std::vector<std::string>& payloads)) {
  const auto again = cut(join(payloads, Framing::length32), Framing::length32, 1 << 20);
  RC_ASSERT(again.has_value());
  RC_ASSERT(*again == payloads);
}

TEST(Framing, LinesAreEntriesWithoutTheirNewline) {
  EXPECT_EQ(*cut("a\n\nb\n", Framing::lines, 100), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(cut("", Framing::lines, 100)->size(), 0u);
  EXPECT_EQ(*cut("\n", Framing::lines, 100), std::vector<std::string>{""});
  EXPECT_EQ(cut("a\nb", Framing::lines, 100)->back(), "b" + std::string(kUnterminated));
}

TEST(Framing, SeveralInputsFollowOneAnother) {
  auto entries = *cut("a\nb\n", Framing::lines, 100);
  const auto more = *cut("c\n", Framing::lines, 100);
  entries.insert(entries.end(), more.begin(), more.end());
  EXPECT_EQ(join(entries, Framing::lines), "a\nb\nc\n");
}

TEST(Framing, ALineOverTheLimitIsRefusedByItsNumber) {
  const std::string large(101, 'x');
  EXPECT_TRUE(cut(std::string(100, 'x') + "\n", Framing::lines, 100));
  const auto refused = cut("a\n" + large + "\n", Framing::lines, 100);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::too_large);
  EXPECT_NE(refused.error().message.find("line 2"), std::string::npos);
  EXPECT_EQ(cut(large, Framing::lines, 100).error().code, Code::too_large);
}

TEST(Framing, ACutFrameIsRefused) {
  EXPECT_EQ(cut(std::string("\3\0\0\0ab", 6), Framing::length32, 100).error().code, Code::invalid);
  EXPECT_EQ(cut(std::string("\3\0", 2), Framing::length32, 100).error().code, Code::invalid);
  EXPECT_EQ(cut(std::string("\xff\xff\xff\x7f", 4), Framing::length32, 100).error().code,
            Code::too_large);
}

TEST(Framing, AFullDeviceIsNamed) {
  const int fd = open("/dev/full", O_WRONLY);
  FrameWriter writer(fd, Framing::lines);
  EXPECT_TRUE(writer.write({}));
  const auto flushed = writer.flush();
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error().code, Code::no_space);
  close(fd);
}

}  // namespace
}  // namespace caisson::tools
