/* dmpo verify: is this what that program makes of that data? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/call.h"
#include "cli/manifest.h"
#include "cli/rerun.h"
#include "cli/run_file.h"
#include "core/files/file.h"
#include "core/files/list.h"
#include "core/hash.h"
#include "dmpo.h"
#include "io/json_seal.h"
#include "model/train/verify.h"

#define RUN_BYTES ((size_t)1 << 26)

typedef struct verify_options {
    int64_t sample;
    uint64_t seed;
    int64_t forged;
    cli_run_inputs inputs;
} verify_options;

static const cli_option options[] = {
    DM_OPTION_INTEGER(verify_options, sample, "sample", "K", "proves K steps, chosen at random", .group = "what",
                      .low = 0, .high = 1e15, .legal = "1 or more (0: all)", .absent = "all"),
    DM_OPTION_SEED(verify_options, seed, "seed", "N", "seed of the choice", .absent = "a new one each time",
                   .manual = "Seed of the choice; 0: a new one each time. The maker of the run must not know "
                             "it before the run is published."),
    DM_OPTION_INTEGER(verify_options, forged, "forged", "M", "prints the chance that M forged steps go unnoticed",
                      .low = 1, .high = 1e15, .legal = "1 or more"),
    CLI_RUN_INPUTS(verify_options, inputs),
    {.info = {0}},
};

static const cli_command command = {
    "verify",
    "Proves or refutes a run of dmpo train or learn: its files, and steps that are computed again on this machine.",
    "RUN [--sample K] [--seed N] [options], or OUTPUT -- COMMAND...",
    "RUN is the directory that dmpo train or dmpo learn wrote. Every file is compared with its hash in run.json, and\n"
    "the steps with transcript.bin: each is computed again from the nearest checkpoint before it (--keep-checkpoints\n"
    "leaves many), with any instruction set and number of threads; a round of dmpo learn is played again for that.\n"
    "docs/transcript.md says what it proves.\n"
    "OUTPUT -- COMMAND...: runs the dmpo command that made OUTPUT (rollout, pairs, score, convert, ...) again and\n"
    "compares the files. For a directory of dmpo experiment it does so for each stage, and proves its trainings.\n"
    "Exit status 1: something is refuted or could not be checked.",
    options,
    1,
    1};

typedef struct report {
    const char *run;          /* the directory at hand */
    bool json, many;          /* many: of several outputs, with one summary */
    size_t refuted, unproved; /* findings; what could not be checked */
    dm_text findings;         /* JSON array's inside */
} report;

static int add(void *context, bool refuted, const char *text)
{
    report *r = context;

    r->refuted += refuted;
    if (!r->json) {
        printf("%-10s %s\n", refuted ? "REFUTED" : "note", text);
        return cli_interrupted();
    }
    dm_text_print(&r->findings, "%s{\"refuted\": %s, \"text\": ", r->findings.size ? ", " : "",
                  refuted ? "true" : "false");
    dm_text_json_string(&r->findings, text, strlen(text));
    dm_text_add(&r->findings, "}", 1);
    return cli_interrupted();
}

/* A stage of an experiment leaves its finished checkpoints out, as a person may: whole ones. */
static bool is_of_removed(const report *r, const char *name)
{
    dm_path path;

    return strncmp(name, "checkpoint", 10) == 0 && strchr(name, '/') &&
           dm_path_print(&path, NULL, "%s/%.*s", r->run, (int)strcspn(name, "/"), name) == DM_OK &&
           !dm_dir_exists(path.text);
}

static void add_file(void *context, cli_manifest_finding finding, const char *name)
{
    char text[DM_PATH_MAX + 64];

    if (finding == CLI_FILE_MISSING && is_of_removed(context, name)) {
        snprintf(text, sizeof text, "%s: has been removed since", name);
        add(context, false, text);
        return;
    }
    snprintf(text, sizeof text, "%s: %s", name,
             finding == CLI_FILE_DIFFERS   ? "is not the file that run.json names"
             : finding == CLI_FILE_MISSING ? "is missing"
                                           : "is not of this run; nothing is known about it");
    add(context, finding != CLI_FILE_UNKNOWN, text);
}

