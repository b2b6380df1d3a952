/* dmpo train and dmpo plan: the same options, run or only planned. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "core/cpu.h"
#include "core/file.h"

static const char *const objectives[] = {"sft", "dmpo", "dmpo-token", "dpo", "kto", NULL};
static const char *const links[] = {"sigmoid", "robust", "hinge", "ipo", "kto-pair", NULL};
static const char *const phis[] = {"code", "printed", NULL};
static const char *const alpha_modes[] = {"adaptive", "fixed", NULL};
static const char *const alpha_pairings[] = {"own", "crossed", NULL};
static const char *const schedules[] = {"constant", "linear", "cosine", NULL};

#define AT(f) offsetof(dmpo_train_options, f)
const cli_option cli_train_options[] = {
    {"model", CLI_STRING, AT(model), "PATH", NULL,
     "the policy: directory, GGUF or llama2.c file, or adapter (required)"},
    {"data", CLI_STRING, AT(data), "FILE", NULL, "training data: pairs, or conversations for sft (required)"},
    {"output", CLI_STRING, AT(output), "DIR", NULL, "where the trained model goes (required by train)"},
    {"eval-data", CLI_STRING, AT(eval_data), "FILE", NULL, "held-out data of the same form"},
    {"reference", CLI_STRING, AT(reference), "PATH", NULL, "the reference policy; without it the initial policy"},
    {"reference2", CLI_STRING, AT(reference2), "PATH", NULL, "a second reference policy beside it (MRPO)"},
    {"reference-cache", CLI_STRING, AT(reference_cache), "FILE", NULL, "keep the reference's log-probabilities here"},
    {"template", CLI_STRING, AT(chat_template), "NAME", NULL,
     "chatml, llama2, llama3, mistral, vicuna, zephyr or plain; without it recognised from the model"},
    {"objective", CLI_CHOICE, AT(objective), "NAME", objectives, "sft, dmpo, dmpo-token, dpo or kto"},
    {"link", CLI_CHOICE, AT(link), "NAME", links, "sigmoid, robust, hinge, ipo or kto-pair"},
    {"beta", CLI_DOUBLE, AT(beta), "B", NULL, "strength of the reference, above 0"},
    {"gamma", CLI_DOUBLE, AT(gamma), "G", NULL, "discount of later turns, 0 to 1"},
    {"phi", CLI_CHOICE, AT(phi), "FORM", phis, "turn weights: code's form, or as the paper prints it"},
    {"label-smoothing", CLI_DOUBLE, AT(label_smoothing), "E", NULL, "sigmoid 0 to 0.5, robust below 0.5"},
    {"sft-weight", CLI_DOUBLE, AT(sft_weight), "W", NULL,
     "add W times chosen's mean negative log-likelihood, 0 or more"},
    {"length-normalised", CLI_FLAG, AT(length_normalised), NULL, NULL,
     "divide each side by its number of action tokens"},
    {"desirable-weight", CLI_DOUBLE, AT(desirable_weight), "W", NULL, "kto: of the chosen sides, 0 or more"},
    {"undesirable-weight", CLI_DOUBLE, AT(undesirable_weight), "W", NULL, "kto: of the rejected sides, 0 or more"},
    {"alpha-mode", CLI_CHOICE, AT(alpha_mode), "MODE", alpha_modes,
     "two references' weights: adaptive (their own gaps) or fixed"},
    {"alpha", CLI_DOUBLE, AT(alpha), "A", NULL, "fixed weight of the second reference, 0 to 1"},
    {"alpha-pairing", CLI_CHOICE, AT(alpha_pairing), "WHICH", alpha_pairings,
     "a weight stands with its own reference, or crossed with the other (as in MRPO's code)"},
    {"trust-region", CLI_DOUBLE, AT(trust_region), "E", NULL,
     "how far the second reference may be from the first, 0 or more"},
    {"lr", CLI_DOUBLE, AT(lr), "X", NULL, "peak learning rate, above 0"},
    {"schedule", CLI_CHOICE, AT(schedule), "NAME", schedules, "after the warm-up: constant, linear or cosine"},
    {"warmup-ratio", CLI_DOUBLE, AT(warmup_ratio), "X", NULL, "share of the steps, 0 to 1"},
    {"warmup-steps", CLI_INT, AT(warmup_steps), "N", NULL, "overrides the ratio when 0 or more"},
    {"adam-beta1", CLI_DOUBLE, AT(beta1), "X", NULL, "0 <= X < 1"},
    {"adam-beta2", CLI_DOUBLE, AT(beta2), "X", NULL, "0 <= X < 1"},
    {"adam-eps", CLI_DOUBLE, AT(eps), "X", NULL, "1e-30 to 1"},
    {"weight-decay", CLI_DOUBLE, AT(weight_decay), "X", NULL, "0 or more"},
    {"max-grad-norm", CLI_DOUBLE, AT(max_grad_norm), "X", NULL, "clip the gradient's norm; 0: no clipping"},
    {"batch", CLI_INT, AT(batch), "N", NULL, "items a step"},
    {"epochs", CLI_DOUBLE, AT(epochs), "X", NULL, "passes over the data"},
    {"steps", CLI_INT, AT(steps), "N", NULL, "overrides epochs when above 0"},
    {"max-length", CLI_INT, AT(max_length), "N", NULL, "tokens a trajectory; longer ones end at a whole turn"},
    {"seed", CLI_SEED, AT(seed), "N", NULL, "order of the data"},
    {"shuffle", CLI_FLAG, AT(shuffle), NULL, NULL, "in a new order each epoch (--no-shuffle: file order)"},
    {"share-prefix", CLI_FLAG, AT(share_prefix), NULL, NULL,
     "compute a pair's common beginning once (--no-share-prefix)"},
    {"skip-invalid", CLI_FLAG, AT(skip_invalid), NULL, NULL, "count and skip broken items"},
    {"lora-rank", CLI_INT, AT(lora_rank), "N", NULL, "train a LoRA adapter of this rank, 1 to 1024; 0: all weights"},
    {"lora-alpha", CLI_DOUBLE, AT(lora_alpha), "X", NULL, "its output is scaled by X / rank; 0: twice the rank"},
    {"lora-targets", CLI_STRING, AT(lora_targets), "LIST", NULL, "all, or some of q,k,v,o,gate,up,down"},
    {"lora-stabilised", CLI_FLAG, AT(lora_stabilised), NULL, NULL, "scale by X / sqrt(rank)"},
    {"eval-every", CLI_INT, AT(eval_every), "N", NULL, "evaluate every N steps; 0: before and after"},
    {"checkpoint-every", CLI_INT, AT(checkpoint_every), "N", NULL, "every N steps; 0: at the end"},
    {"resume", CLI_FLAG, AT(resume), NULL, NULL, "continue from OUTPUT/checkpoint when there is one"},
    {"tensorboard", CLI_FLAG, AT(tensorboard), NULL, NULL, "write OUTPUT/events.out.tfevents.dmpo for TensorBoard too"},
    {"recompute", CLI_FLAG, AT(recompute), NULL, NULL,
     "recompute activations (--no-recompute: keep them; without either as --memory needs)"},
    {"memory", CLI_BYTES, AT(memory), "SIZE", NULL, "limit for the whole process, e.g. 512MiB; 0: none"},
    {0},
};
#undef AT

static const cli_command train_command = {
    "train",
    "Trains a policy and writes it, with metrics and a checkpoint, into --output.",
    "--model PATH --data FILE --output DIR [options]",
    "OUTPUT gets config.json, model.safetensors (f32), the tokenizer's files, metrics.jsonl, run.json and "
    "checkpoint/.\n"
    "Ctrl-C finishes the step, writes a checkpoint and stops; --resume continues with the same bits.\n"
    "dmpo train --config OUTPUT/run.json repeats a run. Defaults follow the objective: sft has lr 2e-5, batch 64,\n"
    "warm-up 3 % and a cosine schedule.",
    cli_train_options,
    0,
    0};

static const cli_command plan_command = {"plan",
                                         "Says what memory a training run will need, line by line, without running it.",
                                         "--model PATH --data FILE [options of dmpo train]",
                                         NULL,
                                         cli_train_options,
                                         0,
                                         0};

/* Defaults depend on the objective, which may come from the command line or the configuration: parse twice. */
static dm_status parse(const cli_command *c, dmpo_train_options *o, cli_common *common, cli_args *args, int argc,
                       char **argv, dm_error *err)
{
    dmpo_train_defaults(o, DMPO_DMPO);
    dm_status s = cli_parse(c, o, common, args, argc, argv, err);
    if (s != DM_OK || args->help || o->objective == DMPO_DMPO)
        return s;
    dmpo_train_defaults(o, o->objective);
    cli_args_close(args);
    return cli_parse(c, o, common, args, argc, argv, err);
}

