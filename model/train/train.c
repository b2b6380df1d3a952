/* dmpo_train and dmpo_plan_train: a run from its options to its output directory. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/files/lock.h"
#include "core/files/path.h"
#include "core/files/place.h"
#include "core/system.h"
#include "model/api.h"
#include "model/train/rounds.h"
#include "model/train/train.h"

/* A run's own output is continued with `resume`; everything else that is there is somebody's. */
static dm_status check_output(const dm_train_options *o, dm_error *err)
{
    const char *const inputs[] = {o->model, o->base, o->data, o->eval_data, o->reference, o->reference2};
    dm_path metrics;
    dm_status s = DM_OK;

    if (!o->output)
        return dm_fail(err, DM_ERR_ARGUMENT, "no output given; `output` names the directory for the trained model");
    for (size_t i = 0; s == DM_OK && i < sizeof inputs / sizeof *inputs; i++)
        s = dm_place_apart(o->output, inputs[i], err);
    if (s != DM_OK || (s = dm_path_in(&metrics, o->output, "metrics.jsonl", err)) != DM_OK)
        return s;
    if (!dm_file_exists(metrics.text))
        return dm_place_check(o->output, o->overwrite, err);
    return o->resume || o->overwrite || dm_place_is_free(metrics.text)
               ? DM_OK
               : dm_fail(err, DM_ERR_FILE,
                         "%s: holds a run already; `resume` continues it, `overwrite` replaces it, or name another "
                         "`output`",
                         o->output);
}

/* The output directory is made before the long work starts, so that an unwritable one fails at once. Its metrics.jsonl
 * is the lock: who has it sees what an earlier holder has left. */
static dm_status open_output(dm_run *r, dm_error *err)
{
    dm_path path;
    dm_status s;

    if ((s = dm_dir_create(r->options.output, err)) != DM_OK ||
        (s = dm_path_in(&path, r->options.output, "metrics.jsonl", err)) != DM_OK ||
        (s = dm_lock_open(&r->output.metrics_fd, path.text, r->options.output, O_WRONLY | O_CREAT | O_APPEND, false,
                          err)) != DM_OK)
        return s;
    return check_output(&r->options, err);
}

/* A run that failed before it had anything to say leaves no trace. What a policy has played stays, and with it
 * metrics.jsonl, by which `resume` knows a run: planned_memory is there from when playing may have begun. */
static void discard_output(const dm_run *r, const dm_train_result *result, bool is_new)
{
    dm_path path;
    struct stat st;

    if (r->policy && result->planned_memory > 0)
        return;
    if (fstat(r->output.metrics_fd, &st) != 0 || st.st_size > 0 ||
        dm_path_in(&path, r->options.output, "metrics.jsonl", NULL) != DM_OK)
        return;
    unlink(path.text);
    if (r->output.tensorboard_fd >= 0 && dm_path_in(&path, r->options.output, DM_TENSORBOARD_FILE, NULL) == DM_OK)
        unlink(path.text);
    dm_run_transcript_remove(r, NULL);
    if (is_new)
        rmdir(r->options.output); /* keeps what is not empty */
}

static dm_status begin(dm_run *r, int64_t *first, dm_train_result *result, dm_error *err)
{
    char text[128];
    const char *place = NULL;
    dm_status s = r->options.resume ? dm_checkpoint_read(r, &place, first, result, err) : DM_OK;

    if (s != DM_OK)
        return s;
    if (*first == 0 && (s = dm_checkpoint_discard(r, err)) != DM_OK)
        return s;
    if (*first == 0 && ftruncate(r->output.metrics_fd, 0) != 0)
        return dm_fail(err, DM_ERR_FILE, "%s/metrics.jsonl: cannot empty: %s", r->options.output, strerror(errno));
    if (*first == 0 && r->output.tensorboard_fd < 0 && (s = dm_run_tensorboard_open(r, 0, err)) != DM_OK)
        return s;
    if (*first == 0 && (s = dm_run_transcript_begin(r, err)) != DM_OK)
        return s;
    if (*first > 0) {
        snprintf(text, sizeof text, "resumed after step %lld of %lld, from %s", (long long)*first, (long long)r->steps,
                 place);
        dm_run_event(r, DMPO_EVENT_NOTE, text, 0, 0, NULL);
    }
    return DM_OK;
}

