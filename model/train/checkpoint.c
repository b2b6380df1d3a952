/* Checkpoints and the finished model.
 *
 * output/checkpoint/ holds model.safetensors, optimizer.safetensors and state.json (step, newest evaluation, the run's
 * identity, the metrics file's length, a SHA-256 for each file and one of itself). It is written as checkpoint.new;
 * then the previous one is moved to checkpoint.old, where it stays, and the new one into place: at every moment one of
 * the three is whole (with `keep-checkpoints` the previous one becomes checkpoint-STEP). Reading takes the first whole
 * one of checkpoint, checkpoint.new, checkpoint.old. The run's lock (model/train/train.c) keeps other processes away
 * meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/numbers/foreign.h"
#include "core/files/durable.h"
#include "core/files/file.h"
#include "core/files/list.h"
#include "core/files/lock.h"
#include "core/files/path.h"
#include "core/files/temporary.h"
#include "io/json_seal.h"
#include "io/safetensors.h"
#include "model/formats/adapter.h"
#include "model/formats/sidecar.h"
#include "model/formats/hf_directory.h"
#include "model/formats/tensors.h"
#include "model/train/rounds.h"

#define FORMAT 2 /* of state.json; 1 had no checksum of itself */
#define STATE_BYTES ((size_t)1 << 22)

static const char *const places[] = {"checkpoint", "checkpoint.new", "checkpoint.old"};
#define PLACES (sizeof places / sizeof *places)

void dm_run_identity(const dm_run *r, char hex[DM_SHA256_HEX])
{
    const dm_train_options *o = &r->options;
    char items[DM_SHA256_HEX], text[512];
    dm_sha256 h;

    dm_sha256_init(&h);
    if (!r->policy) /* whose items come while it runs */
        dm_dataset_hash(&r->train.data, &h);
    dm_sha256_finish(&h, items);
    /* What may differ between the two halves of a run (threads, ISA, memory, where files are) is not in it. */
    snprintf(text, sizeof text, "2 %s %s %s", r->models.policy.sha256,
             r->train.reference.logp ? dm_run_reference_sha256(r, 0) : "", items);
    dm_sha256_init(&h);
    dm_sha256_update(&h, text, strlen(text));
    dm_train_options_hash(o, DM_IDENTITY_NUMBERS, &h);
    if (o->objective == DM_OBJECTIVE_KTO) { /* only what has a meaning: checkpoints of older versions stay good */
        dm_sha256_update(&h, " kto", 4);
        dm_train_options_hash(o, DM_IDENTITY_KTO, &h);
    }
    if (o->reference2) {
        snprintf(text, sizeof text, " mrpo %s", dm_run_reference_sha256(r, 1));
        dm_sha256_update(&h, text, strlen(text));
        dm_train_options_hash(o, DM_IDENTITY_MRPO, &h);
    }
    const dm_loss_options loss = dm_train_loss_options(o);
    for (int i = 0; loss.mixed && i < DM_LINKS; i++) {
        char weight[DM_DOUBLE_TEXT];
        dm_double_hex(weight, loss.mix[i]);
        snprintf(text, sizeof text, " mix %s", weight);
        dm_sha256_update(&h, text, strlen(text));
    }
    if (o->link == DM_LINK_SIMPO) {
        dm_sha256_update(&h, " simpo", 6);
        dm_train_options_hash(o, DM_IDENTITY_SIMPO, &h);
    }
    if (o->link == DM_LINK_DISCOPOP || loss.mix[DM_LINK_DISCOPOP] > 0) {
        dm_sha256_update(&h, " discopop", 9);
        dm_train_options_hash(o, DM_IDENTITY_DISCOPOP, &h);
    }
    if (o->shards > 1) {
        dm_sha256_update(&h, " shards", 7);
        dm_train_options_hash(o, DM_IDENTITY_SHARDS, &h);
    }
    if (DM_FOREIGN_MATH) {
        snprintf(text, sizeof text, " math %s", DM_FOREIGN_MATH ? DM_FOREIGN_MATH : "");
        dm_sha256_update(&h, text, strlen(text));
    }
    if (o->precision != DM_PRECISION_F32) {
        dm_sha256_update(&h, " precision", 10);
        dm_train_options_hash(o, DM_IDENTITY_PRECISION, &h);
    }
    if (r->policy) {
        dm_sha256_update(&h, " policy ", 8);
        dm_sha256_update(&h, r->policy->identity, strlen(r->policy->identity));
    }
    if (r->models.policy.lora.o.rank) {
        const dm_lora_options *l = &r->models.policy.lora.o;
        char alpha[DM_DOUBLE_TEXT];
        dm_double_hex(alpha, l->alpha);
        snprintf(text, sizeof text, " lora %u %s %d %u", l->rank, alpha, l->stabilised, l->targets);
        dm_sha256_update(&h, text, strlen(text));
    }
    dm_sha256_finish(&h, hex);
}

