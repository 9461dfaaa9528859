// SPDX-License-Identifier: BSD-3-Clause
#include "transport/verbs/method.hpp"

namespace caisson::transport::verbs {

namespace {

// What an adapter writes may lie in the caches of a platform that does not save them: then it is
// flushed, by the adapter or by us.
bool caches_kept(const Ground& ground) {
  return ground.persistence == Persistence::emulated || ground.persistence == Persistence::eadr;
}

bool read_suffices(const Ground& ground) { return caches_kept(ground) || ground.past_caches; }

}  // namespace

std::string_view name(Method method) {
  switch (method) {
    case Method::none: return "none";
    case Method::flush: return "flush";
    case Method::read_after_write: return "read_after_write";
    case Method::target_flush: return "target_flush";
  }
  return "unknown";
}

Method without_flush(const Ground& ground) {
  if (ground.persistence == Persistence::none) return Method::none;
  return read_suffices(ground) ? Method::read_after_write : Method::target_flush;
}

Result<Method> choose_method(const Ground& ground, std::optional<Method> wanted,
                             const std::string& adapter, const std::string& region) {
  if (ground.persistence == Persistence::none) return Method::none;
  const bool flush = ground.flush && !caches_kept(ground);
  if (!wanted) return flush ? Method::flush : without_flush(ground);
  if (*wanted == Method::flush && !flush) {
    return fail(Code::unsupported,
                ground.flush ? region +
                                   " is no persistent memory that RDMA FLUSH knows: leave "
                                   "verbs.persists_by out"
                             : adapter +
                                   ", or the library that this was built with, has no RDMA FLUSH: "
                                   "leave verbs.persists_by out");
  }
  if (*wanted == Method::read_after_write && !read_suffices(ground)) {
    return fail(Code::unsupported,
                "verbs.persists_by = \"read_after_write\" needs eADR, or DDIO turned off and "
                "verbs.past_caches = true: what adapters write to " +
                    region + " may lie in caches that a loss of power takes");
  }
  return *wanted;
}

Method method_toward(Method own, bool writer_flushes, bool past_caches) {
  if (own != Method::flush || writer_flushes) return own;
  return past_caches ? Method::read_after_write : Method::target_flush;
}

}  // namespace caisson::transport::verbs
