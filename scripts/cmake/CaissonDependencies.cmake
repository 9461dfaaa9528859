# SPDX-License-Identifier: BSD-3-Clause
# What caisson is built on. scripts/setup installs all of it on Debian 12.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(Protobuf REQUIRED)
find_package(spdlog REQUIRED)
find_package(tl-expected REQUIRED)
pkg_check_modules(libpmem REQUIRED IMPORTED_TARGET libpmem)
pkg_check_modules(libpmem2 REQUIRED IMPORTED_TARGET libpmem2)
pkg_check_modules(libisal REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(hwloc REQUIRED IMPORTED_TARGET hwloc)

# Header-only, used inside the tree, never seen by a user of the installed library.
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_path(CAISSON_ASIO_INCLUDE_DIR asio.hpp REQUIRED)
find_path(CAISSON_TOML_INCLUDE_DIR toml++/toml.h REQUIRED)
add_library(caisson_asio INTERFACE)
target_compile_definitions(caisson_asio INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED)
target_include_directories(caisson_asio SYSTEM INTERFACE ${CAISSON_ASIO_INCLUDE_DIR})
