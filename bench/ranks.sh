#!/bin/sh
# ranks.sh: what ranks cost (docs/ranks.md): BUILD (configured --with-mpi, Open MPI) under MPIRUN ("mpirun").
#
#     BUILD=DIR bench/ranks.sh threads [15m|135m] [REPEATS]     two ranks of one thread beside one process of two
#     BUILD=DIR bench/ranks.sh bytes [15m|135m]                 what leaves a link in a step, beside the plan's number
#     BUILD=DIR bench/ranks.sh network [15m|135m] [REPEATS] [RANKS...]   2 and 4 ranks, each on a link of its own of 1
#                                                               and 10 Gbit/s, full training and LoRA
#     BUILD=DIR bench/ranks.sh links                            what those links give, measured
#     BUILD=DIR bench/ranks.sh paper                            the model of docs/ranks.md, computed
#
# Runs alternate; a line of output is a run: shape, shards, what it was, and the median of its steps' seconds, the first
# one left out. All but `threads` need root, ip, /dev/net/tun and a C compiler, and `links` Python: each rank gets a
# network namespace, and bench/link/link.c carries packets between them at the link's rate and with 0.1 ms each way;
# "none" is the same without a limit and a delay. `bytes` counts on rank 0's link in two runs that differ by two steps.
# shellcheck disable=SC2086 # MPIRUN and lists of options are lists of words
set -eu

BUILD=$(cd "${BUILD:?names a build that was configured --with-mpi}" && pwd -P)
mpirun=${MPIRUN:-mpirun}
what=${1:?threads, bytes, network, links or paper} shape=${2:-15m} repeats=${3:-3}
counts="2 4"
if [ $# -gt 3 ]; then shift 3 && counts=$*; fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
work=$(mktemp -d)
net=dmpo-bench
spaces=
carrier=

disconnect() {
    [ -z "$carrier" ] || { kill "$carrier" && wait "$carrier"; } 2>/dev/null || :
    carrier=
}

close() {
    disconnect
    for space in $spaces; do ip netns del "$space" || :; done
    rm -rf "$work"
}
trap close EXIT
trap 'exit 1' INT TERM HUP

case $shape in
15m) dims="--hidden 288 --intermediate 768 --layers 6 --heads 6 --vocab 32000" tokens=160 batch=8 steps=6 ;;
135m)
    dims="--hidden 576 --intermediate 1536 --layers 30 --heads 9 --kv-heads 3 --vocab 49152" tokens=96 batch=4 steps=3
    ;;
*) echo "no shape '$shape'" >&2 && exit 1 ;;
esac
"$BUILD/dmpo" init --output "$work/model" $dims --seed 1 --quiet >"$work/log"
awk -v n=$batch -v length_=$tokens 'BEGIN {
    srand(1)
    for (j = 0; j < n; j++) {
        line = "{\"id\": \"" j "\""
        for (side = 0; side < 2; side++) {
            line = line ", \"" (side ? "rejected" : "chosen") "\": {\"ids\": [" int(rand() * 5000)
            for (i = 1; i < length_; i++) line = line ", " int(rand() * 5000)
            line = line "], \"turns\": [[" int(length_ * 0.4) ", " int(length_ * 0.6) "], [" int(length_ * 0.7) ", " length_ "]]}"
        }
        print line "}"
    }
}' >"$work/data.jsonl"
lora="--lora-rank 8"
options="--model $work/model --data $work/data.jsonl --output $work/out --overwrite --batch $batch --lr 1e-6"

# step NAME SHARDS STEPS LAUNCHER... -- OPTION...
step() {
    name=$1 shards=$2 count=$3 launcher=
    shift 3
    while [ "$1" != -- ]; do launcher="$launcher $1" && shift; done
    shift
    $launcher "$BUILD/dmpo" train $options --shards "$shards" --steps "$count" --quiet "$@" >"$work/log" 2>&1 ||
        { tail -n 5 "$work/log" >&2 && exit 1; }
    printf '%s %s %s ' "$shape" "$shards" "$name"
    sed 's/.*"seconds": \([0-9.e-]*\).*/\1/' "$work/out/metrics.jsonl" | sed 1d | sort -g |
        awk '{ x[NR] = $1 } END { printf "%.4f\n", NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'
}

threads() {
    for _ in $(seq "$repeats"); do
        step one-process 2 $steps env -- --threads 2
        step two-ranks 2 $steps $mpirun --bind-to none -n 2 -- --threads 1
        step two-ranks-tcp 2 $steps $mpirun --bind-to none --mca btl tcp,self -n 2 -- --threads 1
    done
}

