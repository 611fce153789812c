#!/bin/sh
set -e
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../install.sh"

# Cargo finds out by itself what has changed.
cargo build --quiet --release --locked --manifest-path "$here/Cargo.toml" --target-dir "$home/target" >&2

# The runner writes its replies to descriptor 3, so that whatever a library prints goes to standard error.
[ "$1" = --install ] || exec "$home/target/release/laminardb-peer" 3>&1 1>&2
