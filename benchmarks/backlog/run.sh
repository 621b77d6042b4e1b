#!/usr/bin/env bash
# Every kind of view over a backlog, its answer compared with DuckDB's: `make bench-backlog`.
#
#   run.sh [ARGUMENTS OF backlog.py]
#
# Installs what is missing from PyPI and writes one JSON line a view to stdout.
# Env: EBAP_BIN   the release binary (make bench-backlog builds it)
set -u -o pipefail
ST_NAME=backlog
# shellcheck source=../../tests/stack/lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../tests/stack/lib.sh" || exit 1
DUCKDB_VERSION=2.0.1
PSYCOPG_VERSION=3.3.9
PYTHON_HOME="$STACK_HOME/backlog-duckdb-$DUCKDB_VERSION-psycopg-$PSYCOPG_VERSION"

[ -x "${EBAP_BIN:-}" ] || st_die "EBAP_BIN is not a program: make bench-backlog sets it"
st_need python3 python3
python3 -m pip --version >/dev/null 2>&1 || st_need pip3 python3-pip
if [ ! -f "$PYTHON_HOME/.ok" ]; then
  rm -rf "$PYTHON_HOME"
  python3 -m pip install -q --target "$PYTHON_HOME" "duckdb==$DUCKDB_VERSION" "psycopg[binary]==$PSYCOPG_VERSION" >&2 ||
    st_die "DuckDB and psycopg could not be fetched"
  touch "$PYTHON_HOME/.ok"
fi
export PYTHONPATH="$PYTHON_HOME"
exec python3 "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/backlog.py" "$@"