/* Where rank 0 begins, all do. */
static dm_status begin_together(dm_run *r, int64_t *first, dm_train_result *result, dm_error *err)
{
    int64_t places[3];
    dm_status s = dm_run_agree(r, r->ranks.self == 0 ? begin(r, first, result, err) : DM_OK, err);

    if (s != DM_OK || r->ranks.count == 1)
        return s;
    places[0] = *first;
    places[1] = result->before.step;
    places[2] = result->after.step;
    s = dm_ranks_share(DM_RANK_STATE, places, sizeof places, "the first step", err);
    *first = places[0];
    result->before.step = places[1];
    result->after.step = places[2];
    return s == DM_OK && *first > 0 ? dm_run_share_state(r, err) : s;
}

static dm_status write_result(dm_run *r, dm_train_result *result, dm_error *err)
{
    dm_status s;

    if (r->ranks.self > 0)
        return DM_OK;
    if ((s = dm_run_write_model(r, result->weights_sha256, err)) != DM_OK ||
        (s = dm_run_transcript_root(r, result->transcript_sha256, err)) != DM_OK ||
        (s = dm_run_check_output(r, err)) != DM_OK)
        return s;
    dm_checkpoint_keep_one(r);
    return DM_OK;
}

static dm_status train(dm_run *r, dm_train_result *result, dm_error *err)
{
    int64_t first = 0;
    dm_status s = r->ranks.self == 0 ? open_output(r, err) : DM_OK;

    if (s == DM_OK)
        s = dm_run_place(r, err);
    if ((s = dm_run_agree(r, s, err)) != DM_OK ||
        (s = r->policy ? dm_run_begin_rounds(r, err) : dm_run_reference(r, err)) != DM_OK ||
        (s = begin_together(r, &first, result, err)) != DM_OK)
        return s;
    result->planned_memory = r->plan.total;
    memcpy(result->data_sha256, r->train.data.sha256, sizeof result->data_sha256);
    memcpy(result->model_sha256, r->models.policy.sha256, sizeof result->model_sha256);
    if ((s = r->policy ? dm_run_rounds(r, first, result, err) : dm_run_steps(r, first, result, err)) != DM_OK ||
        (s = write_result(r, result, err)) != DM_OK)
        return s;
    result->peak_memory = dm_rss_peak();
    return DM_OK;
}

static dmpo_status train_with(dmpo_engine *engine, const dm_train_options *options, dm_run_policy *policy,
                              dmpo_event_fn event, void *context, dm_train_result *result, dmpo_error *error)
{
    dm_error err = {0};
    dm_run run = {0};

    *result = (dm_train_result){.before = {.step = -1, .kl = NAN}, .after = {.step = -1, .kl = NAN}};
    const bool is_new = options->output && !dm_dir_exists(options->output);
    run.output.metrics_fd = run.output.tensorboard_fd = run.output.transcript_fd = -1;
    run.ranks.count = dm_ranks_here()->count;
    dm_status s = dm_ranks_here()->self == 0 ? check_output(options, &err) : DM_OK;
    if (s == DM_OK)
        s = policy ? dm_run_open_policy(&run, &engine->e, options, policy, event, context, &err)
                   : dm_run_open(&run, &engine->e, options, event, context, &err);
    s = dm_run_agree(&run, s, &err);
    if (s == DM_OK)
        s = train(&run, result, &err);
    if (policy)
        dm_run_end_rounds(&run);
    if (s != DM_OK && run.output.metrics_fd >= 0)
        discard_output(&run, result, is_new);
    if (run.output.metrics_fd >= 0)
        close(run.output.metrics_fd);
    if (run.output.tensorboard_fd >= 0)
        close(run.output.tensorboard_fd);
    if (run.output.transcript_fd >= 0)
        close(run.output.transcript_fd);
    dm_run_close(&run);
    return dm_api_report(error, s, &err);
}