static void print_result(const report *r, const dm_verify_result *v, size_t files, const verify_options *o)
{
    const int64_t forged = o->forged < v->steps ? o->forged : v->steps;
    const double odds = dm_verify_odds(v->steps, v->chosen, forged);

    if (r->json && r->many)
        return;
    if (r->json) {
        printf("{\"refuted\": %zu, \"files\": %zu, \"steps\": %lld, \"chosen\": %lld, \"replayed\": %lld, \"proved\": "
               "%lld, \"checkpoints\": %lld, \"weights\": %s, \"seed\": \"%llu\", \"forged\": %lld, \"unseen\": %.6g, "
               "\"findings\": [%s]}\n",
               r->refuted, files, (long long)v->steps, (long long)v->chosen, (long long)v->replayed,
               (long long)v->proved, (long long)v->checkpoints, v->weights ? "true" : "false",
               (unsigned long long)o->seed, (long long)forged, odds, r->findings.data ? r->findings.data : "");
        return;
    }
    printf("files      %zu as run.json names them\n", files);
    if (!v->transcript)
        return;
    printf("steps      %lld of %lld chosen, seed %llu; %lld computed again, %lld of them proved\n",
           (long long)v->chosen, (long long)v->steps, (unsigned long long)o->seed, (long long)v->replayed,
           (long long)v->proved);
    printf("states     %lld checkpoints are the transcript's; the model %s\n", (long long)v->checkpoints,
           v->weights ? "is that of the last step" : "was not compared with the last step");
    if (v->steps)
        printf("odds       %lld forged of %lld steps go unnoticed with a chance of at most %.4g\n", (long long)forged,
               (long long)v->steps, odds);
}

/* A record that carries its own checksum. *holds is false, with *why where it is no JSON, when it was changed; *doc
 * (closed by the caller) may be NULL then. No memory says nothing about the record: it fails. */
static dm_status read_record(dm_json_doc **doc, const char *path, bool *holds, dm_error *why, dm_error *err)
{
    char *data = NULL;
    size_t size = 0;
    dm_status s = dm_file_read(path, RUN_BYTES, &data, &size, err);

    if (s != DM_OK)
        return s;
    *why = (dm_error){.message = ""};
    s = dm_json_parse(doc, data, size, path, why);
    *holds = s == DM_OK && dm_json_seal_holds(*doc, data, size);
    free(data);
    return s == DM_ERR_MEMORY ? dm_fail(err, s, "%s", why->message) : DM_OK;
}

/* What run.json says of itself and of the files beside it. *doc: closed by the caller. */
static dm_status check_files(dm_json_doc **doc, const char *run, const char *path, report *r, size_t *files,
                             dm_error *err)
{
    bool holds;
    dm_error why;
    const dm_status s = read_record(doc, path, &holds, &why, err);

    if (s != DM_OK)
        return s;
    const dm_json *of_run = *doc ? dm_json_get(dm_json_root(*doc), "files") : NULL;
    const dm_json *made_by = *doc ? dm_json_get(dm_json_root(*doc), "command") : NULL;
    r->run = run;
    if (*doc && !dm_json_is(made_by, "train") && !dm_json_is(made_by, "learn")) {
        add(r, true, "run.json: is no record of dmpo train or dmpo learn");
        dm_json_close(doc);
        return DM_OK;
    }
    if (!holds && *doc && !of_run && !dm_json_get(dm_json_root(*doc), "checksum"))
        add(r, false, "run.json: names no files and has no checksum; an older version wrote it");
    else if (!holds)
        add(r, true, *why.message ? why.message : "run.json: its own checksum differs, or it has none");
    return of_run ? cli_manifest_check(of_run, run, add_file, r, files, err) : s;
}

