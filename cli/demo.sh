#!/bin/sh
# make demo: the whole loop in a built-in text game: experts are imitated, the policy explores, pairs of its runs are
# made, DPO and DMPO learn from them, and so on; all are evaluated. Env: BUILD (holds dmpo), EXEC_WRAPPER. Each run
# starts with an empty BUILD/demo.
set -eu

begin=$(date +%s)
cd "$BUILD"
rm -rf demo

cat <<END
dmpo demo: agents of 140,000 parameters, made here, learn to buy what they are asked for (docs/environments.md, "shop").
They imitate an expert in 150 tasks (SFT). Then they play these and 300 others, 150 at a time and each four times,
without the expert: the best and the worst run of a task are a pair for DPO and DMPO, which train the agent that plays
the next 150. SFT-chosen learns from the best runs alone. 200 tasks of the same kind (seen) and 200 of kinds that never
occurred (unseen) tell how good the agents are; four seeds tell how sure that is.

\$ dmpo experiment quick --output demo

END
# shellcheck disable=SC2086 # the wrapper is a list of words
${EXEC_WRAPPER-} ./dmpo experiment quick --output demo

cat <<END

$(($(date +%s) - begin)) seconds. The table has the same digits on every machine and for any number of threads.
The report: $BUILD/demo/report.html
END
