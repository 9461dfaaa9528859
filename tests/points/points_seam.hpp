// SPDX-License-Identifier: BSD-3-Clause
// Puts around each part that an engine stands on one that passes the points (points.hpp).
#pragma once

#include <memory>
#include <vector>

#include "core/engine/engine_seam.hpp"
#include "core/engine/links.hpp"
#include "core/engine/poller.hpp"

namespace caisson::points {

class PointsSeam final : public engine::Seam {
 public:
  std::unique_ptr<pmem::Region> region(std::unique_ptr<pmem::Region> made,
                                       engine::RegionUse use) override;
  std::unique_ptr<transport::Endpoint> endpoint(std::unique_ptr<transport::Endpoint> made,
                                                const pmem::Region& region) override;
  std::unique_ptr<transport::Heartbeats> heartbeats(
      std::unique_ptr<transport::Heartbeats> made) override;
  std::unique_ptr<transport::Postbox> postbox(std::unique_ptr<transport::Postbox> made) override;
  std::unique_ptr<control::Outbox> outbox(std::unique_ptr<control::Outbox> made) override;
  engine::LinksHandler& arrivals(engine::LinksHandler& to) override;
  engine::ExpressHandler& arrivals(engine::ExpressHandler& to) override;

 private:
  std::vector<std::unique_ptr<engine::LinksHandler>> by_links_;
  std::vector<std::unique_ptr<engine::ExpressHandler>> by_express_;
};

}  // namespace caisson::points
