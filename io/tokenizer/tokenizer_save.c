/* Writes tokenizer.json. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "core/files/output.h"
#include "io/tokenizer/tokenizer_internal.h"

static const char *bool_text(bool b)
{
    return b ? "true" : "false";
}

/* By id, which is how the tokenizers library gives them theirs. */
static int compare_ids(const void *a, const void *b)
{
    const int32_t x = (*(const dm_added_token *const *)a)->id, y = (*(const dm_added_token *const *)b)->id;
    return (x > y) - (x < y);
}

static void write_added(const dm_tokenizer *t, dm_text *out)
{
    const dm_added_token **by_id = malloc((t->n_added + 1) * sizeof *by_id);
    if (by_id == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < t->n_added; i++)
        by_id[i] = &t->added[i];
    qsort(by_id, t->n_added, sizeof *by_id, compare_ids);
    dm_text_print(out, "  \"added_tokens\": [");
    for (size_t i = 0; i < t->n_added; i++) {
        const dm_added_token *a = by_id[i];
        const char *text = t->text + t->offset[a->id];
        dm_text_print(out, "%s    {\"id\": %d, \"content\": ", i > 0 ? ",\n" : "\n", (int)a->id);
        dm_text_json_string(out, text, strlen(text));
        dm_text_print(out,
                      ", \"single_word\": %s, \"lstrip\": %s, \"rstrip\": %s, \"normalized\": %s, \"special\": %s}",
                      bool_text(a->single_word), bool_text(a->lstrip), bool_text(a->rstrip),
                      bool_text(a->normalized && t->bpe != DM_BPE_SCORES), /* as transformers converts them */
                      bool_text(t->flags[a->id] & DM_TOKEN_SPECIAL));
    }
    dm_text_print(out, t->n_added > 0 ? "\n  ],\n" : "],\n");
    free(by_id);
}

static void write_byte_level(dm_text *out, bool prefix_space, bool use_regex)
{
    dm_text_print(out,
                  "{ \"type\": \"ByteLevel\", \"add_prefix_space\": %s, \"trim_offsets\": true, "
                  "\"use_regex\": %s }",
                  bool_text(prefix_space), bool_text(use_regex));
}

static const char *const prefixes[] = {"never", "first", "always"};

static void write_normalizer(const dm_tokenizer *t, dm_text *out)
{
    const int parts = t->nfc + t->prepend + t->replace;
    const char *separator = "";
    dm_text_print(out, "  \"normalizer\": ");
    if (parts == 0)
        dm_text_print(out, "null");
    if (parts > 1)
        dm_text_print(out, "{ \"type\": \"Sequence\", \"normalizers\": [ ");
    if (t->nfc) {
        dm_text_print(out, "{ \"type\": \"NFC\" }");
        separator = ", ";
    }
    if (t->prepend) {
        dm_text_print(out, "%s{ \"type\": \"Prepend\", \"prepend\": \"" DM_SPACE "\" }", separator);
        separator = ", ";
    }
    if (t->replace)
        dm_text_print(out,
                      "%s{ \"type\": \"Replace\", \"pattern\": { \"String\": \" \" }, \"content\": \"" DM_SPACE "\" }",
                      separator);
    dm_text_print(out, parts > 1 ? " ] },\n" : ",\n");
}

static void write_metaspace(dm_text *out, const char *scheme, bool split)
{
    dm_text_print(out,
                  "{ \"type\": \"Metaspace\", \"replacement\": \"" DM_SPACE
                  "\", \"prepend_scheme\": \"%s\", \"split\": %s }",
                  scheme, bool_text(split));
}

static void write_decoder(const dm_tokenizer *t, dm_text *out)
{
    dm_text_print(out, "  \"decoder\": ");
    if (t->bpe == DM_BPE_BYTES) {
        write_byte_level(out, true, true);
        dm_text_print(out, ",\n");
        return;
    }
    dm_text_print(out, "{ \"type\": \"Sequence\", \"decoders\": [ ");
    if (t->decode_metaspace)
        write_metaspace(out, prefixes[t->strip ? DM_PREFIX_ALWAYS : DM_PREFIX_NEVER], true);
    else
        dm_text_print(out,
                      "{ \"type\": \"Replace\", \"pattern\": { \"String\": \"" DM_SPACE "\" }, \"content\": \" \" }");
    if (t->decode_bytes)
        dm_text_print(out, ", { \"type\": \"ByteFallback\" }");
    dm_text_print(out, ", { \"type\": \"Fuse\" }");
    if (t->strip && !t->decode_metaspace)
        dm_text_print(out, ", { \"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0 }");
    dm_text_print(out, " ] },\n");
}