/* The moments as one table of tensors "exp_avg.NAME" and "exp_avg_sq.NAME" over r->memory.adam_m and r->memory.adam_v,
 * which lie one after the other. Called only while saving and loading: it may allocate. */
static dm_status moments(const dm_run *r, dm_param_layout *out, dm_error *err)
{
    const size_t n = r->models.trained_layout->n;

    *out = (dm_param_layout){.tensors = calloc(2 * n, sizeof *out->tensors), .n = 2 * n};
    if (!out->tensors)
        return dm_fail(err, DM_ERR_MEMORY, "no memory to list the optimizer's tensors");
    for (size_t i = 0; i < 2 * n; i++) {
        dm_tensor *t = &out->tensors[i];
        *t = r->models.trained_layout->tensors[i / 2];
        snprintf(t->name, sizeof t->name, "%s.%.80s", i % 2 ? "exp_avg_sq" : "exp_avg",
                 r->models.trained_layout->tensors[i / 2].name);
        t->offset += i % 2 ? (size_t)(r->memory.adam_v - r->memory.adam_m) : 0;
    }
    return DM_OK;
}

static dm_status write_state(const dm_run *r, const char *dir, int64_t step, const dm_train_result *result,
                             const char *model, const char *optimizer, dm_error *err)
{
    dm_path path;
    char identity[DM_SHA256_HEX], leaf[DM_SHA256_HEX];
    const int64_t events = dm_run_tensorboard_size(r);
    struct stat st;
    dm_text text = {0};
    dm_json_writer w = {.out = &text};
    dm_status s = dm_path_in(&path, dir, "state.json", err);

    if (s != DM_OK)
        return s;
    dm_run_identity(r, identity);
    if (fsync(r->output.metrics_fd) != 0 ||
        fstat(r->output.metrics_fd, &st) != 0) /* its lines are as durable as the weights */
        return dm_fail(err, DM_ERR_FILE, "%s/metrics.jsonl: cannot write: %s", r->options.output, strerror(errno));
    if (r->output.tensorboard_fd >= 0 && fsync(r->output.tensorboard_fd) != 0)
        return dm_fail(err, DM_ERR_FILE, "%s/%s: cannot write: %s", r->options.output, DM_TENSORBOARD_FILE,
                       strerror(errno));
    if ((s = dm_run_transcript_sync(r, err)) != DM_OK)
        return s;
    dm_json_open_object(&w, NULL);
    dm_json_put_int(&w, "format", FORMAT);
    dm_json_put_int(&w, "step", step);
    dm_json_put_int(&w, "evaluated", result->after.step);
    dm_json_put_string(&w, "identity", identity);
    dm_json_put_int(&w, "metrics_bytes", st.st_size);
    dm_json_put_string(&w, "model.safetensors", model);
    dm_json_put_string(&w, "optimizer.safetensors", optimizer);
    dm_metrics_json(&w, "before", "eval", &result->before);
    if (events)
        dm_json_put_int(&w, "tensorboard_bytes", events);
    if (r->policy && r->policy->critic.o.on) {
        dm_json_open_array(&w, "critic");
        for (size_t i = 0; i < 3 * r->policy->critic.width; i++)
            dm_json_put_double(&w, NULL, r->policy->critic.weight[i]);
        dm_json_close_value(&w);
    }
    if (dm_run_transcript_leaf(r, leaf))
        dm_json_put_string(&w, "transcript", leaf);
    dm_json_seal(&w);
    s = text.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to write %s", path.text)
                    : dm_file_write(path.text, text.data, text.size, err);
    dm_text_free(&text);
    return s;
}

