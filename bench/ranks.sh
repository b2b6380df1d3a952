#!/bin/sh
# ranks.sh: what ranks cost (docs/ranks.md): BUILD (configured --with-mpi, Open MPI) under MPIRUN ("mpirun").
#
#     BUILD=DIR bench/ranks.sh threads [15m|135m] [REPEATS]     two ranks of one thread beside one process of two
#     BUILD=DIR bench/ranks.sh bytes [15m|135m]                 what leaves a link in a step, beside the plan's number
#     BUILD=DIR bench/ranks.sh network [15m|135m] [REPEATS]     2 and 4 ranks, each on a link of its own of 1 and 10
#                                                               Gbit/s and without a limit, full training and LoRA
#
# Runs alternate; a line of output is a run: shape, shards, what it was, and the median of its steps' seconds, the first
# one left out. `bytes` and `network` need root, ip and tc: each rank gets a network namespace, joined by a bridge, with
# a token bucket on what it sends. Delays are not added (tc's netem is not in every kernel). `bytes` counts on rank 0's
# link in two runs that differ by two steps.
# shellcheck disable=SC2086 # MPIRUN and lists of options are lists of words
set -eu

BUILD=$(cd "${BUILD:?names a build that was configured --with-mpi}" && pwd -P)
mpirun=${MPIRUN:-mpirun}
what=${1:?threads or network} shape=${2:-15m} repeats=${3:-3}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
work=$(mktemp -d)
net=dmpo-bench
spaces=

close() {
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

# links RANKS: one namespace for each rank, and one with the bridge
links() {
    ip netns add "$net-0" && spaces=$net-0
    ip -n "$net-0" link add bridge type bridge
    ip -n "$net-0" link set bridge mtu 9000 up
    for i in $(seq "$1"); do
        ip netns add "$net-$i" && spaces="$spaces $net-$i"
        ip link add eth0 netns "$net-$i" type veth peer name "v$i" netns "$net-0"
        ip -n "$net-$i" addr add "10.77.0.$i/24" dev eth0
        ip -n "$net-$i" link set lo up
        ip -n "$net-$i" link set eth0 mtu 9000 up
        ip -n "$net-0" link set "v$i" mtu 9000 master bridge up
    done
}

limit() { # limit RANKS RATE
    for i in $(seq "$1"); do
        tc -n "$net-$i" qdisc del dev eth0 root 2>/dev/null || :
        [ "$2" = none ] || tc -n "$net-$i" qdisc add dev eth0 root tbf rate "$2" burst 1mb latency 100ms
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
            limit $ranks $rate
            step "$kind-$rate" $ranks $steps $run -- --threads 1 $more
        done
    done
}

# on_links FUNCTION: with 2 and 4 ranks, full training and LoRA
on_links() {
    for ranks in 2 4; do
        links $ranks
        hosts=$(seq -s , -f '10.77.0.%g' $ranks)
        run="ip netns exec $net-1 $mpirun --bind-to none --host $hosts --mca plm_rsh_agent $work/enter --mca btl tcp,self
            --mca btl_tcp_if_include eth0 --mca oob_tcp_if_include eth0 -n $ranks"
        for kind in full lora; do
            more=
            [ $kind = full ] || more=$lora
            "$1"
        done
        for space in $spaces; do ip netns del "$space"; done
        spaces=
    done
}

case $what in
threads) threads ;;
bytes) on_links count_bytes ;;
network) on_links seconds ;;
*) echo "no measurement '$what'" >&2 && exit 1 ;;
esac
