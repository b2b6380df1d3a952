/* Documents: from a file, a stream or a text, as one value or one a line. One mapping holds the document, its name and
 * the text, which the parser decodes in place. */
#include "io/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/files/input.h"
#include "io/json_internal.h"

/* A document with room for `size` bytes of text, which the caller fills in. */
static dm_json_doc *new_doc(const char *name, size_t size)
{
    const size_t name_size = strlen(name) + 1;
    const size_t total = sizeof(dm_json_doc) + name_size + size + 1;
    dm_json_doc *doc = dm_pages_alloc(total);

    if (doc) {
        doc->bytes = total;
        doc->name = (char *)(doc + 1);
        doc->text = doc->name + name_size;
        doc->size = size;
        memcpy(doc->name, name, name_size);
    }
    return doc;
}

void dm_json_close(dm_json_doc **doc)
{
    if (doc && *doc) {
        dm_block_free(&(*doc)->values);
        dm_pages_free(*doc, (*doc)->bytes);
        *doc = NULL;
    }
}

static dm_json_parser new_parser(dm_json_doc *doc, dm_error *err)
{
    return (dm_json_parser){.doc = doc,
                            .at = doc->text,
                            .end = doc->text + doc->size,
                            .line_begin = doc->text,
                            .line = 1,
                            .end_name = "end of the file",
                            .err = err};
}

static dm_status parse_whole(dm_json_parser *p)
{
    dm_json_skip_space(p);
    dm_status st = dm_json_parse_value(p, &p->doc->root, 0);
    if (st != DM_OK)
        return st;
    dm_json_skip_space(p);
    return p->at < p->end ? dm_json_expected(p, "nothing more after the value", NULL) : DM_OK;
}

/* Values from p->at on, one a line, after those that `root` has (the last of them is `last`). */
static dm_status parse_lines(dm_json_parser *p, dm_json *root, dm_json *last)
{
    char *const file_end = p->end;
    const dm_json **tail = last ? &last->next : &root->child;

    p->end_name = "end of the line";
    for (;;) {
        p->end = file_end;
        dm_json_skip_space(p);
        if (p->at == file_end)
            return DM_OK;
        char *newline = memchr(p->at, '\n', (size_t)(file_end - p->at));
        p->end = newline ? newline : file_end;
        dm_json *v = dm_block_alloc(&p->doc->values, sizeof *v);
        if (!v)
            return dm_fail(p->err, DM_ERR_MEMORY, "%s: no memory left to parse it", p->doc->name);
        dm_status st = dm_json_parse_value(p, v, 1);
        if (st != DM_OK)
            return st;
        dm_json_skip_space(p);
        if (p->at < p->end)
            return dm_json_expected(p, "nothing more on the line after the value", NULL);
        *tail = v;
        tail = &v->next;
        root->length++;
    }
}

/* Which of the two it is shows after the first value: text is consumed by parsing, so it is parsed once. */
static dm_status parse_any(dm_json_parser *p)
{
    dm_json *root = &p->doc->root;

    dm_json_skip_space(p);
    if (p->at < p->end && *p->at == '[')
        return parse_whole(p);
    dm_status st = dm_json_parse_value(p, root, 1);
    if (st != DM_OK)
        return st;
    const uint32_t last_line = p->line;
    dm_json_skip_space(p);
    if (p->at == p->end)
        return DM_OK;
    if (p->line == last_line)
        return dm_json_expected(p, "nothing more on the line after the value", NULL);
    if (last_line != root->line)
        return dm_json_expected(p, "nothing more after a value of several lines", NULL);

    dm_json *first = dm_block_alloc(&p->doc->values, sizeof *first);
    if (!first)
        return dm_fail(p->err, DM_ERR_MEMORY, "%s: no memory left to parse it", p->doc->name);
    *first = *root;
    *root = (dm_json){.type = DM_JSON_ARRAY, .line = first->line, .column = 1, .length = 1, .child = first};
    return parse_lines(p, root, first);
}

typedef enum form { WHOLE, LINES, ANY } form;

/* Takes doc over. */
static dm_status parse_doc(dm_json_doc **out, dm_json_doc *doc, form as, dm_error *err)
{
    dm_json_parser p = new_parser(doc, err);
    dm_status st;

    if (as == LINES) {
        doc->root = (dm_json){.type = DM_JSON_ARRAY, .line = 1, .column = 1};
        st = parse_lines(&p, &doc->root, NULL);
    } else {
        st = as == WHOLE ? parse_whole(&p) : parse_any(&p);
    }
    dm_pages_free(p.slots, p.slots_bytes);
    if (st != DM_OK)
        dm_json_close(&doc);
    *out = doc;
    return st;
}