dmpo_status dm_train(dmpo_engine *engine, const dm_train_options *options, dmpo_event_fn event, void *context,
                     dm_train_result *result, dmpo_error *error)
{
    return train_with(engine, options, NULL, event, context, result, error);
}

dmpo_status dm_train_policy(dmpo_engine *engine, const dm_train_options *options, dm_run_policy *policy,
                            dmpo_event_fn event, void *context, dm_train_result *result, dmpo_error *error)
{
    return train_with(engine, options, policy, event, context, result, error);
}

dmpo_status dm_plan_train(dmpo_engine *engine, const dm_train_options *options, dmpo_plan *plan, dmpo_error *error)
{
    return dm_plan_policy(engine, options, NULL, plan, error);
}

dmpo_status dm_plan_policy(dmpo_engine *engine, const dm_train_options *options, dm_run_policy *policy, dmpo_plan *plan,
                           dmpo_error *error)
{
    dm_error err = {0};
    dm_run run;
    const dm_status s = policy ? dm_run_open_policy(&run, &engine->e, options, policy, NULL, NULL, &err)
                               : dm_run_open(&run, &engine->e, options, NULL, NULL, &err);

    *plan = run.plan;
    dm_run_close(&run);
    return dm_api_report(error, s, &err);
}

dmpo_status dm_plan_ranks(dmpo_engine *engine, const dm_train_options *options, unsigned ranks, dm_rank_plan *out,
                          dmpo_error *error)
{
    dm_error err = {0};
    dm_run run;
    dm_status s = dm_run_open_as(&run, &engine->e, options, 0, ranks, &err);

    for (unsigned rank = 0; s == DM_OK && rank < ranks; rank++) {
        run.ranks.self = rank;
        s = dm_run_plan(&run, &err);
        out[rank] = (dm_rank_plan){run.ranks.shards, run.plan.total, dm_run_step_bytes(&run)};
    }
    dm_run_close(&run);
    return dm_api_report(error, s, &err);
}

dmpo_status dmpo_train(dmpo_engine *engine, const dmpo_train_options *options, dmpo_event_fn event, void *context,
                       dmpo_train_result *result, dmpo_error *error)
{
    const dmpo_train_result empty = {.size = sizeof empty};
    dm_train_result r;
    dm_error err = {0};
    dm_status s = result ? dm_api_copy_out(result, &empty, sizeof empty, "dmpo_train_result", &err) : DM_OK;

    if (s != DM_OK)
        return dm_api_report(error, s, &err);
    const dmpo_status status = dm_train(engine, dm_train_options_values(options), event, context, &r, error);
    engine->before = r.before;
    engine->after = r.after;
    dmpo_train_result out = {.steps = r.steps,
                             .before = r.before.step < 0 ? NULL : &engine->before,
                             .after = r.after.step < 0 ? NULL : &engine->after,
                             .planned_memory = r.planned_memory,
                             .peak_memory = r.peak_memory};
    memcpy(out.weights_sha256, r.weights_sha256, sizeof out.weights_sha256);
    memcpy(out.data_sha256, r.data_sha256, sizeof out.data_sha256);
    memcpy(out.model_sha256, r.model_sha256, sizeof out.model_sha256);
    memcpy(out.transcript_sha256, r.transcript_sha256, sizeof out.transcript_sha256);
    if (result)
        dm_api_copy_out(result, &out, sizeof out, "dmpo_train_result", NULL);
    return status;
}

dmpo_status dmpo_plan_train(dmpo_engine *engine, const dmpo_train_options *options, dmpo_plan *plan, dmpo_error *error)
{
    const dmpo_plan empty = {.size = sizeof empty};
    dmpo_plan p;
    dm_error err = {0};
    const dm_status s = dm_api_copy_out(plan, &empty, sizeof empty, "dmpo_plan", &err);

    if (s != DM_OK)
        return dm_api_report(error, s, &err);
    const dmpo_status status = dm_plan_train(engine, dm_train_options_values(options), &p, error);
    dm_api_copy_out(plan, &p, sizeof p, "dmpo_plan", NULL);
    return status;
}
