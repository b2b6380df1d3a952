/* The built-in templates, as the families publish them or simpler with the same text. */
#include "io/data/template_internal.h"

static const char *const chatml_tokens[] = {"<|im_start|>", "<|im_end|>"};
static const char *const llama_tokens[] = {"<s>", "</s>"};
static const char *const llama3_tokens[] = {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                            "<|eot_id|>"};
static const char *const zephyr_tokens[] = {"</s>", "<|system|>", "<|user|>", "<|assistant|>"};
static const char *const plain_tokens[] = {"<|system|>", "<|user|>", "<|agent|>", "<|end|>"};

/* `system` and the other messages, `turns`; `otherwise` without a system message. */
#define SPLIT_SYSTEM(otherwise)                                                                                        \
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"                                \
    "{% set turns = messages[1:] %}{% else %}{% set system = " otherwise " %}{% set turns = messages %}{% endif %}"

const dm_template_builtin dm_template_builtins[DM_TEMPLATE_COUNT] = {
    [DM_TEMPLATE_CHATML] =
        {"chatml", chatml_tokens, 2, NULL, "<|im_end|>", false, true,
         "{% for message in messages %}"
         "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"},
    [DM_TEMPLATE_LLAMA2] =
        {"llama2", llama_tokens, 2, "<s>", "</s>", true, false,
         SPLIT_SYSTEM("none") "{% for message in turns %}{% if loop.first and system is not none %}"
                              "{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}"
                              "{% else %}{% set content = message['content'] %}{% endif %}"
                              "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' "
                              "[/INST]' }}"
                              "{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"},
    [DM_TEMPLATE_LLAMA3] =
        {"llama3", llama3_tokens, 4, "<|begin_of_text|>", "<|eot_id|>", false, true,
         SPLIT_SYSTEM(
             "none") "{{ bos_token }}{% if system is not none %}{{ '<|start_header_id|>system<|end_header_id|>\\n\\n' + \"\" + "
                     "system | trim + '<|eot_id|>' }}{% endif %}"
                     "{% for message in turns %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + "
                     "message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
                     "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"},
    [DM_TEMPLATE_MISTRAL] =
        {"mistral", llama_tokens, 2, "<s>", "</s>", true, false,
         SPLIT_SYSTEM(
             "none") "{{ bos_token }}{% for message in turns %}{% if message['role'] == 'user' %}"
                     "{{ ' [INST] ' + (system + '\\n\\n' if loop.first and system is not none else '') + message['content'] + "
                     "' [/INST]' }}{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"},
    [DM_TEMPLATE_VICUNA] =
        {"vicuna", llama_tokens, 2, "<s>", "</s>", true, false,
         SPLIT_SYSTEM(
             "\"A chat between a curious user and an artificial intelligence assistant. The assistant gives "
             "helpful, detailed, and polite answers to the user's questions.\"") "{{ bos_token + system + ' ' }}{% for message in turns %}{% if message['role'] == 'user' %}"
                                                                                 "{{ 'USER: ' + message['content'] + ' ' }}{% else %}"
                                                                                 "{{ 'ASSISTANT: ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
                                                                                 "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"},
    [DM_TEMPLATE_ZEPHYR] =
        {"zephyr", zephyr_tokens, 4, NULL, "</s>", true, false,
         "{% for message in messages %}"
         "{% if message['role'] == 'user' %}{{ '<|user|>\\n' + message['content'] + eos_token + '\\n' }}"
         "{% elif message['role'] == 'system' %}{{ '<|system|>\\n' + message['content'] + eos_token + '\\n' }}"
         "{% else %}{{ '<|assistant|>\\n' + message['content'] + eos_token + '\\n' }}{% endif %}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"},
    [DM_TEMPLATE_PLAIN] =
        {"plain", plain_tokens, 4, NULL, "<|end|>", false, false,
         SPLIT_SYSTEM(
             "none") "{% if system is not none %}{{ '<|system|>' + system }}{% endif %}"
                     "{% for message in turns %}{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}"
                     "{% else %}{{ '<|agent|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
                     "{% if add_generation_prompt %}{{ '<|agent|>' }}{% endif %}"},
};

const char *dm_template_name(dm_template_kind kind)
{
    return kind < DM_TEMPLATE_COUNT ? dm_template_builtins[kind].name : "own";
}

size_t dm_template_specials(dm_template_kind kind, const char *const **tokens)
{
    *tokens = dm_template_builtins[kind].tokens;
    return dm_template_builtins[kind].n_tokens;
}
