// SPDX-License-Identifier: BSD-3-Clause
#include "transport/shm/cells.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstring>
#include <memory>
#include <thread>

#include "transport/shm/endpoint_support.hpp"

namespace caisson::transport::shm {
namespace {

TargetCell uniform_cell(uint64_t value) {
  TargetCell cell;
  cell.term = Term{value};
  cell.incarnation = Incarnation{value};
  cell.validated = Position{value};
  cell.validated_end = Offset{value};
  cell.applied = Position{value};
  cell.head = Offset{value};
  cell.trimmed = Position{value};
  cell.fault = value;
  return cell;
}

bool uniform(const TargetCell& cell) {
  const uint64_t value = cell.term.value;
  return cell.incarnation.value == value && cell.validated.value == value &&
         cell.validated_end.value == value && cell.applied.value == value &&
         cell.head.value == value && cell.trimmed.value == value && cell.fault == value;
}

TEST(Cells, APublishedCellReadsBackAndAnUnpublishedOneIsTheFallback) {
  PublishedLine line{};
  EXPECT_EQ(read_cell(line, uniform_cell(9)).fault, 9u);
  publish_cell(line, uniform_cell(1));
  publish_cell(line, uniform_cell(2));
  EXPECT_EQ(read_cell(line, {}).head.value, 2u);
}

TEST(Cells, APublisherThatDiesHalfWayLeavesThePreviousCell) {
  PublishedLine line{};
  publish_cell(line, uniform_cell(1));
  publish_cell(line, uniform_cell(2));
  line.value[(line.sequence + 1) % 2][3] = 77;
  const TargetCell cell = read_cell(line, {});
  EXPECT_TRUE(uniform(cell));
  EXPECT_EQ(cell.fault, 2u);
}

TEST(Cells, ConcurrentReadersNeverSeeATornCell) {
  PublishedLine line{};
  std::atomic<bool> stop{false};
  std::thread publisher([&] {
    for (uint64_t i = 1; !stop.load(); ++i) publish_cell(line, uniform_cell(i));
  });
  uint64_t last = 0;
  for (int i = 0; i < 300000; ++i) {
    const TargetCell cell = read_cell(line, uniform_cell(last));
    ASSERT_TRUE(uniform(cell));
    ASSERT_GE(cell.fault, last);
    last = cell.fault;
  }
  stop = true;
  publisher.join();
}

RC_GTEST_PROP(Cells, ACommitCellReadsBack,
              (uint64_t term, uint64_t committed, uint32_t chain, uint64_t trim)) {
  CommitLine line{};
  write_commit(line, {Term{term}, Position{committed}, chain, Position{trim}});
  const CommitCell cell = read_commit(line);
  RC_ASSERT(cell.term.value == term && cell.committed.value == committed && cell.chain == chain &&
            cell.trim_to.value == trim);
}

RC_GTEST_PROP(Cells, ATornCommitCellReadsAsZero, (uint64_t one, uint64_t other)) {
  RC_PRE(one != other);
  CommitLine line{};
  write_commit(line, {Term{one}, Position{one}, 1, Position{one}});
  CommitLine newer{};
  write_commit(newer, {Term{other}, Position{other}, 2, Position{other}});
  line.committed = newer.committed;  // the writer is stopped here
  const CommitCell cell = read_commit(line);
  RC_ASSERT(cell.term.value == 0u && cell.committed.value == 0u && cell.chain == 0u);
}

TEST(Cells, AnUnwrittenCommitCellReadsAsZero) {
  EXPECT_EQ(read_commit(CommitLine{}).committed.value, 0u);
}

RC_GTEST_PROP(Cells, HostileGrantBlobsAreRefused, (const std::vector<uint8_t>& bytes)) {
  RC_ASSERT_FALSE(decode_grant_blob(std::as_bytes(std::span(bytes))).has_value());
}

TEST(Cells, AGrantBlobReadsBackAndOneWithABadGeometryIsRefused) {
  GrantBlob blob{kControlMagic, {}, 7, 1 << 20, 65536};
  auto decoded = decode_grant_blob(std::as_bytes(std::span(&blob, 1)));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->manifest_generation, 7u);
  blob.segment_bytes = 0;
  decoded = decode_grant_blob(std::as_bytes(std::span(&blob, 1)));
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, Code::invalid);
}

TEST(Cells, SegmentSetsHoldEachSegmentOnceAndWrap) {
  SegmentSet set({8 * 65536, 65536, 0});
  set.add({6, 3});
  set.add({7, 1});
  EXPECT_EQ(std::vector<uint32_t>(set.list().begin(), set.list().end()),
            (std::vector<uint32_t>{6, 7, 0}));
  set.add({100, 1});
  EXPECT_EQ(set.list().size(), 8u) << "nonsense stands for everything";
}

}  // namespace
}  // namespace caisson::transport::shm
