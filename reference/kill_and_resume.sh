#!/usr/bin/env bash
# A training that is killed (SIGKILL) again and again, beside one that is not: the same bits?
# usage: reference/kill_and_resume.sh [KILLS] [EPOCHS]     (needs target/release/certiseg)
set -euo pipefail
kills=${1:-10} epochs=${2:-40}
program=$(dirname "$0")/../target/release/certiseg
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$program" data shapes "$work/shapes" --count 96 --size 32 2>/dev/null
run() { # RUN, threads
    RAYON_NUM_THREADS=$2 "$program" train --preset shapes --data "$work/shapes" --out "$work/$1" --checkpoint-every 0 \
        --set epochs="$epochs" --set height=32 --set width=32 --set batch=8 --set average=0.99 --set warm_up=5 \
        --set accumulate=2 --set clip=1.0 --set augment.rotation_degrees=20 2>/dev/null
}
began=$(date +%s%N)
run whole 2
whole=$(( ($(date +%s%N) - began) / 1000000 ))
echo "unbroken, 2 threads   ${whole} ms"
run single 1
done_kills=0
while [ "$done_kills" -lt "$kills" ]; do
    if [ -e "$work/killed/checkpoint.safetensors" ]; then
        "$program" train --resume "$work/killed" --checkpoint-every 0 2>/dev/null &
    else
        run killed 2 &
    fi
    sleep "0.$(( RANDOM % 90 + 5 ))" # at any moment
    # the program itself, not the shell around it
    pkill -9 -f "$work/killed" || { wait || true; break; }
    { wait || true; } 2>/dev/null
    done_kills=$((done_kills + 1))
done
[ -e "$work/killed/checkpoint.safetensors" ] || run killed 2
"$program" train --resume "$work/killed" 2>/dev/null
echo "killed ${done_kills} times"
same=0
for other in single killed; do
    for file in checkpoint best model; do
        if cmp -s "$work/whole/$file.safetensors" "$work/$other/$file.safetensors"; then
            echo "$other: $file.safetensors has the bits of the unbroken run"
        else
            echo "$other: $file.safetensors DIFFERS"
            same=1
        fi
    done
    strip() { sed 's/"seconds":[^,]*,//' "$1/metrics.jsonl"; }
    if diff -q <(strip "$work/whole") <(strip "$work/$other") >/dev/null; then
        echo "$other: metrics.jsonl has its lines, but for the seconds"
    else
        echo "$other: metrics.jsonl DIFFERS"
        same=1
    fi
done
exit "$same"