/* The options of a record that was changed may be none: that is one finding more, and made->train stays NULL. */
static dm_status open_made(cli_run *made, const char *path, const cli_run_inputs *inputs, report *r, dm_error *err)
{
    dm_error why;
    const dm_status s = cli_run_open(made, path, inputs, &why);

    if (s == DM_OK)
        return s;
    if (r->refuted == 0 || s == DM_ERR_MEMORY || s == DM_ERR_FILE)
        return dm_fail(err, s, "%s", why.message);
    cli_run_close(made);
    add(r, true, why.message);
    return DM_OK;
}

static dm_status verify_run(cli_call *c, const char *run, report *r, dm_error *err)
{
    const verify_options *o = c->options;
    dm_path path;
    dm_json_doc *doc = NULL;
    cli_run made = {.train = NULL};
    dm_verify_result result = {0};
    size_t files = 0;
    dm_status s = dm_path_in(&path, run, "run.json", err);

    if (s == DM_OK && !dm_file_exists(path.text))
        s = dm_fail(err, DM_ERR_FILE, "%s: is missing; a finished run of dmpo train or learn has one", path.text);
    if (s == DM_OK && (s = check_files(&doc, run, path.text, r, &files, err)) == DM_OK && doc &&
        (s = open_made(&made, path.text, &o->inputs, r, err)) == DM_OK && made.train) {
        const dm_json *root = dm_json_get(dm_json_root(doc), "transcript_sha256");
        const dm_verify_options v = {.run = run, .sample = o->sample, .seed = o->seed};
        s = c->engine ? DM_OK : cli_call_engine(c, err);
        s = s != DM_OK ? s
                       : cli_run_verify(c->engine, &made, &v, root && root->type == DM_JSON_STRING ? root->text : NULL,
                                        add, r, &c->progress, &result, err);
        cli_progress_close(&c->progress);
    }
    if (s == DM_OK && r->findings.failed)
        s = dm_fail(err, DM_ERR_MEMORY, "no memory for the findings");
    if (s == DM_OK)
        print_result(r, &result, files, o);
    r->unproved += !result.transcript;
    dm_json_close(&doc);
    cli_run_close(&made);
    return s;
}

/* ---- commands that are run again ---- */

static void add_other(void *context, const char *file)
{
    char text[DM_PATH_MAX + 64];

    snprintf(text, sizeof text, "%s: is not what its command makes here", file);
    add(context, true, text);
}

static dm_status rerun(const char *const *word, size_t words, const char *place, report *r, dm_error *err)
{
    cli_rerun_result result;
    char text[DM_PATH_MAX + 96];
    const dm_status s = cli_rerun(word, words, place, add_other, r, &result, err);

    if (s != DM_OK)
        return s;
    if (result.failed)
        snprintf(text, sizeof text, "%s: dmpo %.20s fails here with status %d", place, word[0], result.status);
    else
        snprintf(text, sizeof text, "%s: %zu files are what dmpo %.20s makes here", place, result.same, word[0]);
    add(r, result.failed || result.same + result.other == 0, text);
    return DM_OK;
}

