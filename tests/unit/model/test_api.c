/* The public API's own part: versions and names of statuses, options by name, structs whose size the caller gives,
 * tokenizer and chat rendering. What the functions compute is tested where it is computed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "dmpo.h"
#include "io/data/template.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

static dmpo_error error;

static void check_version(void)
{
    char text[32];

    snprintf(text, sizeof text, "%d.%d.%d", DMPO_VERSION_MAJOR, DMPO_VERSION_MINOR, DMPO_VERSION_PATCH);
    CK(strcmp(text, DMPO_VERSION) == 0 && strcmp(dmpo_version(), DMPO_VERSION) == 0);
    CK(dmpo_version_number() == DMPO_VERSION_NUMBER);
    CK(dmpo_version_check(DMPO_VERSION_NUMBER, &error) == DMPO_OK && error.status == DMPO_OK && !*error.message);
    CK(dmpo_version_check(DMPO_VERSION_NUMBER + 1, &error) == DMPO_ERR_UNSUPPORTED &&
       strstr(error.message, DMPO_VERSION));
    CK(dmpo_version_check(DMPO_VERSION_NUMBER + 10000, NULL) == DMPO_ERR_UNSUPPORTED);
    CK(dmpo_version_check(DMPO_VERSION_NUMBER - 100, NULL) == DMPO_ERR_UNSUPPORTED); /* before 1.0 */
    CK(strcmp(dmpo_status_name(DMPO_OK), "ok") == 0 && strcmp(dmpo_status_name(DMPO_ERR_NONFINITE), "nonfinite") == 0);
    CK(strcmp(dmpo_status_name(DMPO_ERR_INTERNAL), "internal") == 0);
    CK(strcmp(dmpo_status_name((dmpo_status)7), "unknown") == 0 &&
       strcmp(dmpo_status_name((dmpo_status)-99), "unknown") == 0);
}

/* ---- options ---- */

static bool is(const dmpo_train_options *o, const char *name, const char *want)
{
    const char *got = dmpo_train_options_get(o, name);
    return want ? got && strcmp(got, want) == 0 : !got;
}

static double number(const dmpo_train_options *o, const char *name)
{
    const char *got = dmpo_train_options_get(o, name);
    return got ? strtod(got, NULL) : -1;
}

/* Every default reads back to itself, and every row says what a front end needs. */
static void check_rows(dmpo_train_options *o)
{
    size_t n = 0;

    for (const dmpo_option_info *info; (info = dmpo_train_option(n)); n++) {
        const char *value = dmpo_train_options_get(o, info->name);
        char kept[64];
        CK_MSG(info->help && info->group, "%s has no help or group", info->name);
        CK_MSG((value != NULL) == (info->initial != NULL), "%s: default %s", info->name, value ? value : "absent");
        CK_MSG((info->type == DMPO_OPTION_CHOICE) == (info->choices != NULL), "%s has choices", info->name);
        CK_MSG((info->metavar != NULL) == (info->type != DMPO_OPTION_FLAG && info->type != DMPO_OPTION_AUTO),
               "%s: metavar", info->name);
        CK_MSG((info->low < info->high) == (info->legal != NULL), "%s: range without words, or words without it",
               info->name);
        if (!value)
            continue;
        snprintf(kept, sizeof kept, "%s", value);
        CK_MSG(dmpo_train_options_set(o, info->name, kept, &error) == DMPO_OK, "%s", error.message);
        CK_MSG(is(o, info->name, kept), "%s became %s", kept, dmpo_train_options_get(o, info->name));
        CK_MSG(dmpo_train_options_set(o, info->name, info->initial, &error) == DMPO_OK && is(o, info->name, kept),
               "%s: the default %s", info->name, info->initial);
        for (size_t j = 0; j < n; j++)
            CK_MSG(strcmp(info->name, dmpo_train_option(j)->name) != 0, "%s twice", info->name);
    }
    CK(n > 40);
}

static void refused(dmpo_train_options *o, const char *name, const char *value, const char *part)
{
    char before[64];
    const char *now = dmpo_train_options_get(o, name);

    snprintf(before, sizeof before, "%s", now ? now : "");
    CK_MSG(dmpo_train_options_set(o, name, value, &error) == DMPO_ERR_ARGUMENT && strstr(error.message, part),
           "%s=%s: %s", name, value, error.message);
    CK_MSG(!now || is(o, name, before), "%s changed", name);
}

