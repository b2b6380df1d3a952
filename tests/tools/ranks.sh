#!/bin/sh
# ranks.sh: a build with MPI (BUILD, configured --with-mpi) under mpirun (MPIRUN, "mpirun"): training, references,
# checkpoints and files are the same, byte for byte, on 1, 2, 3, 4, 8 and 16 ranks and in one process; a rank that is
# killed, hangs, or has another version of an input ends the run, which resumes on another number of ranks to the same
# bytes. KILLS (3): how many runs are killed. EVERY: training, KTO, adapters and learning on each of these numbers of
# ranks, and what their files add up to. SHORT: one check of each kind of message, for a second implementation of
# MPI. OTHER: a command that runs a build for another architecture, with the same MPI, beside this one. Needs a kernel
# with SIGSTOP and enough memory for 16 small processes; all of them share the machine's cores. Ends with
# "ranks: N passed, N failed".
# shellcheck disable=SC1091,SC2154,SC2086,SC2317,SC2015 # tests/tools/check.sh; MPIRUN is a list of words
set -u

SRC=$(cd "${SRC:-$(dirname "$0")/../..}" && pwd -P)
BUILD=$(cd "${BUILD:?names a build that was configured --with-mpi}" && pwd -P)
EXEC_WRAPPER=
export SRC BUILD EXEC_WRAPPER
. "$SRC/tests/tools/check.sh"
mpirun=${MPIRUN:-mpirun}
kills=${KILLS:-3}
long=1
[ -z "${SHORT:-}" ] || long=
every=${EVERY:+1 2 3 4 8 16}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none
export DMPO_THREADS=1

# pairs FILE COUNT SEED: pre-tokenized pairs with a common beginning
pairs() {
    awk -v n="$2" -v seed="$3" '
        function draw() { state = (state * 1103515245 + 12345) % 2147483648; return int(state / 65536) }
        function side(k, i, s) {
            s = "{\"ids\": [" common
            for (i = 0; i < k; i++) s = s ", " draw() % 200
            return s "], \"turns\": [[2, 5], [8, " 9 + k "]]}"
        }
        BEGIN {
            state = seed
            for (j = 0; j < n; j++) {
                common = draw() % 200
                for (i = 0; i < 8; i++) common = common ", " draw() % 200
                print "{\"id\": \"p" j "\", \"chosen\": " side(3 + draw() % 14) ", \"rejected\": " side(3 + draw() % 14) "}"
            }
        }' >"$1"
}
pairs "$work/train.jsonl" 40 7
pairs "$work/eval.jsonl" 10 8
dmpo init --output "$work/model" --arch qwen2 --hidden 48 --intermediate 80 --layers 3 --heads 4 --vocab 200 --seed 1 \
    >"$work/init.log" 2>&1 || { cat "$work/init.log"; exit 1; }

# on RANKS COMMAND...: 0 ranks: without mpirun
on() {
    ranks=$1
    shift
    if [ "$ranks" = 0 ]; then timeout 120 "$BUILD/dmpo" "$@"; else timeout 120 $mpirun -n "$ranks" "$BUILD/dmpo" "$@"; fi
}

common="--model $work/model --data $work/train.jsonl --eval-data $work/eval.jsonl --batch 20 --steps 5 --eval-every 2
    --checkpoint-every 2 --lr 1e-3 --shards 16 --quiet"

# digest DIR: what a run has to give everywhere
digest() {
    (cd "$1" && { find . -name '*.safetensors' -o -name '*config.json' -o -name 'e*.jsonl'; } | LC_ALL=C sort |
        xargs sha256sum && sed 's/, "tokens_per_second".*, "tokens"/, "tokens"/; s/, "peak_memory".*//' metrics.jsonl)
}

train() { # train RANKS OUTPUT OPTION...
    ranks=$1 output=$work/$2
    shift 2
    on "$ranks" train $common --output "$output" "$@" >"$output.log" 2>&1 || { tail -n 3 "$output.log"; return 1; }
}

# same RANKS NAME OPTION...: as $work/NAME.want says
same() {
    ranks=$1 name=$2
    shift 2
    train "$ranks" "$name.$ranks" "$@" && digest "$work/$name.$ranks" >"$work/$name.got" &&
        cmp "$work/$name.want" "$work/$name.got" && rm -r "$work/$name.$ranks"
}

sum() { # sum NAME: what $work/NAME.want says, in one line; adapter_config.json names a temporary directory
    [ -z "$every" ] || echo "$1: $(grep -v adapter_config.json "$work/$1.want" | sha256sum)"
}

