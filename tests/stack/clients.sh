#!/usr/bin/env bash
# Clients of PostgreSQL from their registries, for tests/clients, each in a folder of its own.
#
#   clients.sh install     fetch and compile them once
#   clients.sh env         print where they are, as lines NAME=value
#
# Env: STACK_HOME   (default $HOME/.cache/ebap-stack)
ST_NAME=clients
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh" || exit 1

CLIENTS="$(cd "$ST_DIR/../clients" && pwd -P)"
PYTHON="psycopg[binary]==3.3.9 psycopg2-binary==2.9.13 asyncpg==0.32.0 SQLAlchemy==2.1.9 adbc-driver-postgresql==1.13.0 pyarrow==26.0.1"
PGJDBC=42.7.4

# Another list, another source: another folder.
folder_of() { echo "$STACK_HOME/clients-$1-$(cat "${@:3}" /dev/null | cat - <(echo "$2") | cksum | cut -d' ' -f1)"; }
PYTHON_FOLDER="$(folder_of python "$PYTHON")"
GO_FOLDER="$(folder_of go '' "$CLIENTS/go/main.go" "$CLIENTS/go/go.sum")"
JAVA_FOLDER="$(folder_of java "$PGJDBC" "$CLIENTS/java/Clients.java")"

python_clients() {
  python3 -m pip --version >/dev/null 2>&1 || st_need pip3 python3-pip
  # shellcheck disable=SC2086
  python3 -m pip install -q --no-warn-conflicts --only-binary :all: --target "$1" $PYTHON >&2
}

go_clients() {
  st_need go golang
  (cd "$CLIENTS/go" && GOFLAGS=-mod=readonly go build -o "$1/clients" .) >&2
}

java_clients() {
  st_need mvn maven
  st_find_java 11 || st_die "there is no Java 11"
  st_mvn "$ST_MVN_DEP:copy" -Dartifact="org.postgresql:postgresql:$PGJDBC" -DoutputDirectory="$1" >&2 &&
    "$(dirname "$(readlink -f "$JAVA")")/javac" -d "$1" -cp "$1/postgresql-$PGJDBC.jar" "$CLIENTS/java/Clients.java" >&2
}

made() { # a folder, by what makes it
  [ -e "$1/.complete" ] && return 0
  rm -rf "$1.new" && mkdir -p "$1.new" && "$2" "$1.new" || st_die "$2 could not be made"
  rm -rf "$1" && mv "$1.new" "$1" && touch "$1/.complete"
}

install() {
  st_need openssl openssl
  (
    st_lock clients
    made "$PYTHON_FOLDER" python_clients && made "$GO_FOLDER" go_clients && made "$JAVA_FOLDER" java_clients
  ) || exit 1
}

case "${1:-}" in
  install) install ;;
  env)
    install && st_find_java 11
    echo "PYTHONPATH=$PYTHON_FOLDER"
    echo "CLIENTS_GO=$GO_FOLDER/clients"
    echo "CLIENTS_JAVA=$JAVA"
    echo "CLIENTS_CLASSPATH=$JAVA_FOLDER:$JAVA_FOLDER/postgresql-$PGJDBC.jar"
    ;;
  *) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
