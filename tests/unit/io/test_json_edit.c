/* One member of an object changed, the rest of the text untouched. */
#include <string.h>

#include "io/json_edit.h"
#include "tests/support/check.h"

int main(void)
{
    static const struct {
        const char *text, *value, *want; /* of member "k" */
    } cases[] = {
        {"{}", "1", "{\"k\": 1}"},
        {"{}", NULL, "{}"},
        {"{\"k\": 2}", "1", "{\"k\": 1}"},
        {"{\"k\": 2}", NULL, "{}"},
        {"{\n  \"a\": 1.50,\n  \"k\": [1, {\"k\": \"}\\\"\"}],\n  \"b\": \"x\"\n}\n", "[3]",
         "{\n  \"a\": 1.50,\n  \"k\": [3],\n  \"b\": \"x\"\n}\n"},
        {"{\n  \"a\": 1.50,\n  \"k\": [1, {\"k\": \"}\\\"\"}],\n  \"b\": \"x\"\n}\n", NULL,
         "{\n  \"a\": 1.50,\n  \"b\": \"x\"\n}\n"},
        {"{\n  \"k\": null,\n  \"b\": 1e2\n}", NULL, "{\n  \"b\": 1e2\n}"},
        {"{\n  \"a\": true,\n  \"k\": 1\n}", NULL, "{\n  \"a\": true\n}"},
        {"{\n  \"a\": {\"k\": 7}\n}", "\"new\"", "{\n  \"a\": {\"k\": 7},\n  \"k\": \"new\"\n}"},
        {" { \"kk\" : [] , \"x\":\"k\"} ", "0", " { \"kk\" : [], \"x\":\"k\", \"k\": 0} "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dm_text t = {0};
        dm_error err = {0};
        dm_text_add(&t, cases[i].text, strlen(cases[i].text));
        CK_MSG(dm_json_edit(&t, "k", cases[i].value, "t", &err) == DM_OK && strcmp(t.data, cases[i].want) == 0,
               "case %zu: %s %s", i, t.data, err.message);
        dm_text_free(&t);
    }
    static const char *const bad[] = {"[]", "{", "{\"a\": 1,}", "1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dm_text t = {0};
        dm_error err = {0};
        dm_text_add(&t, bad[i], strlen(bad[i]));
        CK(dm_json_edit(&t, "k", "1", "t", &err) == DM_ERR_INPUT && strcmp(t.data, bad[i]) == 0);
        dm_text_free(&t);
    }
    return ck_done("json_edit");
}
