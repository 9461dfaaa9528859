// SPDX-License-Identifier: BSD-3-Clause
// Runs a fuzzer without libFuzzer, so that any compiler can replay its inputs:
//   NAME [--mutants N] FILE-OR-DIRECTORY…
// Every input is run as it is, then N times damaged, always in the same way.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string_view>
#include <vector>

#include "tests/fuzz/fuzz.hpp"

namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

size_t pick(std::mt19937_64& random, size_t limit) { return static_cast<size_t>(random() % limit); }

void damage(Bytes& bytes, std::mt19937_64& random) {
  if (bytes.empty()) {
    bytes.push_back(static_cast<uint8_t>(random()));
    return;
  }
  const size_t at = pick(random, bytes.size());
  switch (random() % 6) {
    case 0: bytes[at] ^= static_cast<uint8_t>(1u << (random() % 8)); break;
    case 1: bytes[at] = static_cast<uint8_t>(random()); break;
    case 2: bytes.resize(at); break;
    case 3: bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes[at]); break;
    case 4: bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at)); break;
    default: {  // an extreme value in place of some field
      const uint64_t extreme = random() % 2 == 0 ? ~uint64_t{0} : uint64_t{1} << (random() % 64);
      const size_t n = std::min<size_t>(bytes.size() - at, sizeof extreme);
      std::memcpy(bytes.data() + at, &extreme, n);
    }
  }
}

Bytes load(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

}  // namespace

int main(int argc, char** argv) {
  size_t mutants = 0;
  std::vector<fs::path> inputs;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--mutants" && i + 1 < argc) {
      mutants = std::strtoul(argv[++i], nullptr, 10);
    } else if (fs::is_directory(argv[i])) {
      for (const auto& entry : fs::directory_iterator(argv[i])) inputs.push_back(entry.path());
    } else if (fs::exists(argv[i])) {
      inputs.emplace_back(argv[i]);
    } else {
      std::fprintf(stderr, "%s: no such file\n", argv[i]);
      return 2;
    }
  }
  std::sort(inputs.begin(), inputs.end());
  if (inputs.empty()) {
    std::fprintf(stderr, "usage: %s [--mutants N] FILE-OR-DIRECTORY…\n", argv[0]);
    return 2;
  }

  size_t runs = 0;
  std::mt19937_64 random(1);  // NOLINT(cert-msc51-cpp): the same damage every time
  for (const fs::path& input : inputs) {
    const Bytes original = load(input);
    LLVMFuzzerTestOneInput(original.data(), original.size());
    ++runs;
    for (size_t i = 0; i < mutants; ++i, ++runs) {
      Bytes bytes = original;
      for (uint64_t hits = 1 + random() % 4; hits > 0; --hits) damage(bytes, random);
      LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
  }
  std::printf("%zu inputs, %zu runs, nothing found\n", inputs.size(), runs);
  return 0;
}
