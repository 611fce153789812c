#!/bin/sh
set -e
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../install.sh"

# One job at a time: the build is long, and whatever else runs on the machine goes first.
nice -n 19 cargo build --release --locked --jobs "${RIVERRUN_PEERS_JOBS:-1}" \
    --manifest-path "$here/Cargo.toml" --target-dir "$home/target" >&2
[ "$1" = --install ] || exec "$home/target/release/laminardb-peer"
