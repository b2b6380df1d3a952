#!/bin/sh
# dmpo experiment from a recipe to results.json: run again, changed, with other jobs, killed and continued, failing,
# with data and a model from outside; what is refused; the recipes that come with dmpo.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
cd "$work" || exit 1

# recipe GAMMA LR [MORE]: prints one
recipe() {
    cat <<END
{"name": "tiny", "title": "A test", "seeds": [3], ${3-}
 "environments": [{"env": "home"}],
 "expert": {"tasks": 8}, "tokenizer": {"vocabulary": 400},
 "model": {"hidden": 16, "intermediate": 32, "layers": 1, "heads": 2, "positions": 1024},
 "sft": {"lr": 0.01, "batch": 2, "epochs": 2},
 "explore": {"tasks": 8, "temperature": 1, "max-turns": 3, "max-tokens": 8},
 "train": {"lr": $2, "batch": 2, "epochs": 1},
 "evaluate": {"tasks": 5, "max-turns": 4, "max-tokens": 8},
 "methods": [
  {"name": "expert", "kind": "expert", "evaluate": {"max-turns": 0}},
  {"name": "SFT", "kind": "sft"},
  {"name": "DPO", "kind": "preference", "train": {"objective": "dpo"}},
  {"name": "DMPO", "kind": "preference", "train": {"objective": "dmpo", "gamma": $1}}],
 "examples": ["DMPO"]}
END
}

experiment() { # experiment RUN ARGS...: output in RUN.out and RUN.err
    run=$1
    shift
    dmpo experiment "$@" >"$run.out" 2>"$run.err" </dev/null
}

# results FILE: results.json without what differs between two runs of one experiment
results() {
    sed -e 's|out-[a-z]/|DIR/|g' -e 's/"seconds": [0-9.]*/"seconds": S/g' -e 's/"reused": [a-z]*/"reused": R/' \
        -e 's/"jobs": [0-9]*/"jobs": J/' "$1"
}
results_are() { results "$1/results.json" >now.plain && cmp first.plain now.plain; } # those of the first run

ran() { [ "$(grep -c '^[0-9]*/[0-9]* ' "$1.err")" = "$2" ]; } # so many stages ran now
says() { grep -q -e "$2" "$1"; }
one_line() { [ "$(wc -l <"$1")" -eq 1 ]; }

# ---- one run, the same again, a change ----

recipe 0.5 0.001 >recipe.json
check "a run" experiment first recipe.json --output out-a --jobs 2
check "it ran 17 stages" ran first 17
check "the table has the expert" says first.out '^expert  *1\.000 .*1\.000'
check "the table has every method" test "$(grep -c -E '^(expert|SFT|DPO|DMPO) ' first.out)" = 4
check "the report is named" says first.out '^out-a/report.html$'
check "and there, in all forms" test -s out-a/report.html -a -s out-a/report.md -a -s out-a/results.csv
check "an evaluation has five rewards" says out-a/results.json '"rewards": \[[0-9.]*\(, [0-9.]*\)\{4\}\]'
check "it names a hash of weights" says out-a/results.json '"method": "DMPO".*"weights_sha256": "[0-9a-f]\{64\}"'
check "no checkpoint is left" test -z "$(find out-a -name checkpoint)"
results out-a/results.json >first.plain
check "every stage gives its files again" dmpo verify out-a --quiet >verified 2>&1
check "and every training its steps" test "$(grep -c '; the model is that of the last step' verified)" = 3
episodes=$(find out-a -name episodes.jsonl | grep explore) && cp "$episodes" episodes.kept
sed 's/"reward": /"reward": 1/' episodes.kept >"$episodes"
if dmpo verify out-a --quiet >verified 2>&1; then check "another reward is found" false; fi
check "and named" says verified '^REFUTED .*explore.*episodes.jsonl: is not what its command makes'
cp episodes.kept "$episodes"

# killed between the record of a finished stage and the removal of its checkpoint
trained=$(find out-a/stages -name model.safetensors | sed 's,/[^/]*$,,' | tail -n 1)
mkdir "$trained/checkpoint" && echo '{}' >"$trained/checkpoint/state.json"
check "the same again" experiment again recipe.json --output out-a --jobs 2
check "nothing ran" ran again 0
check "a finished stage's checkpoint goes" test -f "$trained/stage.json" -a ! -e "$trained/checkpoint"
check "the table is the same" cmp first.out again.out
check "the results are the same" results_are out-a

