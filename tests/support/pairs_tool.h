/* Runs as letters, and pairs of them. A run is written as the letters of its actions; the environment answers with all
 * letters so far. A pair is written "prompt|chosen>rejected": "ab|c>d" has two shared turns in its prompt. */
#ifndef DM_TESTS_SUPPORT_PAIRS_TOOL_H
#define DM_TESTS_SUPPORT_PAIRS_TOOL_H

#include "agent/pairs/pairs.h"

enum { EXPERT, EXPLORED, CONTINUATIONS, FROM, OUTPUT, FILES };

extern char file[FILES][64];

void name_files(const char *test);
void remove_files(void);

/* ---- writing episodes ---- */

typedef struct run {
    const char *letters;
    double reward;
    int64_t task, sample, replayed;
    double logp; /* of a token; each turn has 4 */
    const char *end, *env, *task_text;
    dm_env_split split;
    uint64_t seed;
} run;

void write_runs(int which, const run *runs, size_t n);

#define RUNS(which, ...) write_runs(which, (const run[]){__VA_ARGS__}, sizeof((const run[]){__VA_ARGS__}) / sizeof(run))

void write_text(int which, const char *text);

/* ---- reading pairs ---- */

dm_pairs_options options_of(const char *sources);

/* The pairs are `want`, separated by blanks, and `dropped` of them went for `why` (DM_PAIRS_DROPS: none was
 * dropped). */
void expect(const dm_pairs_options *o, const char *want, dm_pairs_drop why, size_t dropped);
void expect_error(const dm_pairs_options *o, dm_status status, const char *says);

#endif
