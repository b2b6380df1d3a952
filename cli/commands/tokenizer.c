/* dmpo tokenizer train | encode | decode. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/call.h"
#include "core/files/file.h"
#include "core/files/output.h"
#include "core/files/place.h"
#include "io/data/template.h"
#include "io/tokenizer/tokenizer.h"
#include "model/formats/source.h"

typedef struct tokenizer_options {
    const char *output, *chat_template, *tokenizer;
    int64_t vocabulary, min_frequency;
    int split;
    bool digits, special, overwrite;
} tokenizer_options;

static const char *const splits[] = {"gpt2", "llama3", "qwen2", NULL};

const cli_option cli_tokenizer_options[] = {
    DM_OPTION_TEXT(tokenizer_options, output, "output", "DIR",
                   "train: directory for tokenizer.json and tokenizer_config.json"),
    DM_OPTION_INTEGER(tokenizer_options, vocabulary, "vocabulary", "N",
                      "train: maximum number of ids, including the 256 bytes and special tokens", .low = 257,
                      .high = 1 << 24),
    DM_OPTION_INTEGER(tokenizer_options, min_frequency, "min-frequency", "N", "train: minimum count of a merge",
                      .low = 1, .high = 1 << 30),
    DM_OPTION_CHOICE(tokenizer_options, split, "split", "NAME", splits, "train: how text is cut into words"),
    DM_OPTION_FLAG(tokenizer_options, digits, "digits", "train: makes every digit a token of its own"),
    DM_OPTION_TEXT(tokenizer_options, chat_template, "template", "NAME",
                   "train: " DM_TEMPLATE_NAMES ", with its special tokens"),
    DM_OPTION_TEXT(tokenizer_options, tokenizer, "tokenizer", "PATH",
                   "encode, decode: a tokenizer, or a model of any form that has one",
                   .manual = "encode, decode: the tokenizer: a directory with tokenizer.json or tokenizer.model, one "
                             "of these files, or a model of any form that has a tokenizer (a GGUF file, a llama2.c "
                             "file with tokenizer.bin beside it)."),
    DM_OPTION_FLAG(tokenizer_options, special, "special", "encode: recognises special tokens; decode: shows them"),
    CLI_OPTION_OVERWRITE(tokenizer_options),
    {.offset = 0},
};

static const cli_command command = {
    "tokenizer",
    "Trains a byte-level BPE tokenizer on data files, or encodes and decodes lines of text.",
    "train --output DIR DATA... | encode --tokenizer PATH | decode --tokenizer PATH",
    "train takes dmpo data files, of which it uses the message texts, or plain text files. encode reads lines of text\n"
    "from standard input and prints ids; decode does the reverse. With --json, a text is a JSON string and ids are a\n"
    "JSON array, one per line. The same texts give the same tokenizer, byte for byte.",
    cli_tokenizer_options,
    1,
    CLI_POSITIONAL};

typedef struct texts {
    const char **text;
    size_t *size;
    size_t n, capacity;
} texts;

static dm_status add_text(texts *t, const char *text, size_t size, dm_error *err)
{
    if (t->n == t->capacity) {
        const size_t capacity = t->capacity ? 2 * t->capacity : 1024;
        const char **a = realloc(t->text, capacity * sizeof *a);
        if (a)
            t->text = a;
        size_t *b = realloc(t->size, capacity * sizeof *b);
        if (b)
            t->size = b;
        if (!a || !b)
            return dm_fail(err, DM_ERR_MEMORY, "no memory for the list of texts");
        t->capacity = capacity;
    }
    t->text[t->n] = text;
    t->size[t->n++] = size;
    return DM_OK;
}

/* Every message text of a data file: strings named "value" or "content". Depth is bounded by the JSON parser. */
static dm_status collect(texts *t, const dm_json *v, dm_error *err)
{
    dm_status s = DM_OK;
    if (v->type == DM_JSON_STRING && v->key && (strcmp(v->key, "value") == 0 || strcmp(v->key, "content") == 0))
        return add_text(t, v->text, v->length, err);
    for (const dm_json *c = v->child; c && s == DM_OK; c = c->next)
        s = collect(t, c, err);
    return s;
}

static int is_json(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (strcmp(dot, ".json") == 0 || strcmp(dot, ".jsonl") == 0);
}

