#!/bin/sh
# make demo: the whole loop in a built-in text game: experts are imitated, the policy explores, pairs are made,
# DPO and DMPO learn from them, all are evaluated. Env: BUILD (holds dmpo), EXEC_WRAPPER. Works in BUILD/demo, anew
# each time.
set -eu

begin=$(date +%s)
cd "$BUILD"
rm -rf demo

cat <<END
dmpo demo: agents of 140,000 parameters, made here, learn to put a house in order (docs/environments.md, "home").
They imitate an expert in 150 tasks (SFT), then play 1,500 tasks; where the expert did better, its run and theirs are a
pair for DPO and DMPO. 200 tasks of the same kind (seen) and 200 of kinds that never occurred (unseen) tell how good
they are; three seeds tell how sure that is. SFT-chosen learns from the better sides of the pairs alone.

\$ dmpo experiment quick --output demo

END
# shellcheck disable=SC2086 # the wrapper is a list of words
${EXEC_WRAPPER-} ./dmpo experiment quick --output demo

cat <<END

$(($(date +%s) - begin)) seconds. The table has the same digits on every machine and for any number of threads.
The report: $BUILD/demo/report.html
END