# everywhere NAME RANKS... -- OPTION...
everywhere() {
    name=$1 counts=
    shift
    while [ "$1" != -- ]; do counts="$counts $1" && shift; done
    shift
    check "$name in one process" train 0 "$name" "$@"
    digest "$work/$name" >"$work/$name.want"
    sum "$name"
    for ranks in $counts; do check "$name on $ranks ranks" same "$ranks" "$name" "$@"; done
}

everywhere dmpo ${every:-${long:+1 2 4 8} 3 16} --
everywhere sft 3 -- --objective sft --batch 7 --shards 5
if [ "$long" ]; then
    everywhere lora ${every:-2 4} -- --lora-rank 4
    everywhere kto ${every:-3 8} -- --objective kto
    everywhere kto-pair 2 -- --link kto-pair --max-grad-norm 0.1
    for link in apo-zero apo-down nca-pair sppo-hard; do everywhere $link 3 -- --link $link --steps 2; done
    everywhere mrpo 2 -- --reference "$work/model" --reference2 "$work/sft" --max-length 64
fi

# Levels of instructions and kinds of machines in one run: a scalar rank, the best that there is, and what "$@" runs.
levels() {
    timeout -k 5 120 $mpirun -n 1 "$BUILD/dmpo" train $common --output "$work/levels" --overwrite --isa scalar : \
        -n 1 "$BUILD/dmpo" train $common --output "$work/levels" --overwrite : \
        -n 1 "$@" train $common --output "$work/levels" --overwrite >"$work/levels.log" 2>&1 &&
        digest "$work/levels" | cmp "$work/dmpo.want" -
}
avx2=$BUILD/dmpo
[ "$(uname -m)" != x86_64 ] || avx2="env DMPO_ISA=avx2 $BUILD/dmpo"
check "ranks with different instruction sets" levels $avx2
[ -z "${OTHER:-}" ] || check "ranks on different architectures" levels $OTHER

# A reference cache is rank 0's.
cache() { # cache RANKS NAME
    train "$1" "$2" --reference-cache "$work/cache" --overwrite && digest "$work/$2" | cmp "$work/dmpo.want" -
}
check "a reference cache is written" cache 3 cached
cp "$work/cache" "$work/cache.first"
check "a reference cache is read" cache 2 cached
check "it is the same" cmp "$work/cache" "$work/cache.first"

# ---- faults ----

refused() { # refused MESSAGE RANKS COMMAND...: fails, and rank 0 says why once
    message=$1
    shift
    ! on "$@" >"$work/refused.log" 2>&1 && [ "$(grep -c "$message" "$work/refused.log")" = 1 ] ||
        { head -n 5 "$work/refused.log"; return 1; }
}
check "more ranks than shards are refused" \
    refused '3 ranks for --shards 2' 3 train $common --shards 2 --output "$work/refused"
check "a command for one process is refused" refused 'without mpirun' 2 info --machine
check "what no rank can read is said once" refused 'no-such-file' 3 train $common --data "$work/no-such-file" \
    --output "$work/refused"

other() { # other MESSAGE OPTION...: rank 1 has another option or input
    message=$1
    shift
    ! timeout 120 $mpirun -n 1 "$BUILD/dmpo" train $common --output "$work/other" : \
        -n 1 "$BUILD/dmpo" train $common --output "$work/other" "$@" >"$work/other.log" 2>&1 &&
        grep -q "rank 1 has another $message than rank 0" "$work/other.log" || { cat "$work/other.log"; return 1; }
}
check "another option is named" other 'set of options' --lr 2e-3
head -n 39 "$work/train.jsonl" >"$work/less.jsonl"
check "other data are named" other data --data "$work/less.jsonl"
dmpo init --output "$work/model2" --arch qwen2 --hidden 48 --intermediate 80 --layers 3 --heads 4 --vocab 200 --seed 2 \
    >/dev/null 2>&1
check "another model is named" other model --model "$work/model2"

# Another program of the same version: one digit of the checksum of its source is another.
LC_ALL=C sed 's/sources [0-9]/sources x/' "$BUILD/dmpo" >"$work/another" && chmod +x "$work/another"
another() {
    ! timeout 120 $mpirun -n 1 "$BUILD/dmpo" train $common --output "$work/other" : \
        -n 1 "$work/another" train $common --output "$work/other" >"$work/other.log" 2>&1 &&
        grep -q "rank 1 has another source code than rank 0" "$work/other.log" || { cat "$work/other.log"; return 1; }
}
check "another program is named" another

