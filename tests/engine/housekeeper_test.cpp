// SPDX-License-Identifier: BSD-3-Clause
// What an engine writes into its log file.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/engine/engine_events.hpp"
#include "core/engine/engine_housekeeper.hpp"

namespace caisson::engine {
namespace {

using replication::Role;

// What is written about `ring` from that level on, once a line has `awaited` in it.
std::vector<std::string> written(EventRing& ring, const std::string& level,
                                 const std::string& awaited) {
  EngineOptions options;
  options.logs.resize(1);
  options.logs[0].name = "main";
  options.log_file = "/dev/shm/caisson-housekeeper-" + std::to_string(getpid());
  options.log_level = level;
  {
    auto keeper = Housekeeper::start(options);
    EXPECT_TRUE(keeper) << keeper.error().message;
    if (!keeper) return {};
    (*keeper)->watch(ring);
    for (int i = 0; i < 200; ++i) {
      usleep(10'000);
      std::ifstream file(options.log_file);
      std::ostringstream text;
      text << file.rdbuf();
      if (text.str().find(awaited) != std::string::npos) break;
    }
  }
  std::ifstream file(options.log_file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  std::filesystem::remove(options.log_file);
  return lines;
}

TEST(Housekeeper, SeekingAQuorumInVainIsSaidOnce) {
  EventRing ring;
  Event event;
  event.term = Term{7};
  for (int i = 0; i < 100; ++i) {
    event.role = i % 2 == 0 ? Role::asking : Role::follower;
    ring.put(event);
  }
  event.term = Term{8};
  event.role = Role::leader;
  ring.put(event);
  const auto lines = written(ring, "info", "leader");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], ::testing::HasSubstr("log main: now asking (term 7"));
  EXPECT_THAT(lines[1], ::testing::HasSubstr("log main: now leader (term 8"));
}

TEST(Housekeeper, WhatNeedsSomebodyIsAnErrorThatNamesTheLogAndTheCure) {
  EventRing ring;
  for (const Event::Kind kind : {Event::Kind::closed, Event::Kind::no_room, Event::Kind::fault,
                                 Event::Kind::recovered, Event::Kind::rot}) {
    Event event;
    event.kind = kind;
    event.committed = Position{41};
    event.at = 3;
    ring.put(event);
  }
  const auto lines = written(ring, "error", "rotted");
  ASSERT_EQ(lines.size(), 3u) << "the others are no errors";
  EXPECT_THAT(lines[0], ::testing::HasSubstr("log main: the salvage area is full"));
  EXPECT_THAT(lines[0], ::testing::HasSubstr("caisson salvage list"));
  EXPECT_THAT(lines[1], ::testing::HasSubstr("damaged behind position 41"));
  EXPECT_THAT(lines[2], ::testing::HasSubstr("3 entries have rotted"));
}

TEST(Housekeeper, AFileItCannotWriteOrALevelThatIsNoneIsRefused) {
  EngineOptions options;
  options.log_file = "/proc/caisson/log";
  const auto nowhere = Housekeeper::start(options);
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, Code::denied);
  EXPECT_THAT(nowhere.error().message, ::testing::HasSubstr("logging.file"));
  options.log_file.clear();
  options.log_level = "loud";
  const auto loud = Housekeeper::start(options);
  ASSERT_FALSE(loud);
  EXPECT_EQ(loud.error().code, Code::invalid);
  EXPECT_THAT(loud.error().message, ::testing::HasSubstr("\"loud\" is unknown"));
}

}  // namespace
}  // namespace caisson::engine
