#!/bin/sh
# make demo: from raw trajectories to a preference-tuned policy, with the commands a user would type.
# Env: BUILD (holds dmpo), SRC, EXEC_WRAPPER. Everything is made in BUILD/demo, anew each time.
set -eu

demo=$BUILD/demo
rm -rf "$demo"
mkdir -p "$demo"
cp "$SRC"/tests/data/demo/*.jsonl "$demo"
cd "$demo"
begin=$(date +%s)
exec 3>&1 # where commands are shown, whatever becomes of their output

die() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

title() {
    printf '\n== %s\n' "$1"
    shift
    printf '%s\n' "$@"
}

# Shows the command as one would type it, then runs it.
dmpo() {
    printf '\n$ dmpo %s\n' "$*" | awk '{
        for (i = 1; i <= NF; i++) {
            if (length(line) + length($i) > 92) { print line " \\"; line = "     " }
            line = line (i > 1 ? " " : "") $i
        }
        print line
        line = ""
    }' >&3
    # shellcheck disable=SC2086 # the wrapper is a list of words
    ${EXEC_WRAPPER-} "$BUILD/dmpo" "$@"
}

# figure before|after NAME: of the held-out evaluation that policy/run.json keeps
figure() { sed -n "s|.*\"$1\": {.*\"$2\": \([-+0-9.e]*\).*|\1|p" policy/run.json; }

hash_of() { sed -n 's/.*"weights_sha256": "\([0-9a-f]*\)".*/\1/p' "$1/run.json"; }

items() { sed -n '$=' "$1"; }

cat <<END
dmpo demo: a language model of a million parameters, made here, learns from runs of five text games, first by imitating
experts (SFT), then from pairs of a better and a worse run (DMPO). Data and licence: tests/data/demo/README.md.
Works in $demo
END

title "1. Tokenizer" "Byte-level BPE, trained on the texts that the model is trained on."
dmpo tokenizer train --output tokenizer --vocabulary 1024 sft.jsonl pairs.jsonl

title "2. Model" "A Llama of 4 layers with seeded weights. (A directory from Hugging Face would do as well.)"
dmpo init --output model --tokenizer tokenizer --hidden 128 --intermediate 384 --layers 4 --heads 4

title "3. SFT" "Imitates the actions of $(items sft.jsonl) expert runs."
dmpo train --objective sft --model model --data sft.jsonl --output sft --lr 2e-3 --batch 8 --steps 80

title "4. DMPO" "Learns from $(items pairs.jsonl) pairs to prefer the better run. $(items heldout.jsonl) pairs of other games are held out." \
    "The SFT model is where it starts, and its reference."
dmpo train --objective dmpo --beta 0.1 --gamma 0.7 --model sft --data pairs.jsonl --eval-data heldout.jsonl \
    --output policy --lr 2e-4 --batch 8 --steps 24

title "5. The same bits" "Both runs again from their records (run.json), with 1 thread and with 2."
quiet=
[ -t 2 ] || quiet=--quiet # a bar on a terminal, nothing in a log
for threads in 1 2; do
    # shellcheck disable=SC2086 # --quiet or nothing
    dmpo train --config sft/run.json --output again-$threads/sft --threads $threads $quiet >log
    # shellcheck disable=SC2086
    dmpo train --config policy/run.json --model again-$threads/sft --output again-$threads/policy --threads $threads \
        $quiet >log
done

title "Result" "$(items heldout.jsonl) held-out pairs          before      after"
for name in loss rewards/margins rewards/accuracies; do
    printf '  %-24s %8.4f   %8.4f\n' "$name" "$(figure before $name)" "$(figure after $name)"
done
cat <<END
Before, the policy is its own reference: all rewards are 0, and a tie counts as wrong. Guessing gives an accuracy of 0.5;
one pair more or less is $(awk "BEGIN { printf \"%.2f\", 1 / $(items heldout.jsonl) }").

SHA-256 of the weights
END
expected=$(hash_of policy)
[ -n "$expected" ] || die "policy/run.json names no hash"
show_hash() { # show_hash DIR THREADS
    printf '  %s  %s, threads: %s\n' "$(hash_of "$1")" "$1" "$2"
    [ "$(hash_of "$1")" = "$expected" ] || die "$1 has other weights than policy"
}
show_hash policy "$(sed -n 's/.*"threads": \([0-9]*\).*/\1/p' policy/run.json)"
show_hash again-1/policy 1
show_hash again-2/policy 2

improved=$(awk "BEGIN { print ($(figure after rewards/margins) > $(figure before rewards/margins) &&
    $(figure after rewards/accuracies) > 0.5 && $(figure after loss) < $(figure before loss)) }")
[ "$improved" = 1 ] || die "the held-out figures did not improve"
printf '\nEqual, and better on held-out pairs. %d seconds.\n' "$(($(date +%s) - begin))"