# The processes of the run in $work/NAME, oldest first.
processes() { pgrep -f "^$BUILD/dmpo [a-z]* .*--output $work/$1( |\$)"; }

lines_of() { if [ -f "$work/$1/metrics.jsonl" ]; then wc -l <"$work/$1/metrics.jsonl"; else echo 0; fi; }

# killed I: run I loses a rank at some moment, and goes on with another number of ranks.
killed() {
    rm -rf "$work/killed"
    started="4 2 3 8" resumed="2 3 1 4"
    set -- "$1" $started
    shift $((1 + $1 % 4))
    ranks=$1
    set -- $resumed
    shift $((i % 4))
    next=$1
    on "$ranks" train $common --steps 40 --output "$work/killed" >"$work/killed.log" 2>&1 &
    launcher=$!
    lines=$((i * 7 % 37))
    for _ in $(seq 600); do
        kill -0 "$launcher" 2>/dev/null || break
        [ "$(lines_of killed)" -ge "$lines" ] && break
        sleep 0.02
    done
    victim=$(processes killed | awk -v k="$i" '{ p[NR] = $1 } END { if (NR) print p[k % NR + 1] }')
    [ -z "$victim" ] || kill -9 "$victim" 2>/dev/null
    wait "$launcher"
    on "$next" train $common --steps 40 --output "$work/killed" --resume >"$work/killed.log" 2>&1 ||
        { tail -n 3 "$work/killed.log"; return 1; }
    digest "$work/killed" | cmp "$work/long.want" -
}
check "forty steps" train 0 long --steps 40
digest "$work/long" >"$work/long.want"
i=1
while [ "$i" -le "$kills" ]; do
    check "killed $i and resumed" killed "$i"
    i=$((i + 1))
done

# A rank that hangs is named, and not one that waits for it.
hangs() {
    rm -rf "$work/hangs"
    DMPO_RANK_TIMEOUT=4 on 4 train $common --steps 100000 --output "$work/hangs" >"$work/hangs.log" 2>&1 &
    launcher=$!
    for _ in $(seq 600); do
        [ "$(lines_of hangs)" -ge 3 ] && break
        sleep 0.05
    done
    victim=
    for pid in $(processes hangs); do
        tr '\0' '\n' <"/proc/$pid/environ" | grep -q '^\(OMPI_COMM_WORLD_RANK\|PMI_RANK\)=2$' && victim=$pid
    done
    [ -n "$victim" ] && kill -STOP "$victim"
    wait "$launcher" && return 1
    kill -KILL "$victim" 2>/dev/null
    grep -q 'rank 2 does not answer' "$work/hangs.log" && [ -f "$work/hangs/checkpoint/state.json" ] ||
        { cat "$work/hangs.log"; return 1; }
}
check "a rank that hangs is named" hangs

# ---- scores and rollouts ----

score() { # score RANKS
    on "$1" score --model "$work/sft" --reference "$work/model" --data "$work/train.jsonl" --token --quiet \
        --output "$work/scores.$1" >"$work/score.log" 2>&1 || { tail -n 3 "$work/score.log"; return 1; }
    cmp "$work/scores.0" "$work/scores.$1"
}
for ranks in 0 3; do check "scores on $ranks ranks" score "$ranks"; done

rollout() { # rollout RANKS NAME OPTION...
    ranks=$1 name=$2
    shift 2
    on "$ranks" rollout --env shop "$@" --quiet --output "$work/$name.$ranks" >"$work/rollout.log" 2>&1 ||
        { tail -n 3 "$work/rollout.log"; return 1; }
    cmp "$work/$name.0" "$work/$name.$ranks" && cmp "$work/$name.0.run.json" "$work/$name.$ranks.run.json"
}
for ranks in 0 5; do
    check "an expert's episodes on $ranks ranks" rollout "$ranks" expert --policy expert --tasks 12
done
cp "$work/expert.0" "$work/expert.jsonl"
dmpo tokenizer train --vocabulary 400 --output "$work/tokenizer" "$work/expert.jsonl" >"$work/agent.log" 2>&1
dmpo init --output "$work/new" --tokenizer "$work/tokenizer" --hidden 32 --intermediate 64 --layers 1 --heads 2 \
    --positions 1024 >>"$work/agent.log" 2>&1
dmpo train --objective sft --model "$work/new" --data "$work/expert.jsonl" --output "$work/agent" --lr 0.01 \
    --adam-beta2 0.95 --batch 4 --steps 150 --quiet >>"$work/agent.log" 2>&1 || cat "$work/agent.log"