# links RANKS: a namespace for each rank, without a device yet
links() {
    [ -x "$work/link" ] || ${CC:-cc} -std=c11 -O2 -o "$work/link" "$(dirname "$0")/link/link.c"
    for i in $(seq "$1"); do
        ip netns add "$net-$i" && spaces="$spaces $net-$i"
        ip -n "$net-$i" link set lo up
    done
}

connect() { # connect none|1gbit|10gbit: what is sent in one piece lasts less than the delay
    disconnect
    case $1 in
    none) set -- 0 0 65000 ;;
    1gbit) set -- 1e9 100 9000 ;;
    10gbit) set -- 1e10 100 65000 ;;
    esac
    : >"$work/link.out"
    "$work/link" "$1" "$2" "$3" $spaces >"$work/link.out" &
    carrier=$!
    until grep -q ready "$work/link.out"; do kill -0 $carrier && sleep 0.1; done
    i=0
    for space in $spaces; do
        ip -n "$space" addr add "10.77.0.$((i += 1))/24" dev eth0
        ip -n "$space" link set eth0 txqueuelen 10000 mtu "$3" up
    done
}

probe() {
    probe="python3 $(cd "$(dirname "$0")" && pwd -P)/link/probe.py"
    links 2
    for rate in none 1gbit 10gbit; do
        connect $rate
        ip netns exec "$net-2" $probe serve 10.77.0.2 &
        echo "$rate: $(ip netns exec "$net-1" $probe 10.77.0.2)"
        wait $!
    done
}

sent() { ip netns exec "$net-1" cat /sys/class/net/eth0/statistics/tx_bytes; }

# What mpirun takes for ssh: HOST COMMAND...
cat >"$work/enter" <<END
#!/bin/sh
host=\${1##*.}
shift
exec ip netns exec $net-\$host unshare -u sh -c "hostname rank\$host; \$*"
END
chmod +x "$work/enter"

count_bytes() {
    for count in 2 4; do
        before=$(sent)
        step "$kind" $ranks $count $run -- --threads 1 $more >/dev/null
        after=$(sent)
        eval "sent_$count=$((after - before))"
    done
    # shellcheck disable=SC2154 # sent_4, sent_2
    echo "$shape $ranks $kind $(((sent_4 - sent_2) / 2)) plan" \
        "$("$BUILD/dmpo" plan $options --shards $ranks --threads 1 $more --ranks $ranks --json |
            sed -n 's/.*"first_shard": 0,.*"step_bytes": \([0-9]*\).*/\1/p')"
}

seconds() {
    for _ in $(seq "$repeats"); do
        for rate in none 1gbit 10gbit; do
            connect $rate
            step "$kind-$rate" $ranks $steps $run -- --threads 1 $more
        done
    done
}

# on_links FUNCTION: with 2 and 4 ranks, full training and LoRA
on_links() {
    for ranks in $counts; do
        links $ranks
        connect none
        hosts=$(seq -s , -f '10.77.0.%g' $ranks)
        run="ip netns exec $net-1 $mpirun --bind-to none --host $hosts --mca plm_rsh_agent $work/enter --mca btl tcp,self
            --mca btl_tcp_if_include eth0 --mca oob_tcp_if_include eth0 -n $ranks"
        for kind in full lora; do
            more=
            [ $kind = full ] || more=$lora
            "$1"
        done
        disconnect
        for space in $spaces; do ip netns del "$space"; done
        spaces=
    done
}

# A step of 64 pairs on R machines: the share in which they compute, with nothing hidden and, in brackets, with what the
# last pair's backward pass (two thirds of its time) hides. Columns: trained floats, head's share, seconds of a pair.
paper() {
    echo "15m 15191712 0.61 0.328
15m-lora 262656 0 0.223
135m 134515008 0.21 3.914
135m-lora 2442240 0 2.87" | awk '{
        for (rate = 1e9; rate <= 1e10; rate *= 10)
            for (r = 2; r <= 64; r *= 2) {
                half = 32 * $2 * (r - 1) / r / rate; pairs = 64 / r; hidden = half * (1 - $3)
                if (hidden > $4 * 2 / 3) hidden = $4 * 2 / 3
                work = pairs * $4
                printf "%s %d machines %g Gbit/s: %.1f %% (%.1f %%)\n", $1, r, rate / 1e9,
                    100 * work / (work + 2 * half + 7e-4), 100 * work / (work + 2 * half - hidden + 7e-4)
            }
    }'
}

case $what in
threads) threads ;;
bytes) on_links count_bytes ;;
network) on_links seconds ;;
links) probe ;;
paper) paper ;;
*) echo "no measurement '$what'" >&2 && exit 1 ;;
esac
