#include "model/infer/stop_text.h"

#include <string.h>

dm_status dm_stop_text_check(const char *text, dm_error *err)
{
    return text && !*text ? dm_fail(err, DM_ERR_ARGUMENT, "--stop must not be empty") : DM_OK;
}

void dm_stop_text_begin(dm_stop_text *s, const char *text)
{
    s->text = text;
    s->said.size = s->given = s->at = 0;
    s->met = false;
}

/* Hands out what lies before said[end]. */
static void give(dm_stop_text *s, size_t end, const char **out, size_t *n)
{
    *n = end - s->given;
    *out = *n ? s->said.data + s->given : "";
    s->given = end;
}

dm_status dm_stop_text_add(dm_stop_text *s, const char *bytes, size_t size, const char **out, size_t *n, dm_error *err)
{
    const size_t length = s->text ? strlen(s->text) : 0;

    dm_text_add(&s->said, bytes, size);
    if (s->said.failed)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the answer");
    /* Whatever may be the stop text's beginning was not given: the search starts there. */
    for (size_t i = s->given; length > 0 && i < s->said.size; i++) {
        const size_t left = s->said.size - i, some = left < length ? left : length;
        if (memcmp(s->said.data + i, s->text, some) != 0)
            continue;
        s->met = some == length;
        s->at = i;
        give(s, i, out, n);
        return DM_OK;
    }
    give(s, s->said.size, out, n);
    return DM_OK;
}

void dm_stop_text_end(dm_stop_text *s, const char **out, size_t *n)
{
    give(s, s->met ? s->given : s->said.size, out, n);
}

void dm_stop_text_free(dm_stop_text *s)
{
    dm_text_free(&s->said);
}