static void metrics_json(dm_text *t, const char *name, const dmpo_metrics *m)
{
    if (m->step < 0) {
        dm_text_print(t, ",\n \"%s\": null", name);
        return;
    }
    dm_text_print(t, ",\n \"%s\": {\"loss\": ", name);
    dm_text_json_double(t, m->loss);
    dm_text_print(t, ", \"rewards/margins\": ");
    dm_text_json_double(t, m->reward_margin);
    dm_text_print(t, ", \"rewards/accuracies\": ");
    dm_text_json_double(t, m->reward_accuracy);
    dm_text_print(t, "}");
}

static void run_json(dm_text *t, const dmpo_train_options *o, const dmpo_engine *engine, const dmpo_train_result *r)
{
    dm_text_print(t, "{\"command\": \"train\", \"version\": \"%s\", \"isa\": \"%s\", \"threads\": %u,\n \"options\": {",
                  dmpo_version(), dmpo_engine_isa(engine), dmpo_engine_threads(engine));
    cli_options_json(t, cli_train_options, o);
    dm_text_print(t, "\n }");
    if (r) {
        dm_text_print(t,
                      ",\n \"model_sha256\": \"%s\", \"data_sha256\": \"%s\",\n \"steps\": %lld, \"weights_sha256\": "
                      "\"%s\",\n \"planned_memory\": %llu, \"peak_memory\": %llu",
                      r->model_sha256, r->data_sha256, (long long)r->steps, r->weights_sha256,
                      (unsigned long long)r->planned_memory, (unsigned long long)r->peak_memory);
        metrics_json(t, "before", &r->before);
        metrics_json(t, "after", &r->after);
    }
    dm_text_print(t, "}\n");
}