static void check_options(void)
{
    dmpo_train_options *o = NULL;

    CK(dmpo_train_options_open(&o, &error) == DMPO_OK);
    check_rows(o);
    dmpo_train_options_close(&o);
    CK(o == NULL);
    dmpo_train_options_close(&o);
    dmpo_train_options_close(NULL);

    CK(dmpo_train_options_open(&o, &error) == DMPO_OK);
    CK(number(o, "lr") == 1e-6 && is(o, "batch", "32") && is(o, "schedule", "constant") && is(o, "recompute", "auto"));
    CK(is(o, "model", NULL) && is(o, "lora-targets", NULL) && is(o, "nothing", NULL));
    CK(dmpo_train_options_set(o, "batch", "7", &error) == DMPO_OK);
    CK(dmpo_train_options_set(o, "objective", "sft", &error) == DMPO_OK); /* what was set stays, the rest follows */
    CK(number(o, "lr") == 2e-5 && is(o, "batch", "7") && is(o, "schedule", "cosine"));
    CK(dmpo_train_options_set(o, "batch", NULL, &error) == DMPO_OK && is(o, "batch", "64"));
    CK(dmpo_train_options_set(o, "objective", NULL, &error) == DMPO_OK && is(o, "batch", "32") &&
       number(o, "lr") == 1e-6);

    CK(dmpo_train_options_set_real(o, "beta", 0.1 + 0.2, &error) == DMPO_OK && number(o, "beta") == 0.1 + 0.2);
    CK(dmpo_train_options_set_integer(o, "steps", 1000000, &error) == DMPO_OK && is(o, "steps", "1000000"));
    CK(dmpo_train_options_set(o, "seed", "18446744073709551615", &error) == DMPO_OK &&
       is(o, "seed", "18446744073709551615"));
    CK(dmpo_train_options_set(o, "memory", "1.5GiB", &error) == DMPO_OK && is(o, "memory", "1610612736"));
    CK(dmpo_train_options_set(o, "recompute", "true", &error) == DMPO_OK && is(o, "recompute", "true"));
    char path[] = "some/where";
    CK(dmpo_train_options_set(o, "model", path, &error) == DMPO_OK);
    path[0] = 'x'; /* it is copied */
    CK(is(o, "model", "some/where"));
    CK(dmpo_train_options_set(o, "model", NULL, &error) == DMPO_OK && is(o, "model", NULL));

    refused(o, "beta", "0", "`beta` 0 is out of range; legal: above 0");
    refused(o, "beta", "nan", "`beta`");
    refused(o, "beta", "0.1x", "`beta`: '0.1x' is not a number");
    refused(o, "beta", "0,1", "is not a number");
    refused(o, "batch", "1e3", "`batch`: '1e3' is not a whole number");
    refused(o, "batch", "", "is not a whole number");
    refused(o, "seed", "-1", "from 0 to 2^64-1");
    refused(o, "objective", "ppo", "`objective`: 'ppo' is not one of: sft, dmpo, dmpo-token, dpo, kto");
    refused(o, "shuffle", "yes", "is not one of: false, true");
    refused(o, "memory", "5 elephants", "512MiB");
    refused(o, "data", "", "`data`: '' is not a file");
    refused(o, "learning-rate", "1", "'learning-rate' is not an option of training");
    CK(dmpo_train_options_set(o, "beta", "-1", NULL) == DMPO_ERR_ARGUMENT);
    dmpo_train_options_close(&o);
}

/* ---- structs with a size ---- */