/* A stage of an experiment: its record, then its command again; a training by its transcript, if it has one. */
static dm_status verify_stage(cli_call *c, const char *dir, report *r, dm_error *err)
{
    dm_path record, transcript;
    dm_json_doc *doc = NULL;
    char text[DM_PATH_MAX + DM_ERROR_MAX], line[32768];
    const char *word[CLI_RERUN_WORDS];
    size_t words = 0;
    bool holds;
    dm_error why;
    dm_status s = dm_path_in(&record, dir, "stage.json", err);

    if (s == DM_OK && dm_dir_exists(dir) && !dm_file_exists(record.text)) {
        snprintf(text, sizeof text, "%s: has no record: it never finished, or the record was removed", dir);
        add(r, false, text);
        r->unproved++;
    }
    if (s != DM_OK || !dm_file_exists(record.text))
        return s;
    if ((s = read_record(&doc, record.text, &holds, &why, err)) != DM_OK)
        return s;
    if (!holds) {
        snprintf(text, sizeof text, "%s: its own checksum differs, or it has none", record.text);
        add(r, true, text);
    }
    const dm_json *made_by = doc ? dm_json_get(dm_json_root(doc), "command") : NULL;
    snprintf(line, sizeof line, "%s", made_by && made_by->text ? made_by->text : "");
    if (!cli_rerun_words(line, word, CLI_RERUN_WORDS, &words) || words < 2)
        s = dm_fail(err, DM_ERR_INPUT, "%s: no command that can be run again", record.text);
    else if (strcmp(word[1], "train") == 0 ||
             (strcmp(word[1], "learn") == 0 && dm_path_in(&transcript, dir, DM_TRANSCRIPT_FILE, NULL) == DM_OK &&
              dm_file_exists(transcript.text)))
        s = verify_run(c, dir, r, err);
    else
        s = rerun(word + 1, words - 1, dir, r, err);
    if (s != DM_OK && s != DM_ERR_MEMORY &&
        s != DM_ERR_INTERRUPTED) { /* such as an input that is gone: others follow */
        snprintf(text, sizeof text, "%s: could not be checked: %s", dir, err->message);
        add(r, false, text);
        r->unproved++;
        s = DM_OK;
    }
    dmpo_engine_close(&c->engine); /* its threads are gone before the next stage's process is forked */
    dm_json_close(&doc);
    return s;
}

static dm_status verify_experiment(cli_call *c, const char *stages, report *r, dm_error *err)
{
    dm_names names;
    dm_path dir;
    dm_status s = dm_names_list(&names, stages, err);

    for (size_t i = 0; s == DM_OK && !cli_interrupted() && i < names.n; i++)
        if ((s = dm_path_in(&dir, stages, names.name[i], err)) == DM_OK)
            s = verify_stage(c, dir.text, r, err);
    dm_names_free(&names);
    return s;
}

/* The command line after "--"; word NULL: there is none. */
typedef struct words {
    char **word;
    size_t n;
} words;

static dm_status verify(cli_call *c, dm_error *err)
{
    const words *again = c->context;
    const char *run = c->args.positional[0];
    verify_options *o = c->options;
    report r = {.json = c->common.json};
    dm_path stages;
    dm_status s = dm_path_in(&stages, run, "stages", err);

    if (!o->seed)
        o->seed = dm_hash_key_get().a >> 16; /* short enough to be typed */
    r.many = again->word || (s == DM_OK && dm_dir_exists(stages.text));
    if (s == DM_OK)
        s = again->word ? rerun((const char *const *)again->word, again->n, run, &r, err)
            : r.many    ? verify_experiment(c, stages.text, &r, err)
                        : verify_run(c, run, &r, err);
    c->status = r.refuted > 0 || r.unproved > 0;
    if (s == DM_OK && !r.json)
        puts(r.refuted ? "REFUTED" : r.unproved ? "nothing refuted, but not all could be checked" : "nothing refuted");
    else if (s == DM_OK && r.many)
        printf("{\"refuted\": %zu, \"findings\": [%s]}\n", r.refuted, r.findings.data ? r.findings.data : "");
    dm_text_free(&r.findings);
    return s;
}

int cli_verify(int argc, char **argv)
{
    int own = 0;
    verify_options o = {.forged = 1};

    while (own < argc && strcmp(argv[own], "--") != 0)
        own++;
    words again = {own < argc ? argv + own + 1 : NULL, own < argc ? (size_t)(argc - own - 1) : 0};
    cli_call call = {.command = &command, .options = &o, .needs = CLI_STOPS, .work = verify, .context = &again};
    return cli_call_run(&call, own, argv);
}