static dm_status write_files(dm_run *r, const char *dir, int64_t step, const dm_train_result *result, dm_error *err)
{
    dm_path path;
    char model[DM_SHA256_HEX], optimizer[DM_SHA256_HEX];
    dm_param_layout table = {0};
    dm_status s = dm_weights_write(r->memory.trained, r->models.trained_layout, dir, model, err);

    if (s == DM_OK && (s = moments(r, &table, err)) == DM_OK &&
        (s = dm_path_in(&path, dir, "optimizer.safetensors", err)) == DM_OK)
        s = dm_tensors_write(r->memory.adam_m, &table, path.text, NULL, 0, optimizer, err);
    dm_param_layout_free(&table);
    return s == DM_OK ? write_state(r, dir, step, result, model, optimizer, err) : s;
}

static dm_status read_checked(dm_json_doc **doc, const char *path, dm_error *err);

/* Where the checkpoint before this one goes. */
static dm_status place_of_previous(const dm_run *r, const char *now, dm_path *out, dm_error *err)
{
    dm_path state;
    dm_json_doc *doc = NULL;
    int64_t step = 0;
    dm_status s = dm_path_in(&state, now, "state.json", err);
    const bool known = s == DM_OK && r->options.keep_checkpoints && read_checked(&doc, state.text, NULL) == DM_OK &&
                       dm_json_get_int(doc, dm_json_root(doc), "step", 0, INT64_MAX, NULL, &step, NULL) == DM_OK;

    if (s == DM_OK)
        s = known ? dm_path_print(out, err, "%s/" DM_CHECKPOINT_KEPT "%lld", r->options.output, (long long)step)
                  : dm_path_in(out, r->options.output, "checkpoint.old", err);
    dm_json_close(&doc);
    return s;
}

static void note(dm_run *r, const char *what, const dm_error *why)
{
    char text[DM_ERROR_MAX + 64];
    snprintf(text, sizeof text, "%s: %s", what, why->message);
    dm_run_event(r, DMPO_EVENT_NOTE, text, 0, 0, NULL);
}

/* The step after which the new checkpoint is the checkpoint. One at `old` that cannot be removed stays: the one between
 * them goes instead, while `fresh` is whole. */
static dm_status put_in_place(dm_run *r, const char *fresh, const char *now, const char *old, dm_error *err)
{
    dm_status s = DM_OK;
    dm_error why;

    if (dm_dir_exists(now) && dm_dir_exists(old) && dm_dir_remove(old, &why) != DM_OK) {
        note(r, "an old checkpoint stays", &why);
        s = dm_dir_remove(now, err);
        return s == DM_OK ? dm_rename_durable(fresh, now, err) : s;
    }
    if (dm_dir_exists(now))
        s = dm_rename_durable(now, old, err);
    if (s == DM_OK)
        s = dm_rename_durable(fresh, now, err);
    if (s != DM_OK && !dm_dir_exists(now) && dm_dir_exists(old)) /* as it was before */
        dm_rename_durable(old, now, NULL);
    if (s != DM_OK && dm_dir_exists(fresh))
        dm_dir_remove(fresh, NULL);
    return s;
}