recipe 0.9 0.001 >gamma.json
check "another gamma" experiment gamma gamma.json --output out-a --jobs 2
check "its training, evaluations and example ran" ran gamma 4
check "and the first one again" experiment first-again recipe.json --output out-a
check "which was there still" ran first-again 0

# ---- one job at a time, killed and continued ----

check "one job" experiment jobs recipe.json --output out-b --jobs 1 --threads 2
check "the results are those of two" results_are out-b
check "so is the table" test "$(grep -v report.html jobs.out)" = "$(grep -v report.html first.out)"

records() { find "$1" -name stage.json | wc -l; }
signals="KILL TERM"
[ -z "${DMPO_TEST_FAST-}" ] || signals=KILL
for signal in $signals; do
    rm -rf out-c
    # shellcheck disable=SC2086 # the wrapper is a list of words
    ${EXEC_WRAPPER-} "$BUILD/dmpo" experiment recipe.json --output out-c --jobs 2 >killed.out 2>killed.err </dev/null &
    pid=$!
    tries=0
    while [ "$({ records out-c; } 2>/dev/null)" -lt 5 ] && [ $tries -lt 600 ]; do
        sleep 0.05 2>/dev/null || sleep 1
        tries=$((tries + 1))
    done
    kill -"$signal" $pid
    wait $pid 2>/dev/null
    status=$?
    check "$signal: it was stopped" test $status != 0
    [ "$signal" = KILL ] || check "TERM: it says how to go on" says killed.err 'the same command continues$'
    check "$signal: not everything was done" test ! -f out-c/results.json
    done=$(records out-c)
    check "$signal: continues" experiment continued recipe.json --output out-c --jobs 2
    check "$signal: with what was missing" test "$(grep -c '^[0-9]*/[0-9]* ' continued.err)" -le $((17 - done))
    check "$signal: the results are the same" results_are out-c
done

# ---- the plan is a script ----

rm -rf out-d
check "a plan" experiment plan recipe.json --output out-d --plan
check "it ran nothing" test ! -e out-d
if [ -z "${DMPO_TEST_FAST-}" ]; then
    {
        # shellcheck disable=SC2016 # for the script to expand
        echo 'dmpo() { ${EXEC_WRAPPER-} "$BUILD/dmpo" "$@"; }'
        cat plan.out
    } >plan.sh
    check "its commands can be typed" sh -e plan.sh >typed.out 2>&1
    for file in out-d/stages/*/episodes.jsonl out-d/stages/*/pairs.jsonl out-d/stages/*/scores.jsonl; do
        check "they make the same $file" cmp "$file" "out-a/${file#*/}"
    done
fi
check "the plan knows what is done" experiment plan recipe.json --output out-a --plan
check "which is everything" says plan.out '^# 17 stages, 17 of them done$'

check "the results as JSON" experiment json recipe.json --output out-a --json
check "are the file's" cmp json.out out-a/results.json

# ---- only some stages, other seeds ----

check "only SFT" experiment only recipe.json --output out-e --only 'home-sft-s3'
check "it ran four stages" ran only 4
check "and there are no results yet" test ! -f out-e/results.json
if [ -z "${DMPO_TEST_FAST-}" ]; then
    check "two seeds" experiment seeds recipe.json --output out-a --seeds 3,4
    check "all of the first one was there" ran seeds 12
    check "the table says so" says seeds.out '95 % intervals over 2 seeds'
fi

# ---- a search, then questions ----

recipe 0.5 0.001 '"search": {"seeds": [9], "values": {"lr": [1e-9, 0.002]},
  "evaluate": {"splits": ["train"], "tasks": 3}}, "difference": 0.05, "questions": [
  {"ask": "Is DMPO above DPO?", "method": "DMPO", "against": "DPO"}],' |
    sed 's/"kind": "sft"}/"kind": "sft", "search": {}}/' >search.json
check "a search is planned alone" experiment search search.json --output out-a --plan
check "with what decides it" says search.out '^# 14 stages of the search, 2 of them done$'
check "it runs, and the results after it" experiment search search.json --output out-a --seeds 3,4
check "of each method one point is chosen" test "$(grep -c '"values": {"lr": .*"chosen": true}' out-a/results.json)" = 2
check "the question has an answer" says search.out '^Is DMPO above DPO? home: DMPO and DPO do not differ beyond chance'
check "in JSON, too" says out-a/results.json '"n": 2, "difference": 0, .*"sought": 0.05'
check "the report has both" test "$(grep -c -E '^## (Questions|Search)$' out-a/report.md)" = 2
check "nothing of it runs again" experiment search search.json --output out-a --seeds 3,4
check "when all is done" ran search 0

