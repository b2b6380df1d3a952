#include "agent/experiment/stage_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "core/system.h"
#include "io/json_seal.h"

#define EXTRA_ARGS 6

static dm_status open_stream(int *fd, const dm_stage *s, const char *name, int flags, dm_error *err)
{
    dm_path path;
    const dm_status status = dm_path_in(&path, s->dir, name, err);

    if (status != DM_OK)
        return status;
    *fd = dm_open(path.text, O_WRONLY | O_CREAT | O_NOFOLLOW | flags);
    return *fd >= 0 ? DM_OK : dm_fail(err, DM_ERR_FILE, "%s: cannot write: %s", path.text, strerror(errno));
}

dm_status dm_stage_prepare(const dm_stage *s, dm_stage_streams *to, dm_error *err)
{
    dm_status status = DM_OK;

    if (!s->resumable && dm_dir_exists(s->dir))
        status = dm_dir_remove(s->dir, err);
    if (status == DM_OK && (status = dm_dir_create(s->dir, err)) == DM_OK &&
        (status = open_stream(&to->log, s, DM_STAGE_LOG, O_APPEND, err)) == DM_OK)
        status = open_stream(&to->result, s, DM_STAGE_STDOUT, O_TRUNC, err);
    return status;
}

void dm_stage_close_streams(const dm_stage_streams *to)
{
    if (to->log >= 0)
        close(to->log);
    if (to->result >= 0)
        close(to->result);
}

/* ---- in the child ---- */

bool dm_stage_take_lock(int fd, off_t at, int command)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    int status;
    do
        status = fcntl(fd, command, &lock);
    while (status != 0 && errno == EINTR);
    return status == 0;
}

static off_t lock_of(const dm_stage *s)
{
    const char digits[9] = {s->key[0], s->key[1], s->key[2], s->key[3], s->key[4], s->key[5], s->key[6], s->key[7], 0};
    return 1 + (off_t)(strtoul(digits, NULL, 16) >> 2); /* fits a signed 32-bit offset */
}

static dm_status write_record(const dm_stage_runner *x, const dm_stage *s, double seconds, dm_error *err)
{
    dm_path path;
    dm_text command = {0}, t = {0};
    dm_json_writer w = {.out = &t};

    dm_experiment_plan_command(x->plan, s, &command);
    dm_json_open_object(&w, NULL);
    dm_json_put_string(&w, "name", s->name);
    dm_json_put_string(&w, "key", s->key);
    dm_json_put_string(&w, "version", x->commands->version);
    dm_json_put_string(&w, "command", command.data);
    dm_json_open_array(&w, "inputs");
    for (size_t i = 0; i < s->args; i++)
        if (s->arg[i].kind == DM_STAGE_ARG_INPUT || s->arg[i].kind == DM_STAGE_ARG_FILE)
            dm_json_put_string(
                &w, NULL, s->arg[i].kind == DM_STAGE_ARG_INPUT ? x->plan->stage[s->arg[i].stage].key : s->arg[i].text);
    dm_json_close_value(&w);
    dm_json_put_fixed(&w, "seconds", seconds, 3);
    dm_json_put_uint(&w, "peak_memory", dm_rss_peak());
    dm_json_seal(&w);
    dm_status status = dm_path_in(&path, s->dir, DM_STAGE_RECORD, err);
    if (status == DM_OK)
        status = t.failed || command.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to write %s", path.text)
                                            : dm_file_write(path.text, t.data, t.size, err);
    dm_text_free(&t);
    dm_text_free(&command);
    return status;
}

dm_status dm_stage_drop_checkpoint(const dm_stage *s, dm_error *err)
{
    dm_path path;
    const dm_status status = dm_path_in(&path, s->dir, "checkpoint", err);
    return status == DM_OK && dm_dir_exists(path.text) ? dm_dir_remove(path.text, err) : status;
}

int dm_stage_run(const dm_stage_runner *x, const dm_stage *s, const dm_stage_streams *to)
{
    static char overwrite_option[] = "--overwrite", threads_option[] = "--threads", isa_option[] = "--isa";
    char threads[16];
    char **argv = calloc(s->args + EXTRA_ARGS + 1, sizeof *argv);
    int argc = 0;
    dm_error err = {.message = "no memory for the arguments"};
    const int null = dm_open("/dev/null", O_RDONLY);

    /* The others close themselves when a stage starts a program. */
    if (null < 0 || dup2(null, 0) < 0 || dup2(to->result, 1) < 0 || dup2(to->log, 2) < 0) {
        free(argv);
        return 1;
    }
    for (size_t i = 0; argv && i < s->args; i++)
        if (!(argv[argc++] = (char *)(uintptr_t)dm_experiment_plan_argument(x->plan, s, i)))
            break;
    if (!argv || !argv[argc - 1]) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    snprintf(threads, sizeof threads, "%u", x->options->threads);
    if (!dm_stage_makes_file(s)) /* with log and result in it, it is not empty */
        argv[argc++] = overwrite_option;
    argv[argc++] = threads_option;
    argv[argc++] = threads;
    if (x->options->isa) {
        argv[argc++] = isa_option;
        argv[argc++] = (char *)(uintptr_t)x->options->isa;
    }
    if (!dm_stage_take_lock(x->lock, lock_of(s), F_SETLKW)) {
        fprintf(stderr, "cannot lock %s/lock: %s\n", x->plan->output, strerror(errno));
        return 1;
    }
    const double start = dm_seconds();
    const int status = x->commands->run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout))
        return status ? status : 1;
    if (status == 0 &&
        (write_record(x, s, dm_seconds() - start, &err) != DM_OK || dm_stage_drop_checkpoint(s, &err) != DM_OK)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return status;
}
