/* The file of a rollout: whole lines in the order of the list, whatever is done first; and what a restart finds. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/rollout/rollout_internal.h"
#include "core/files/file.h"
#include "core/files/lock.h"
#include "core/files/path.h"
#include "core/files/place.h"
#include "core/system.h"

#define RUN_BYTES ((size_t)1 << 20)
#define SYNC_EVERY 2.0 /* seconds */

/* ---- options of the run ---- */

static const char *const paths[] = {"\"model\": ", "\"from\": "}; /* their hashes decide, not where they lie */

static bool is_path(const char *line)
{
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (strncmp(line + strspn(line, " "), paths[i], strlen(paths[i])) == 0)
            return true;
    return false;
}

/* Without blanks around it and the comma after it. */
static int trimmed(const char **line, size_t size)
{
    while (size > 0 && **line == ' ') {
        ++*line;
        --size;
    }
    while (size > 0 && strchr(" ,", (*line)[size - 1]))
        size--;
    return (int)size;
}

/* Both texts hold one option a line, in the same order. */
static dm_status compare_runs(const char *path, const char *old, const char *now, dm_error *err)
{
    while (*old && *now) {
        const size_t n = strcspn(old, "\n"), m = strcspn(now, "\n");
        if ((n != m || memcmp(old, now, n) != 0) && !(is_path(old) && is_path(now))) {
            const char *a = old, *b = now;
            const int size_a = trimmed(&a, n), size_b = trimmed(&b, m);
            return dm_fail(err, DM_ERR_INPUT,
                           "%s: was begun by a run with other options: %.*s there, %.*s now; give the same ones, "
                           "another --output, or --overwrite to start over",
                           path, size_a, a, size_b, b);
        }
        old += n + (old[n] == '\n');
        now += m + (now[m] == '\n');
    }
    return DM_OK;
}

/* ---- what an earlier run left ---- */

static dm_status fail_file(const char *path, const char *what, dm_error *err)
{
    return dm_fail(err, DM_ERR_FILE, "%s: cannot %s: %s", path, what, strerror(errno));
}

/* Every whole line must be the episode that the list has there. */
static dm_status count_lines(dm_rollout_file *f, const dm_rollout_assignments *a, dm_error *err)
{
    dm_episodes e;
    dm_text name = {0};
    dm_status s = dm_episodes_read(&e, &f->path, 1, err);

    if (s == DM_OK && e.n > f->total)
        s = dm_fail(err, DM_ERR_INPUT, "%s: has %zu episodes, the whole run %zu; --overwrite starts over", f->path, e.n,
                    f->total);
    for (size_t i = 0; s == DM_OK && i < e.n; i++) {
        name.size = 0;
        dm_rollout_assignment_name(&name, a, i);
        if (name.failed)
            s = dm_fail(err, DM_ERR_MEMORY, "no memory to read %s", f->path);
        else if (strcmp(name.data, e.episode[i].id) != 0)
            s = dm_fail(err, DM_ERR_INPUT, "%s: episode %zu is '%s', must be '%s'; --overwrite starts over", f->path,
                        i + 1, e.episode[i].id, name.data);
        f->reward += e.episode[i].reward;
        f->success += e.episode[i].reward >= 1;
        f->failed += e.episode[i].end && strcmp(e.episode[i].end, "environment") == 0;
    }
    f->written = e.n;
    dm_text_free(&name);
    dm_episodes_close(&e);
    return s;
}

/* A killed writer leaves half a line. */
static dm_status cut_torn_line(const dm_rollout_file *f, dm_error *err)
{
    char buffer[4096];
    off_t end = lseek(f->fd, 0, SEEK_END), at = end;
    const off_t size = end;

    while (at > 0) {
        const size_t n = at < (off_t)sizeof buffer ? (size_t)at : sizeof buffer;
        if (pread(f->fd, buffer, n, at - (off_t)n) != (ssize_t)n)
            return fail_file(f->path, "read", err);
        size_t k = n;
        while (k > 0 && buffer[k - 1] != '\n')
            k--;
        end = at - (off_t)n + (off_t)k;
        if (k > 0)
            break;
        at -= (off_t)n;
    }
    if (end < 0 || (end < size && ftruncate(f->fd, end) != 0))
        return fail_file(f->path, "cut its unfinished last line", err);
    return DM_OK;
}

/* Nothing of an earlier run is lost by writing here. */
static bool is_free(const char *path)
{
    char *data;
    size_t size;
    if (!dm_file_exists(path))
        return true;
    const bool empty = dm_file_read(path, 0, &data, &size, NULL) == DM_OK;
    free(data);
    return empty;
}

