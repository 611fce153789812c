#!/usr/bin/env bash
# Counts the instructions that each workload takes over about 200,000 bids, and compares them with what is recorded in
# benches/instructions.json. Time on a shared machine drifts; instructions do not.
#
#   benches/instructions.sh            compares, and prints what moved by more than 3 %
#   benches/instructions.sh --record   writes benches/instructions.json anew
#
# $RIVERRUN names a binary that is built already. Needs valgrind and python3. The counts hold for one compiler and one
# kind of processor: record before a change, and compare after it, on the same machine.
set -euo pipefail
cd "$(dirname "$0")/.."

recorded=benches/instructions.json
found=target/bench/instructions.json
mode=${1:-compare}

if ! command -v valgrind >/dev/null; then
  echo "valgrind is not installed: instructions are not counted" >&2
  exit 0
fi

if [ "$mode" != --record ] && [ ! -f "$recorded" ]; then
  echo "nothing is recorded yet: run benches/instructions.sh --record first" >&2
  exit 1
fi

binary=${RIVERRUN:-}
if [ -z "$binary" ]; then
  cargo build --release --quiet
  binary=${CARGO_TARGET_DIR:-target}/release/riverrun
fi
mkdir -p target/bench

# Only what happens between the first row and the last of the answer counts: see river::feed.
count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='riverrun::bench::river::feed' \
    "$binary" bench --instructions "$1" 2>&1 | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

{
  echo "{"
  separator=""
  for workload in a1_auction a2_bidder a3_channel b_running c_changes d_join_running d_join_complete d_join_final \
    e_q1 e_q2 f_collect g_flights h_q3 h_q20 i_best_total; do
    echo "counting $workload" >&2
    printf '%s  "%s": %s' "$separator" "$workload" "$(count "$workload")"
    separator=$',\n'
  done
  printf '\n}\n'
} >"$found"

if [ "$mode" = --record ]; then
  cp "$found" "$recorded"
  echo "recorded in $recorded"
  exit 0
fi

python3 - "$recorded" "$found" <<'END'
import json, sys

recorded, found = (json.load(open(path)) for path in sys.argv[1:])
moved = False
for name, count in found.items():
    before = recorded.get(name)
    if before is None:
        print(f"{name}: {count:,}, not recorded yet")
    elif abs(count / before - 1) > 0.03:
        moved = True
        print(f"{name}: {before:,} -> {count:,} ({count / before - 1:+.1%})")
print("some counts moved by more than 3 %" if moved else "no count moved by more than 3 %")
sys.exit(moved)
END
