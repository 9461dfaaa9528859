// SPDX-License-Identifier: BSD-3-Clause
// By what the leader of a cluster benchmark asks its followers for things: a line of JSON, and one
// in answer, over TCP. A question that does not know the run's secret is not answered.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "caisson/types.hpp"

namespace caisson::bench {

// One question. again: nobody listens there yet.
Result<nlohmann::json> ask(const std::string& host, uint16_t port, nlohmann::json question,
                           const std::string& secret);

class BenchListener {
 public:
  using Answer = std::function<nlohmann::json(const nlohmann::json& question)>;
  // One question after the other is answered on a thread of its own. io: the port is taken.
  static Result<std::unique_ptr<BenchListener>> start(uint16_t port, std::string secret,
                                                      Answer answer);
  virtual ~BenchListener() = default;
};

}  // namespace caisson::bench
