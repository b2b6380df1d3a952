/* Prints how probable each turn of an agent is under a model:  score MODEL DATA
 *
 * MODEL is a model of any form, DATA a file of trajectories or pairs (docs/data.md). */
#include <dmpo.h>
#include <stdio.h>

static int print_turns(void *context, const dmpo_scored *s)
{
    (void)context;
    for (size_t i = 0; i < s->turns; i++)
        printf("%s %s turn %zu: %zu tokens, log p = %.4f\n", s->id, s->side, i, s->turn[i].end - s->turn[i].begin,
               s->turn[i].logp);
    return 0; /* nonzero would stop */
}

int main(int argc, char **argv)
{
    dmpo_engine *engine = NULL;
    dmpo_train_options *options = NULL;
    dmpo_error error;

    if (argc != 3)
        return fprintf(stderr, "usage: score MODEL DATA\n"), 2;
    const int failed = dmpo_version_check(DMPO_VERSION_NUMBER, &error) || /* is this the library of our header? */
                       dmpo_engine_open(&engine, NULL, 0, &error) || dmpo_train_options_open(&options, &error) ||
                       dmpo_train_options_set(options, "model", argv[1], &error) ||
                       dmpo_train_options_set(options, "data", argv[2], &error) ||
                       dmpo_score(engine, options, print_turns, NULL, NULL, NULL, &error);
    if (failed)
        fprintf(stderr, "score: %s: %s\n", dmpo_status_name(error.status), error.message);
    dmpo_train_options_close(&options);
    dmpo_engine_close(&engine);
    return failed;
}
