#!/usr/bin/env bash
# Gradient descent on (x - 2)^2 in bash and awk: continues from its checkpoint folder, stops with exit code 75.
#
#   fts enqueue --metric loss --trials 6 -- bash examples/command/descent.sh {rate:0.01..0.9:log} {checkpoint_dir}
#   fts worker --until-empty
set -eu
rate=$1 kept=$2/state
step=0 x=10
if [ -f "$kept" ]; then read -r step x <"$kept"; fi
stopped=
trap 'stopped=1' TERM
while [ "$step" -lt 20 ]; do
  x=$(awk -v x="$x" -v r="$rate" 'BEGIN { printf "%.17g", x - r * 2 * (x - 2) }')
  awk -v s="$step" -v x="$x" 'BEGIN { printf "{\"step\": %d, \"loss\": %.17g}\n", s, (x - 2) ^ 2 }' >>"$FTS_REPORT"
  step=$((step + 1))
  echo "$step $x" >"$kept.new" && mv "$kept.new" "$kept" # report first, then save
  if [ -n "$stopped" ]; then exit 75; fi
done
