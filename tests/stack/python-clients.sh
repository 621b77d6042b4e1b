#!/usr/bin/env bash
# Python's clients of PostgreSQL from PyPI, in a folder of their own.
#
#   python-clients.sh install     fetch them once (wheels alone, nothing is compiled)
#   python-clients.sh path        print the folder, for PYTHONPATH
#
# Env: STACK_HOME   (default $HOME/.cache/ebap-stack)
ST_NAME=python-clients
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh" || exit 1

PACKAGES="${PYTHON_CLIENTS:-psycopg[binary]==3.3.9 psycopg2-binary==2.9.13 asyncpg==0.32.0 SQLAlchemy==2.1.9 adbc-driver-postgresql==1.13.0 pyarrow==26.0.1}"
# Another list is another folder.
FOLDER="$STACK_HOME/python-clients-$(printf '%s' "$PACKAGES" | cksum | cut -d' ' -f1)"

install() {
  [ ! -e "$FOLDER/.complete" ] || return 0
  st_lock python-clients
  [ ! -e "$FOLDER/.complete" ] || return 0
  st_need openssl openssl
  python3 -m pip --version >/dev/null 2>&1 || st_need pip3 python3-pip
  rm -rf "$FOLDER.new" && mkdir -p "$FOLDER.new"
  # shellcheck disable=SC2086
  python3 -m pip install -q --no-warn-conflicts --only-binary :all: --target "$FOLDER.new" $PACKAGES >&2 ||
    st_die "pip could not fetch: $PACKAGES"
  rm -rf "$FOLDER" && mv "$FOLDER.new" "$FOLDER" && touch "$FOLDER/.complete"
}

case "${1:-}" in
  install) install ;;
  path) install && echo "$FOLDER" ;;
  *) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