static dm_status train_on(const tokenizer_options *o, const texts *t, dm_error *err)
{
    const char *const *specials;
    dm_chat_template chat = {0};
    dm_tokenizer *tokenizer = NULL;
    int kind = 0;

    while (kind < DM_TEMPLATE_COUNT && strcmp(o->chat_template, dm_template_name((dm_template_kind)kind)) != 0)
        kind++;
    if (kind == DM_TEMPLATE_COUNT)
        return dm_fail(err, DM_ERR_ARGUMENT, "unknown template '%s'; --template takes " DM_TEMPLATE_NAMES,
                       o->chat_template);
    const size_t n = dm_template_specials((dm_template_kind)kind, &specials);
    dm_output_dir out = {.fd = -1};
    dm_status s =
        dm_tokenizer_train(&tokenizer, t->text, t->size, t->n, (size_t)o->vocabulary, (size_t)o->min_frequency,
                           (dm_word_split)o->split, o->digits != 0, specials, n, err);
    if (s == DM_OK &&
        (s = dm_template_open(&chat, &(dm_template_choice){.name = o->chat_template}, NULL, tokenizer, err)) == DM_OK &&
        (s = dm_output_dir_open(&out, o->output, o->overwrite, err)) == DM_OK &&
        (s = dm_tokenizer_save(tokenizer, out.temporary.text, err)) == DM_OK)
        s = dm_template_save(&chat, tokenizer, out.temporary.text, err);
    s = dm_output_dir_close(&out, s, err);
    if (s == DM_OK)
        printf("%s: %zu ids from %zu texts, template %s\n", o->output, dm_tokenizer_size(tokenizer), t->n,
               o->chat_template);
    dm_template_close(&chat);
    dm_tokenizer_close(&tokenizer);
    return s;
}

static dm_status train(const tokenizer_options *o, const cli_args *args, dm_error *err)
{
    dm_json_doc *docs[CLI_POSITIONAL] = {0};
    char *plain[CLI_POSITIONAL] = {0};
    texts t = {0};
    dm_status s = DM_OK;

    if (!o->output)
        return dm_fail(err, DM_ERR_ARGUMENT, "no output given; --output DIR names the tokenizer's directory");
    if (args->n_positional < 2)
        return dm_fail(err, DM_ERR_ARGUMENT, "no data given; usage: dmpo tokenizer train --output DIR DATA...");
    if ((s = cli_check_inputs(cli_tokenizer_options, o, args, o->output, err)) != DM_OK ||
        (s = dm_place_check(o->output, o->overwrite, err)) != DM_OK)
        return s;
    for (int i = 1; i < args->n_positional && s == DM_OK; i++) {
        size_t size = 0;
        if (is_json(args->positional[i])) {
            if ((s = dm_json_read_any(&docs[i], args->positional[i], err)) == DM_OK)
                s = collect(&t, dm_json_root(docs[i]), err);
        } else if ((s = dm_file_read(args->positional[i], (size_t)1 << 30, &plain[i], &size, err)) == DM_OK) {
            s = add_text(&t, plain[i], size, err);
        }
    }
    if (s == DM_OK && t.n == 0)
        s = dm_fail(err, DM_ERR_INPUT, "%s: no message text found (members named \"value\" or \"content\")",
                    args->positional[1]);
    if (s == DM_OK)
        s = train_on(o, &t, err);
    for (int i = 0; i < CLI_POSITIONAL; i++) {
        dm_json_close(&docs[i]);
        free(plain[i]);
    }
    free(t.text);
    free(t.size);
    return s;
}

/* ---- encode and decode: a line in, a line out ---- */

typedef struct line_work {
    dm_tokenizer *t;
    int special, json;
    size_t number; /* of the line, from 1 */
    dm_error *err;
} line_work;

static dm_status encode_text(const line_work *w, const char *text, size_t n)
{
    dm_ids ids = {0};
    dm_status s = dm_tokenizer_encode(w->t, text, n, w->special != 0, &ids, w->err);
    if (s != DM_OK)
        s = dm_fail_context(w->err, s, "standard input:%zu", w->number);
    else if (w->json)
        putchar('[');
    for (size_t i = 0; s == DM_OK && i < ids.size; i++)
        printf("%s%d", i == 0 ? "" : w->json ? ", " : " ", (int)ids.data[i]);
    if (s == DM_OK)
        fputs(w->json ? "]\n" : "\n", stdout);
    dm_ids_free(&ids);
    return s;
}

static dm_status decode_ids(const line_work *w, const dm_ids *ids)
{
    dm_text text = {0}, quoted = {0};
    dm_status s = dm_tokenizer_decode(w->t, ids->data, ids->size, !w->special, &text, w->err);
    const char *begin = text.data ? text.data : "";
    size_t size = text.size;
    dm_tokenizer_trim(w->t, &begin, &size);
    if (s != DM_OK) {
        s = dm_fail_context(w->err, s, "standard input:%zu", w->number);
    } else if (w->json) {
        dm_text_json_string(&quoted, begin, size);
        if (quoted.failed)
            s = dm_fail(w->err, DM_ERR_MEMORY, "no memory for a line of %zu bytes", size);
        else
            puts(quoted.data);
    } else {
        if (size)
            fwrite(begin, 1, size, stdout);
        putchar('\n');
    }
    dm_text_free(&text);
    dm_text_free(&quoted);
    return s;
}

