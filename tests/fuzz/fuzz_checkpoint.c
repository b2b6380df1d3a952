/* Checkpoints. An input is a byte, a length and the members of state.json, a length and model.safetensors, and
 * optimizer.safetensors; lengths have 4 bytes. Bit 0 of the byte: members that say whose run it is and what the files
 * hash to are added, and the whole is sealed, so that what lies behind the checksums is read, too; with bit 1 it is
 * another run's. Bits 2 to 4: which of the kinds of runs below reads it. Bit 5: its writer was killed before it put it
 * in its place. An accepted one has a step of the run, whether it is read as the output's or by itself, and is written
 * again; with bit 6 the run's model, too. Then its checkpoints are removed. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "model/api.h"
#include "model/formats/tensors.h"
#include "model/train/rounds.h"
#include "tests/fuzz/model.h"
#include "tests/fuzz/targets.h"

enum { ADAPTER, KTO, MIXTURE, SIMPO, AGENT, KINDS };
static dm_run runs[KINDS];

static dm_path in(const char *dir, const char *name)
{
    dm_path p;
    dm_error err;

    FUZZ_CHECK(dm_path_in(&p, dir, name, &err) == DM_OK);
    return p;
}

static void make_model(const char *dir)
{
    char hex[DM_SHA256_HEX];
    dm_param_layout layout;
    dm_error err;

    FUZZ_CHECK(dm_param_layout_build(&layout, &fuzz_small_model, &err) == DM_OK);
    float *w = calloc(layout.floats, sizeof *w);
    FUZZ_CHECK(w != NULL);
    dm_weights_init(w, &layout, 7, 0.2);
    FUZZ_CHECK(dm_dir_create(dir, &err) == DM_OK && dm_config_write(&fuzz_small_model, DM_F32, dir, &err) == DM_OK);
    FUZZ_CHECK(dm_weights_write(w, &layout, dir, hex, &err) == DM_OK);
    free(w);
    dm_param_layout_free(&layout);
}

/* What a run of rounds needs to be opened. */
static size_t measure(void *context, const dm_run *r)
{
    (void)context;
    (void)r;
    return 0;
}

static void choose(dm_train_options *o, int kind, const char *model)
{
    dm_train_defaults(o, kind == KTO     ? DM_OBJECTIVE_KTO
                         : kind == SIMPO ? DM_OBJECTIVE_DPO
                         : kind == AGENT ? DM_OBJECTIVE_SFT
                                         : DM_OBJECTIVE_DMPO);
    o->model = model;
    o->batch = 1;
    o->steps = 9;
    o->lora_rank = kind == ADAPTER;
    o->lora_targets = kind == ADAPTER ? "q" : NULL;
    o->tensorboard = kind == KTO;
    o->link = kind == SIMPO ? DM_LINK_SIMPO : DM_LINK_SIGMOID;
    o->keep_checkpoints = kind == SIMPO;
    if (kind == MIXTURE) {
        o->link_mix = "sigmoid:0.5,discopop:0.5";
        o->reference2 = model;
        o->shards = 2;
        o->precision = DM_PRECISION_BF16;
    }
}

static void open_run(int kind)
{
    static const char pairs[] = "{\"chosen\": {\"ids\": [1, 2, 3], \"turns\": [[1, 3]]}, "
                                "\"rejected\": {\"ids\": [1, 4], \"turns\": [[1, 2]]}}\n"
                                "{\"chosen\": {\"ids\": [2, 2, 3], \"turns\": [[1, 3]]}, "
                                "\"rejected\": {\"ids\": [2, 4], \"turns\": [[1, 2]]}}\n";
    static const char tokenizer[] =
        "{\"decoder\": {\"type\": \"ByteLevel\"}, \"pre_tokenizer\": {\"type\": "
        "\"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": true}, \"model\": "
        "{\"vocab\": {\"a\": 0}, \"merges\": []}, \"added_tokens\": [{\"id\": 1, \"content\": \"<b>\", "
        "\"special\": true}]}";
    static const char words[] =
        "{\"eos_token\": \"<b>\", \"chat_template\": \"{% for m in messages %}{{ m.content }}<b>{% endfor %}\"}";
    static dm_path outputs[KINDS], model, data;
    static dmpo_engine *engine;
    static dm_run_policy policy = {.o = {.clip_low = 0.2, .clip_high = 0.2},
                                   .critic = {.o = {.on = true, .discount = 1, .lambda = 1, .weight = 1, .lr = 1}},
                                   .measure = measure,
                                   .identity = "an agent's",
                                   .items = 1,
                                   .actions = 4,
                                   .rounds = 9,
                                   .passes = 1};
    char name[16];
    dm_path *output = &outputs[kind];
    dm_run *run = &runs[kind];
    dm_train_options o;
    dmpo_error error;
    dm_error err;

    if (!engine) {
        model = in(fuzz_directory(), "base");
        data = in(fuzz_directory(), "pairs.jsonl");
        make_model(model.text);
        FUZZ_CHECK(dm_file_write(data.text, pairs, sizeof pairs - 1, &err) == DM_OK);
        FUZZ_CHECK(dm_file_write(in(model.text, "tokenizer.json").text, tokenizer, sizeof tokenizer - 1, &err) ==
                   DM_OK);
        FUZZ_CHECK(dm_file_write(in(model.text, "tokenizer_config.json").text, words, sizeof words - 1, &err) == DM_OK);
        FUZZ_CHECK(dmpo_engine_open(&engine, "scalar", 1, &error) == DMPO_OK);
    }
    snprintf(name, sizeof name, "run%d", kind);
    *output = in(fuzz_directory(), name);
    FUZZ_CHECK(dm_dir_create(output->text, &err) == DM_OK);
    choose(&o, kind, model.text);
    o.data = data.text;
    o.output = output->text;
    FUZZ_CHECK((kind == AGENT ? dm_run_open_policy(run, &engine->e, &o, &policy, NULL, NULL, &err)
                              : dm_run_open(run, &engine->e, &o, NULL, NULL, &err)) == DM_OK);
    FUZZ_CHECK(dm_run_place(run, &err) == DM_OK);
    run->output.metrics_fd = open(in(output->text, "metrics.jsonl").text, O_RDWR | O_CREAT, 0600);
    FUZZ_CHECK(run->output.metrics_fd >= 0);
}

