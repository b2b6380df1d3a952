/* Checkpoints of a run that trains a small adapter. An input is a byte, a length and the members of state.json, a
 * length and model.safetensors, and optimizer.safetensors; lengths have 4 bytes. Bit 0 of the byte: members that say
 * whose run it is and what the files hash to are added, and the whole is sealed, so that what lies behind the checksums
 * is read, too; with bit 1 it is another run's. An accepted one has a step of the run, whether it is read as the
 * output's or by itself, and is written again. */
#include <fcntl.h>
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

static dm_run run;
static dm_path directory; /* of the checkpoint */

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

static void open_run(void)
{
    static const char pair[] = "{\"chosen\": {\"ids\": [1, 2, 3], \"turns\": [[1, 3]]}, "
                               "\"rejected\": {\"ids\": [1, 4], \"turns\": [[1, 2]]}}\n";
    static dm_path model, output, data;
    static dmpo_engine *engine;
    dm_train_options o;
    dmpo_error error;
    dm_error err;

    model = in(fuzz_directory(), "base");
    output = in(fuzz_directory(), "run");
    data = in(fuzz_directory(), "one.jsonl");
    make_model(model.text);
    directory = in(output.text, "checkpoint");
    FUZZ_CHECK(dm_dir_create(output.text, &err) == DM_OK && dm_dir_create(directory.text, &err) == DM_OK);
    FUZZ_CHECK(dm_file_write(data.text, pair, sizeof pair - 1, &err) == DM_OK);
    dm_train_defaults(&o, DM_OBJECTIVE_DMPO);
    o.model = model.text;
    o.data = data.text;
    o.output = output.text;
    o.batch = 1;
    o.steps = 9;
    o.lora_rank = 1;
    o.lora_targets = "q";
    FUZZ_CHECK(dmpo_engine_open(&engine, "scalar", 1, &error) == DMPO_OK);
    FUZZ_CHECK(dm_run_open(&run, &engine->e, &o, NULL, NULL, &err) == DM_OK && dm_run_place(&run, &err) == DM_OK);
    run.output.metrics_fd = open(in(output.text, "metrics.jsonl").text, O_RDWR | O_CREAT, 0600);
    FUZZ_CHECK(run.output.metrics_fd >= 0);
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

void fuzz_checkpoint(const uint8_t *data, size_t size)
{
    static const char metrics[100];
    const uint8_t *state, *model;
    char identity[DM_SHA256_HEX];
    const char *place;
    int64_t step, again;
    dm_train_result result = {0};
    dm_text text = {0};
    dm_error err;

    if (!run.engine)
        open_run();
    const bool sealed = size > 0 && data[0] & 1, ours = size > 0 && !(data[0] & 2);
    data += size > 0;
    size -= size > 0;
    const size_t state_size = part(&data, &size, &state), model_size = part(&data, &size, &model);
    if (sealed) {
        dm_run_identity(&run, identity);
        dm_text_print(&text, "{\"identity\": \"%s\"", ours ? identity : "another run's");
        dm_text_add(&text, (const char *)state, state_size);
        print_hash(&text, "model.safetensors", model, model_size);
        print_hash(&text, "optimizer.safetensors", data, size);
        print_hash(&text, "checksum", text.data, text.size);
        dm_text_print(&text, "}\n");
        FUZZ_CHECK(!text.failed);
    }
    (void)fuzz_file("run/checkpoint/state.json", sealed ? (const uint8_t *)text.data : state,
                    sealed ? text.size : state_size);
    (void)fuzz_file("run/checkpoint/model.safetensors", model, model_size);
    (void)fuzz_file("run/checkpoint/optimizer.safetensors", data, size);
    (void)fuzz_file("run/metrics.jsonl", (const uint8_t *)metrics, sizeof metrics);
    dm_text_free(&text);
    if (dm_checkpoint_read(&run, &place, &step, &result, &err) == DM_OK) {
        FUZZ_CHECK(step >= 0 && step <= run.steps && result.after.step <= step && strcmp(place, "checkpoint") == 0);
        FUZZ_CHECK(dm_checkpoint_load(&run, directory.text, &again, &err) == DM_OK && again == step);
        FUZZ_CHECK(dm_checkpoint_step(run.options.output, "checkpoint") == step);
        FUZZ_CHECK(dm_checkpoint_write(&run, step, &result, &err) == DM_OK);
        FUZZ_CHECK(dm_checkpoint_load_nearest(&run, run.options.output, run.steps, &again, &err) == DM_OK &&
                   again == step);
        dm_checkpoint_keep_one(&run); /* the one before it goes */
    } else {
        (void)dm_checkpoint_load(&run, directory.text, &again, &err);
    }
}