for ranks in 0 5; do
    check "a model's episodes on $ranks ranks" rollout "$ranks" played --model "$work/agent" --tasks 9 --max-turns 3 \
        --max-tokens 8 --temperature 1 --seed 3
done
head -n 4 "$work/played.0" >"$work/played.3" && cp "$work/played.0.run.json" "$work/played.3.run.json"
check "episodes that were begun by one process go on with 3 ranks" rollout 3 played --model "$work/agent" --tasks 9 \
    --max-turns 3 --max-tokens 8 --temperature 1 --seed 3

# ---- learning while acting ----

learn() { # learn RANKS OUTPUT OPTION...
    ranks=$1 output=$work/$2
    shift 2
    on "$ranks" learn --env shop --model "$work/agent" --rounds 3 --tasks 4 --samples 8 --passes 2 --batch 20 \
        --shards 16 --max-turns 9 --max-tokens 16 --kl 0.1 --lr 1e-4 --seed 3 --eval-tasks 3 --eval-split train \
        --eval-every 1 --checkpoint-every 1 --quiet --output "$output" "$@" >"$output.log" 2>&1 ||
        { tail -n 3 "$output.log"; return 1; }
}
critic="--objective ppo --value-trunk --value-lr 0.01"
learnt() { # learnt NAME OPTION...: by one process
    name=$1
    shift
    learn 0 "$name" "$@" && digest "$work/$name" >"$work/$name.want" &&
        grep -q '"kind": "train".*"grad_norm": [1-9]*[0-9]\.[0-9]' "$work/$name/metrics.jsonl" # the rewards say something
}
learned() { # learned RANKS NAME OPTION...: as one process does
    ranks=$1 name=$2
    shift 2
    learn "$ranks" learn "$@" && digest "$work/learn" | cmp "$work/$name.want" - && rm -r "$work/learn"
}
learns_on() { # a rank is killed, the run goes on with two
    learn 4 learn $critic &
    launcher=$!
    for _ in $(seq 600); do
        [ "$(lines_of learn)" -ge 12 ] && break
        sleep 0.02
    done
    processes learn | sed -n 2p | xargs -r kill -9
    wait "$launcher"
    learn 2 learn $critic --resume && digest "$work/learn" | cmp "$work/critic.want" -
}
check "learning in one process" learnt grpo
sum grpo
for ranks in ${every:-${long:+4} 3}; do check "learning on $ranks ranks" learned "$ranks" grpo; done
check "learning with a critic" learnt critic $critic
sum critic
for ranks in ${every:-${long:+3}}; do check "a critic on $ranks ranks" learned "$ranks" critic $critic; done
check "learning goes on with fewer ranks" learns_on

# ---- experiments: stages on ranks ----

cat >"$work/recipe.json" <<'END'
{"name": "tiny", "seeds": [3], "environments": [{"env": "home"}],
 "expert": {"tasks": 8}, "tokenizer": {"vocabulary": 400},
 "model": {"hidden": 16, "intermediate": 32, "layers": 1, "heads": 2, "positions": 1024},
 "sft": {"lr": 0.01, "batch": 2, "epochs": 2},
 "explore": {"tasks": 8, "temperature": 1, "max-turns": 3, "max-tokens": 8},
 "train": {"lr": 0.001, "batch": 2, "epochs": 1},
 "evaluate": {"tasks": 5, "max-turns": 4, "max-tokens": 8},
 "methods": [{"name": "SFT", "kind": "sft"}, {"name": "DPO", "kind": "preference", "train": {"objective": "dpo"}}]}
END
experiment() { # experiment RANKS OUTPUT
    on "$1" experiment "$work/recipe.json" --output "$work/$2" --quiet >"$work/$2.log" 2>&1 ||
        { tail -n 5 "$work/$2.log"; return 1; }
    grep '"rewards"' "$work/$2/results.json" >"$work/$2.rewards" && [ -s "$work/$2.rewards" ]
}
stops() { # a rank that is killed ends the experiment
    on 4 experiment "$work/recipe.json" --output "$work/xb" >"$work/xb.log" 2>&1 &
    launcher=$!
    for _ in $(seq 600); do
        grep -q '^2/' "$work/xb.log" && break
        sleep 0.02
    done
    pgrep -f "^$BUILD/dmpo experiment .*--output $work/xb" | sed -n 2p | xargs -r kill -9 # later ones are stages
    ! wait "$launcher"
}
check "an experiment in one process" experiment 0 xa
check "a rank of an experiment is killed" stops
check "it goes on with three ranks" experiment 3 xb
check "to the same rewards" cmp "$work/xa.rewards" "$work/xb.rewards"

finish ranks
