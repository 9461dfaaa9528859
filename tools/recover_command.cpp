// SPDX-License-Identifier: BSD-3-Clause
// `member recover`: a quorum is lost for good, and one survivor goes on alone.
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

Exit run_recover(const RecoverOptions& options, bool json) {
  if (!options.accept_loss) {
    return report_usage(
        "member recover gives up what only the lost replicas held, for good. If no quorum will "
        "ever come back, say so with --i-accept-loss; else start the others",
        json);
  }
  const auto engine_options = options_of(options);
  if (!engine_options) return report(engine_options.error(), json);
  Json logs = Json::array();
  bool known = false;
  for (const LogOptions& log : engine_options->logs) {
    if (!options.choice.log.empty() && log.name != options.choice.log) continue;
    known = true;
    const auto recovered = engine::recover_log(*engine_options, log);
    if (!recovered) return report(recovered.error(), json);
    if (!json) print_recovered(log.name, engine_options->replica.value, *recovered);
    logs.push_back({{"log", log.name},
                    {"view", recovered->view.value},
                    {"loss_from", recovered->loss_from.value},
                    {"adopted_through", recovered->position.value - 1}});
  }
  if (!known) {
    return report({Code::not_found, "there is no log '" + options.choice.log + "'"}, json);
  }
  if (json) {
    print_json({{"ok", true}, {"replica", engine_options->replica.value}, {"logs", logs}});
  }
  return Exit::ok;
}

}  // namespace

void add_recover(Commands& commands) {
  auto options = std::make_shared<RecoverOptions>();
  CLI::App* command = commands.add(
      *commands.app.get_subcommand("member"), "recover",
      "a quorum is lost for good: have one stopped survivor go on alone",
      "  caisson member recover --dir D --replica 3 --i-accept-loss\n"
      "  caisson member recover --config node.toml --log main --i-accept-loss\n\n"
      "Choose the survivor whose log reaches farthest (caisson log verify). What only the lost "
      "ones held is\n"
      "gone; the others, should they come back, are refused, and admitted as new ones only.\n",
      options, run_recover);
  add_directory(command, options->choice.directory)->required(false);
  command->add_option("--log", options->choice.log, "only this one; else every log");
  auto* replica =
      command->add_option("--replica", options->replica, "the survivor")->check(CLI::Range(1, 63));
  command->add_option("--config", options->configuration, "the survivor's own file, without --dir")
      ->excludes(replica);
  command->add_flag("--i-accept-loss", options->accept_loss,
                    "say that no quorum will ever come back");
}

}  // namespace caisson::tools
