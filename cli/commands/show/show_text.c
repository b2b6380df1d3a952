/* dmpo show in a terminal: text with a margin that says what is trained, or a line for each token. */
#include <string.h>

#include "cli/commands/show/show.h"
#include "core/utf8.h"

/* ---- text that may be shown ---- */

/* Characters that turn the direction of the text after them: what is shown would not be what is there. */
static bool turns_text(const unsigned char *p, size_t n)
{
    if (n == 2)
        return p[0] == 0xD8 && p[1] == 0x9C; /* U+061C */
    return n == 3 && p[0] == 0xE2 &&
           ((p[1] == 0x80 && ((p[2] >= 0x8B && p[2] <= 0x8F) || (p[2] >= 0xA8 && p[2] <= 0xAE))) ||
            (p[1] == 0x81 && p[2] >= 0xA0 && p[2] <= 0xAF));
}

void show_escape(dm_text *out, const char *bytes, size_t size)
{
    const unsigned char *p = (const unsigned char *)bytes, *end = p + size;

    while (p < end) {
        const size_t n = dm_utf8_length(p, end);
        const char short_form = *p == '\n' ? 'n' : *p == '\t' ? 't' : *p == '\r' ? 'r' : *p == '\\' ? '\\' : '\0';
        if (short_form)
            dm_text_print(out, "\\%c", short_form);
        else if (dm_utf8_unprintable(p, end) || turns_text(p, n))
            for (size_t i = 0; i < (n ? n : 1); i++)
                dm_text_print(out, "\\x%02X", p[i]);
        else
            dm_text_add(out, (const char *)p, n);
        p += n ? n : 1;
    }
}

