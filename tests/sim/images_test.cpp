// SPDX-License-Identifier: BSD-3-Clause
// S4: whatever subset of its unpersisted lines a power cut leaves a machine, at every step of every
// path: recovery finds what was acknowledged, nothing that was never written, and keeps its word.
#include "tests/sim/images.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <iostream>

#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

// Over a million in all. A sanitizer looks for other things.
constexpr uint64_t kImagesOfAPath = kSanitized ? 1'500 : 130'000;
constexpr uint64_t kSeedsMax = 400;

WorldOptions image_world(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.ring_bytes = 128 * 1024;
  o.salvage_bytes = 16 * 1024;
  o.entry_bytes_max = 2048;
  o.trims = false;
  // Slow to persist, so that much is visible and not yet persistent.
  o.fabric.persist_ns_max = 20 * kUs;
  o.fabric.own_persist_ns_max = 20 * kUs;
  return o;
}

ReplicaSet all_of(const World& world) {
  ReplicaSet all;
  for (const uint8_t id : world.ids()) all.add(ReplicaId{id});
  return all;
}

struct Scene {
  Scene(const WorldOptions& options, uint64_t enough)
      : world(options), images(world, enough), script(world) {}
  World world;
  Images images;
  Script script;

  // Appends, and waits until its client is told that every voter has persisted it.
  void append(uint8_t id, size_t bytes = 100) { settle(script.append(id, bytes, Durability::all)); }
  void append_batch(uint8_t id, size_t count, size_t bytes) {
    settle(script.append_batch(id, count, bytes, Durability::all).back());
  }

 private:
  void settle(uint64_t append) {
    if (world.run_until([&] { return script.acknowledged(append); }, 20 * kMs)) {
      images.everywhere(world.view().voters, script.position(append), script.term(append));
    }
  }
};

// Plays `path` seed after seed, until enough different images have been recovered.
void over_images(const std::function<void(Scene&)>& path,
                 const std::function<WorldOptions(uint64_t)>& options = image_world) {
  ImageCounts sum;
  const auto seeds = over_seeds(1, kSeedsMax, [&](uint64_t seed) {
    if (sum.images >= kImagesOfAPath) return Outcome{};
    Scene scene(options(seed), kImagesOfAPath - sum.images);
    path(scene);
    const ImageCounts& one = scene.images.counts();
    sum.positions += one.positions;
    sum.images += one.images;
    sum.again += one.again;
    sum.lines_max = std::max(sum.lines_max, one.lines_max);
    for (const auto& [call, count] : one.calls) sum.calls[call] += count;
    scene.images.look_at({});
    return conclude(scene.world);
  });
  std::cout << sum.images << " images at " << sum.positions << " positions, up to " << sum.lines_max
            << " lines in question, " << sum.again << " recoveries cut and repeated; before";
  for (const auto& [call, count] : sum.calls) std::cout << ' ' << call << ' ' << count;
  std::cout << std::endl;
  EXPECT_GE(sum.images, kImagesOfAPath);
  EXPECT_GT(sum.again, sum.images / 20);
}

TEST(Images, OfAppends) {
  over_images([](Scene& scene) {
    const uint8_t leader = scene.script.await_leader();
    scene.images.look_at(all_of(scene.world));
    for (int i = 0; i < 6; ++i) scene.append(leader, 40 + 90 * static_cast<size_t>(i));
  });
}

TEST(Images, OfABatch) {
  over_images([](Scene& scene) {
    const uint8_t leader = scene.script.await_leader();
    scene.append(leader);
    scene.images.look_at(just(ReplicaId{scene.script.others(leader)[0]}));
    scene.append_batch(leader, 5, 100);
  });
}