dm_status dm_run_check_output(const dm_run *r, dm_error *err)
{
    dm_path path;
    const dm_status s = dm_path_in(&path, r->options.output, "metrics.jsonl", err);
    return s == DM_OK ? dm_lock_check(r->output.metrics_fd, path.text, err) : s;
}

static dm_status remove_place(const dm_run *r, const char *name, dm_error *err)
{
    dm_path path;
    const dm_status s = dm_path_in(&path, r->options.output, name, err);
    return s == DM_OK && dm_dir_exists(path.text) ? dm_dir_remove(path.text, err) : s;
}

dm_status dm_checkpoint_discard(const dm_run *r, dm_error *err)
{
    dm_names names;
    dm_status s = dm_names_list(&names, r->options.output, err);

    for (size_t i = PLACES; s == DM_OK && i > 0; i--)
        s = remove_place(r, places[i - 1], err);
    for (size_t i = 0; s == DM_OK && i < names.n; i++)
        if (dm_checkpoint_kept_step(names.name[i]) >= 0)
            s = remove_place(r, names.name[i], err);
    dm_names_free(&names);
    return s;
}

int64_t dm_checkpoint_kept_step(const char *name)
{
    static const char prefix[] = DM_CHECKPOINT_KEPT;
    const char *digits = name + sizeof prefix - 1;

    if (strncmp(name, prefix, sizeof prefix - 1) != 0 || !*digits || strlen(digits) > 18 ||
        digits[strspn(digits, "0123456789")])
        return -1;
    return strtoll(digits, NULL, 10);
}

void dm_checkpoint_keep_one(dm_run *r)
{
    dm_error why;
    for (size_t i = PLACES; i > 1; i--)
        if (remove_place(r, places[i - 1], &why) != DM_OK)
            note(r, "an old checkpoint stays", &why);
}

dm_status dm_checkpoint_write(dm_run *r, int64_t step, const dm_train_result *result, dm_error *err)
{
    dm_path now, fresh, old;
    sigset_t before;
    dm_status s = dm_run_gather_moments(r, err);

    if (s != DM_OK || r->ranks.self > 0)
        return s;
    if ((s = dm_path_in(&now, r->options.output, "checkpoint", err)) != DM_OK ||
        (s = dm_path_in(&fresh, r->options.output, "checkpoint.new", err)) != DM_OK ||
        (s = place_of_previous(r, now.text, &old, err)) != DM_OK || (s = dm_run_check_output(r, err)) != DM_OK ||
        (s = remove_place(r, "checkpoint.new", err)) != DM_OK) /* of a run that was killed here */
        return s;
    dm_temporary_hold(&before);
    if ((s = dm_dir_create(fresh.text, err)) == DM_OK)
        dm_temporary_add(fresh.text);
    dm_temporary_release(&before);
    if (s == DM_OK) {
        s = write_files(r, fresh.text, step, result, err);
        dm_temporary_drop(fresh.text);
        if (s != DM_OK)
            dm_dir_remove(fresh.text, NULL);
    }
    return s == DM_OK ? put_in_place(r, fresh.text, now.text, old.text, err) : s;
}

/* One that is read: what was verified is what is read, whatever its names mean meanwhile. */
typedef struct checkpoint {
    dm_json_doc *state;
    dm_st *model, *optimizer;
} checkpoint;

static void close_checkpoint(checkpoint *c)
{
    dm_json_close(&c->state);
    dm_st_close(&c->model);
    dm_st_close(&c->optimizer);
}

/* Opens a file of the checkpoint and compares its bytes with what state.json says. */
static dm_status open_part(dm_st **st, const checkpoint *c, const char *dir, const char *name, dm_error *err)
{
    dm_path path;
    char hex[DM_SHA256_HEX];
    dm_status s = dm_path_in(&path, dir, name, err);

    if (s == DM_OK && (s = dm_st_open(st, path.text, err)) == DM_OK && (s = dm_st_sha256(*st, hex, err)) == DM_OK &&
        !dm_json_is(dm_json_get(dm_json_root(c->state), name), hex))
        s = dm_fail(err, DM_ERR_INPUT, "%s: the checksum differs from state.json's; the checkpoint is damaged",
                    path.text);
    return s;
}

