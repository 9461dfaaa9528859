// SPDX-License-Identifier: BSD-3-Clause
// Where an engine is joined to what it stands on. Each part passes here once, on its way from the
// fabric or the medium to the core, and comes back as the part that is used. As the library is, all
// of them come back as they are; a program of the tests puts parts of its own around them, which
// die, stop or fail at named points (docs/simulation.md). It costs one virtual call for each part
// that is opened, and nothing afterwards.
#pragma once

#include <cstdint>
#include <memory>

#include "core/control/messages.hpp"
#include "pmem/region.hpp"
#include "transport/fabric.hpp"

namespace caisson::engine {

class ExpressHandler;
class LinksHandler;

enum class RegionUse : uint8_t {
  replica,   // a replica's own, opened to run it
  creation,  // one that is being made, and filled, for a replica
  backup,    // a copy that is being taken of a replica's
};

class Seam {
 public:
  virtual ~Seam() = default;
  // What comes back owns what it was given.
  virtual std::unique_ptr<pmem::Region> region(std::unique_ptr<pmem::Region> made, RegionUse) {
    return made;
  }
  // `region` is the one of the same log, as region() gave it back, and outlives the endpoint.
  virtual std::unique_ptr<transport::Endpoint> endpoint(std::unique_ptr<transport::Endpoint> made,
                                                        const pmem::Region&) {
    return made;
  }
  virtual std::unique_ptr<transport::Heartbeats> heartbeats(
      std::unique_ptr<transport::Heartbeats> made) {
    return made;
  }
  virtual std::unique_ptr<transport::Postbox> postbox(std::unique_ptr<transport::Postbox> made) {
    return made;
  }
  virtual std::unique_ptr<control::Outbox> outbox(std::unique_ptr<control::Outbox> made) {
    return made;
  }
  // What links and express bring to the engine `to`: whoever comes back lives as long as the seam.
  virtual LinksHandler& arrivals(LinksHandler& to) { return to; }
  virtual ExpressHandler& arrivals(ExpressHandler& to) { return to; }
};

// Of this process.
Seam& seam();
// Before the first engine is created or opened. `other` outlives every engine.
void set_seam(Seam& other);

}  // namespace caisson::engine
