#!/bin/sh
# Publishes as fast as answers come. Usage: publish.sh [OPTIONS OF oha]
# Environment: INTERNAL, TOPIC, REQUESTS, CONNECTIONS, BYTES.
set -eu

data=$(head -c "${BYTES:-128}" /dev/zero | tr '\0' x)
exec oha --no-tui -n "${REQUESTS:-100000}" -c "${CONNECTIONS:-16}" -m POST -d "$data" "$@" \
    "${INTERNAL:-http://127.0.0.1:8081}/topics/${TOPIC:-oha}"
