// SPDX-License-Identifier: BSD-3-Clause
// What was displaced here (R15): looked at on the poller's thread, a page a turn.
#include "core/engine/log_impl.hpp"
#include "core/engine/poller.hpp"

namespace caisson::engine {

Code LogImpl::orphan_records(Orphans& out) {
  out = {};
  bool open = false;
  const bool ran = poller_.call([&](uint64_t) {
    if (closed_.load(std::memory_order_relaxed)) return;
    open = true;
    const replication::SalvageArea& aside = replica_->orphans();
    for (const auto& record : aside.records()) out.records.push_back(replication::describe(record));
    out.area_bytes = options_.salvage_bytes;
    out.room_bytes = aside.room_bytes();
    out.full = aside.full();
  });
  return ran && open ? Code::ok : Code::closed;
}

Code LogImpl::orphan_page(uint64_t record, const log::Cursor& from,
                          const replication::OrphanPageLimits& limits,
                          replication::OrphanPage& out) {
  Code code = Code::closed;
  const bool ran = poller_.call([&](uint64_t) {
    if (closed_.load(std::memory_order_relaxed)) return;
    const replication::SalvageRecord* const found = replica_->orphans().find(record);
    code = found == nullptr ? Code::not_found : Code::ok;
    if (found == nullptr) return;
    const bool begins = from == log::Cursor{};
    out = replication::read_orphans(*found, begins ? found->before() : from, limits, state_,
                                    state_.committed());
  });
  return ran ? code : Code::closed;
}

Code LogImpl::discard_orphans(uint64_t record) {
  Code code = Code::closed;
  const bool ran = poller_.call([&](uint64_t now_ns) {
    if (closed_.load(std::memory_order_relaxed)) return;
    code = replica_->discard_orphans(record);
    publish_now(now_ns);
  });
  return ran ? code : Code::closed;
}

Result<Orphans> LogImpl::orphans(OrphanPayloads payloads) {
  Orphans all;
  if (const Code code = orphan_records(all); code != Code::ok) {
    return fail(code, "log '" + name() + "' is closed");
  }
  replication::OrphanPageLimits limits;
  limits.payloads = payloads;
  for (OrphanRecord& record : all.records) {
    replication::OrphanPage page;
    while (!page.last) {
      const log::Cursor from = page.next;
      const Code code = orphan_page(record.id, from, limits, page);
      if (code == Code::not_found) {
        record.id = 0;
        break;
      }
      if (code != Code::ok) return fail(code, "log '" + name() + "' is closed");
      record.entries.insert(record.entries.end(), std::make_move_iterator(page.entries.begin()),
                            std::make_move_iterator(page.entries.end()));
      record.damaged |= page.damaged;
    }
  }
  // Somebody else let go of it meanwhile.
  std::erase_if(all.records, [](const OrphanRecord& record) { return record.id == 0; });
  return all;
}

}  // namespace caisson::engine
