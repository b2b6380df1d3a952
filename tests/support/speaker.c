#include "tests/support/speaker.h"

#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "model/formats/tensors.h"
#include "model/network/config.h"
#include "model/network/params.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

void speaker_tokenizer(dm_tokenizer **t, dm_chat_template *c, dm_template_kind kind, bool pieces, const char *dir)
{
    static const char *const texts[] = {"abc", "Action: go to the door. Action: take the cup. Action: open it."};
    const size_t size = strlen(texts[pieces]);
    const char *const *specials;
    const size_t n = dm_template_specials(kind, &specials);
    dm_error err = {0};
    dm_status s = dm_tokenizer_train(t, &texts[pieces], &size, 1, 256 + n + (pieces ? 40 : 0), 2, DM_WORD_SPLIT_GPT2,
                                     false, specials, n, &err);
    if (s == DM_OK)
        s = dm_template_open(c, &(dm_template_choice){.name = dm_template_name(kind)}, NULL, *t, &err);
    if (s == DM_OK && dir)
        s = dm_tokenizer_save(*t, dir, &err);
    if (s == DM_OK && dir)
        s = dm_template_save(c, *t, dir, &err);
    if (!CK_MSG(s == DM_OK, "%s: %s", dm_template_name(kind), err.message))
        exit(ck_done("speaker"));
}

static float scale_of(const dm_tokenizer *t, const dm_chat_template *chat, int32_t id, bool pieces)
{
    bool special = false;
    const char *token = dm_tokenizer_token(t, id, &special);

    if (id == chat->end_of_turn)
        return pieces ? 16 : 3;
    if (pieces)
        return token && !special ? 1 : 0.1F;
    return token && !special && token[0] >= 'a' && token[0] <= 'z' && !token[1] ? 1.5F : 0;
}

void make_speaker(const char *dir, dm_template_kind kind, bool pieces)
{
    dm_config c = small_shape;
    dm_param_layout layout = {0};
    dm_tokenizer *t;
    dm_chat_template chat;
    dm_error err = {0};
    char hex[DM_SHA256_HEX];

    CK(dm_dir_create(dir, &err) == DM_OK);
    speaker_tokenizer(&t, &chat, kind, pieces, dir);
    c.vocab = (uint32_t)dm_tokenizer_size(t) + 3; /* padded: ids without text */
    c.tied = false;
    if (pieces) { /* blocks of 32, to be quantised */
        c.hidden = 32;
        c.intermediate = 64;
        c.head_dim = 8;
    }
    c.max_positions = 2048;
    dm_status s = dm_param_layout_build(&layout, &c, &err);
    float *w = s == DM_OK ? calloc(layout.floats, sizeof *w) : NULL;
    if (w) {
        dm_weights_init(w, &layout, 7, 0.3);
        for (uint32_t id = 0; id < c.vocab; id++)
            for (uint32_t k = 0; k < c.hidden; k++)
                w[layout.head->offset + id * c.hidden + k] *= scale_of(t, &chat, (int32_t)id, pieces);
        if ((s = dm_config_write(&c, DM_F32, dir, &err)) == DM_OK)
            s = dm_weights_write(w, &layout, dir, hex, &err);
    }
    CK_MSG(w && s == DM_OK, "%s: %s", dir, err.message);
    free(w);
    dm_param_layout_free(&layout);
    dm_template_close(&chat);
    dm_tokenizer_close(&t);
}