static void write_pre_tokenizer(const dm_tokenizer *t, dm_text *out)
{
    const size_t stages = t->n_stages - (t->prefix_pattern ? 1 : 0);
    const bool prefix_space = t->prefix_stage != SIZE_MAX;
    dm_text_print(out, "  \"pre_tokenizer\": ");
    if (t->bpe != DM_BPE_BYTES) {
        if (t->metaspace)
            write_metaspace(out, prefixes[t->metaspace_prefix], t->metaspace_split);
        dm_text_print(out, t->metaspace ? ",\n" : "null,\n");
        return;
    }
    if (stages > 0)
        dm_text_print(out, "{\n    \"type\": \"Sequence\",\n    \"pretokenizers\": [\n");
    for (size_t i = 0; i < stages; i++) {
        const char *regex = dm_pattern_regex(t->stages[i]);
        if (regex == NULL) {
            dm_text_print(out, "      { \"type\": \"Digits\", \"individual_digits\": %s },\n",
                          bool_text(t->stages[i] == DM_PATTERN_DIGIT));
            continue;
        }
        dm_text_print(out, "      { \"type\": \"Split\", \"pattern\": { \"Regex\": ");
        dm_text_json_string(out, regex, strlen(regex));
        dm_text_print(out, " }, \"behavior\": \"Isolated\", \"invert\": false },\n");
    }
    if (stages > 0)
        dm_text_print(out, "      ");
    write_byte_level(out, prefix_space, t->prefix_pattern);
    dm_text_print(out, stages > 0 ? "\n    ]\n  },\n" : ",\n");
}

/* A large vocabulary's file has tens of megabytes, which a run that just fits into its memory limit would not have. */
static dm_status flush(dm_output *file, dm_text *out, size_t least, dm_error *err)
{
    if (out->failed)
        return dm_fail(err, DM_ERR_MEMORY, "no memory to write %s", file->path);
    if (out->size < least)
        return DM_OK;
    const dm_status s = dm_output_add(file, out->data, out->size, err);
    out->size = 0;
    return s;
}

#define PIECE 65536

static dm_status write_model(const dm_tokenizer *t, const dm_bpe_merge *merges, size_t n_merges, dm_text *out,
                             dm_output *file, dm_error *err)
{
    dm_status s = DM_OK;

    dm_text_print(out, "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": ");
    if (t->unknown >= 0)
        dm_text_json_string(out, t->text + t->offset[t->unknown], strlen(t->text + t->offset[t->unknown]));
    else
        dm_text_print(out, "null");
    dm_text_print(out,
                  ",\n    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"
                  "    \"fuse_unk\": %s,\n    \"byte_fallback\": %s,\n    \"ignore_merges\": %s,\n"
                  "    \"vocab\": {",
                  bool_text(t->fuse_unknown), bool_text(t->byte_fallback), bool_text(t->ignore_merges));
    const char *separator = "\n";
    for (size_t id = 0; id < t->size && s == DM_OK; id++) {
        if (!(t->flags[id] & DM_TOKEN_VOCAB))
            continue;
        const char *text = t->text + t->offset[id];
        dm_text_print(out, "%s      ", separator);
        dm_text_json_string(out, text, strlen(text));
        dm_text_print(out, ": %zu", id);
        separator = ",\n";
        s = flush(file, out, PIECE, err);
    }
    dm_text_print(out, "\n    },\n    \"merges\": [");
    separator = "\n";
    for (size_t i = 0; i < n_merges && s == DM_OK; i++) {
        const char *left = t->text + t->offset[merges[i].left], *right = t->text + t->offset[merges[i].right];
        dm_text_print(out, "%s      [", separator);
        dm_text_json_string(out, left, strlen(left));
        dm_text_print(out, ", ");
        dm_text_json_string(out, right, strlen(right));
        dm_text_print(out, "]");
        separator = ",\n";
        s = flush(file, out, PIECE, err);
    }
    dm_text_print(out, "\n    ]\n  }\n}\n");
    return s == DM_OK ? flush(file, out, 0, err) : s;
}

dm_status dm_tokenizer_save(const dm_tokenizer *t, const char *dir, dm_error *err)
{
    dm_path path;
    dm_bpe_merge *ranked = NULL;
    size_t n_merges = t->n_merges;
    dm_status status =
        t->squeeze ? dm_fail(err, DM_ERR_UNSUPPORTED, "remove_extra_whitespaces of SentencePiece has no tokenizer.json")
                   : dm_dir_create(dir, err);
    if (status == DM_OK)
        status = dm_path_in(&path, dir, "tokenizer.json", err);
    if (status == DM_OK && t->bpe == DM_BPE_SCORES)
        status = dm_tokenizer_ranked(t, &ranked, &n_merges, err);
    dm_output file;
    if (status == DM_OK && (status = dm_output_open(&file, path.text, err)) != DM_OK)
        free(ranked);
    if (status != DM_OK)
        return status;
    dm_text out = {0};
    dm_text_print(&out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    write_added(t, &out);
    write_normalizer(t, &out);
    write_pre_tokenizer(t, &out);
    dm_text_print(&out, "  \"post_processor\": ");
    if (t->post_processor != NULL)
        dm_text_add(&out, t->post_processor, strlen(t->post_processor));
    else
        dm_text_print(&out, "null");
    dm_text_print(&out, ",\n");
    write_decoder(t, &out);
    status = write_model(t, ranked != NULL ? ranked : t->merges, n_merges, &out, &file, err);
    dm_text_free(&out);
    free(ranked);
    return dm_output_close(&file, status, NULL, err);
}
