// SPDX-License-Identifier: BSD-3-Clause
#include "tools/options.hpp"

#include <charconv>

namespace caisson::tools {

CLI::Option* add_directory(CLI::App* command, std::string& directory,
                           const std::string& description) {
  const auto named = [](const std::string& text) {
    return std::string(text.empty() ? "the name is empty: name a directory" : "");
  };
  return command->add_option("--dir", directory, description)
      ->required()
      ->check(CLI::Validator(named, "", ""));
}

CLI::Option* add_position(CLI::App* command, const std::string& name, uint64_t& position,
                          const std::string& description) {
  const auto positive = [](const std::string& text) {
    uint64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    const bool good = error == std::errc() && stop == end && number != 0;
    return good ? std::string() : "'" + text + "' is no position: use a whole number from 1";
  };
  return command->add_option(name, position, description)
      ->check(CLI::Validator(positive, "", ""))
      ->type_name("POSITION");
}

void add_log_choice(CLI::App* command, LogChoice& choice) {
  add_directory(command, choice.directory);
  command->add_option("--log", choice.log, "name; the cluster's first log if not given");
}

void add_framing(CLI::App* command, Framing& framing) {
  command
      ->add_option_function<std::string>(
          "--frame",
          [&framing](const std::string& text) {
            framing = text == "length32" ? Framing::length32 : Framing::lines;
          },
          "lines: one entry a line; length32: four bytes of length, little endian, then the "
          "payload")
      ->check(CLI::IsMember({"lines", "length32"}))
      ->default_str("lines");
}

void add_history(CLI::App* command, std::string& file) {
  command
      ->add_option("--history", file,
                   "add every operation to this file, as JSON lines for a checker")
      ->type_name("FILE");
}

CLI::Option* add_timeout(CLI::App* command, double& seconds, const std::string& description) {
  const auto in_range = [](const std::string& text) {
    double number = -1;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    const bool good = error == std::errc() && stop == end && number >= 0 && number <= 1e6;
    return good ? std::string() : "'" + text + "' is no time: use 0 to 1000000 seconds";
  };
  return command->add_option("--timeout", seconds, description)
      ->check(CLI::Validator(in_range, "", ""))
      ->type_name("SECONDS")
      ->capture_default_str();
}

Result<Durability> parse_durability(std::string_view text) {
  for (const Durability level : {Durability::volatile_, Durability::local, Durability::replicated,
                                 Durability::persisted, Durability::all}) {
    if (text == name(level)) return level;
  }
  return fail(Code::invalid, "'" + std::string(text) +
                                 "' is no durability: use volatile, local, replicated, persisted "
                                 "or all");
}

uint64_t stream_id(std::string_view text) {
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc() && stop == end && number != 0) return number;
  // FNV-1a, 64 bit: fixed for ever, so that a name always means the same stream.
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash == 0 ? 1 : hash;
}

}  // namespace caisson::tools