# ---- a stage that fails ----

recipe 0.5 1e30 >fails.json
fails() { ! experiment fails fails.json --output out-a; }
check "a training that fails" fails
check "it is named, with its log and why" says fails.err \
    '^dmpo experiment: stage home-dpo-s3 failed with status 1; out-a/stages/home-dpo-s3-[0-9a-f]*/log: dmpo train: .*not finite'
check "the run ends with a line" says fails.err '^dmpo experiment: 2 stages failed and 10 of 17 are done'
check "and with the table of the others" says fails.out '^SFT  *[0-9]'

# ---- data and a model from outside ----

cp "$SRC"/tests/data/demo/sft.jsonl "$SRC"/tests/data/demo/pairs.jsonl .
sed -n 1,6p sft.jsonl >few-sft.jsonl
sed -n 1,4p pairs.jsonl >few-pairs.jsonl
cat >outside.json <<'END'
{"name": "outside",
 "environments": [{"name": "games", "data": {"sft": "few-sft.jsonl", "pairs": "few-pairs.jsonl"}}],
 "tokenizer": {"vocabulary": 400}, "sft": {"steps": 2, "batch": 2}, "train": {"steps": 2, "batch": 2},
 "model": {"hidden": 16, "intermediate": 32, "layers": 1, "heads": 2},
 "settings": [{"name": "whole"}, {"name": "cut", "pairs": {"cut": 2}}],
 "methods": [{"name": "DMPO", "kind": "preference"}, {"name": "two", "kind": "preference", "from": "@model",
   "train": {"objective": "dpo", "reference2": "@sft"}}]}
END
check "data from outside" experiment outside outside.json --output out-f
check "its stages" ran outside 8
check "pairs from outside are named" says out-f/results.json '"setting": "whole".*"file": "few-pairs.jsonl", "pairs": null'
check "those that were cut are counted" says out-f/results.json '"setting": "cut".*"pairs": 4, "statistics": {'
model=$(find out-f/stages -name 'games-init-*')
sed "s|\"model\": .*},|\"model\": \"$model\",|; s|\"cut\": 2|\"cut\": 3|" outside.json >directory.json
check "a model from outside" experiment directory directory.json --output out-f
check "instead of the stage" says out-f/results.json "dmpo train --model $model --data few-sft.jsonl"
echo >>few-sft.jsonl
check "data that changed" experiment changed outside.json --output out-f --plan
check "begin anew" says changed.out '^# games-sft-s1$'

# ---- refused ----

# bad STATUS TEXT ARGS...: one line that holds the text
bad() {
    want=$1 text=$2
    shift 2
    status=0
    experiment bad "$@" || status=$?
    if [ "$status" = "$want" ] && [ ! -s bad.out ] && one_line bad.err && grep -qF -e "$text" bad.err; then return 0; fi
    cat bad.err
    return 1
}
check "no recipe" bad 2 'no recipe given' --output out-g
check "no output" bad 2 'no output given' recipe.json
check "no such recipe" bad 2 "'slow' is neither a file nor a built-in recipe" slow --output out-g
check "no such file" bad 1 'missing.json: cannot open' missing.json --output out-g
check "seeds" bad 2 "--seeds: '1,x' is not a list of whole numbers" recipe.json --output out-g --seeds 1,x
check "jobs" bad 2 '--jobs 300 is out of range' recipe.json --output out-g --jobs 300
check "only" bad 2 "--only 'nothing' matches no stage" recipe.json --output out-g --only nothing
check "a directory that is a file" bad 1 'recipe.json' recipe.json --output recipe.json
change() { sed "$1" recipe.json >broken.json; }
change 's/"lr": 0.01/"lrr": 0.01/'
check "an option" bad 1 "broken.json:5:17: unknown option 'lrr', did you mean 'lr'?; dmpo train --help" broken.json --output out-g
change 's/"lr": 0.01/"lr": "0.01"/'
check "a type" bad 1 'broken.json:5:16: "lr" must be a number' broken.json --output out-g
change 's/"objective": "dpo"/"objective": "ppo"/'
check "a choice" bad 1 "broken.json:12:64: \`objective\`: 'ppo' is not one of: sft, dmpo" broken.json --output out-g
change 's/"hidden": 16/"tokenizer": "x"/'
check "a place" bad 1 'broken.json:4:25: "tokenizer" is set by the experiment itself' broken.json --output out-g
change 's/"examples": \["DMPO"\]/"examples": ["SFT"]/'
check "an example" bad 1 'broken.json:14:15: an example is the name' broken.json --output out-g
change 's/"examples"/"example"/'
check "a member" bad 1 'broken.json:14:13: a recipe has no "example"; it may have: name, title' broken.json --output out-g
change 's/}$//'
check "JSON" bad 1 'broken.json:' broken.json --output out-g
check "nothing was made" test ! -e out-g