static dm_status read_parts(dm_run *r, const checkpoint *c, const char *dir, dm_error *err)
{
    dm_param_layout table = {0};
    dm_status s = dm_tensors_read(r->memory.trained, r->models.trained_layout, c->model, dir, "the run", err);

    if (s == DM_OK && (s = moments(r, &table, err)) == DM_OK)
        s = dm_tensors_read(r->memory.adam_m, &table, c->optimizer, dir, "the run", err);
    dm_param_layout_free(&table);
    return s;
}

static double metric(const dm_json *v, const char *key)
{
    const dm_json *x = dm_json_get(v, key);
    return x && x->type == DM_JSON_NUMBER ? x->number : NAN; /* how dm_metrics_json writes NaN is null */
}

/* Cuts metrics.jsonl back to what the checkpoint knows: later lines are of steps that will run again. */
static dm_status cut_metrics(const dm_run *r, int64_t bytes, dm_error *err)
{
    struct stat st;
    if (fstat(r->output.metrics_fd, &st) == 0 && st.st_size < bytes)
        return dm_fail(err, DM_ERR_INPUT,
                       "%s/metrics.jsonl has %lld bytes, the checkpoint belongs to one of %lld or more; "
                       "put that file back, or start anew without `resume`",
                       r->options.output, (long long)st.st_size, (long long)bytes);
    if (ftruncate(r->output.metrics_fd, (off_t)bytes) != 0)
        return dm_fail(err, DM_ERR_FILE, "%s/metrics.jsonl: cannot cut: %s", r->options.output, strerror(errno));
    return DM_OK;
}

static dm_status read_step(const dm_run *r, const dm_json_doc *doc, int64_t *step, dm_error *err)
{
    const dm_json *root = dm_json_root(doc);
    char identity[DM_SHA256_HEX];

    dm_run_identity(r, identity);
    if (!dm_json_is(dm_json_get(root, "identity"), identity))
        return dm_json_fail(doc, root, err,
                            "the checkpoint belongs to a run with other options, model or data; "
                            "resume with the same ones, or choose another `output`");
    return dm_json_get_int(doc, root, "step", 0, r->steps, NULL, step, err);
}

/* Its weights and moments, one after another. */
static dm_status read_critic(dm_run *r, const dm_json_doc *doc, dm_error *err)
{
    dm_critic *c = &r->policy->critic;
    const dm_json *list = dm_json_get(dm_json_root(doc), "critic");
    size_t n = 0;

    for (const dm_json *v = list && list->type == DM_JSON_ARRAY ? list->child : NULL; v; v = v->next, n++)
        if (n < 3 * c->width && v->type == DM_JSON_NUMBER)
            c->weight[n] = v->number;
    return n == 3 * c->width ? DM_OK
                             : dm_json_fail(doc, list ? list : dm_json_root(doc), err,
                                            "\"critic\" must be a list of %zu numbers", 3 * c->width);
}

