// SPDX-License-Identifier: BSD-3-Clause
// Which way of persistence is taken where (R12).
#include <gtest/gtest.h>

#include "transport/verbs/method.hpp"

namespace caisson::transport::verbs {
namespace {

Result<Method> chosen(const Ground& ground, std::optional<Method> wanted = {}) {
  return choose_method(ground, wanted, "rxe0", "/dev/dax0.0");
}

TEST(VerbsMethod, TheFirstThatIsPossible) {
  struct Row {
    Ground ground;
    Method first;
    Method without_flush;
  };
  using enum Method;
  using P = Persistence;
  const Row rows[] = {
      {{false, P::adr, false}, target_flush, target_flush},
      {{false, P::adr, true}, read_after_write, read_after_write},
      {{true, P::adr, false}, flush, target_flush},
      {{true, P::adr, true}, flush, read_after_write},
      {{false, P::eadr, false}, read_after_write, read_after_write},
      {{true, P::eadr, false}, read_after_write, read_after_write},
      {{false, P::emulated, false}, read_after_write, read_after_write},
      {{true, P::emulated, true}, read_after_write, read_after_write},
      {{true, P::none, true}, none, none},
      {{false, P::none, false}, none, none},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(std::string(caisson::name(row.ground.persistence)) +
                 (row.ground.flush ? ", FLUSH" : "") +
                 (row.ground.past_caches ? ", past caches" : ""));
    const auto first = chosen(row.ground);
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_EQ(*first, row.first);
    EXPECT_EQ(without_flush(row.ground), row.without_flush);
  }
}

// What is asked for is never replaced by another way, and never taken where it proves nothing.
TEST(VerbsMethod, WhatIsAskedForIsTakenOrRefused) {
  for (const bool flush : {false, true}) {
    for (const bool past_caches : {false, true}) {
      for (const Persistence persistence :
           {Persistence::adr, Persistence::eadr, Persistence::emulated}) {
        const Ground ground{flush, persistence, past_caches};
        for (const Method wanted :
             {Method::flush, Method::read_after_write, Method::target_flush}) {
          const bool caches_lost = persistence == Persistence::adr;
          const bool proves = wanted == Method::flush              ? flush && caches_lost
                              : wanted == Method::read_after_write ? !caches_lost || past_caches
                                                                   : true;
          const auto taken = chosen(ground, wanted);
          ASSERT_EQ(taken.has_value(), proves) << name(wanted);
          if (taken) {
            EXPECT_EQ(*taken, wanted);
          } else {
            EXPECT_EQ(taken.error().code, Code::unsupported);
            EXPECT_NE(taken.error().message.find("verbs."), std::string::npos)
                << "the cure: " << taken.error().message;
          }
        }
      }
    }
  }
  for (const Method wanted : {Method::flush, Method::read_after_write, Method::target_flush}) {
    EXPECT_EQ(*chosen({true, Persistence::none, true}, wanted), Method::none)
        << "nothing is established, whatever is asked for";
  }
}

TEST(VerbsMethod, ForAWriterThatCannotFlushItIsDoneHere) {
  EXPECT_EQ(method_toward(Method::flush, true, false), Method::flush);
  EXPECT_EQ(method_toward(Method::flush, false, false), Method::target_flush);
  EXPECT_EQ(method_toward(Method::flush, false, true), Method::read_after_write);
  for (const Method own : {Method::none, Method::read_after_write, Method::target_flush}) {
    for (const bool flushes : {false, true}) {
      EXPECT_EQ(method_toward(own, flushes, false), own);
      EXPECT_EQ(method_toward(own, flushes, true), own);
    }
  }
}

}  // namespace
}  // namespace caisson::transport::verbs
