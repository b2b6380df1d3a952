/* The engine, versions and errors of the public interface. */
#include <stdlib.h>
#include <string.h>

#include "dmpo.h"
#include "model/api.h"

_Static_assert(DM_ERROR_MAX == sizeof((dmpo_error){0}).message, "dmpo_error mirrors dm_error");

dmpo_status dm_api_report(dmpo_error *out, dm_status status, const dm_error *err)
{
    if (out) {
        out->status = (dmpo_status)status;
        memcpy(out->message, status == DM_OK ? "" : err->message, status == DM_OK ? 1 : sizeof out->message);
    }
    return (dmpo_status)status;
}

dm_status dm_api_copy_out(void *out, const void *in, size_t in_size, const char *type, dm_error *err)
{
    size_t size;

    memcpy(&size, out, sizeof size);
    if (size < 2 * sizeof size || size > 65536)
        return dm_fail(err, DM_ERR_ARGUMENT, "%s.size is %zu; set it to sizeof(%s)", type, size, type);
    memset((char *)out + sizeof size, 0, size - sizeof size);
    memcpy((char *)out + sizeof size, (const char *)in + sizeof size, (size < in_size ? size : in_size) - sizeof size);
    return DM_OK;
}

const char *dmpo_status_name(dmpo_status status)
{
    static const char *const names[] = {"ok",          "argument",  "input",       "file",    "memory",
                                        "unsupported", "nonfinite", "interrupted", "internal"};
    const int i = -(int)status;
    return i >= 0 && i < (int)(sizeof names / sizeof *names) ? names[i] : "unknown";
}

const char *dmpo_version(void)
{
    return DMPO_VERSION;
}

int dmpo_version_number(void)
{
    return DMPO_VERSION_NUMBER;
}

dmpo_status dmpo_version_check(int number, dmpo_error *error)
{
    const int family = DMPO_VERSION_MAJOR > 0 ? 10000 : 100; /* versions that serve each other's programs */
    dm_error err = {0};
    dm_status s = DM_OK;

    if (number > DMPO_VERSION_NUMBER || number / family != DMPO_VERSION_NUMBER / family)
        s = dm_fail(
            &err, DM_ERR_UNSUPPORTED,
            "the program was compiled for libdmpo %d.%d.%d, but %s is linked; compile it with this one's dmpo.h",
            number / 10000, number / 100 % 100, number % 100, DMPO_VERSION);
    return dm_api_report(error, s, &err);
}

static dm_status choose_threads(unsigned *threads, dm_error *err)
{
    const char *text = getenv("DMPO_THREADS");
    if (*threads == 0 && text && *text) {
        char *end;
        const unsigned long n = strtoul(text, &end, 10);
        if (*end || n < 1 || n > DM_THREADS_MAX)
            return dm_fail(err, DM_ERR_ARGUMENT, "DMPO_THREADS is '%s'; legal: 1 to %u", text, DM_THREADS_MAX);
        *threads = (unsigned)n;
    }
    if (*threads == 0)
        *threads = dm_cpu_count() < DM_THREADS_MAX ? dm_cpu_count() : DM_THREADS_MAX;
    return DM_OK;
}

dmpo_status dmpo_engine_open(dmpo_engine **engine, const char *isa, unsigned threads, dmpo_error *error)
{
    dm_error err = {0};
    dm_isa level;
    dm_status s = dm_isa_choose(&level, isa, &err);

    *engine = NULL;
    if (s == DM_OK)
        s = choose_threads(&threads, &err);
    if (s != DM_OK)
        return dm_api_report(error, s, &err);
    dmpo_engine *opened = calloc(1, sizeof *opened);
    if (!opened)
        return dm_api_report(error, dm_fail(&err, DM_ERR_MEMORY, "no memory for an engine"), &err);
    if ((s = dm_engine_open(&opened->e, level, threads, &err)) != DM_OK)
        free(opened);
    else
        *engine = opened;
    return dm_api_report(error, s, &err);
}

void dmpo_engine_close(dmpo_engine **engine)
{
    if (!engine || !*engine)
        return;
    dm_engine_close(&(*engine)->e);
    free(*engine);
    *engine = NULL;
}

const char *dmpo_engine_isa(const dmpo_engine *engine)
{
    return dm_isa_name(engine->e.k.isa);
}

unsigned dmpo_engine_threads(const dmpo_engine *engine)
{
    return engine->e.threads;
}
