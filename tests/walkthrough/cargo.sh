#!/bin/sh
# Stands for cargo in a scene. A release build takes minutes, and the tests have built the same programs with a
# profile that is faster to build: `cargo build --release` and `cargo run --release` hand those over. Cargo still
# plans the build, so that a flag, a package or a program that is not there fails as it does without us.
set -eu

case "${1:-} $* " in
"build "*" --release "* | "run "*" --release "*) ;;
*) exec "$WALKTHROUGH_CARGO" "$@" ;;
esac

command=$1
shift
flags=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    flags="$flags $1"
    shift
done
[ $# -eq 0 ] || shift

# shellcheck disable=SC2086 # one word a flag
plan=$(RUSTC_BOOTSTRAP=1 "$WALKTHROUGH_CARGO" build $flags --offline -Z unstable-options --unit-graph)
mkdir -p target/release
for program in tidegate tidegate-loadtest; do
    case $plan in
    *'"kind":["bin"],"crate_types":["bin"],"name":"'"$program"'",'*)
        ln -sf "$WALKTHROUGH_BINARIES/$program" "target/release/$program"
        ;;
    esac
done

# `default-run` of Cargo.toml.
[ "$command" = build ] || exec target/release/tidegate "$@"
