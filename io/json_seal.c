#include "io/json_seal.h"

#include <string.h>

void dm_json_seal(dm_json_writer *w)
{
    char hex[DM_SHA256_HEX];
    dm_sha256 h;

    dm_sha256_init(&h);
    dm_sha256_update(&h, w->out->data, w->out->failed ? 0 : w->out->size);
    dm_sha256_finish(&h, hex);
    dm_json_put_string(w, "checksum", hex);
    dm_json_close_value(w);
    dm_text_add(w->out, "\n", 1);
}

bool dm_json_seal_holds(const dm_json_doc *doc, const char *data, size_t size)
{
    static const char last[] = ", \"checksum\": \"", after[] = "\"}\n";
    const size_t tail = sizeof last - 1 + DM_SHA256_HEX - 1 + sizeof after - 1;
    char hex[DM_SHA256_HEX];
    dm_sha256 h;

    if (size < tail || memcmp(data + size - tail, last, sizeof last - 1) != 0 ||
        memcmp(data + size - (sizeof after - 1), after, sizeof after - 1) != 0)
        return false;
    dm_sha256_init(&h);
    dm_sha256_update(&h, data, size - tail);
    dm_sha256_finish(&h, hex);
    return dm_json_is(dm_json_get(dm_json_root(doc), "checksum"), hex);
}
