// SPDX-License-Identifier: BSD-3-Clause
#include <sys/random.h>

#include <chrono>
#include <cstdio>
#include <ctime>

#include "core/engine/certs.hpp"
#include "tools/cluster.hpp"
#include "tools/command.hpp"
#include "tools/files.hpp"

namespace caisson::tools {

namespace {

namespace fs = std::filesystem;

struct MakeOptions {
  std::string authority;  // directory with authority.crt and authority.key
  std::string cluster;    // with --new-authority
  bool new_authority = false;
  unsigned node = 0;
  std::string client;
  std::string out;  // path without .crt and .key
  unsigned days = 365;
};

struct ShowOptions {
  std::string file;
};

engine::KeyPairFiles authority_files(const MakeOptions& options) {
  const fs::path directory(options.authority);
  return {directory / "authority.crt", directory / "authority.key"};
}

// The cluster that an authority's certificate names.
Result<engine::ClusterUuid> cluster_of(const fs::path& certificate) {
  const auto info = engine::inspect_certificate(certificate);
  if (!info) return tl::unexpected(info.error());
  constexpr std::string_view kScheme = "caisson://";
  for (const std::string& uri : info->uris) {
    if (!uri.starts_with(kScheme)) continue;
    return engine::parse_cluster_uuid(uri.substr(kScheme.size(), 32));
  }
  return fail(Code::invalid, "'" + certificate.string() + "' is no authority that caisson made");
}

Json files_object(const engine::KeyPairFiles& files) {
  return {{"certificate", files.certificate.string()}, {"key", files.key.string()}};
}

Exit done(const engine::KeyPairFiles& files, bool json, Json object) {
  if (json) {
    object.update(files_object(files));
    print_json(object);
  } else {
    std::printf("%s\n%s\n", files.certificate.c_str(), files.key.c_str());
  }
  return Exit::ok;
}

Exit make_new_authority(const MakeOptions& options, bool json) {
  const auto cluster = engine::parse_cluster_uuid(options.cluster);
  if (!cluster) return report(cluster.error(), json);
  if (const auto made = make_directories(options.authority); !made)
    return report(made.error(), json);
  const engine::KeyPairFiles files = authority_files(options);
  if (const auto made = engine::make_authority(*cluster, files); !made) {
    return report(made.error(), json);
  }
  return done(files, json, {{"ok", true}, {"cluster", engine::to_hex(*cluster)}});
}

Exit run_make(const MakeOptions& options, bool json) {
  if (options.new_authority) return make_new_authority(options, json);
  if ((options.node == 0) == options.client.empty()) {
    return report_usage("say for whom the certificate is: either --node N or --client NAME", json);
  }
  if (options.out.empty())
    return report_usage("--out is needed: a path without .crt and .key", json);
  const engine::KeyPairFiles authority = authority_files(options);
  const auto cluster = cluster_of(authority.certificate);
  if (!cluster) return report(cluster.error(), json);
  const engine::Identity identity =
      options.node != 0
          ? engine::Identity::of_node(*cluster, ReplicaId{static_cast<uint8_t>(options.node)})
          : engine::Identity::of_client(*cluster, options.client);
  engine::Validity validity;
  validity.ends_in = std::chrono::hours(24) * options.days;
  const engine::KeyPairFiles files{options.out + ".crt", options.out + ".key"};
  const auto issued = engine::issue_certificate(authority, identity, files, validity);
  if (!issued) return report(issued.error(), json);
  return done(files, json, {{"ok", true}, {"identity", engine::to_uri(identity)}});
}

std::string date(std::chrono::system_clock::time_point when) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(when);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

Exit run_show(const ShowOptions& options, bool json) {
  const auto info = engine::inspect_certificate(options.file);
  if (!info) return report(info.error(), json);
  const auto now = std::chrono::system_clock::now();
  const bool valid = now >= info->not_before && now < info->not_after;
  if (json) {
    print_json({{"ok", true},
                {"subject", info->subject},
                {"issuer", info->issuer},
                {"serial", info->serial},
                {"uris", info->uris},
                {"authority", info->authority},
                {"not_before", date(info->not_before)},
                {"not_after", date(info->not_after)},
                {"valid_now", valid}});
    return Exit::ok;
  }
  std::printf("subject     %s\nissuer      %s\nserial      %s\n", info->subject.c_str(),
              info->issuer.c_str(), info->serial.c_str());
  for (const std::string& uri : info->uris) std::printf("identity    %s\n", uri.c_str());
  std::printf("authority   %s\nvalid       %s to %s%s\n", info->authority ? "yes" : "no",
              date(info->not_before).c_str(), date(info->not_after).c_str(),
              valid ? "" : ", not now");
  return Exit::ok;
}

}  // namespace

void add_cert(Commands& commands) {
  CLI::App* group = commands.app.add_subcommand("cert", "certificates of nodes and clients");
  group->require_subcommand(1);
  auto make = std::make_shared<MakeOptions>();
  CLI::App* command = commands.add(
      *group, "make", "make an authority, or a certificate for a node or a client",
      "  caisson cert make --authority D --client alice --out alice\n"
      "  caisson cert make --authority ca --new-authority --cluster 4f1c…32 digits\n"
      "  caisson cert make --authority ca --node 2 --out node-2\n\n"
      "Files: authority.crt and authority.key in the --authority directory; OUT.crt and OUT.key.\n"
      "Nothing is ever overwritten. A cluster's directory is its authority's directory.\n",
      make, run_make);
  command->add_option("--authority", make->authority, "directory of the authority")->required();
  CLI::Option* fresh =
      command->add_flag("--new-authority", make->new_authority, "make the authority itself");
  command->add_option("--cluster", make->cluster, "32 hexadecimal digits")->needs(fresh);
  command->add_option("--node", make->node, "replica number")->check(CLI::Range(1, 63));
  command->add_option("--client", make->client, "name: 1 to 64 of A-Z a-z 0-9 - _ . @");
  command->add_option("--out", make->out, "path of the files, without .crt and .key");
  command->add_option("--days", make->days, "how long it is valid")
      ->check(CLI::Range(1, 36500))
      ->capture_default_str();

  auto show = std::make_shared<ShowOptions>();
  command = commands.add(*group, "show", "print what a certificate says",
                         "  caisson cert show D/client.crt\n", show, run_show);
  command->add_option("file", show->file, "PEM file")->required();
}

}  // namespace caisson::tools