static dm_status parse_text(dm_json_doc **out, const char *text, size_t size, const char *name, form as, dm_error *err)
{
    *out = NULL;
    if (size > DM_JSON_BYTES)
        return dm_fail(err, DM_ERR_INPUT, "%s: %zu bytes of JSON, at most %zu are read", name, size, DM_JSON_BYTES);
    dm_json_doc *doc = new_doc(name, size);
    if (!doc)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory for %zu bytes", name, size);
    if (size)
        memcpy(doc->text, text, size);
    return parse_doc(out, doc, as, err);
}

/* Before the parser, which decodes the text in its place. */
static void hash_text(const dm_json_doc *doc, char sha256[DM_SHA256_HEX])
{
    dm_sha256 hash;

    dm_sha256_init(&hash);
    dm_sha256_update(&hash, doc->text, doc->size);
    dm_sha256_finish(&hash, sha256);
}

static dm_status read_file(dm_json_doc **out, const char *path, form as, char *sha256, dm_error *err)
{
    dm_input in;
    dm_json_doc *doc = NULL;
    dm_status st = dm_input_open(&in, path, err);

    *out = NULL;
    if (st != DM_OK)
        return st;
    if (in.size > DM_JSON_BYTES)
        st = dm_fail(err, DM_ERR_INPUT, "%s: %llu bytes of JSON, at most %zu are read", path,
                     (unsigned long long)in.size, DM_JSON_BYTES);
    else if (!(doc = new_doc(path, (size_t)in.size)))
        st = dm_fail(err, DM_ERR_MEMORY, "%s: no memory for %llu bytes", path, (unsigned long long)in.size);
    else
        st = dm_input_read(&in, doc->text, doc->size, 0, err);
    dm_input_close(&in);
    if (st != DM_OK) {
        dm_json_close(&doc);
        return st;
    }
    if (sha256)
        hash_text(doc, sha256);
    return parse_doc(out, doc, as, err);
}

/* All of a pipe, terminal or socket: its size is known at its end only. */
static dm_status read_stream(dm_json_doc **out, int fd, const char *name, dm_error *err)
{
    size_t size = 0, room = (size_t)1 << 16;
    char *text = malloc(room);
    dm_status s = DM_OK;

    *out = NULL;
    for (;;) {
        if (text && size == room) {
            char *more = realloc(text, room *= 2);
            if (!more)
                free(text);
            text = more;
        }
        if (!text)
            return dm_fail(err, DM_ERR_MEMORY, "%s: no memory for %zu bytes", name, room);
        const ssize_t n = read(fd, text + size, room - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            s = dm_fail(err, DM_ERR_FILE, "%s: cannot read: %s", name, strerror(errno));
        else if ((size += (size_t)n) > DM_JSON_BYTES)
            s = dm_fail(err, DM_ERR_INPUT, "%s: more than %zu bytes of JSON", name, DM_JSON_BYTES);
        if (n <= 0 || s != DM_OK)
            break;
    }
    if (s == DM_OK && !(*out = new_doc(name, size)))
        s = dm_fail(err, DM_ERR_MEMORY, "%s: no memory for %zu bytes", name, size);
    if (s == DM_OK)
        memcpy((*out)->text, text, size);
    free(text);
    return s;
}

dm_status dm_json_read_data(dm_json_doc **out, const char *path, char sha256[DM_SHA256_HEX], dm_error *err)
{
    const bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    struct stat info;
    dm_json_doc *doc;

    if (!standard && (stat(path, &info) != 0 || S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)))
        return read_file(out, path, ANY, sha256, err);
    *out = NULL;
    const int fd = standard ? STDIN_FILENO : dm_open(path, O_RDONLY);
    if (fd < 0)
        return dm_fail(err, DM_ERR_FILE, "%s: cannot open: %s", name, strerror(errno));
    const dm_status s = read_stream(&doc, fd, name, err);
    if (!standard)
        close(fd);
    if (s != DM_OK)
        return s;
    hash_text(doc, sha256);
    return parse_doc(out, doc, ANY, err);
}

dm_status dm_json_parse(dm_json_doc **out, const char *text, size_t size, const char *name, dm_error *err)
{
    return parse_text(out, text, size, name, WHOLE, err);
}

dm_status dm_json_parse_lines(dm_json_doc **out, const char *text, size_t size, const char *name, dm_error *err)
{
    return parse_text(out, text, size, name, LINES, err);
}

dm_status dm_json_read(dm_json_doc **out, const char *path, dm_error *err)
{
    return read_file(out, path, WHOLE, NULL, err);
}

dm_status dm_json_read_any(dm_json_doc **out, const char *path, dm_error *err)
{
    return read_file(out, path, ANY, NULL, err);
}