# ---- the same stages by make, and by Slurm ----

mkdir bin
printf '#!/bin/sh\nexec %s "%s" "$@"\n' "${EXEC_WRAPPER-}" "$BUILD/dmpo" >bin/dmpo
# As Slurm has it: jobs wait for those they name. Here each runs when it is submitted.
cat >bin/sbatch <<'END'
#!/bin/sh
count=1 script=
while [ $# -gt 0 ]; do
    case $1 in
    --array=1-*) count=${1#--array=1-} ;;
    --dependency=afterok:*) [ -f "job-${1#*:}" ] || exit 1 ;;
    --wrap) script=$2 && shift ;;
    esac
    shift
done
for task in $(seq "$count"); do SLURM_ARRAY_TASK_ID=$task sh -c "$script" >>sbatch.out 2>&1 || exit 1; done
next=$(find . -name 'job-*' | wc -l)
: >"job-$next" && echo "$next"
END
chmod +x bin/dmpo bin/sbatch

by() { # by FORM COMMAND...: the stages, as that form has them, give the first run's results
    form=$1
    shift
    experiment plan recipe.json --output "out-by-$form" --plan --form "$form" || return 1
    cp plan.out "$form.plan"
    PATH=$PWD/bin:$PATH "$@" >"$form.log" 2>&1 || { tail -n 3 "$form.log"; return 1; }
    sed 's|out-by-[a-z]*/|DIR/|g; s/"reused": [a-z]*/"reused": R/' "out-by-$form/results.json" >by.plain
    results by.plain | grep '"rewards"' >by.rewards
    grep '"rewards"' first.plain | cmp - by.rewards
}
check "a makefile" by make make -f make.plan
check "a script for Slurm" by slurm sh slurm.plan
check "of levels" test "$(grep -c '^submit' slurm.plan)" = 10
check "a stage alone, again" experiment alone recipe.json --output out-by-make --stage home-dmpo-s3
check "a stage without its inputs is refused" refuses 2 'home-expert, which is not done' experiment recipe.json \
    --output out-i --stage home-init-s3

# ---- the recipes that come with dmpo ----

check "they are listed" experiment list --list
check "quick is there" says list.out '^quick  '
while read -r recipe title; do
    check "$recipe has a title" test -n "$title"
    check "$recipe shows itself" experiment show "$recipe" --show
    check "$recipe is the file's text" cmp "$SRC/agent/experiment/recipes/$recipe.json" show.out
    [ "$recipe" = sciworld ] || check "$recipe has a plan" experiment plan "$recipe" --output out-h --plan
done <list.out
check "every file is listed" test "$(find "$SRC/agent/experiment/recipes" -name '*.json' | wc -l)" -eq "$(wc -l <list.out)"

# ---- methods that start from one another: the plan takes time and memory in proportion to them ----

chain=$(awk 'BEGIN {
    for (i = 1; i <= 30; i++)
        printf ", {\"name\": \"M%d\", \"kind\": \"preference\", \"from\": \"@%s\"}", i, (i > 1 ? "M" (i - 1) : "sft")
}')
recipe 0.5 0.001 | sed "s/^  {\"name\": \"DPO\".*/  {\"name\": \"DPO\", \"kind\": \"preference\"}$chain,/" >chain.json
check "a chain of thirty methods within ten seconds" eval \
    '(ulimit -t 10 && experiment chain chain.json --output out-chain --plan)'
check "each trains once, the first one as DPO" test "$(grep -c '^# home-m[0-9]*-s3$' chain.out)" = 29

finish experiment
