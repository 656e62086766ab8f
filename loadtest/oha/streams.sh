#!/bin/sh
# Opens STREAMS streams at once, each for DURATION. Over HTTP/1.1: oha reads whole bodies, so the gateway has to
# end the streams (?max_duration), and with HTTP/2 and -z it never would. Usage: streams.sh [OPTIONS OF oha]
# Environment: PUBLIC, TOPIC, STREAMS, DURATION.
set -eu

streams=${STREAMS:-1000}
exec oha --no-tui --http-version 1.1 -n "$streams" -c "$streams" -t 5m "$@" \
    "${PUBLIC:-http://127.0.0.1:8080}/events?topic=${TOPIC:-oha}&max_duration=${DURATION:-10s}"
