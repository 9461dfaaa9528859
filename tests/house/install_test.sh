#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# An installed caisson serves a program outside of the tree, through CMake and through pkg-config.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$CAISSON_BUILD_DIR" --prefix "$work/prefix" >"$work/install.log"

# The consumer links objects that may carry a sanitizer: it is built with the same compiler and flags.
cache() { sed -n "s/^$1:[A-Z]*=//p" "$CAISSON_BUILD_DIR/CMakeCache.txt"; }
compiler=$(cache CMAKE_CXX_COMPILER)
flags=$(cache CAISSON_SANITIZE)
flags=${flags:+-fsanitize=$flags}

for file in $(cd "$work/prefix/include" && find . -name '*.hpp'); do
  cmp "$work/prefix/include/$file" "$CAISSON_SOURCE_DIR/include/$file"
done
if [[ -n $(find "$work/prefix/include" -name '*.hpp' -not -path '*/caisson/*') ]]; then
  echo "headers outside of include/caisson are installed" >&2
  exit 1
fi

# It must say what it appended, in order.
run_consumer() {
  local said
  mkdir "$work/data"
  said=$("$work/$1" "$work/data" $((20000 + RANDOM % 10000)) | cut -d ' ' -f 2 | tr '\n' ' ')
  rm -r "$work/data"
  if [[ $said != 'one two three ' ]]; then
    echo "$1 said: $said" >&2
    exit 1
  fi
}

echo "== CMake package"
cp -r "$CAISSON_SOURCE_DIR/examples/consumer" "$work/by-cmake"
cmake -G Ninja -S "$work/by-cmake" -B "$work/by-cmake/build" -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_CXX_FLAGS="$flags" >"$work/configure.log"
cmake --build "$work/by-cmake/build"
run_consumer by-cmake/build/consumer

echo "== pkg-config"
cp -r "$CAISSON_SOURCE_DIR/examples/consumer" "$work/by-pkg-config"
pc=$(find "$work/prefix" -name caisson.pc)
make -C "$work/by-pkg-config" CXX="$compiler" CXXFLAGS="$flags" PKG_CONFIG_PATH="$(dirname "$pc")"
run_consumer by-pkg-config/consumer

"$work/prefix/bin/caisson" version
