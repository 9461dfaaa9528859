// SPDX-License-Identifier: BSD-3-Clause
// Certificates: identity inside, keys private, nothing overwritten.
#include "core/engine/certs.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/links/cluster_fixture.hpp"

namespace caisson::tests {
namespace {

using engine::Identity;
using engine::KeyPairFiles;

class CertsTest : public LinksTest {
 protected:
  KeyPairFiles files(const std::string& name) {
    return {directory_ / (name + ".pem"), directory_ / (name + ".key")};
  }
  static unsigned mode(const std::filesystem::path& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return status.st_mode & 0777u;
  }
  static std::string text(const std::filesystem::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

TEST_F(CertsTest, AnAuthorityAndWhatItIssuesSayWhoTheyAre) {
  const KeyPairFiles ca = authority(cluster_);
  const auto authority_info = engine::inspect_certificate(ca.certificate);
  ASSERT_TRUE(authority_info.has_value()) << authority_info.error().message;
  EXPECT_TRUE(authority_info->authority);
  EXPECT_EQ(authority_info->subject, authority_info->issuer);
  ASSERT_TRUE(engine::issue_certificate(ca, Identity::of_node(cluster_, two_), files("node"),
                                        {std::chrono::hours(-1), std::chrono::hours(24 * 30)}));
  const auto node = engine::inspect_certificate(files("node").certificate);
  ASSERT_TRUE(node.has_value()) << node.error().message;
  EXPECT_FALSE(node->authority);
  EXPECT_EQ(node->issuer, authority_info->subject);
  EXPECT_EQ(node->uris, std::vector<std::string>{to_uri(Identity::of_node(cluster_, two_))});
  EXPECT_EQ(node->not_after - node->not_before, std::chrono::hours(24 * 30 + 1));
  ASSERT_TRUE(engine::issue_certificate(ca, Identity::of_client(cluster_, "ops"), files("client")));
  const auto client = engine::inspect_certificate(files("client").certificate);
  ASSERT_TRUE(client.has_value());
  EXPECT_EQ(client->uris, std::vector<std::string>{to_uri(Identity::of_client(cluster_, "ops"))});
  EXPECT_NE(client->serial, node->serial);
}

TEST_F(CertsTest, KeysArePrivateWhateverTheUmask) {
  const mode_t before = ::umask(0);
  const KeyPairFiles ca = authority(cluster_);
  ::umask(0777);
  ASSERT_TRUE(engine::issue_certificate(ca, Identity::of_node(cluster_, two_), files("node")));
  ::umask(before);
  EXPECT_EQ(mode(ca.key), 0600u);
  EXPECT_EQ(mode(ca.certificate), 0644u);
  EXPECT_EQ(mode(files("node").key), 0600u);
  EXPECT_EQ(mode(files("node").certificate), 0644u);
}

TEST_F(CertsTest, NothingIsEverOverwritten) {
  const KeyPairFiles ca = authority(cluster_);
  const std::string certificate = text(ca.certificate);
  const std::string key = text(ca.key);
  const auto again = engine::make_authority(cluster_, ca);
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code, Code::exists);
  EXPECT_NE(again.error().message.find(ca.certificate.string()), std::string::npos);
  EXPECT_EQ(text(ca.certificate), certificate);
  EXPECT_EQ(text(ca.key), key);
  // One of the two is enough, and the other one is not made.
  std::ofstream(files("node").key) << "precious";
  const auto issued =
      engine::issue_certificate(ca, Identity::of_node(cluster_, two_), files("node"));
  ASSERT_FALSE(issued.has_value());
  EXPECT_EQ(issued.error().code, Code::exists);
  EXPECT_EQ(text(files("node").key), "precious");
  EXPECT_FALSE(std::filesystem::exists(files("node").certificate));
}

TEST_F(CertsTest, AnAuthorityIssuesForItsOwnClusterOnly) {
  const auto issued = engine::issue_certificate(
      authority(cluster_), Identity::of_node(other_cluster_, two_), files("node"));
  ASSERT_FALSE(issued.has_value());
  EXPECT_EQ(issued.error().code, Code::wrong_cluster) << issued.error().message;
  EXPECT_FALSE(std::filesystem::exists(files("node").key));
}

TEST_F(CertsTest, ANodesCertificateIssuesNothing) {
  ASSERT_TRUE(engine::issue_certificate(authority(cluster_), Identity::of_node(cluster_, two_),
                                        files("node")));
  const auto issued = engine::issue_certificate(files("node"), Identity::of_node(cluster_, three_),
                                                files("forged"));
  ASSERT_FALSE(issued.has_value());
  EXPECT_EQ(issued.error().code, Code::invalid) << issued.error().message;
}

TEST_F(CertsTest, BadIdentitiesAndValiditiesAreInvalid) {
  const KeyPairFiles ca = authority(cluster_);
  for (const Identity& identity :
       {Identity::of_node(cluster_, ReplicaId{0}), Identity::of_node(cluster_, ReplicaId{64}),
        Identity::of_client(cluster_, ""), Identity::of_client(cluster_, "a/b"),
        Identity::of_client(cluster_, "x,URI:caisson://y")}) {
    const auto issued = engine::issue_certificate(ca, identity, files("bad"));
    ASSERT_FALSE(issued.has_value()) << to_uri(identity);
    EXPECT_EQ(issued.error().code, Code::invalid);
  }
  const auto backwards =
      engine::issue_certificate(ca, Identity::of_node(cluster_, two_), files("bad"),
                                {std::chrono::hours(2), std::chrono::hours(1)});
  ASSERT_FALSE(backwards.has_value());
  EXPECT_EQ(backwards.error().code, Code::invalid);
}

TEST_F(CertsTest, MissingAndBrokenFilesAreNamed) {
  const auto missing = engine::inspect_certificate(directory_ / "none.pem");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, Code::not_found) << missing.error().message;
  std::ofstream(directory_ / "broken.pem") << "-----BEGIN CERTIFICATE-----\nAAAA\n";
  const auto broken = engine::inspect_certificate(directory_ / "broken.pem");
  ASSERT_FALSE(broken.has_value());
  EXPECT_EQ(broken.error().code, Code::invalid) << broken.error().message;
  const auto nowhere = engine::make_authority(
      cluster_, {directory_ / "no" / "ca.pem", directory_ / "no" / "ca.key"});
  ASSERT_FALSE(nowhere.has_value());
  EXPECT_EQ(nowhere.error().code, Code::not_found) << nowhere.error().message;
  EXPECT_FALSE(engine::inspect_certificate(directory_ / ".").has_value());
}

}  // namespace
}  // namespace caisson::tests
