#include "model/train/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "core/files/list.h"
#include "core/files/path.h"
#include "core/files/scratch.h"
#include "core/numbers/philox.h"
#include "model/api.h"

typedef struct checkpoint {
    int64_t step;
    char name[48];
    bool seen; /* held against the transcript */
} checkpoint;

typedef struct verifier {
    const dm_verify_options *o;
    dm_run run;
    dm_transcript t;
    dm_verify_lines lines;
    checkpoint *checkpoint; /* by step */
    size_t checkpoints;
    uint32_t *target; /* steps to prove, ascending, from 1 */
    size_t targets;
    int64_t now;               /* the step after which the run's memory is; -1: an unknown state */
    dm_scratch place;          /* where rounds are played; "": none are */
    int64_t round, evaluation; /* the newest that was played there, and the step of the newest evaluation; -1: none */
    dm_text scratch;
    dm_verify_fn fn;
    void *context;
    bool stop;
    dm_verify_result *result;
    dm_error *err;
} verifier;

static void find(verifier *v, bool refuted, const char *fmt, ...) DM_PRINTF(3, 4);

static void find(verifier *v, bool refuted, const char *fmt, ...)
{
    char text[DM_ERROR_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    v->result->refuted += refuted;
    if (v->fn && v->fn(v->context, refuted, text))
        v->stop = true;
}

/* Of something read that failed: what is not as it must be refutes; a disk that fails, or no memory, says nothing. */
static dm_status judge(verifier *v, dm_status s, const dm_error *why)
{
    if (s == DM_ERR_FILE || s == DM_ERR_MEMORY)
        return dm_fail(v->err, s, "%s", why->message);
    if (s != DM_OK)
        find(v, true, "%s", why->message);
    return DM_OK;
}

double dm_verify_odds(int64_t steps, int64_t chosen, int64_t forged)
{
    double unseen = 1;
    for (int64_t i = 0; i < forged && unseen > 0; i++)
        unseen *= steps - chosen - i > 0 ? (double)(steps - chosen - i) / (double)(steps - i) : 0;
    return unseen;
}

/* ---- what needs no replay ---- */

static bool same(const dm_digest *a, const dm_digest *b)
{
    return memcmp(a->byte, b->byte, sizeof a->byte) == 0;
}

static dm_status check_transcript(verifier *v, const char *root)
{
    dm_digest found;
    char hex[DM_SHA256_HEX];
    dm_error why;
    const dm_status s = dm_transcript_root(&v->t, &found, &why);

    if (s == DM_ERR_INPUT)
        find(v, true, "%s", why.message);
    else if (s != DM_OK)
        return dm_fail(v->err, s, "%s", why.message);
    dm_digest_hex(&found, hex);
    if (s == DM_OK && (!root || strcmp(root, hex) != 0))
        find(v, true, "%s: its root is %s, run.json has %s", v->t.in.path, hex, root ? root : "none");
    if (v->t.n < v->t.head.steps)
        find(v, false, "the run was to have %llu steps; the transcript ends after %llu",
             (unsigned long long)v->t.head.steps, (unsigned long long)v->t.n);
    return DM_OK;
}

/* The next step that had items; after the last: t.n + 1. */
static dm_status next_step(const verifier *v, int64_t *step, dm_transcript_record *r)
{
    dm_status s = DM_OK;

    while (s == DM_OK && ++*step <= (int64_t)v->t.n) {
        s = dm_transcript_read(&v->t, (uint64_t)*step, NULL, r, v->err);
        if (r->tokens)
            break;
    }
    return s;
}

/* Every step has its line in metrics.jsonl, with the figures of its leaf. */
static dm_status check_lines(verifier *v)
{
    int64_t trained = 0;
    dm_transcript_record r = {.step = 0};
    dm_status s;

    for (size_t i = 0; i < v->lines.n; i++) {
        const dm_verify_line *l = &v->lines.line[i];
        if (l->evaluation)
            continue;
        if ((s = next_step(v, &trained, &r)) != DM_OK)
            return s;
        if (l->of.step != trained || trained > (int64_t)v->t.n) {
            find(v, true, "metrics.jsonl: line %zu: is of step %lld, must be of %lld", i + 1, (long long)l->of.step,
                 (long long)trained);
            return DM_OK;
        }
        if (l->of.loss != r.loss || l->of.grad_norm != r.grad_norm || l->of.lr != r.lr ||
            (uint64_t)l->of.tokens != r.tokens)
            find(v, true, "metrics.jsonl: line %zu: other figures than the transcript's step %lld", i + 1,
                 (long long)trained);
    }
    const int64_t lines = trained;
    if ((s = next_step(v, &trained, &r)) == DM_OK && trained <= (int64_t)v->t.n)
        find(v, true, "metrics.jsonl: ends with step %lld, the transcript with %llu", (long long)lines,
             (unsigned long long)v->t.n);
    return s;
}

/* False: the steps cannot be those of this model, data and options. */
static bool check_head(verifier *v)
{
    dm_transcript_head mine;

    dm_run_transcript_head(&v->run, &mine);
    if (!same(&mine.identity, &v->t.head.identity) || mine.steps != v->t.head.steps ||
        mine.floats != v->t.head.floats) {
        find(v, true, "the transcript is of other options, another model or other data than run.json names");
        return false;
    }
    if (!same(&mine.state, &v->t.head.state))
        find(v, true, "the state before the first step is not that of this model");
    return true;
}

/* ---- steps ---- */

static void compare_record(verifier *v, const dm_transcript_record *mine, const dm_transcript_record *theirs)
{
    char what[160] = "";
    const struct {
        bool differs;
        const char *name;
    } members[] = {
        {mine->step != theirs->step, "number"},
        {mine->epoch != theirs->epoch, "epoch"},
        {mine->tokens != theirs->tokens, "tokens"},
        {!same(&mine->items, &theirs->items), "items"},
        {memcmp(&mine->loss, &theirs->loss, sizeof mine->loss) != 0, "loss"},
        {memcmp(&mine->grad_norm, &theirs->grad_norm, sizeof mine->grad_norm) != 0, "gradient norm"},
        {memcmp(&mine->lr, &theirs->lr, sizeof mine->lr) != 0, "learning rate"},
        {mine->first_chunk != theirs->first_chunk || mine->chunks != theirs->chunks, "chunks"},
        {!same(&mine->state, &theirs->state), "state"},
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (members[i].differs)
            snprintf(what + strlen(what), sizeof what - strlen(what), "%s%s", *what ? ", " : "", members[i].name);
    if (!*what) {
        v->result->proved++;
        return;
    }
    find(v, true,
         "step %lld: other %s; here the loss is %.17g and the gradient's norm %.17g, in the transcript %.17g and %.17g",
         (long long)mine->step, what, mine->loss, mine->grad_norm, theirs->loss, theirs->grad_norm);
}

static dm_status check_line(verifier *v, int64_t step, bool evaluation, const dmpo_metrics *m)
{
    const dm_verify_line *line = dm_verify_lines_find(&v->lines, step, evaluation);

    const bool same_line = line && dm_verify_line_is(line, *m, &v->scratch);
    if (v->scratch.failed)
        return dm_fail(v->err, DM_ERR_MEMORY, "no memory for a line of metrics.jsonl");
    if (!same_line)
        find(v, true, "metrics.jsonl: %s of step %lld differs from what is computed here",
             evaluation ? "the evaluation" : "the line", (long long)step);
    return DM_OK;
}

static dm_status evaluate_if_claimed(verifier *v)
{
    dmpo_metrics m;

    const bool has = v->o->policy ? v->o->policy->player.evaluate != NULL : v->run.eval.data.n > 0;
    if (!has || !dm_verify_lines_find(&v->lines, v->now, true))
        return DM_OK;
    const dm_status s = dm_run_evaluate(&v->run, v->now, &m, v->err);
    v->evaluation = v->now;
    return s == DM_OK ? check_line(v, v->now, true, &m) : s;
}

static dm_status play_round(verifier *v, dm_error *err)
{
    const int64_t round = v->now / v->run.steps_per_epoch;

    dm_run_event(&v->run, DMPO_EVENT_PHASE, "playing", 0, (int64_t)v->o->policy->items, NULL);
    v->round = round;
    return dm_run_round(&v->run, round, err);
}

static dm_status make_step(verifier *v)
{
    dm_transcript_record before, mine, theirs;
    unsigned char bytes[DM_TRANSCRIPT_RECORD];
    dmpo_metrics m;
    dm_error why;
    const int64_t step = v->now + 1;
    dm_status s = v->now ? dm_transcript_read(&v->t, (uint64_t)v->now, NULL, &before, v->err) : DM_OK;

    if (s != DM_OK || (s = dm_transcript_read(&v->t, (uint64_t)step, NULL, &theirs, v->err)) != DM_OK)
        return s;
    s = v->o->policy && v->now % v->run.steps_per_epoch == 0 ? play_round(v, &why) : DM_OK;
    s = s == DM_OK ? dm_run_step(&v->run, v->now, &m, &why) : s;
    if (s == DM_ERR_NONFINITE) {
        find(v, true, "%s", why.message);
        v->stop = true;
        return DM_OK;
    }
    if (s != DM_OK)
        return dm_fail(v->err, s, "%s", why.message);
    dm_run_transcript_record(&v->run, &m, &v->t.head, v->now ? &before : NULL, &mine, bytes);
    v->result->replayed++;
    v->now = step;
    compare_record(v, &mine, &theirs);
    if (m.tokens && (s = check_line(v, step, false, &m)) != DM_OK)
        return s;
    dm_run_event(&v->run, DMPO_EVENT_STEP, NULL, step, v->run.steps, &m);
    return evaluate_if_claimed(v);
}

/* ---- checkpoints ---- */

static int by_step(const void *a, const void *b)
{
    const checkpoint *x = a, *y = b;
    return (x->step > y->step) - (x->step < y->step);
}

static dm_status list_checkpoints(verifier *v)
{
    dm_names names;
    dm_status s = dm_names_list(&names, v->o->run, v->err);

    if (s == DM_OK && !(v->checkpoint = calloc(names.n + 1, sizeof *v->checkpoint)))
        s = dm_fail(v->err, DM_ERR_MEMORY, "no memory for the checkpoints");
    for (size_t i = 0; s == DM_OK && i < names.n; i++) {
        const int64_t step = dm_checkpoint_step(v->o->run, names.name[i]);
        if (step < 1)
            continue;
        if (step > (int64_t)v->t.n) {
            find(v, true, "%s: is of step %lld; the transcript has %llu", names.name[i], (long long)step,
                 (unsigned long long)v->t.n);
            continue;
        }
        checkpoint *c = &v->checkpoint[v->checkpoints++];
        c->step = step;
        snprintf(c->name, sizeof c->name, "%s", names.name[i]);
    }
    if (v->checkpoints)
        qsort(v->checkpoint, v->checkpoints, sizeof *v->checkpoint, by_step);
    dm_names_free(&names);
    return s;
}

static dm_digest whole_state(const dm_run *r)
{
    dm_digest out;
    dm_sha256 h;
    const dm_train_state s = {r->memory.trained, r->memory.adam_m, r->memory.adam_v, r->models.trained_layout->floats};

    dm_state_hash(r->engine, &s, 0, dm_state_chunks(s.floats), &out);
    if (r->policy && r->policy->critic.o.on) {
        dm_sha256_init(&h);
        dm_sha256_update(&h, out.byte, sizeof out.byte);
        dm_sha256_update(&h, r->policy->critic.weight, 3 * r->policy->critic.width * sizeof(double));
        dm_sha256_digest(&h, &out);
    }
    return out;
}

static bool is_whole(const char *dir)
{
    static const char *const names[] = {"state.json", "model.safetensors", "optimizer.safetensors"};
    dm_path path;
    bool whole = true;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        whole = whole && dm_path_in(&path, dir, names[i], NULL) == DM_OK && dm_file_exists(path.text);
    return whole;
}

/* Puts the run's memory to the checkpoint, and holds it against the leaf of its step. A checkpoint that is not what it
 * says leaves an unknown state. */
static dm_status load(verifier *v, checkpoint *c)
{
    dm_path dir;
    dm_error why;
    dm_transcript_record theirs;
    dm_digest mine;
    int64_t step = -1;
    dm_status s = dm_path_in(&dir, v->o->run, c->name, v->err);

    if (s != DM_OK || (s = dm_transcript_read(&v->t, (uint64_t)c->step, NULL, &theirs, v->err)) != DM_OK)
        return s;
    s = dm_checkpoint_load(&v->run, dir.text, &step, &why);
    v->now = -1;
    if (s == DM_ERR_MEMORY || (s == DM_ERR_FILE && is_whole(dir.text)))
        return dm_fail(v->err, s, "%s", why.message);
    const bool between = !v->o->policy || step % v->run.steps_per_epoch == 0;
    if (s != DM_OK || step != c->step || !between) {
        if (!c->seen)
            find(v, true, "%s",
                 s != DM_OK ? why.message
                 : between  ? "a checkpoint's name and step differ"
                            : "a checkpoint lies within a round");
        c->seen = true;
        return DM_OK;
    }
    const dm_train_state state = {.trained = v->run.memory.trained, .floats = v->run.models.trained_layout->floats};
    dm_state_hash(
        v->run.engine, &state, (size_t)(theirs.first_chunk % dm_state_chunks(state.floats)),
        (size_t)(theirs.chunks < dm_state_chunks(state.floats) ? theirs.chunks : dm_state_chunks(state.floats)), &mine);
    const bool holds = same(&mine, &theirs.state);
    if (!c->seen && !holds)
        find(v, true, "%s: is not the state of step %lld in the transcript", c->name, (long long)c->step);
    v->result->checkpoints += !c->seen && holds;
    c->seen = true;
    v->now = c->step;
    return DM_OK;
}

static checkpoint *checkpoint_at(verifier *v, int64_t step)
{
    for (size_t i = 0; i < v->checkpoints; i++)
        if (v->checkpoint[i].step == step)
            return &v->checkpoint[i];
    return NULL;
}

/* After a step that was made again: the checkpoint of this step has to be the state that was computed. What follows
 * it in the transcript follows from what the directory holds, so the run goes on from there. */
static dm_status compare_checkpoint(verifier *v)
{
    checkpoint *c = checkpoint_at(v, v->now);

    if (!c)
        return DM_OK;
    const dm_digest mine = whole_state(&v->run);
    const dm_status s = load(v, c);
    if (s != DM_OK || v->now < 0)
        return s;
    const dm_digest theirs = whole_state(&v->run);
    if (!same(&mine, &theirs))
        find(v, true, "%s: is not the state that step %lld gives", c->name, (long long)c->step);
    return DM_OK;
}

/* The run's memory as it is before the target: from the nearest checkpoint, or where it is already. */
static dm_status go_near(verifier *v, int64_t target)
{
    dm_status s = DM_OK;

    for (size_t i = v->checkpoints; s == DM_OK && i-- > 0;) {
        checkpoint *c = &v->checkpoint[i];
        if (c->step >= target || c->step <= v->now)
            continue;
        const int64_t before = v->now;
        s = load(v, c);
        if (v->now >= 0)
            return s;
        if (before >= 0) /* damaged: the state from before is lost, another checkpoint or the beginning serves */
            v->now = -1;
    }
    if (s == DM_OK && v->now < 0 && (s = dm_run_restart(&v->run, v->err)) == DM_OK)
        v->now = 0;
    return s;
}

/* ---- the choice ---- */

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static dm_status choose(verifier *v)
{
    const size_t n = (size_t)v->t.n;
    const int64_t from = v->o->from > 0 ? v->o->from : 1;

    if (v->t.n > UINT32_MAX)
        return dm_fail(v->err, DM_ERR_UNSUPPORTED, "%s: more than 2^32 steps", v->t.in.path);
    if (!(v->target = calloc(n ? n : 1, sizeof *v->target)))
        return dm_fail(v->err, DM_ERR_MEMORY, "no memory to choose among %zu steps", n);
    v->targets = v->o->sample > 0 && (uint64_t)v->o->sample < v->t.n ? (size_t)v->o->sample : n;
    for (size_t i = 0; i < n; i++)
        v->target[i] = (uint32_t)(i + (size_t)from);
    if (v->o->from > 0) {
        while (v->targets > 0 && v->target[v->targets - 1] > v->t.n)
            v->targets--;
    } else if (v->targets < n) {
        dm_random_shuffle(v->target, n, v->o->seed, DM_RNG_VERIFY, 0);
        qsort(v->target, v->targets, sizeof *v->target, by_number);
    }
    v->result->chosen = (int64_t)v->targets;
    return DM_OK;
}

/* ---- the model in the directory ---- */

static dm_status same_bytes(verifier *v, const char *made, const char *name)
{
    dm_path a, b;
    char x[DM_SHA256_HEX], y[DM_SHA256_HEX];
    dm_status s = dm_path_in(&a, made, name, v->err);

    if (s != DM_OK || (s = dm_path_in(&b, v->o->run, name, v->err)) != DM_OK ||
        (s = dm_file_sha256(a.text, x, v->err)) != DM_OK)
        return s;
    if (!dm_file_exists(b.text))
        find(v, true, "%s: is missing", name);
    else if ((s = dm_file_sha256(b.text, y, v->err)) == DM_OK && strcmp(x, y) != 0)
        find(v, true, "%s: is not what the last step gives", name);
    return s;
}

/* With the state of the last step in memory: the finished model is written beside and compared. */
static dm_status compare_model(verifier *v)
{
    char hex[DM_SHA256_HEX];
    dm_scratch beside;
    dm_names names = {0};
    const int64_t refuted = v->result->refuted;
    dm_status s = dm_scratch_open(&beside, v->err);

    if (s == DM_OK) {
        v->run.options.output = beside.path.text;
        s = dm_run_write_model(&v->run, hex, v->err);
        v->run.options.output = v->o->run;
    }
    if (s == DM_OK)
        s = dm_names_list(&names, beside.path.text, v->err);
    for (size_t i = 0; s == DM_OK && i < names.n; i++)
        s = same_bytes(v, beside.path.text, names.name[i]);
    dm_names_free(&names);
    dm_scratch_close(&beside);
    v->result->weights = s == DM_OK && refuted == v->result->refuted;
    return s;
}

/* The files of episodes are those of the last round and the last evaluation. */
static dm_status compare_played(verifier *v)
{
    const struct {
        const char *name;
        bool made, compared;
    } files[] = {
        {"episodes.jsonl", true, v->round == v->o->policy->rounds - 1},
        {"evaluation.jsonl", v->o->policy->player.evaluate != NULL, v->evaluation == v->run.steps},
    };
    dm_status s = DM_OK;

    for (size_t i = 0; s == DM_OK && i < sizeof files / sizeof *files; i++)
        if (files[i].made && files[i].compared)
            s = same_bytes(v, v->place.path.text, files[i].name);
        else if (files[i].made)
            find(v, false, "%s: not compared, its round was not played again", files[i].name);
    return s;
}

static dm_status finish(verifier *v)
{
    dm_status s = DM_OK;

    for (size_t i = 0; s == DM_OK && !v->stop && i < v->checkpoints; i++)
        if (!v->checkpoint[i].seen)
            s = load(v, &v->checkpoint[i]);
    if (s != DM_OK || v->stop || v->t.n < v->t.head.steps)
        return s;
    if (v->o->policy && (s = compare_played(v)) != DM_OK)
        return s;
    checkpoint *last = checkpoint_at(v, (int64_t)v->t.n);
    if (v->now != (int64_t)v->t.n && last)
        s = load(v, last);
    if (s == DM_OK && v->now == (int64_t)v->t.n)
        return compare_model(v);
    if (s == DM_OK)
        find(v, false, "the model's files were not compared: no checkpoint has the last step, and it was not replayed");
    return s;
}

static dm_status begin_rounds(verifier *v)
{
    const dm_status s = dm_scratch_open(&v->place, v->err);

    v->o->policy->place = v->place.path.text;
    return s == DM_OK ? dm_run_begin_rounds(&v->run, v->err) : s;
}

static dm_status verify(verifier *v, const char *root)
{
    dm_path metrics;
    dm_error why;
    dm_status s = check_transcript(v, root);

    v->result->steps = (int64_t)v->t.n;
    if (s != DM_OK || (s = dm_path_in(&metrics, v->o->run, "metrics.jsonl", v->err)) != DM_OK)
        return s;
    if (!dm_file_exists(metrics.text))
        find(v, true, "metrics.jsonl: is missing");
    else if ((s = judge(v, dm_verify_lines_read(&v->lines, metrics.text, &why), &why)) != DM_OK)
        return s;
    if ((s = check_lines(v)) != DM_OK || (s = dm_run_place(&v->run, v->err)) != DM_OK ||
        (s = v->o->policy ? begin_rounds(v) : dm_run_reference(&v->run, v->err)) != DM_OK)
        return s;
    if (!check_head(v))
        return DM_OK;
    if ((s = list_checkpoints(v)) != DM_OK || (s = choose(v)) != DM_OK)
        return s;
    if (v->targets == v->t.n)
        s = evaluate_if_claimed(v);
    for (size_t i = 0; s == DM_OK && !v->stop && i < v->targets; i++) {
        if (v->now != (int64_t)v->target[i] - 1)
            s = go_near(v, v->target[i]);
        while (s == DM_OK && !v->stop && v->now < (int64_t)v->target[i])
            if ((s = make_step(v)) == DM_OK && !v->stop)
                s = compare_checkpoint(v);
        v->stop = v->stop || v->run.stop;
    }
    if (s == DM_OK && v->run.stop)
        return dm_fail(v->err, DM_ERR_INTERRUPTED, "stopped after %lld steps", (long long)v->result->replayed);
    return s == DM_OK && v->o->from == 0 ? finish(v) : s;
}

dm_status dm_verify_run(dmpo_engine *engine, const dm_train_options *options, const dm_verify_options *v,
                        const char *root, dm_verify_fn fn, void *context, dmpo_event_fn event, void *event_context,
                        dm_verify_result *result, dm_error *err)
{
    verifier x = {.o = v, .round = -1, .evaluation = -1, .fn = fn, .context = context, .result = result, .err = err};
    dm_train_options o = *options;
    dm_path path;
    dm_error why;

    *result = (dm_verify_result){0};
    o.output = v->run;
    o.reference_cache = NULL; /* it may be forged, too */
    o.resume = o.overwrite = o.tensorboard = false;
    dm_status s = dm_path_in(&path, v->run, DM_TRANSCRIPT_FILE, err);
    if (s != DM_OK)
        return s;
    if (!dm_file_exists(path.text)) { /* one that run.json names refutes; the file's own hash says so, too */
        find(&x, root != NULL, "%s: there is none%s", path.text,
             root ? ""
                  : ": the run was made without `transcript`, or by a version that wrote none; its steps cannot be "
                    "proved");
        return DM_OK;
    }
    result->transcript = true;
    if ((s = dm_transcript_open(&x.t, path.text, &why)) != DM_OK) {
        s = judge(&x, s, &why);
        dm_transcript_close(&x.t);
        return s;
    }
    s = v->policy ? dm_run_open_policy(&x.run, &engine->e, &o, v->policy, event, event_context, err)
                  : dm_run_open(&x.run, &engine->e, &o, event, event_context, err);
    if (s == DM_OK)
        s = verify(&x, root);
    dm_run_end_rounds(&x.run);
    dm_run_close(&x.run);
    dm_scratch_close(&x.place);
    dm_transcript_close(&x.t);
    dm_verify_lines_free(&x.lines);
    dm_text_free(&x.scratch);
    free(x.checkpoint);
    free(x.target);
    return s;
}
