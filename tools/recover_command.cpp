// SPDX-License-Identifier: BSD-3-Clause
// What is done to stopped replicas, in files: `member recover`, when a quorum is lost for good,
// `standby promote`, when a whole primary is, and `member readmit`, for those that come back.
#include <cinttypes>
#include <cstdio>

#include "core/engine/config.hpp"
#include "core/engine/engine_recovery.hpp"
#include "tools/cluster.hpp"
#include "tools/command.hpp"
#include "tools/options.hpp"

namespace caisson::tools {

namespace {

struct RecoverOptions {
  std::string configuration;
  LogChoice choice;
  unsigned replica = 0;
  bool accept_loss = false;
};

Result<EngineOptions> options_of(const RecoverOptions& options) {
  if (!options.configuration.empty()) return engine::load_config(options.configuration);
  if (options.choice.directory.empty() || options.replica == 0) {
    return fail(Code::invalid, "name the survivor: --dir and --replica, or --config");
  }
  const auto cluster = load_cluster(options.choice.directory);
  if (!cluster) return tl::unexpected(cluster.error());
  const auto replica = cluster->replica(ReplicaId{static_cast<uint8_t>(options.replica)});
  if (!replica) return tl::unexpected(replica.error());
  return engine::load_config(cluster->configuration((*replica)->id));
}

void print_recovered(const std::string& log, unsigned replica, const log::Recovered& recovered) {
  std::printf("log %s: replica %u goes on alone, in view %" PRIu64 "\n", log.c_str(), replica,
              recovered.view.value);
  std::printf("  kept        every entry through position %" PRIu64 "\n",
              recovered.position.value - 1);
  std::printf("  lost        what was acknowledged at position %" PRIu64
              " or later, unless it is among those kept\n",
              recovered.loss_from.value);
  std::printf(
      "  now         start it, and admit the others as new ones: caisson cluster start "
      "--join, caisson member add\n");
}

// Of each log chosen: one(options, log) returns what there is to say, or an error that ends it.
template <class One>
Exit over_files(const RecoverOptions& options, bool json, One&& one) {
  const auto engine_options = options_of(options);
  if (!engine_options) return report(engine_options.error(), json);
  Json logs = Json::array();
  for (const LogOptions& log : engine_options->logs) {
    if (!options.choice.log.empty() && log.name != options.choice.log) continue;
    Result<Json> said = one(*engine_options, log);
    if (!said) return report(said.error(), json);
    (*said)["log"] = log.name;
    logs.push_back(std::move(*said));
  }
  if (logs.empty()) {
    return report({Code::not_found, "there is no log '" + options.choice.log + "'"}, json);
  }
  if (json) {
    print_json({{"ok", true}, {"replica", engine_options->replica.value}, {"logs", logs}});
  }
  return Exit::ok;
}

Exit run_recover(const RecoverOptions& options, bool json) {
  if (!options.accept_loss) {
    return report_usage(
        "member recover gives up what only the lost replicas held, for good. If no quorum will "
        "ever come back, say so with --i-accept-loss; else start the others",
        json);
  }
  return over_files(options, json,
                    [&](const EngineOptions& engine, const LogOptions& log) -> Result<Json> {
                      const auto recovered = engine::recover_log(engine, log);
                      if (!recovered) return tl::unexpected(recovered.error());
                      if (!json) print_recovered(log.name, engine.replica.value, *recovered);
                      return Json{{"view", recovered->view.value},
                                  {"loss_from", recovered->loss_from.value},
                                  {"adopted_through", recovered->position.value - 1}};
                    });
}

// ---- A standby takes over ----------------------------------------------------------------------

Json unless_0(uint64_t bound) { return bound == 0 ? Json(nullptr) : Json(bound); }

void print_takeover(const std::string& log, unsigned replica,
                    const replication::Takeover& takeover) {
  const uint64_t first = takeover.last.position.value + 1;
  const uint64_t most = replication::entries_at_most(takeover.bounds);
  std::printf("log %s: standby %u takes over, in view %" PRIu64 "\n", log.c_str(), replica,
              takeover.recovered.view.value);
  std::printf("  kept        every entry through position %" PRIu64 ", of term %" PRIu64 "\n",
              takeover.last.position.value, takeover.last.term.value);
  std::printf("  lost        at most what was appended at positions %" PRIu64 " to %" PRIu64
              ": %" PRIu64 " entries, %s",
              first, first + most - 1, most, engine::bytes_text(takeover.bounds.bytes).c_str());
  if (takeover.bounds.ms != 0) std::printf(", within %" PRIu64 " ms", takeover.bounds.ms);
  std::printf("\n");
  if (takeover.beyond > takeover.last.position) {
    std::printf("  for sure    the primary had committed through position %" PRIu64 "\n",
                takeover.beyond.value);
  }
  std::printf(
      "  now         start it. The old primary's replicas are refused as they are: caisson member "
      "readmit,\n"
      "              caisson cluster start, caisson member add; then caisson salvage list\n");
}

Json takeover_object(const replication::Takeover& takeover) {
  const uint64_t last = takeover.last.position.value;
  const uint64_t most = replication::entries_at_most(takeover.bounds);
  const bool beyond = takeover.beyond > takeover.last.position;
  return {{"view", takeover.recovered.view.value},
          {"last", {{"position", last}, {"term", takeover.last.term.value}}},
          {"loss",
           {{"from", last + 1},
            {"through", last + most},
            {"entries", most},
            {"bytes", takeover.bounds.bytes},
            {"ms", unless_0(takeover.bounds.ms)},
            {"committed_through", beyond ? Json(takeover.beyond.value) : Json(nullptr)}}}};
}

Exit run_promote(const RecoverOptions& options, bool json) {
  if (!options.accept_loss) {
    return report_usage(
        "standby promote gives up what the primary had and the standby lacks. If the primary will "
        "not come back, say so with --i-accept-loss; while it runs, change over without loss: "
        "caisson member add, caisson leader transfer",
        json);
  }
  return over_files(options, json,
                    [&](const EngineOptions& engine, const LogOptions& log) -> Result<Json> {
                      const auto takeover = engine::promote_log(engine, log);
                      if (!takeover) return tl::unexpected(takeover.error());
                      if (!json) print_takeover(log.name, engine.replica.value, *takeover);
                      return takeover_object(*takeover);
                    });
}

// ---- One that was given up comes back ----------------------------------------------------------

Exit run_readmit(const RecoverOptions& options, bool json) {
  return over_files(
      options, json, [&](const EngineOptions& engine, const LogOptions& log) -> Result<Json> {
        const auto agreed = engine::readmit_log(engine, log);
        if (!agreed) return tl::unexpected(agreed.error());
        if (!json) {
          std::printf("log %s: replica %u agrees through position %" PRIu64
                      "; what it holds behind waits in its salvage area\n"
                      "  now         caisson cluster start, caisson member add, caisson salvage "
                      "list\n",
                      log.name.c_str(), unsigned{engine.replica.value}, agreed->value);
        }
        return Json{{"agrees_through", agreed->value}};
      });
}

CLI::App* add_offline(CLI::App* command, RecoverOptions& options, const char* who) {
  add_directory(command, options.choice.directory)->required(false);
  command->add_option("--log", options.choice.log, "only this one; else every log");
  auto* replica = command->add_option("--replica", options.replica, who)->check(CLI::Range(1, 63));
  command->add_option("--config", options.configuration, "its own file, without --dir")
      ->excludes(replica);
  return command;
}

}  // namespace

void add_recover(Commands& commands) {
  CLI::App& member = *commands.app.get_subcommand("member");
  auto options = std::make_shared<RecoverOptions>();
  CLI::App* command = commands.add(
      member, "recover", "a quorum is lost for good: have one stopped survivor go on alone",
      "  caisson member recover --dir D --replica 3 --i-accept-loss\n"
      "  caisson member recover --config node.toml --log main --i-accept-loss\n\n"
      "Choose the survivor whose log reaches farthest (caisson log verify). What only the lost "
      "ones held is\n"
      "gone; the others, should they come back, are refused until they are readmitted.\n",
      options, run_recover);
  add_offline(command, *options, "the survivor")
      ->add_flag("--i-accept-loss", options->accept_loss, "say that no quorum will ever come back");

  auto back = std::make_shared<RecoverOptions>();
  command = commands.add(
      member, "readmit",
      "a stopped replica that was given up comes back: what only it holds goes aside",
      "  caisson member readmit --dir D --replica 1\n"
      "  caisson member readmit --config node.toml\n\n"
      "Afterwards it holds what the others hold, has no vote, and may be started and added like a "
      "new one.\n"
      "What the log went on without is listed by caisson salvage. Run twice, it changes nothing "
      "more.\n",
      back, run_readmit);
  add_offline(command, *back, "who comes back");

  CLI::App* group = commands.app.add_subcommand("standby", "an asynchronous standby");
  group->require_subcommand(1);
  auto promote = std::make_shared<RecoverOptions>();
  command = commands.add(
      *group, "promote", "the primary is lost: have its stopped standby take over",
      "  caisson standby promote --dir D --replica 4 --i-accept-loss\n"
      "  caisson standby promote --config node.toml --log main --i-accept-loss --json\n\n"
      "Prints what the standby has, and the window in which everything lies that may be lost. "
      "Run twice, it\n"
      "says the same again. How far each standby is behind: caisson member list.\n",
      promote, run_promote);
  add_offline(command, *promote, "the standby")
      ->add_flag("--i-accept-loss", promote->accept_loss, "say that the primary is gone");
}

}  // namespace caisson::tools
