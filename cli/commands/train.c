/* dmpo train. */
#include <math.h>
#include <stdio.h>

#include "cli/call.h"
#include "cli/files.h"
#include "cli/manifest.h"
#include "dmpo.h"

static cli_command train_command = {
    .name = "train",
    .summary = "Trains a policy and writes it, with metrics and a checkpoint, into --output.",
    .usage = "--model PATH --data FILE --output DIR [options]",
    .details = "OUTPUT gets config.json, model.safetensors (f32), the tokenizer's files, metrics.jsonl, run.json and "
               "checkpoint/.\n"
               "Ctrl-C finishes the step, writes a checkpoint and stops; --resume continues with the same bits.\n"
               "dmpo train --config OUTPUT/run.json repeats a run. --no-NAME switches the flag --NAME off."};

static void metrics_json(dm_json_writer *w, const char *name, const dmpo_metrics *m)
{
    dm_json_new_line(w);
    if (!m) {
        dm_json_put_null(w, name);
        return;
    }
    dm_json_open_object(w, name);
    dm_json_put_double(w, "loss", m->loss);
    dm_json_put_double(w, "rewards/margins", m->reward_margin);
    dm_json_put_double(w, "rewards/accuracies", m->reward_accuracy);
    dm_json_close_value(w);
}

/* files: and what the directory holds. */
static dm_status run_json(dm_text *t, const dmpo_train_options *o, const dmpo_engine *engine,
                          const dmpo_train_result *r, bool files, dm_error *err)
{
    dm_json_writer w = {.out = t};

    dm_json_open_object(&w, NULL);
    dm_json_put_string(&w, "command", "train");
    dm_json_put_string(&w, "version", dmpo_version());
    dm_json_put_string(&w, "isa", dmpo_engine_isa(engine));
    if (cli_foreign_math())
        dm_json_put_string(&w, "math", cli_foreign_math());
    dm_json_put_uint(&w, "threads", dmpo_engine_threads(engine));
    dm_json_new_line(&w);
    dm_json_open_object(&w, "options");
    cli_options_json(&w, cli_train_options(), NULL, o);
    dm_json_close_value(&w);
    dm_json_new_line(&w);
    dm_json_put_string(&w, "model_sha256", r->model_sha256);
    dm_json_put_string(&w, "data_sha256", r->data_sha256);
    dm_json_new_line(&w);
    dm_json_put_int(&w, "steps", r->steps);
    dm_json_put_string(&w, "weights_sha256", r->weights_sha256);
    dm_json_new_line(&w);
    dm_json_put_uint(&w, "planned_memory", r->planned_memory);
    dm_json_put_uint(&w, "peak_memory", r->peak_memory);
    metrics_json(&w, "before", r->before);
    metrics_json(&w, "after", r->after);
    return cli_manifest_end(&w, r->transcript_sha256, files ? dmpo_train_options_get(o, "output") : NULL, err);
}

static dm_status write_run(const dmpo_train_options *o, const dmpo_engine *engine, const dmpo_train_result *r,
                           dm_error *err)
{
    dm_text t = {0};

    dm_status s = run_json(&t, o, engine, r, true, err);
    if (s == DM_OK)
        s = cli_write(dmpo_train_options_get(o, "output"), "run.json", &t, err);
    dm_text_free(&t);
    return s;
}

static void print_result(const dmpo_train_options *o, const dmpo_engine *engine, const dmpo_train_result *r, bool json)
{
    if (json) {
        dm_text t = {0};
        run_json(&t, o, engine, r, false, NULL);
        fwrite(t.data, 1, t.size, stdout);
        dm_text_free(&t);
        return;
    }
    char peak[32];
    if (r->before && r->after) {
        printf("held-out loss      %.6f -> %.6f\n", r->before->loss, r->after->loss);
        if (!isnan(r->after->reward_margin)) {
            printf("held-out margin    %+.6f -> %+.6f\n", r->before->reward_margin, r->after->reward_margin);
            printf("held-out accuracy  %.4f -> %.4f\n", r->before->reward_accuracy, r->after->reward_accuracy);
        }
    }
    printf("steps              %lld\npeak memory        %s\nweights sha256     %s\n", (long long)r->steps,
           cli_bytes(peak, (double)r->peak_memory), r->weights_sha256);
}

static dm_status check(cli_call *c, dm_error *err)
{
    return dmpo_train_options_get(c->args.train, "output")
               ? DM_OK
               : dm_fail(err, DM_ERR_ARGUMENT,
                         "no output given; --output DIR names the directory for the trained model");
}

static dm_status train(cli_call *c, dm_error *err)
{
    dmpo_train_result result = {.size = sizeof result};
    dmpo_error error = {0};
    dm_status s = cli_call_api(dmpo_train(c->engine, c->args.train, cli_progress_event, &c->progress, &result, &error),
                               &error, err);

    cli_progress_close(&c->progress);
    if (s != DM_OK || !cli_is_first()) /* rank 0 has the results */
        return s;
    if ((s = write_run(c->args.train, c->engine, &result, err)) == DM_OK)
        print_result(c->args.train, c->engine, &result, c->common.json);
    return s;
}

int cli_train(int argc, char **argv)
{
    cli_call call = {
        .command = &train_command, .needs = CLI_TRAIN | CLI_ENGINE | CLI_STOPS, .check = check, .work = train};

    train_command.options = cli_train_options();
    return cli_call_run(&call, argc, argv);
}