static void check_sizes(const char *dir)
{
    struct {
        dmpo_plan plan;
        unsigned char more[16]; /* what a later version would have */
    } later;
    struct {
        size_t size;
        uint64_t total;
        unsigned char rest[64]; /* that an earlier version did not have: it is not touched */
    } earlier;
    dmpo_train_options *o = NULL;
    dmpo_engine *engine = NULL;
    dmpo_plan plan = {0};

    CK(dmpo_engine_open(&engine, "scalar", 1, &error) == DMPO_OK && dmpo_train_options_open(&o, &error) == DMPO_OK);
    CK(dmpo_train_options_set(o, "model", dir, &error) == DMPO_OK &&
       dmpo_train_options_set(o, "data", at("pairs"), &error) == DMPO_OK &&
       dmpo_train_options_set(o, "output", at("out"), &error) == DMPO_OK &&
       dmpo_train_options_set(o, "steps", "1", &error) == DMPO_OK);
    CK(dmpo_plan_train(engine, o, &plan, &error) == DMPO_ERR_ARGUMENT && strstr(error.message, "dmpo_plan.size is 0"));
    memset(&later, 0xAB, sizeof later);
    later.plan.size = sizeof later;
    CK_MSG(dmpo_plan_train(engine, o, &later.plan, &error) == DMPO_OK, "%s", error.message);
    CK(later.plan.size == sizeof later && later.plan.total > 0 && later.more[0] == 0 && later.more[15] == 0);
    memset(&earlier, 0xAB, sizeof earlier);
    earlier.size = offsetof(dmpo_plan, smallest);
    CK(dmpo_plan_train(engine, o, (dmpo_plan *)(void *)&earlier, &error) == DMPO_OK);
    CK(earlier.total > 0 && earlier.rest[0] == 0xAB);

    dmpo_train_result result = {0};
    CK(dmpo_train(engine, o, NULL, NULL, &result, &error) == DMPO_ERR_ARGUMENT && strstr(error.message, "size"));
    CK(!dm_dir_exists(at("out")));
    result.size = sizeof result;
    CK_MSG(dmpo_train(engine, o, NULL, NULL, &result, &error) == DMPO_OK, "%s", error.message);
    CK(result.steps == 1 && !result.before && !result.after && strlen(result.weights_sha256) == 64);
    CK(dmpo_train_options_set(o, "eval-data", at("pairs"), &error) == DMPO_OK);
    CK(dmpo_train(engine, o, NULL, NULL, NULL, &error) == DMPO_ERR_FILE && strstr(error.message, "`overwrite`"));
    CK(dmpo_train_options_set(o, "overwrite", "true", &error) == DMPO_OK);
    CK(dmpo_train(engine, o, NULL, NULL, &result, &error) == DMPO_OK && result.before && result.after);
    CK(result.before && result.before->step == 0 && result.after && result.after->step == 1);
    CK(dmpo_train(engine, o, NULL, NULL, NULL, NULL) == DMPO_OK);
    dmpo_train_options_close(&o);
    dmpo_engine_close(&engine);
}

/* ---- tokenizer and conversations ---- */

static void make_tokenizer(const char *dir)
{
    static const char *const texts[] = {"hello hello"};
    static const size_t sizes[] = {11};
    const char *const *specials;
    const size_t n = dm_template_specials(DM_TEMPLATE_CHATML, &specials);
    dm_tokenizer *t = NULL;
    dm_chat_template chat;
    dm_error err = {0};
    dm_status s = dm_tokenizer_train(&t, texts, sizes, 1, 300, 2, DM_WORD_SPLIT_GPT2, false, specials, n, &err);

    if (s == DM_OK && (s = dm_template_open(&chat, &(dm_template_choice){.name = "chatml"}, NULL, t, &err)) == DM_OK &&
        (s = dm_tokenizer_save(t, dir, &err)) == DM_OK)
        s = dm_template_save(&chat, t, dir, &err);
    CK_MSG(s == DM_OK, "%s", err.message);
    dm_template_close(&chat);
    dm_tokenizer_close(&t);
}

static bool decodes_to(dmpo_tokenizer *t, const int32_t *ids, size_t n, int special, const char *want)
{
    const char *text;
    size_t size;
    return CK_MSG(dmpo_tokenizer_decode(t, ids, n, special, &text, &size, &error) == DMPO_OK, "%s", error.message) &&
           CK_MSG(size == strlen(want) && strcmp(text, want) == 0, "'%s' instead of '%s'", text, want);
}