/* Leaves OUTPUT.run.json in place, and an output that may be appended to. */
static dm_status prepare(const dm_rollout_file *f, const dm_rollout_options *o, const dm_text *run, dm_error *err)
{
    dm_path path;
    char *old;
    size_t size;
    dm_status s = dm_path_print(&path, err, "%s.run.json", f->path);

    if (s != DM_OK)
        return s;
    if (o->overwrite && ftruncate(f->fd, 0) != 0)
        return fail_file(f->path, "overwrite", err);
    if (is_free(f->path))
        return dm_file_write(path.text, run->data, run->size, err);
    if (!dm_file_exists(path.text))
        return dm_fail(err, DM_ERR_FILE,
                       "%s: already exists, without the %s that a run leaves; name another --output, or "
                       "--overwrite to replace it",
                       f->path, path.text);
    if ((s = dm_file_read(path.text, RUN_BYTES, &old, &size, err)) != DM_OK)
        return s;
    s = compare_runs(f->path, old, run->data, err);
    free(old);
    return s;
}

dm_status dm_rollout_file_open(dm_rollout_file *f, const dm_rollout_options *o, const dm_rollout_assignments *a,
                               const dm_text *run, size_t window, dm_error *err)
{
    *f = (dm_rollout_file){.path = o->output, .fd = -1, .window = window, .total = a->n, .synced = dm_seconds()};
    if (!(f->line = calloc(window, sizeof *f->line)))
        return dm_fail(err, DM_ERR_MEMORY, "no memory for %zu episodes that wait", window);
    dm_status s = dm_place_apart(f->path, o->from, err);
    if (s == DM_OK)
        s = dm_place_apart(f->path, o->model, err);
    if (s == DM_OK)
        s = dm_place_apart(f->path, o->base, err);
    if (s == DM_OK && access(f->path, F_OK) == 0 && !dm_file_exists(f->path))
        s = dm_fail(err, DM_ERR_FILE, "%s: already exists and is no regular file", f->path);
    if (s != DM_OK || (s = dm_lock_open(&f->fd, f->path, f->path, O_RDWR | O_CREAT | O_APPEND, false, err)) != DM_OK ||
        (s = prepare(f, o, run, err)) != DM_OK || (s = count_lines(f, a, err)) != DM_OK)
        return s;
    return cut_torn_line(f, err);
}

/* ---- lines ---- */

static dm_status put(dm_rollout_file *f, dm_rollout_line *line, dm_error *err)
{
    for (size_t done = 0; done < line->text.size;) {
        const ssize_t n = write(f->fd, line->text.data + done, line->text.size - done);
        if (n < 0 && errno != EINTR)
            return fail_file(f->path, "write", err);
        done += n > 0 ? (size_t)n : 0;
    }
    f->reward += line->reward;
    f->success += line->reward >= 1;
    f->failed += line->failed;
    f->written++;
    dm_text_free(&line->text);
    return DM_OK;
}

/* How many of the next episodes may be written. */
static size_t in_order(const dm_rollout_file *f)
{
    size_t n = 0, sound = 0;
    while (n < f->window && f->line[(f->written + n) % f->window].text.data)
        sound = f->line[(f->written + n++) % f->window].failed ? sound : n;
    return f->written + n == f->total ? n : sound;
}

dm_status dm_rollout_line_make(dm_rollout_line *line, const dm_episode *e, dm_error *err)
{
    *line = (dm_rollout_line){.reward = e->reward, .failed = strcmp(e->end, "environment") == 0};
    dm_episode_write(&line->text, e);
    return line->text.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for the line of episode '%s'", e->id) : DM_OK;
}

dm_status dm_rollout_file_add(dm_rollout_file *f, size_t index, const dm_rollout_line *line, dm_error *err)
{
    dm_status s = DM_OK;

    f->line[index % f->window] = *line;
    for (size_t n = in_order(f); s == DM_OK && n > 0; n--)
        s = put(f, &f->line[f->written % f->window], err);
    if (s == DM_OK && dm_seconds() - f->synced > SYNC_EVERY) {
        if (fsync(f->fd) != 0)
            s = fail_file(f->path, "write", err);
        f->synced = dm_seconds();
    }
    return s;
}

dm_status dm_rollout_file_close(dm_rollout_file *f, dm_error *err)
{
    dm_status s = DM_OK;

    for (size_t i = 0; f->line && i < f->window; i++)
        dm_text_free(&f->line[i].text);
    free(f->line);
    if (f->fd >= 0 && fsync(f->fd) != 0)
        s = fail_file(f->path, "write", err);
    if (f->fd >= 0 && s == DM_OK)
        s = dm_lock_check(f->fd, f->path, err);
    if (f->fd >= 0 && close(f->fd) != 0 && s == DM_OK)
        s = fail_file(f->path, "write", err);
    *f = (dm_rollout_file){.fd = -1};
    return s;
}