TEST(Images, OfAWrap) {
  over_images(
      [](Scene& scene) {
        ClientOptions load;
        load.pace_ns = 30 * kUs;
        add_clients(scene.world, 2, load);
        const uint8_t leader = scene.script.await_leader();
        const uint64_t lap = scene.world.options().ring_bytes;
        const auto comes_to = [&](uint64_t end) {
          return scene.world.run_until([&] { return scene.script.tail(leader) >= Offset{end}; },
                                       200 * kMs);
        };
        const bool near = comes_to(lap - 2048);
        scene.images.look_at(all_of(scene.world));
        scene.append(leader, 300);
        if (!near || !comes_to(lap)) scene.world.breach("SETUP", "the ring does not wrap");
        scene.append(leader, 300);
      },
      [](uint64_t seed) {
        WorldOptions o = image_world(seed);
        o.trims = true;
        return o;
      });
}

// With a checkpoint of the stream table before it, which carries what is trimmed.
TEST(Images, OfATrimAndItsCheckpoint) {
  over_images([](Scene& scene) {
    const uint8_t leader = scene.script.await_leader();
    for (int i = 0; i < 40; ++i) scene.append(leader);
    scene.images.look_at(all_of(scene.world));
    for (int i = 0; i < 6; ++i) {
      scene.world.trim();
      scene.append(leader, 200);
      scene.world.run_for(200 * kUs);
    }
  });
}

TEST(Images, OfACatchUp) {
  over_images([](Scene& scene) {
    const uint8_t leader = scene.script.await_leader();
    const uint8_t late = scene.script.others(leader)[0];
    scene.append(leader);
    scene.world.kill(late, Death::power);
    for (int i = 0; i < 4; ++i) scene.script.append_acknowledged(leader, 200);
    scene.images.look_at(just(ReplicaId{late}));
    scene.world.start(late);
    scene.append(leader, 200);
    scene.append(leader, 200);
  });
}

// The leader dies; whoever is elected seals, and every seal is answered by a promise.
TEST(Images, OfASeal) {
  over_images([](Scene& scene) {
    const uint8_t leader = scene.script.await_leader();
    scene.append(leader);
    for (int i = 0; i < 3; ++i) scene.script.append(leader, 200);
    scene.images.look_at(all_of(scene.world));
    scene.world.run_for(scene.world.random().below(30 * kUs));
    scene.world.kill(leader, Death::power);
    const uint8_t next = scene.script.await_leader();
    scene.world.start(leader);
    scene.append(next, 200);
  });
}

// What a deposed leader alone has is put aside, and overwritten.
TEST(Images, OfARepair) {
  over_images([](Scene& scene) {
    const uint8_t leader = scene.script.await_leader();
    scene.append(leader);
    scene.script.hold_all(leader, scene.script.tail(leader));
    for (int i = 0; i < 3; ++i) scene.script.append(leader, 200);
    scene.world.run_for(100 * kUs);
    scene.world.isolate(leader);
    scene.world.run_until(
        [&] { return scene.world.leader() != 0 && scene.world.leader() != leader; }, 50 * kMs);
    const uint8_t next = scene.world.leader();
    scene.script.append_acknowledged(next, 300);
    scene.images.look_at(just(ReplicaId{leader}));
    scene.script.release_all(leader);
    scene.world.heal();
    scene.append(next, 200);
  });
}

TEST(Images, OfAChangeOfMembers) {
  over_images(
      [](Scene& scene) {
        const uint8_t leader = scene.script.await_leader();
        scene.append(leader);
        scene.images.look_at(all_of(scene.world));
        const ReplicaSet spare = just(ReplicaId{4});
        const auto reached = [&](const MemberChange& change, size_t voters) {
          scene.world.run_until(
              [&] {
                (void)scene.world.change(change);
                const log::Membership view = scene.world.view();
                return view.settled() && static_cast<size_t>(view.voters.count()) == voters;
              },
              50 * kMs);
        };
        reached({.add = spare}, 4);
        if (const uint8_t now = scene.world.leader(); now != 0) scene.append(now, 200);
        reached({.remove = spare}, 3);
        if (const uint8_t now = scene.world.leader(); now != 0) scene.append(now, 200);
      },
      [](uint64_t seed) {
        WorldOptions o = image_world(seed);
        o.spares = 1;
        return o;
      });
}

}  // namespace
}  // namespace caisson::simtest
