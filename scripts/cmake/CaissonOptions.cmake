# SPDX-License-Identifier: BSD-3-Clause
# Language, options and compiler flags of the whole tree.

option(CAISSON_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(CAISSON_BUILD_BENCH "Build the Google Benchmark programs" ${PROJECT_IS_TOP_LEVEL})
option(CAISSON_FUZZ "Build the fuzzers on libFuzzer (clang only)" OFF)
set(CAISSON_SANITIZE "" CACHE STRING "Sanitizers: address,undefined or thread")
set(CAISSON_TEST_TIMEOUT_S 300 CACHE STRING "How long one test may take, in seconds")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
# No -DNDEBUG anywhere: assertions that cost O(1) stay on.
# -g1: enough for a backtrace with lines, at half the cost of -g.
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -g1")
set(CMAKE_CXX_FLAGS_MINSIZEREL "-Os")
if(CMAKE_CXX_FLAGS_RELWITHDEBINFO MATCHES NDEBUG)
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g")
endif()
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g")

find_program(CAISSON_CCACHE ccache)
if(CAISSON_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CAISSON_CCACHE})
endif()

# Everything that is compiled from this tree uses this target; nothing that is installed does.
add_library(caisson_flags INTERFACE)
target_compile_options(caisson_flags INTERFACE -Wall -Wextra -Wconversion -Wshadow -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False reports inside std::string (GCC bug 105651) and std::variant; clang looks at the same code.
  target_compile_options(caisson_flags INTERFACE -Wno-restrict -Wno-maybe-uninitialized)
endif()
target_include_directories(caisson_flags INTERFACE
  ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)

# The checksum needs SSE4.2; whatever needs more asks the processor and carries a target attribute.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(caisson_flags INTERFACE -msse4.2)
else()
  message(FATAL_ERROR "caisson builds for x86-64 only; this is ${CMAKE_SYSTEM_PROCESSOR}")
endif()

if(CAISSON_SANITIZE)
  add_compile_options(-fsanitize=${CAISSON_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${CAISSON_SANITIZE})
  if(CAISSON_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-tsan)  # it does not follow standalone fences; tests/shm does
  endif()
endif()

if(CAISSON_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "CAISSON_FUZZ needs clang: configure with --preset fuzz")
  endif()
  # Coverage in every object, the fuzzer's main() only in the fuzzers.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
