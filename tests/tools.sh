#!/usr/bin/env bash
# Puts the tools of `make check` where they are missing: each of one version, in a folder outside of the clone.
#
#   tools.sh NAME…   of cargo-deny, cargo-machete, typos
#
# Prints the folder of the programs. The compiled ones take minutes, once; what fails says which tool is missing.
set -eu -o pipefail

# Rises here alone.
version_of() {
  case "$1" in
    cargo-deny) echo 0.20.2 ;;
    cargo-machete) echo 0.9.2 ;;
    typos) echo 1.52.0 ;;
    *) echo "tools.sh: no tool is called \"$1\"" >&2; exit 2 ;;
  esac
}

TOOLS="${EBAP_TOOLS_DIR:-${HOME:?HOME is not set}/.cache/ebap/tools}"
say() { printf '[tools] %s\n' "$*" >&2; }

# Has the only wheel of the three, so that nothing is compiled for it.
install_typos() {
  python3 -m pip --version >/dev/null 2>&1 || { say "pip is missing: install python3-pip"; return 1; }
  python3 -m pip download -q --no-deps --only-binary :all: -d "$2" "typos==$1" &&
    python3 -m zipfile -e "$2"/typos-*.whl "$2" && install -D -m 755 "$2"/typos-*.data/scripts/typos "$2/bin/typos"
}

# Without optimisation: each looks at some megabytes of text, so what it would save is less than it costs.
install_crate() {
  env -u RUSTFLAGS CARGO_TARGET_DIR="$3/target" timeout 1500 \
    cargo install --quiet --locked --debug --config 'profile.dev.debug=false' --root "$3" --version "$2" "$1" >&2
}

mkdir -p "$TOOLS/bin"
for tool in "$@"; do
  version="$(version_of "$tool")"
  [ ! -x "$TOOLS/$tool-$version" ] || { ln -sf "../$tool-$version" "$TOOLS/bin/$tool"; continue; }
  # One at a time, whoever asks.
  exec 9>"$TOOLS/.lock"
  flock -w 1800 9 || { say "another install still goes on: $TOOLS/.lock"; exit 1; }
  if [ ! -x "$TOOLS/$tool-$version" ]; then
    say "installing $tool $version"
    work="$(mktemp -d "$TOOLS/.install.XXXXXX")"
    trap 'rm -rf "$work"' EXIT
    case "$tool" in
      typos) install_typos "$version" "$work" ;;
      *) install_crate "$tool" "$version" "$work" ;;
    esac || { say "$tool $version could not be installed; \`make check\` cannot be run without it"; exit 1; }
    mv "$work/bin/$tool" "$TOOLS/$tool-$version"
    rm -rf "$work"
  fi
  exec 9>&-
  ln -sf "../$tool-$version" "$TOOLS/bin/$tool"
done
echo "$TOOLS/bin"
