#include "io/tokenizer/split.h"

#include <stdint.h>
#include <string.h>

#include "io/tokenizer/unicode.h"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define CONTRACTIONS_ASCII "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define LETTERS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define OTHERS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2_REST " ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

static const struct {
    const char *regex;
    dm_pattern pattern;
} regexes[] = {
    /* of each pattern the spelling that is written, then others that mean the same */
    {"'s|'t|'re|'ve|'m|'ll|'d|" GPT2_REST, DM_PATTERN_GPT2},
    {CONTRACTIONS LETTERS "\\p{N}{1,3}" OTHERS, DM_PATTERN_LLAMA3},
    {CONTRACTIONS LETTERS "\\p{N}" OTHERS, DM_PATTERN_QWEN2},
    {CONTRACTIONS_ASCII LETTERS "\\p{N}{1,3}" OTHERS, DM_PATTERN_LLAMA3_ASCII},
    {CONTRACTIONS_ASCII LETTERS "\\p{N}" OTHERS, DM_PATTERN_QWEN2_ASCII},
    {"'(?:[sdmt]|ll|ve|re)|" GPT2_REST, DM_PATTERN_GPT2},
    {"'(?i:[sdmt]|ll|ve|re)" LETTERS "\\p{N}{1,3}" OTHERS, DM_PATTERN_LLAMA3},
};

const char *dm_pattern_regex(dm_pattern pattern)
{
    for (size_t i = 0; i < sizeof regexes / sizeof *regexes; i++)
        if (regexes[i].pattern == pattern)
            return regexes[i].regex;
    return NULL;
}

bool dm_pattern_recognise(const char *regex, dm_pattern *out)
{
    for (size_t i = 0; i < sizeof regexes / sizeof *regexes; i++)
        if (strcmp(regexes[i].regex, regex) == 0) {
            *out = regexes[i].pattern;
            return true;
        }
    return false;
}

typedef enum class { LETTER, NUMBER, SPACE, OTHER, END } class;

typedef struct text {
    const char *s;
    size_t n;
} text;

/* Class of the character at i, its code and where the next one begins. */
static class class_at(text t, size_t i, uint32_t *code, size_t *next)
{
    *code = 0;
    *next = i + dm_utf8_decode(t.s + i, t.n - i, code);
    if (*next == i) {
        *next = i + 1; /* past the end; or bytes that are not UTF-8, one by one */
        return i < t.n ? OTHER : END;
    }
    if (dm_is_letter(*code))
        return LETTER;
    return dm_is_space(*code) ? SPACE : dm_is_number(*code) ? NUMBER : OTHER;
}

static size_t run_of(text t, size_t i, class wanted)
{
    uint32_t code;
    size_t next;
    while (class_at(t, i, &code, &next) == wanted)
        i = next;
    return i;
}

/* End of 's 't 're 've 'm 'll 'd at i, or i. */
static size_t contraction(text t, size_t i, bool any_case, bool long_s)
{
    if (t.s[i] != '\'' || t.n - i < 2)
        return i;
    if (long_s && t.n - i >= 3 && memcmp(t.s + i + 1, "\xC5\xBF", 2) == 0)
        return i + 3;
    char c[2] = {t.s[i + 1], t.n - i >= 3 ? t.s[i + 2] : '\0'};
    for (size_t k = 0; any_case && k < 2; k++)
        if (c[k] >= 'A' && c[k] <= 'Z')
            c[k] = (char)(c[k] + 'a' - 'A');
    if (c[0] == 's' || c[0] == 't' || c[0] == 'm' || c[0] == 'd')
        return i + 2;
    if ((c[0] == 'r' && c[1] == 'e') || (c[0] == 'v' && c[1] == 'e') || (c[0] == 'l' && c[1] == 'l'))
        return i + 3;
    return i;
}

/* \s+(?!\S)|\s+ : a run of white space leaves its last character to the word after it. */
static size_t white_space(text t, size_t i)
{
    uint32_t code;
    size_t last = i, end = i, next;
    while (class_at(t, end, &code, &next) == SPACE) {
        last = end;
        end = next;
    }
    return end == t.n || last == i ? end : last;
}

static size_t next_gpt2(text t, size_t i)
{
    const size_t end = contraction(t, i, false, false);
    if (end > i)
        return end;
    uint32_t code;
    size_t next;
    const size_t begin = t.s[i] == ' ' ? i + 1 : i;
    const class k = class_at(t, begin, &code, &next);
    return k == SPACE || k == END ? white_space(t, i) : run_of(t, begin, k);
}

static size_t next_llama3(text t, size_t i, size_t digits, bool long_s)
{
    size_t end = contraction(t, i, true, long_s);
    if (end > i)
        return end;
    uint32_t code, second;
    size_t next, after;
    const class k = class_at(t, i, &code, &next);
    if (k == NUMBER) {
        end = i;
        for (size_t d = 0; d < digits && class_at(t, end, &code, &next) == NUMBER; d++)
            end = next;
        return end;
    }
    const class follower = class_at(t, next, &second, &after);
    const bool newline = code == '\r' || code == '\n';
    if (k == LETTER || (follower == LETTER && !newline))
        return run_of(t, next, LETTER);
    if (k == OTHER || (code == ' ' && follower == OTHER)) {
        end = run_of(t, next, OTHER);
        while (end < t.n && (t.s[end] == '\r' || t.s[end] == '\n'))
            end++;
        return end;
    }
    /* \s*[\r\n]+ : white space up to the last line end in it */
    size_t line_end = 0;
    for (end = i; class_at(t, end, &code, &next) == SPACE; end = next)
        if (code == '\r' || code == '\n')
            line_end = next;
    return line_end > 0 ? line_end : white_space(t, i);
}

static size_t next_digits(text t, size_t i, bool individual)
{
    uint32_t code = 0;
    size_t end = i + dm_utf8_decode(t.s + i, t.n - i, &code);
    const bool digit = dm_is_digit(code);
    if (digit && individual)
        return end;
    while (end < t.n) {
        const size_t step = dm_utf8_decode(t.s + end, t.n - end, &code);
        if (step == 0 || dm_is_digit(code) != digit)
            break;
        end += step;
    }
    return end;
}

size_t dm_pattern_next(dm_pattern pattern, const char *s, size_t n, size_t begin)
{
    const text t = {s, n};
    switch (pattern) {
    case DM_PATTERN_GPT2:
        return next_gpt2(t, begin);
    case DM_PATTERN_LLAMA3:
        return next_llama3(t, begin, 3, true);
    case DM_PATTERN_QWEN2:
        return next_llama3(t, begin, 1, true);
    case DM_PATTERN_LLAMA3_ASCII:
        return next_llama3(t, begin, 3, false);
    case DM_PATTERN_QWEN2_ASCII:
        return next_llama3(t, begin, 1, false);
    case DM_PATTERN_DIGIT:
        return next_digits(t, begin, true);
    case DM_PATTERN_DIGITS:
        return next_digits(t, begin, false);
    case DM_PATTERN_COUNT:
        break;
    }
    return n;
}