/* Columns of the character at p, which may be shown: 2 for East Asian wide ones and emoji. */
static size_t columns(const unsigned char *p, size_t n)
{
    if (n == 3) {
        const unsigned c = (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
        return (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) || (c >= 0xAC00 && c <= 0xD7A3) ||
                       (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60)
                   ? 2
                   : 1;
    }
    return n == 4 ? 2 : 1;
}

/* ---- a paragraph with a margin ---- */

typedef enum style { PLAIN, BOLD, MASKED, TRAINED, STRONG, CUT, SPECIAL, QUIET } style;

static const char *const codes[] = {
    [PLAIN] = "",         [BOLD] = "\033[1m",     [MASKED] = "\033[2m", [TRAINED] = "\033[32m", [STRONG] = "\033[1;32m",
    [CUT] = "\033[2;31m", [SPECIAL] = "\033[36m", [QUIET] = "\033[2m"};

typedef struct printer {
    dm_text *out;
    const show_item *item;
    show_look look;
} printer;

static void styled(const printer *p, style s, const char *text, size_t size)
{
    const bool colour = p->look.colour && *codes[s];

    if (size == 0)
        return;
    dm_text_print(p->out, "%s", colour ? codes[s] : "");
    dm_text_add(p->out, text, size);
    dm_text_print(p->out, "%s", colour ? "\033[0m" : "");
}

/* A line: text[begin..end), style[i] for each byte. */
static void line(const printer *p, const char *margin, const dm_text *text, const dm_text *styles, size_t begin,
                 size_t end)
{
    end -= !p->item->tokenizer; /* the space between ids */
    dm_text_print(p->out, "%s", margin);
    for (size_t i = begin, k; i < end; i = k) {
        for (k = i; k < end && styles->data[k] == styles->data[i];)
            k++;
        styled(p, (style)styles->data[i], text->data + i, k - i);
    }
    dm_text_add(p->out, "\n", 1);
}

/* Where the line that begins at `begin` ends: after a line end of the data, after the last space that fits, or where
 * the width is full. */
static size_t line_end(const printer *p, const char *margin, const dm_text *text, const dm_text *breaks, size_t begin)
{
    const unsigned char *bytes = (const unsigned char *)text->data, *end = bytes + text->size;
    size_t used = strlen(margin), space = 0, i = begin;

    while (i < text->size) {
        const size_t n = dm_utf8_length(bytes + i, end);
        used += columns(bytes + i, n);
        if (used > p->look.width && i > begin)
            return space > begin ? space : i;
        i += n;
        if (breaks->data[i - 1])
            return i;
        if (bytes[i - 1] == ' ')
            space = i;
    }
    return i;
}

static style style_of(const show_item *item, const show_side *side, size_t i)
{
    const show_token *t = &side->token[i];
    const bool trained = t->trained || (i < item->shared && item->side[1].token[i].trained);

    if (t->cut)
        return CUT;
    if (t->special)
        return SPECIAL;
    return !trained ? MASKED : t->weight >= 0.5 ? STRONG : TRAINED;
}

/* Text of a part, wrapped. The characters of a token, and of tokens that make one character together, stay whole. */
static void paragraph(const printer *p, const show_part *part, const char *margin)
{
    const show_side *side = &p->item->side[part->which];
    dm_text text = {0}, styles = {0}, breaks = {0}; /* breaks: 1 at the last byte of a line */

    for (size_t i = part->begin, k; i < part->end; i = k) {
        const style s = style_of(p->item, side, i);
        for (k = i + 1; k < part->end && style_of(p->item, side, k) == s;)
            k++;
        const char *bytes = side->text.data + side->token[i].text, *end = side->text.data + side->token[k].text;
        while (bytes < end) {
            const char *newline = memchr(bytes, '\n', (size_t)(end - bytes)), *stop = newline ? newline + 1 : end;
            show_escape(&text, bytes, (size_t)(stop - bytes));
            while (styles.size < text.size && !text.failed && !styles.failed && !breaks.failed) {
                const char drawn = (char)s, last = newline && styles.size + 1 == text.size;
                dm_text_add(&styles, &drawn, 1);
                dm_text_add(&breaks, &last, 1);
            }
            bytes = stop;
        }
    }
    const bool failed = text.failed || styles.failed || breaks.failed;
    p->out->failed |= failed;
    for (size_t i = 0, end; !failed && i < text.size; i = end)
        line(p, margin, &text, &styles, i, end = line_end(p, margin, &text, &breaks, i));
    dm_text_free(&text);
    dm_text_free(&styles);
    dm_text_free(&breaks);
}

/* ---- a line for each token ---- */

static void number(dm_text *out, bool known, double x, int width)
{
    char text[DM_FIXED_TEXT] = "";
    if (known)
        dm_fixed_text(text, x, 4);
    dm_text_print(out, "  %*s", width, text);
}

static void state(dm_text *out, const show_token *t)
{
    if (t->trained)
        dm_text_print(out, "  %4zu", t->turn);
    else
        dm_text_print(out, "  %4s", t->cut ? "cut" : "-");
    number(out, t->trained, t->weight, 8);
}

static void token_heads(const printer *p, const show_part *part)
{
    dm_text t = {0};

    dm_text_print(&t, "position      id  turn  %8s", show_is_phi(p->item) ? "phi" : "weight");
    if (part->shared)
        dm_text_print(&t, "  turn  %8s", show_is_phi(p->item) ? "phi" : "weight");
    if (p->item->logps)
        dm_text_print(&t, "        logp");
    if (p->item->logps && p->item->reference)
        dm_text_print(&t, "   reference");
    if (p->item->tokenizer)
        dm_text_print(&t, "  text");
    styled(p, QUIET, t.data ? t.data : "", t.size);
    dm_text_add(p->out, "\n", 1);
    p->out->failed |= t.failed;
    dm_text_free(&t);
}

static void token_line(const printer *p, const show_part *part, size_t i)
{
    const show_side *side = &p->item->side[part->which];
    const show_token *t = &side->token[i];
    const bool known = p->item->logps && i > 0 && !t->cut;
    const char *quote = t->special ? "" : "\"";
    dm_text left = {0}, text = {0};

    dm_text_print(&left, "%8zu  %6ld", i, (long)t->id);
    state(&left, t);
    if (part->shared)
        state(&left, &p->item->side[1].token[i]);
    if (p->item->logps)
        number(&left, known, t->logp, 10);
    if (p->item->logps && p->item->reference)
        number(&left, known, t->reference, 10);
    if (p->item->tokenizer) {
        dm_text_print(&text, "  %s", quote);
        show_escape(&text, side->text.data + t->text, t[1].text - t->text);
        dm_text_print(&text, "%s", quote);
    }
    while (!text.size && left.size && left.data[left.size - 1] == ' ')
        left.size--;
    dm_text_add(p->out, left.data ? left.data : "", left.size);
    styled(p, style_of(p->item, side, i), text.data ? text.data : "", text.size);
    dm_text_add(p->out, "\n", 1);
    p->out->failed |= left.failed || text.failed;
    dm_text_free(&left);
    dm_text_free(&text);
}

/* ---- the item ---- */

static void print_fact(void *context, const char *key, const char *value)
{
    const printer *p = context;
    dm_text t = {0};

    dm_text_print(&t, "%-14s", key);
    styled(p, QUIET, t.data ? t.data : "", t.size);
    show_escape(p->out, value, strlen(value));
    dm_text_add(p->out, "\n", 1);
    p->out->failed |= t.failed;
    dm_text_free(&t);
}

static const char *margin_of(const show_item *item, const show_part *part)
{
    const bool trained = item->side[part->which].token[part->begin].trained ||
                         (part->shared && item->side[1].token[part->begin].trained);
    return part->cut ? "x " : trained ? "| " : ". ";
}

void show_text(dm_text *out, const show_item *item, const show_look *look)
{
    printer p = {out, item, *look};
    show_part part = {0};

    out->failed |= !show_facts(item, print_fact, &p);
    if (!look->tokens)
        dm_text_print(out, "%-14s| trained   . masked   x cut\n", "margin");
    while (show_next(item, &part)) {
        dm_text t = {0};
        if (show_begins(item, &part)) {
            show_section(&t, item, &part);
            if (look->tokens && part.shared)
                dm_text_print(&t, "; turn and weight of chosen, then of rejected");
            dm_text_add(out, "\n", 1);
            styled(&p, BOLD, t.data ? t.data : "", t.size);
            dm_text_add(out, "\n", 1);
            if (look->tokens)
                token_heads(&p, &part);
            t.size = 0;
        }
        if (!look->tokens && show_label(&t, item, &part)) {
            styled(&p, BOLD, t.data ? t.data : "", t.size);
            dm_text_add(out, "\n", 1);
        }
        for (size_t i = part.begin; look->tokens && i < part.end; i++)
            token_line(&p, &part, i);
        if (!look->tokens)
            paragraph(&p, &part, margin_of(item, &part));
        out->failed |= t.failed;
        dm_text_free(&t);
    }
}
