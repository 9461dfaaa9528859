// SPDX-License-Identifier: BSD-3-Clause
#include <string>

#include "core/engine/config.hpp"
#include "core/engine/greeting.hpp"
#include "tests/fuzz/own_post.hpp"
#include "tests/fuzz/seeds.hpp"

namespace caisson::fuzz {

void config_seeds(const AddSeed& add) {
  EngineOptions options;
  options.cluster.fill(0x5a);
  options.replica = ReplicaId{1};
  options.directory = "/var/lib/caisson/1";
  options.listen_port = 7001;
  options.persistence = PersistenceMode::emulated;
  for (uint8_t id = 1; id <= 3; ++id) {
    options.peers.push_back({ReplicaId{id}, "127.0.0.1", static_cast<uint16_t>(7000 + id),
                             "/var/lib/caisson/" + std::to_string(id)});
  }
  options.tls = {true, "/etc/caisson/ca.pem", "/etc/caisson/node.pem", "/etc/caisson/node.key"};
  options.logs.resize(2);
  options.logs[0].name = "main";
  options.logs[0].id = 1;
  options.logs[1].name = "other";
  options.logs[1].id = 2;
  options.logs[1].auto_apply = false;
  add(engine::to_toml(options));
  options.tls.enabled = false;
  options.poller_cores = {0, -1};
  options.log_file = "/var/log/caisson.log";
  add(engine::to_toml(options));
}

void hosts_seeds(const AddSeed& add) {
  const std::string hosts =
      "[[host]]\nname = \"a\"\naddress = \"10.0.0.1\"\ndevice = \"/dev/dax0.0\"\n"
      "scratch_device = \"/dev/dax1.0\"\n[[host]]\nname = \"b\"\n";
  add(hosts);
  add("launcher = [\"srun\", \"-w\", \"{host}\", \"sh\", \"-c\", \"{command}\"]\nprogram = "
      "\"./caisson\"\n"
      "directory = \"/dev/shm\"\nport = 9000\nfabric = \"shm\"\npersistence = \"real\"\n"
      "persists_by = \"flush\"\npast_caches = true\ntraffic_class = 106\nround_trip_us = 500\n"
      "ib_write_bw = [\"-n\", \"512\"]\n" +
      hosts);
}

void express_seeds(const AddSeed& add) {
  OwnPost post;
  if (post.send_genuine()) {
    add(std::string(reinterpret_cast<const char*>(post.slot.data()), post.slot.size()));
  }
}

void greeting_seeds(const AddSeed& add) {
  engine::ClusterUuid cluster;
  cluster.fill(0x5a);
  engine::Greeting greeting;
  greeting.self = engine::Identity::of_node(cluster, ReplicaId{2});
  greeting.expected_node = ReplicaId{1};
  add(engine::encode(greeting));
  greeting.self = engine::Identity::of_client(cluster, "cli");
  add(engine::encode(greeting));
  engine::Welcome welcome;
  welcome.self = engine::Identity::of_node(cluster, ReplicaId{1});
  add(engine::encode(welcome));
  welcome.code = Code::denied;
  welcome.message = "not of this cluster";
  add(engine::encode(welcome));
}

}  // namespace caisson::fuzz