static dm_status write_run(const dmpo_train_options *o, const dmpo_engine *engine, const dmpo_train_result *r,
                           dm_error *err)
{
    char path[4096];
    dm_text t = {0};
    dm_status s = dm_dir_create(o->output, err);
    run_json(&t, o, engine, r);
    if (s == DM_OK && (s = dm_path_join(path, sizeof path, o->output, "run.json", err)) == DM_OK)
        s = t.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to write %s", path)
                     : dm_file_write(path, t.data, t.size, err);
    dm_text_free(&t);
    return s;
}

static void print_result(const dmpo_train_options *o, const dmpo_engine *engine, const dmpo_train_result *r, int json)
{
    if (json) {
        dm_text t = {0};
        run_json(&t, o, engine, r);
        fwrite(t.data, 1, t.size, stdout);
        dm_text_free(&t);
        return;
    }
    char peak[32];
    if (r->before.step >= 0) {
        printf("held-out loss      %.6f -> %.6f\n", r->before.loss, r->after.loss);
        if (!isnan(r->after.reward_margin)) {
            printf("held-out margin    %+.6f -> %+.6f\n", r->before.reward_margin, r->after.reward_margin);
            printf("held-out accuracy  %.4f -> %.4f\n", r->before.reward_accuracy, r->after.reward_accuracy);
        }
    }
    printf("steps              %lld\npeak memory        %s\nweights sha256     %s\n", (long long)r->steps,
           cli_bytes(peak, (double)r->peak_memory), r->weights_sha256);
}

