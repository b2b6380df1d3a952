/* Trains a model on token ids, without a tokenizer:  train MODEL OUTPUT
 *
 * The data are two pairs of trajectories with a common prompt 5 6 7. In the first the agent says 8 9, then hears 5, then
 * says 9; that is preferred to 9 9. `turns` says which tokens the agent chose. */
#include <dmpo.h>
#include <stdio.h>

static const char data[] = "[{\"chosen\": {\"ids\": [5, 6, 7, 8, 9, 5, 9], \"turns\": [[3, 5], [6, 7]]},\n"
                           "  \"rejected\": {\"ids\": [5, 6, 7, 9, 9], \"turns\": [[3, 5]]}},\n"
                           " {\"chosen\": {\"ids\": [5, 6, 7, 8, 8, 6, 9], \"turns\": [[3, 5], [6, 7]]},\n"
                           "  \"rejected\": {\"ids\": [5, 6, 7, 7, 9], \"turns\": [[3, 5]]}}]\n";

static int print_step(void *context, const dmpo_event *event)
{
    (void)context;
    if (event->kind == DMPO_EVENT_STEP)
        printf("step %lld of %lld: loss %.6f, margin %.6f\n", (long long)event->done, (long long)event->total,
               event->metrics->loss, event->metrics->reward_margin);
    return 0;
}

static int write_data(const char *path)
{
    FILE *f = fopen(path, "w");
    const int failed = !f || fputs(data, f) < 0;
    return (f && fclose(f) != 0) || failed;
}

int main(int argc, char **argv)
{
    dmpo_engine *engine = NULL;
    dmpo_train_options *options = NULL;
    dmpo_train_result result;
    dmpo_error error;

    if (argc != 3)
        return fprintf(stderr, "usage: train MODEL OUTPUT\n"), 2;
    if (write_data("pairs.json"))
        return fprintf(stderr, "train: cannot write pairs.json\n"), 1;
    result.size = sizeof result;
    const int failed = dmpo_engine_open(&engine, NULL, 0, &error) || dmpo_train_options_open(&options, &error) ||
                       dmpo_train_options_set(options, "model", argv[1], &error) ||
                       dmpo_train_options_set(options, "data", "pairs.json", &error) ||
                       dmpo_train_options_set(options, "output", argv[2], &error) ||
                       dmpo_train_options_set(options, "objective", "dmpo", &error) ||
                       dmpo_train_options_set_real(options, "lr", 1e-3, &error) ||
                       dmpo_train_options_set_integer(options, "batch", 2, &error) ||
                       dmpo_train_options_set_integer(options, "steps", 5, &error) ||
                       dmpo_train(engine, options, print_step, NULL, &result, &error);
    if (failed)
        fprintf(stderr, "train: %s: %s\n", dmpo_status_name(error.status), error.message);
    else
        printf("weights %s\n", result.weights_sha256);
    dmpo_train_options_close(&options);
    dmpo_engine_close(&engine);
    return failed;
}
