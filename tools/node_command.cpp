// SPDX-License-Identifier: BSD-3-Clause
// `caisson node`: one replica, in the foreground, until SIGTERM or SIGINT.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>

#include "caisson/caisson.hpp"
#include "core/engine/config.hpp"
#include "core/engine/links.hpp"
#include "core/engine/node_server.hpp"
#include "tools/command.hpp"
#include "tools/process.hpp"

namespace caisson::tools {

namespace {

struct NodeOptions {
  std::string configuration;
  bool create = false;
  bool join = false;
  bool with_parent = false;
};

// Held back before the engine starts its threads, so that only this thread ever takes them.
sigset_t hold_back_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

void say_ready(const EngineOptions& options, bool json) {
  Json logs = Json::array();
  std::string names;
  for (const LogOptions& log : options.logs) {
    logs.push_back(log.name);
    names += (names.empty() ? "" : ", ") + log.name;
  }
  const std::string address = options.listen_host + ":" + std::to_string(options.listen_port);
  if (json) {
    print_json({{"ready", true},
                {"replica", options.replica.value},
                {"pid", getpid()},
                {"address", address},
                {"fabric", engine::name(options.fabric)},
                {"persistence", engine::name(options.persistence)},
                {"logs", logs}});
    return;
  }
  std::printf("replica %u ready on %s (process %d): fabric %s, persistence %s, logs %s\n",
              unsigned{options.replica.value}, address.c_str(), getpid(),
              std::string(engine::name(options.fabric)).c_str(),
              std::string(engine::name(options.persistence)).c_str(), names.c_str());
  std::fflush(stdout);
}

Exit run_node(const NodeOptions& options, bool json) {
  const sigset_t signals = hold_back_signals();
  const auto engine_options = engine::load_config(options.configuration);
  if (!engine_options) return report(engine_options.error(), json);
  if (options.create) {
    // Before anything is made: afterwards a creation cannot be repeated.
    if (const auto sound = engine::check_certificates(*engine_options); !sound) {
      return report(sound.error(), json);
    }
    const auto creation = options.join ? Engine::Creation::joining : Engine::Creation::founding;
    if (const auto created = Engine::create(*engine_options, creation); !created) {
      return report(created.error(), json);
    }
  }
  auto engine = Engine::open(*engine_options);
  if (!engine) return report(engine.error(), json);
  auto server = engine::NodeServer::start(**engine);
  if (!server) return report(server.error(), json);
  say_ready(*engine_options, json);
  await_end(signals, options.with_parent);
  server->reset();
  (*engine)->close();
  return Exit::ok;
}

}  // namespace

void add_node(Commands& commands) {
  auto options = std::make_shared<NodeOptions>();
  CLI::App* command = commands.add(commands.app, "node", "run one replica in the foreground",
                                   "  caisson node --config D/replica-1/node.toml\n"
                                   "  caisson node --config node.toml --create      make its "
                                   "regions first, once, with its cluster\n"
                                   "  caisson node --config node.toml --create --join      its "
                                   "memory was lost: make empty ones, to be admitted anew with "
                                   "caisson member replace\n\n"
                                   "Prints one line once it takes part (with --json an object). "
                                   "SIGTERM or SIGINT closes it cleanly.\n",
                                   options, run_node);
  command->add_option("--config", options->configuration, "TOML file, see docs/configuration.md")
      ->required();
  command->add_flag("--create", options->create,
                    "create the replica's regions; refused if they are there already");
  command->add_flag("--join", options->join, "with --create: as one that is admitted later")
      ->needs("--create");
  command->add_flag("--with-parent", options->with_parent,
                    "close, too, when the process that started this one has ended");
}

}  // namespace caisson::tools
