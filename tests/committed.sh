#!/usr/bin/env bash
# Fails where a file is committed that no person wrote: larger than 1 MB, ignored, or left by a benchmark.
set -eu -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BYTES_MAX=1000000

if ! git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  echo "[committed] this is no git work tree: what is committed cannot be told" >&2
  exit 1
fi

found="$(mktemp)"
trap 'rm -f "$found"' EXIT

# Staged files count: the check is of most use before the commit.
git ls-files -z --stage | sed -z 's/^[0-9]* \([0-9a-f]*\) [0-9]\t/\1 /' | tr '\0' '\n' |
  git cat-file --batch-check='%(objectsize) %(rest)' |
  awk -v max="$BYTES_MAX" '$1 > max { print "larger than 1 MB: " substr($0, length($1) + 2) " (" $1 " bytes)" }' >"$found"
git ls-files --cached --ignored --exclude-standard | sed 's/^/.gitignore says that it is made: /' >>"$found"
git ls-files | { grep -E '(^|/)criterion/|\.(profraw|profdata|hdr)$|(^|/)(perf\.data|flamegraph\.svg)$' || true; } |
  sed 's/^/left by a benchmark: /' >>"$found"

if [ -s "$found" ]; then
  sed 's/^/[committed] /' "$found" >&2
  exit 1
fi