static dm_status read_state(dm_run *r, const dm_json_doc *doc, int64_t *step, dm_train_result *result, dm_error *err)
{
    const dm_json *root = dm_json_root(doc), *m = dm_json_get(root, "before");
    const int64_t none = 0;
    int64_t bytes = 0, events = 0;
    dm_status s;

    if ((s = read_step(r, doc, step, err)) != DM_OK ||
        (s = dm_json_get_int(doc, root, "evaluated", -1, *step, NULL, &result->after.step, err)) != DM_OK ||
        (s = dm_json_get_int(doc, root, "metrics_bytes", 0, INT64_MAX, NULL, &bytes, err)) != DM_OK ||
        (s = dm_json_get_int(doc, root, "tensorboard_bytes", 0, INT64_MAX, &none, &events, err)) != DM_OK)
        return s;
    result->before = (dmpo_metrics){
        .step = (r->eval.data.n || r->policy) && metric(m, "step") == 0 ? 0 : -1,
        .loss = metric(m, "loss"),
        .reward_chosen = metric(m, "rewards/chosen"),
        .reward_rejected = metric(m, "rewards/rejected"),
        .reward_margin = metric(m, "rewards/margins"),
        .reward_accuracy = metric(m, "rewards/accuracies"),
        .logp_chosen = metric(m, "logps/chosen"),
        .logp_rejected = metric(m, "logps/rejected"),
        .kl = metric(m, "kl"),
        .reward = r->policy ? metric(m, "reward") : 0,
        .ratio_low = r->policy ? metric(m, "ratio/low") : 0,
        .ratio_high = r->policy ? metric(m, "ratio/high") : 0,
        .clipped = r->policy ? metric(m, "clipped") : 0,
        .episodes = r->policy != NULL,
    };
    if (r->policy && r->policy->critic.o.on && (s = read_critic(r, doc, err)) != DM_OK)
        return s;
    const dm_json *leaf = dm_json_get(root, "transcript");
    if ((s = cut_metrics(r, bytes, err)) != DM_OK || (s = dm_run_tensorboard_open(r, events, err)) != DM_OK)
        return s;
    return dm_run_transcript_continue(r, *step, leaf && leaf->type == DM_JSON_STRING ? leaf->text : NULL, err);
}

/* state.json as it was written. */
static dm_status read_checked(dm_json_doc **doc, const char *path, dm_error *err)
{
    char *data = NULL;
    size_t size = 0;
    int64_t format = 0;
    dm_status s = dm_file_read(path, STATE_BYTES, &data, &size, err);

    if (s == DM_OK && (s = dm_json_parse(doc, data, size, path, err)) == DM_OK &&
        (s = dm_json_get_int(*doc, dm_json_root(*doc), "format", 1, FORMAT, NULL, &format, err)) == DM_OK &&
        format > 1 && !dm_json_seal_holds(*doc, data, size))
        s = dm_fail(err, DM_ERR_INPUT, "%s: its own checksum differs; the checkpoint is damaged", path);
    free(data);
    return s;
}

/* Opens the checkpoint at `dir` and verifies every file. */
static dm_status open_checkpoint(checkpoint *c, const char *dir, dm_error *err)
{
    dm_path path;
    dm_status s = dm_path_in(&path, dir, "state.json", err);

    *c = (checkpoint){0};
    if (s == DM_OK && (s = read_checked(&c->state, path.text, err)) == DM_OK &&
        (s = open_part(&c->model, c, dir, "model.safetensors", err)) == DM_OK)
        s = open_part(&c->optimizer, c, dir, "optimizer.safetensors", err);
    if (s != DM_OK)
        close_checkpoint(c);
    return s;
}

/* Says that one is damaged, and which one was taken instead; a half-written checkpoint.new is nothing unusual. */
static void pass_over(dm_run *r, const char *place, const dm_error *why)
{
    if (strcmp(place, "checkpoint.new") != 0)
        note(r, "passed over", why);
}

/* A whole checkpoint.new whose writer was killed before its last rename. */
static dm_status finish_place(const dm_run *r, const char *fresh, dm_error *err)
{
    dm_path now;
    dm_status s = dm_path_in(&now, r->options.output, "checkpoint", err);

    if (s == DM_OK && (s = remove_place(r, "checkpoint", err)) == DM_OK) /* one that is damaged */
        s = dm_rename_durable(fresh, now.text, err);
    return s;
}