int cli_train(int argc, char **argv)
{
    dmpo_train_options o;
    cli_common common = {0};
    cli_args args = {0};
    cli_progress progress;
    dmpo_engine *engine = NULL;
    dmpo_train_result result;
    dm_error err = {0};
    dmpo_error error = {0};

    dm_status s = parse(&train_command, &o, &common, &args, argc, argv, &err);
    if (s == DM_OK && !args.help && !o.output)
        s = dm_fail(&err, DM_ERR_ARGUMENT, "no output given; --output DIR names the directory for the trained model");
    int status = s != DM_OK ? cli_failed("train", s, err.message) : 0;
    if (status || args.help || (status = cli_open_engine("train", &common, &engine)) != 0)
        goto done;
    cli_catch_interrupt();
    cli_progress_open(&progress, &common);
    s = dmpo_train(engine, &o, cli_progress_event, &progress, &result, &error);
    cli_progress_close(&progress);
    if (s != DM_OK)
        status = cli_failed("train", s, error.message);
    else if ((s = write_run(&o, engine, &result, &err)) != DM_OK)
        status = cli_failed("train", s, err.message);
    else
        print_result(&o, engine, &result, common.json);
done:
    dmpo_engine_close(&engine);
    cli_args_close(&args);
    return status;
}

static void print_plan(const dmpo_plan *p, int json)
{
    char buf[32];
    if (json) {
        printf("{\"total\": %llu, \"smallest\": %llu, \"layers\": %u, \"recomputed\": %u, \"kept_logits\": %s, "
               "\"tokens\": %llu, \"packed_tokens\": %llu, \"longest_pack\": %llu, \"parameters\": %llu, \"trained\": "
               "%llu",
               (unsigned long long)p->total, (unsigned long long)p->smallest, p->layers, p->recomputed,
               p->kept_logits ? "true" : "false", (unsigned long long)p->tokens, (unsigned long long)p->packed_tokens,
               (unsigned long long)p->longest_pack, (unsigned long long)p->parameters, (unsigned long long)p->trained);
        for (size_t i = 0; i < p->lines; i++)
            printf(", \"%s\": %llu", p->line[i].what, (unsigned long long)p->line[i].bytes);
        puts("}");
        return;
    }
    for (size_t i = 0; i < p->lines; i++)
        printf("%-40s %12s\n", p->line[i].what, cli_bytes(buf, (double)p->line[i].bytes));
    printf("%-40s %12s\n", "peak resident memory", cli_bytes(buf, (double)p->total));
    printf("%-40s %12s\n", "smallest --memory that works", cli_bytes(buf, (double)p->smallest));
    printf("%llu parameters", (unsigned long long)p->parameters);
    if (p->trained != p->parameters)
        printf(" and %llu of the adapter, which are trained", (unsigned long long)p->trained);
    printf("; longest item %llu tokens; recomputed in the backward: %u of %u layers%s\n",
           (unsigned long long)p->longest_pack, p->recomputed, p->layers, p->kept_logits ? "" : ", the logits");
    printf("a pass over the data has %llu tokens and computes %llu: what a pair's sides have in common, once\n",
           (unsigned long long)p->tokens, (unsigned long long)p->packed_tokens);
}

int cli_plan(int argc, char **argv)
{
    dmpo_train_options o;
    cli_common common = {0};
    cli_args args = {0};
    dmpo_engine *engine = NULL;
    dmpo_plan plan;
    dm_error err = {0};
    dmpo_error error = {0};

    dm_status s = parse(&plan_command, &o, &common, &args, argc, argv, &err);
    int status = s != DM_OK ? cli_failed("plan", s, err.message) : 0;
    if (!status && !args.help && (status = cli_open_engine("plan", &common, &engine)) == 0) {
        if ((s = dmpo_plan_train(engine, &o, &plan, &error)) != DM_OK)
            status = cli_failed("plan", s, error.message);
        else
            print_plan(&plan, common.json);
    }
    dmpo_engine_close(&engine);
    cli_args_close(&args);
    return status;
}
