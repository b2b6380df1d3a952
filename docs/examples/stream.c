/* Prints a model's answer while it is generated:  stream MODEL QUESTION */
#include <dmpo.h>
#include <stdio.h>

#define ANSWER 64 /* tokens, at most */

static int print_token(void *context, size_t request, int32_t id, float logp)
{
    dmpo_tokenizer *tokenizer = (dmpo_tokenizer *)context;
    const char *text;
    size_t size;

    (void)request;
    (void)logp;
    if (dmpo_tokenizer_decode(tokenizer, &id, 1, 0, &text, &size, NULL))
        return 1; /* ends the answer */
    fwrite(text, 1, size, stdout);
    fflush(stdout);
    return 0;
}

/* The model answers the conversation that `prompt` holds. */
static dmpo_status answer(dmpo_model *model, dmpo_tokenizer *tokenizer, const dmpo_encoding *prompt, dmpo_error *error)
{
    int32_t out[ANSWER];
    dmpo_sampling sampling;
    dmpo_request request;

    dmpo_sampling_defaults(&sampling, sizeof sampling);
    sampling.temperature = 0.7;
    sampling.seed = 1;
    sampling.max_tokens = ANSWER;
    sampling.stop = dmpo_tokenizer_stops(tokenizer, &sampling.n_stop);
    request.size = sizeof request;
    request.slot = 0;
    request.logps = NULL;
    request.end = NULL;
    request.ids = prompt->ids;
    request.n = prompt->n;
    request.sampling = &sampling;
    request.out = out;
    return dmpo_model_generate(model, &request, 1, print_token, tokenizer, error);
}

int main(int argc, char **argv)
{
    dmpo_engine *engine = NULL;
    dmpo_tokenizer *tokenizer = NULL;
    dmpo_model *model = NULL;
    const dmpo_encoding *prompt = NULL;
    dmpo_error error;

    if (argc != 3)
        return fprintf(stderr, "usage: stream MODEL QUESTION\n"), 2;
    const dmpo_message question = {"user", argv[2]};
    const int failed = dmpo_tokenizer_open(&tokenizer, argv[1], NULL, NULL, &error) ||
                       dmpo_chat_render(tokenizer, &question, 1, NULL, 1, &prompt, &error) ||
                       dmpo_engine_open(&engine, NULL, 0, &error) ||
                       dmpo_model_open(&model, engine, argv[1], 1, prompt->n + ANSWER, &error) ||
                       answer(model, tokenizer, prompt, &error);
    if (failed)
        fprintf(stderr, "stream: %s: %s\n", dmpo_status_name(error.status), error.message);
    else
        putchar('\n');
    dmpo_model_close(&model);
    dmpo_engine_close(&engine);
    dmpo_tokenizer_close(&tokenizer);
    return failed;
}
