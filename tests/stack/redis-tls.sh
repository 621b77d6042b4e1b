#!/usr/bin/env bash
# A Redis that speaks TLS and has a user besides the default one: redis.sh with other settings.
#
#   redis-tls.sh start | stop | status | clean | cli ARGS...   as redis.sh
#
# Env: STACK_HOME
#      REDIS_TLS_PORT   on 127.0.0.1 (default 16484); the port before it takes connections without TLS
#      REDIS_USER, REDIS_USER_PASSWORD   that user (default ebap, "p@ss: word"), who may touch keys below
#                                        ebap: and tls: only
# Its issuer's certificate is STACK_HOME/data/redis-PORT/tls/ca.crt, where PORT is the one without TLS.
export REDIS_TLS=yes REDIS_TLS_PORT="${REDIS_TLS_PORT:-16484}"
export REDIS_PORT=$((REDIS_TLS_PORT - 1))
export REDIS_USER="${REDIS_USER:-ebap}" REDIS_USER_PASSWORD="${REDIS_USER_PASSWORD:-p@ss: word}"
exec bash "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/redis.sh" "$@"