dm_status dm_checkpoint_read(dm_run *r, const char **place, int64_t *step, dm_train_result *result, dm_error *err)
{
    dm_path dir;
    checkpoint c = {0};
    dm_error first = {0}, why;
    dm_status s = DM_OK;
    size_t i;

    *step = 0;
    for (i = 0; i < PLACES; i++) {
        if ((s = dm_path_in(&dir, r->options.output, places[i], err)) != DM_OK)
            return s;
        if (!dm_dir_exists(dir.text))
            continue;
        if ((s = open_checkpoint(&c, dir.text, &why)) == DM_OK)
            break;
        if (s == DM_ERR_MEMORY)
            return dm_fail(err, s, "%s", why.message);
        pass_over(r, places[i], &why);
        if (first.status == DM_OK && i != 1)
            first = why;
    }
    if (i == PLACES)
        return first.status == DM_OK
                   ? DM_OK
                   : dm_fail(err, first.status, "%s; no other is whole; `overwrite` without `resume` begins anew",
                             first.message);
    *place = places[i];
    if ((s = read_state(r, c.state, step, result, err)) == DM_OK)
        s = read_parts(r, &c, dir.text, err);
    close_checkpoint(&c);
    if (s == DM_OK && i == 0)
        s = remove_place(r, "checkpoint.new", err);
    else if (s == DM_OK && i == 1)
        s = finish_place(r, dir.text, err);
    return s;
}

int64_t dm_checkpoint_step(const char *output, const char *name)
{
    dm_path path;
    dm_json_doc *doc = NULL;
    int64_t step = -1;

    if (strcmp(name, "checkpoint") != 0)
        return dm_checkpoint_kept_step(name);
    if (dm_path_in(&path, output, "checkpoint/state.json", NULL) == DM_OK && dm_file_exists(path.text) &&
        dm_json_read(&doc, path.text, NULL) == DM_OK)
        dm_json_get_int(doc, dm_json_root(doc), "step", 0, INT64_MAX, NULL, &step, NULL);
    dm_json_close(&doc);
    return step;
}

dm_status dm_checkpoint_load_nearest(dm_run *r, const char *output, int64_t most, int64_t *step, dm_error *err)
{
    dm_names names;
    dm_path dir;
    const char *best = NULL;
    dm_status s = dm_names_list(&names, output, err);

    *step = 0;
    for (size_t i = 0; i < names.n; i++) {
        const int64_t at = dm_checkpoint_step(output, names.name[i]);
        if (at <= *step || at > most)
            continue;
        *step = at;
        best = names.name[i];
    }
    if (s == DM_OK && best && (s = dm_path_in(&dir, output, best, err)) == DM_OK)
        s = dm_checkpoint_load(r, dir.text, step, err);
    dm_names_free(&names);
    return s;
}

dm_status dm_checkpoint_load(dm_run *r, const char *dir, int64_t *step, dm_error *err)
{
    checkpoint c;
    dm_status s = open_checkpoint(&c, dir, err);

    if (s == DM_OK && (s = read_step(r, c.state, step, err)) == DM_OK && (s = read_parts(r, &c, dir, err)) == DM_OK &&
        r->policy && r->policy->critic.o.on)
        s = read_critic(r, c.state, err);
    close_checkpoint(&c);
    return s;
}

dm_status dm_run_write_model(dm_run *r, char hex[DM_SHA256_HEX], dm_error *err)
{
    const int adapted = r->models.policy.lora.o.rank != 0;
    dm_status s = DM_OK;

    if (!adapted)
        s = dm_sidecar_config(r->models.policy.source, DM_F32, r->options.output, err);
    if (s == DM_OK)
        s = dm_sidecar_tokenizer(r->models.policy.source, r->data.tokenizer ? &r->data.chat : NULL, r->options.output,
                                 err);
    if (s != DM_OK)
        return s;
    return adapted ? dm_adapter_write(r->memory.trained, &r->models.policy.lora, r->options.output,
                                      dm_source_path(r->models.policy.source), r->models.policy.base_sha256, hex, err)
                   : dm_weights_write(r->memory.weights, &r->models.layout, r->options.output, hex, err);
}
