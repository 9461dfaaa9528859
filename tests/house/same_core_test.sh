#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# One code, both worlds: the node and the simulator link the same archive of the same objects; and the
# checker links none of them.
source "$(dirname "$0")/lint.bash"

# check reads build.ninja and compile_commands.json.
check() {
  local program line source count
  for program in "${programs[@]}"; do
    line=$(grep -E "^build $program([ |][^:]*)?: " build.ninja || true)
    if [[ -z $line ]]; then
      echo "$program: is not built"
    elif ! grep -qE '[ |]core/libcaisson_core\.a( |$)' <<<"$line"; then
      echo "$program: does not link core/libcaisson_core.a"
    elif grep -qE 'CMakeFiles/[^ ]*/core/(log|replication|control)/' <<<"$line"; then
      echo "$program: links objects of the core outside of the archive"
    fi
  done
  line=$(grep -E "^build bin/caisson-check: " build.ninja || true)
  if [[ -z $line ]]; then
    echo "bin/caisson-check: is not built"
  elif grep -oE 'libcaisson_[a-z_]+\.a' <<<"$line" | grep -qvx 'libcaisson_checker\.a'; then
    echo "bin/caisson-check: links what it judges"
  fi
  # Each source of the core is compiled exactly once.
  grep -oE '"file": "[^"]*/core/(log|replication|control)/[^"]*\.cpp"' compile_commands.json |
    sort | uniq -c | while read -r count _ source; do
    if [[ $count -ne 1 ]]; then echo "$source: is compiled $count times"; fi
  done
}

programs=(bin/caisson tests/test_sim)
cp "$CAISSON_BUILD_DIR/build.ninja" "$CAISSON_BUILD_DIR/compile_commands.json" "$lint_samples/"
if ! grep -qE '/core/log/[^"]*\.cpp"' "$lint_samples/compile_commands.json"; then
  echo "compile_commands.json names no source of the core"
  exit 1
fi
passed

good_ninja='build bin/caisson: CXX_EXECUTABLE_LINKER main.o | core/libcaisson_core.a || x
build tests/test_sim tests/sim.cmake | x.cmake: CXX_EXECUTABLE_LINKER a.o | core/libcaisson_core.a
build bin/caisson-check: CXX_EXECUTABLE_LINKER main.o | tests/checker/libcaisson_checker.a'
good_commands='{"file": "/src/core/log/ring.cpp"}'
sample build.ninja <<<"$good_ninja"
sample compile_commands.json <<<"$good_commands"
passed
sample build.ninja <<<"${good_ninja/libcaisson_core.a |/libcaisson_core2.a |}"
sample compile_commands.json <<<"$good_commands"
caught '^bin/caisson: does not link'
sample build.ninja <<<"$good_ninja"
sample compile_commands.json <<<"$good_commands
$good_commands"
caught 'ring.cpp": is compiled 2 times'
sample build.ninja <<<"${good_ninja/a.o/a.o CMakeFiles/x.dir/core/log/ring.cpp.o}"
sample compile_commands.json <<<"$good_commands"
caught '^tests/test_sim: links objects'
sample build.ninja <<<"${good_ninja/libcaisson_checker.a/libcaisson_checker.a core/libcaisson_log.a}"
sample compile_commands.json <<<"$good_commands"
caught '^bin/caisson-check: links what it judges'
sample build.ninja <<<"${good_ninja#*$'\n'}"
sample compile_commands.json <<<"$good_commands"
caught '^bin/caisson: is not built'
finish