/* Takes a part that its length comes before; shorter where the input ends. */
static size_t part(const uint8_t **data, size_t *size, const uint8_t **begin)
{
    size_t n = 0;

    if (*size >= 4) {
        for (size_t i = 4; i-- > 0;)
            n = n << 8 | (*data)[i];
        *data += 4;
        *size -= 4;
    }
    n = n < *size ? n : *size;
    *begin = *data;
    *data += n;
    *size -= n;
    return n;
}

static void print_hash(dm_text *t, const char *before, const void *data, size_t size)
{
    char hex[DM_SHA256_HEX];
    dm_sha256 h;

    dm_sha256_init(&h);
    dm_sha256_update(&h, size ? data : "", size);
    dm_sha256_finish(&h, hex);
    dm_text_print(t, ", \"%s\": \"%s\"", before, hex);
}

/* Puts a file of the checkpoint; it is not flushed, nor emptied first, which some file systems would flush. */
static void put(const char *dir, const char *name, const void *data, size_t size)
{
    const int fd = open(in(dir, name).text, O_WRONLY | O_CREAT, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && ftruncate(fd, (off_t)size) == 0 && close(fd) == 0);
}

/* What was read is written again, and is what it was. */
static void use(dm_run *run, int64_t step, dm_train_result *result, bool ends)
{
    char hex[DM_SHA256_HEX];
    int64_t again;
    dm_error err;

    FUZZ_CHECK(dm_checkpoint_load(run, in(run->options.output, "checkpoint").text, &again, &err) == DM_OK &&
               again == step);
    FUZZ_CHECK(dm_checkpoint_step(run->options.output, "checkpoint") == step);
    FUZZ_CHECK(dm_checkpoint_write(run, step, result, &err) == DM_OK);
    FUZZ_CHECK(dm_checkpoint_load_nearest(run, run->options.output, run->steps, &again, &err) == DM_OK &&
               again == step);
    dm_checkpoint_keep_one(run); /* the one before it goes */
    if (ends)
        FUZZ_CHECK(dm_run_write_model(run, hex, &err) == DM_OK);
    FUZZ_CHECK(dm_checkpoint_discard(run, &err) == DM_OK);
    FUZZ_CHECK(!dm_dir_exists(in(run->options.output, "checkpoint").text));
}

void fuzz_checkpoint(const uint8_t *data, size_t size)
{
    static const char metrics[100];
    const unsigned first = size > 0 ? data[0] : 0;
    const int kind = (int)(first >> 2 & 7) % KINDS;
    const bool sealed = first & 1, ours = size > 0 && !(first & 2), fresh = first & 32, ends = first & 64;
    const uint8_t *state, *model;
    char identity[DM_SHA256_HEX];
    const char *place = NULL;
    int64_t step;
    dm_run *run = &runs[kind];
    dm_train_result result = {0};
    dm_text text = {0};
    dm_error err;

    if (!run->engine)
        open_run(kind);
    const dm_path directory = in(run->options.output, fresh ? "checkpoint.new" : "checkpoint");
    const dm_path other = in(run->options.output, fresh ? "checkpoint" : "checkpoint.new");
    data += size > 0;
    size -= size > 0;
    const size_t state_size = part(&data, &size, &state), model_size = part(&data, &size, &model);
    if (sealed) {
        dm_run_identity(run, identity);
        dm_text_print(&text, "{\"identity\": \"%s\"", ours ? identity : "another run's");
        dm_text_add(&text, (const char *)state, state_size);
        print_hash(&text, "model.safetensors", model, model_size);
        print_hash(&text, "optimizer.safetensors", data, size);
        print_hash(&text, "checksum", text.data, text.size);
        dm_text_print(&text, "}\n");
        FUZZ_CHECK(!text.failed);
    }
    FUZZ_CHECK(!dm_dir_exists(other.text) || dm_dir_remove(other.text, &err) == DM_OK); /* of another input */
    FUZZ_CHECK(dm_dir_create(directory.text, &err) == DM_OK);
    put(directory.text, "state.json", sealed ? (const void *)text.data : state, sealed ? text.size : state_size);
    put(directory.text, "model.safetensors", model, model_size);
    put(directory.text, "optimizer.safetensors", data, size);
    FUZZ_CHECK(pwrite(run->output.metrics_fd, metrics, sizeof metrics, 0) == (ssize_t)sizeof metrics);
    dm_text_free(&text);
    if (dm_checkpoint_read(run, &place, &step, &result, &err) == DM_OK) {
        FUZZ_CHECK(step >= 0 && step <= run->steps && result.after.step <= step);
        FUZZ_CHECK(place ? strcmp(place, fresh ? "checkpoint.new" : "checkpoint") == 0 : fresh && step == 0);
        if (place) /* else it was half-written, and the run begins anew */
            use(run, step, &result, ends);
    } else {
        (void)dm_checkpoint_load(run, directory.text, &step, &err);
    }
}
