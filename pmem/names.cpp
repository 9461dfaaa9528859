// SPDX-License-Identifier: BSD-3-Clause
#include "caisson/types.hpp"

namespace caisson {

std::string_view name(Code code) {
  switch (code) {
    case Code::ok: return "ok";
    case Code::again: return "again";
    case Code::not_leader: return "not_leader";
    case Code::fenced: return "fenced";
    case Code::closed: return "closed";
    case Code::indefinite: return "indefinite";
    case Code::timed_out: return "timed_out";
    case Code::not_appended: return "not_appended";
    case Code::trimmed: return "trimmed";
    case Code::not_yet: return "not_yet";
    case Code::held: return "held";
    case Code::wrong_view: return "wrong_view";
    case Code::revoked: return "revoked";
    case Code::no_quorum: return "no_quorum";
    case Code::invalid: return "invalid";
    case Code::too_large: return "too_large";
    case Code::unsupported: return "unsupported";
    case Code::exists: return "exists";
    case Code::not_found: return "not_found";
    case Code::wrong_cluster: return "wrong_cluster";
    case Code::wrong_version: return "wrong_version";
    case Code::stale_stream: return "stale_stream";
    case Code::broken_stream: return "broken_stream";
    case Code::aged_out: return "aged_out";
    case Code::identity_reused: return "identity_reused";
    case Code::denied: return "denied";
    case Code::busy: return "busy";
    case Code::damaged: return "damaged";
    case Code::amnesia: return "amnesia";
    case Code::no_space: return "no_space";
    case Code::io: return "io";
    case Code::internal: return "internal";
  }
  return "unknown";
}

std::string_view name(Durability level) {
  switch (level) {
    case Durability::volatile_: return "volatile";
    case Durability::local: return "local";
    case Durability::replicated: return "replicated";
    case Durability::persisted: return "persisted";
    case Durability::all: return "all";
  }
  return "unknown";
}

std::string_view name(Persistence persistence) {
  switch (persistence) {
    case Persistence::none: return "none";
    case Persistence::emulated: return "emulated";
    case Persistence::adr: return "adr";
    case Persistence::eadr: return "eadr";
  }
  return "unknown";
}

}  // namespace caisson