static void check_text(const char *dir)
{
    static const dmpo_message talk[] = {
        {"system", "be \"kind\""}, {"user", "hello"}, {"assistant", "hi"}, {"user", "and?"}, {"assistant", "yes"}};
    static const char json[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}";
    const dmpo_encoding *e;
    const char *text;
    size_t size, n;
    dmpo_tokenizer *t = NULL;

    if (!CK_MSG(dmpo_tokenizer_open(&t, dir, NULL, NULL, &error) == DMPO_OK, "%s", error.message))
        return;
    CK(dmpo_tokenizer_size(t) > 256 && strcmp(dmpo_tokenizer_template(t), "chatml") == 0);
    CK(dmpo_tokenizer_encode(t, "hello<|im_end|>", 15, 0, &e, &error) == DMPO_OK && e->n_turns == 0);
    n = e->n;
    decodes_to(t, e->ids, e->n, 0, "hello<|im_end|>");
    CK(dmpo_tokenizer_encode(t, "hello<|im_end|>", 15, 1, &e, &error) == DMPO_OK && e->n < n);
    decodes_to(t, e->ids, e->n, 0, "hello");
    decodes_to(t, e->ids, e->n, 1, "hello<|im_end|>");
    const int32_t *stops = dmpo_tokenizer_stops(t, &n);
    CK(n >= 1 && stops[n - 1] == e->ids[e->n - 1]);
    CK(dmpo_tokenizer_encode(t, "a\xFF", 2, 0, &e, &error) == DMPO_ERR_INPUT && e == NULL);
    decodes_to(t, NULL, 0, 0, "");
    CK(dmpo_tokenizer_decode(t, &(int32_t){1 << 20}, 1, 0, &text, &size, &error) == DMPO_ERR_ARGUMENT && !text);

    CK_MSG(dmpo_chat_render(t, talk, 5, NULL, 0, &e, &error) == DMPO_OK, "%s", error.message);
    CK(e && e->n_turns == 2);
    if (e && e->n_turns == 2) {
        decodes_to(t, e->ids + e->turns[0].begin, e->turns[0].end - e->turns[0].begin, 1, "hi<|im_end|>");
        decodes_to(t, e->ids + e->turns[1].begin, e->turns[1].end - e->turns[1].begin, 1, "yes<|im_end|>");
        decodes_to(
            t, e->ids, e->turns[0].begin, 1,
            "<|im_start|>system\nbe \"kind\"<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n");
    }
    CK(dmpo_chat_render(t, talk, 2, NULL, 1, &e, &error) == DMPO_OK && e->n_turns == 0);
    n = e->n;
    decodes_to(t, e->ids, n, 1,
               "<|im_start|>system\nbe \"kind\"<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n");
    CK(dmpo_chat_render_json(t, json, sizeof json - 1, "x", 1, &e, &error) == DMPO_OK && e->n < n);
    CK(dmpo_chat_render_json(t, json, sizeof json - 2, "x.json", 1, &e, &error) == DMPO_ERR_INPUT && !e &&
       strstr(error.message, "x.json:1:"));
    CK(dmpo_chat_render(t, talk, 3, NULL, 1, &e, &error) == DMPO_ERR_INPUT && !e); /* the agent spoke last */
    CK(dmpo_chat_render(t, &(dmpo_message){"wizard", "hi"}, 1, NULL, 1, &e, &error) == DMPO_ERR_INPUT);
    CK(dmpo_chat_render(t, &(dmpo_message){"user", "a\xFF"}, 1, NULL, 1, &e, &error) == DMPO_ERR_INPUT &&
       strstr(error.message, "message 0: byte 1 is not valid UTF-8"));
    dmpo_tokenizer_close(&t);
    CK(t == NULL);
    dmpo_tokenizer_close(&t);

    CK(dmpo_tokenizer_open(&t, dir, "vicuna", NULL, &error) != DMPO_OK && !t); /* whose tokens it lacks */
    CK(remove(at("model/tokenizer_config.json")) == 0);
    CK(dmpo_tokenizer_open(&t, dir, NULL, NULL, &error) == DMPO_OK && !dmpo_tokenizer_template(t));
    CK(dmpo_chat_render(t, talk, 2, NULL, 1, &e, &error) != DMPO_OK && strstr(error.message, "template") && !e);
    dmpo_tokenizer_close(&t);
    CK(dmpo_tokenizer_open(&t, at("bare"), NULL, NULL, &error) == DMPO_ERR_INPUT && !t &&
       strstr(error.message, "no tokenizer"));
}

int main(void)
{
    dm_config c = small_shape;

    work_open();
    check_version();
    check_options();
    make_pairs(at("pairs"), 1, 4, 5, 2, VOCAB, -1);
    make_model(at("bare"), &c);
    check_sizes(at("bare"));
    c.vocab = 300;
    make_model(at("model"), &c);
    make_tokenizer(at("model"));
    check_text(at("model"));
    work_close();
    return ck_done("api");
}
