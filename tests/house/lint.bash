# SPDX-License-Identifier: BSD-3-Clause
# Frame of a lint. A lint defines check(), which runs in the root of a tree and prints one line
# "path: what is wrong, and what to do" for each fault; then
#   clean                          the source tree must have no fault
#   sample PATH <<< TEXT           puts a file into an otherwise empty tree
#   caught REGEX                   the samples so far must give a fault that matches; empties the tree
#   passed                         the samples so far must give none; empties the tree
#   finish                         reports
set -euo pipefail
lint_samples=$(mktemp -d)
trap 'rm -rf "$lint_samples"' EXIT
lint_failures=0
lint_expectations=0

# files REGEX: the tree's own files whose path matches, tracked or about to be.
files() {
  { if [[ -e .git ]]; then
      git ls-files --cached --others --exclude-standard --deduplicate
    else
      find . -type f | sed 's|^\./||'
    fi; } | grep -E "$1" | while IFS= read -r path; do
    if [[ -f $path ]]; then printf '%s\n' "$path"; fi
  done | sort || true
}

# without_comments FILE: C++ without comments and string literals, line numbers kept.
without_comments() {
  sed -e 's|\\"||g' -e 's|"[^"]*"|""|g' -e 's|//.*||' "$1" |
    awk '{ line = $0; out = ""
           while (length(line)) {
             if (inside) { at = index(line, "*/"); if (!at) { line = ""; break }
                           line = substr(line, at + 2); inside = 0 }
             else { at = index(line, "/*"); if (!at) { out = out line; line = ""; break }
                    out = out substr(line, 1, at - 1); line = substr(line, at + 2); inside = 1 } }
           print out }'
}

clean() {
  local faults
  faults=$(cd "$CAISSON_SOURCE_DIR" && check)
  lint_expectations=$((lint_expectations + 1))
  if [[ -n $faults ]]; then
    printf '%s\n' "$faults"
    lint_failures=$((lint_failures + 1))
  fi
}

sample() {
  mkdir -p "$lint_samples/$(dirname "$1")"
  cat >"$lint_samples/$1"
}

lint_judge_samples() {
  (cd "$lint_samples" && check)
  rm -rf "$lint_samples"
  mkdir "$lint_samples"
}

caught() {
  local faults
  faults=$(lint_judge_samples)
  lint_expectations=$((lint_expectations + 1))
  if ! grep -qE -- "$1" <<<"$faults"; then
    printf 'the lint let a bad sample pass: expected /%s/, got: %s\n' "$1" "${faults:-nothing}"
    lint_failures=$((lint_failures + 1))
  fi
}

passed() {
  local faults
  faults=$(lint_judge_samples)
  lint_expectations=$((lint_expectations + 1))
  if [[ -n $faults ]]; then
    printf 'the lint refused a good sample: %s\n' "$faults"
    lint_failures=$((lint_failures + 1))
  fi
}

finish() {
  printf '%d expectations, %d failed\n' "$lint_expectations" "$lint_failures"
  if [[ $lint_expectations -eq 0 || $lint_failures -gt 0 ]]; then exit 1; fi
}