static dm_status read_ids(const line_work *w, const char *line, dm_ids *ids)
{
    dm_status s = DM_OK;
    char *end;
    while (s == DM_OK && *(line += strspn(line, " \t\r"))) {
        const long id = strtol(line, &end, 10);
        if (end == line || id < 0 || id > INT32_MAX)
            s = dm_fail(w->err, DM_ERR_INPUT, "standard input:%zu: '%.20s' is not a token id", w->number, line);
        else
            s = dm_ids_push(ids, (int32_t)id, w->err);
        line = end;
    }
    return s;
}

static dm_status read_json_ids(const line_work *w, const dm_json_doc *doc, dm_ids *ids)
{
    const dm_json *root = dm_json_root(doc);
    dm_status s = DM_OK;
    if (root->type != DM_JSON_ARRAY)
        return dm_fail(w->err, DM_ERR_INPUT, "standard input:%zu: must be a JSON array of token ids", w->number);
    for (const dm_json *id = root->child; s == DM_OK && id; id = id->next) {
        if (id->type != DM_JSON_NUMBER || !id->is_integer || id->integer < 0 || id->integer > INT32_MAX)
            s = dm_fail(w->err, DM_ERR_INPUT, "standard input:%zu:%u: not a token id", w->number, (unsigned)id->column);
        else
            s = dm_ids_push(ids, (int32_t)id->integer, w->err);
    }
    return s;
}

static dm_status do_line(const line_work *w, const char *line, size_t n, int encode)
{
    dm_json_doc *doc = NULL;
    dm_ids ids = {0};
    dm_status s = DM_OK;
    if (w->json && (s = dm_json_parse(&doc, line, n, "standard input", w->err)) != DM_OK)
        return dm_fail_context(w->err, s, "line %zu", w->number);
    if (!encode) {
        s = w->json ? read_json_ids(w, doc, &ids) : read_ids(w, line, &ids);
        if (s == DM_OK)
            s = decode_ids(w, &ids);
    } else if (!w->json) {
        s = encode_text(w, line, n);
    } else if (dm_json_root(doc)->type != DM_JSON_STRING) {
        s = dm_fail(w->err, DM_ERR_INPUT, "standard input:%zu: must be a JSON string", w->number);
    } else {
        s = encode_text(w, dm_json_root(doc)->text, dm_json_root(doc)->length);
    }
    dm_json_close(&doc);
    dm_ids_free(&ids);
    return s;
}

static int ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

/* A file that is neither tokenizer.json nor tokenizer.model is a model that has a tokenizer. */
static dm_status open_any(dm_tokenizer **t, const char *path, dm_error *err)
{
    dm_source *source = NULL;
    if (dm_dir_exists(path) || !dm_file_exists(path) || ends_with(path, ".json") || ends_with(path, ".model"))
        return dm_tokenizer_open(t, path, err);
    dm_status s = dm_source_open(&source, path, err);
    if (s == DM_OK)
        s = dm_source_tokenizer(source, t, NULL, NULL, err);
    if (s == DM_OK && !*t)
        s = dm_fail(err, DM_ERR_INPUT, "%s: the model has no tokenizer", path);
    dm_source_close(&source);
    return s;
}

static dm_status each_line(const tokenizer_options *o, const cli_common *common, int encode, dm_error *err)
{
    line_work w = {.special = o->special, .json = common->json, .err = err};
    char *line = NULL;
    size_t room = 0;
    ssize_t n;

    if (!o->tokenizer)
        return dm_fail(err, DM_ERR_ARGUMENT, "no tokenizer given; --tokenizer PATH names one");
    dm_status s = open_any(&w.t, o->tokenizer, err);
    while (s == DM_OK && (n = getline(&line, &room, stdin)) >= 0) {
        w.number++;
        if (n > 0 && line[n - 1] == '\n')
            line[--n] = 0;
        s = do_line(&w, line, (size_t)n, encode);
    }
    if (s == DM_OK && !feof(stdin))
        s = dm_fail(err, DM_ERR_FILE, "cannot read standard input: %s", strerror(errno));
    free(line);
    dm_tokenizer_close(&w.t);
    return s;
}

static dm_status tokenizer(cli_call *c, dm_error *err)
{
    const char *action = c->args.positional[0];

    if (strcmp(action, "train") == 0)
        return train(c->options, &c->args, err);
    if (strcmp(action, "encode") == 0 || strcmp(action, "decode") == 0)
        return each_line(c->options, &c->common, action[0] == 'e', err);
    return dm_fail(err, DM_ERR_ARGUMENT, "unknown action '%s'; legal: train, encode, decode", action);
}

int cli_tokenizer(int argc, char **argv)
{
    tokenizer_options o = {.vocabulary = 2048, .min_frequency = 2, .chat_template = "plain"};
    cli_call call = {.command = &command, .options = &o, .work = tokenizer};

    return cli_call_run(&call, argc, argv);
}
