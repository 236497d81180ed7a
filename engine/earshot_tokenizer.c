/*
 * earshot_tokenizer.c - the public door, part for token ids: a tokenizer from a pack, or from a folder as models are published.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "door.h"
#include "text/tokens.h"
#include "weights/convert/convert.h"

struct es_tokenizer {
    es_encoder *encoder; /* one of these two */
    es_tokens *tokens;
};

static int from_folder(es_tokens **out, const char *folder, es_err *err)
{
    es_convert_tokens t;
    es_json *config = NULL;
    int rc = es_convert_tokens_read(&t, folder, err);

    if (rc == ES_OK) rc = es_json_parse(&config, t.config, strlen(t.config), folder, err);
    if (rc == ES_OK) {
        const es_token_tables tables = {
            .tokens = t.tokens, .added = t.added, .tokens_bytes = t.tokens_bytes, .added_bytes = t.added_bytes};
        rc = es_tokens_open(out, &tables, es_json_root(config), folder, err);
    }
    es_json_close(config);
    es_convert_tokens_done(&t);
    return rc;
}

int es_tokenizer_open(es_tokenizer **out, const char *models, const char *model, es_error *error)
{
    es_tokenizer *t = calloc(1, sizeof *t);
    struct stat st;
    es_err err = {0};
    int rc = ES_OK;

    *out = NULL;
    if (!t) return es_door_fail(error, ES_NO_MEMORY, "not enough memory");
    if (model && !stat(model, &st) && S_ISDIR(st.st_mode) && es_convert_tokens_in(model)) {
        rc = es_door_give(error, from_folder(&t->tokens, model, &err), &err);
    } else {
        es_encoder_options options = ES_ENCODER_OPTIONS;
        options.models = models;
        options.model = model;
        options.device = "cpu"; /* nothing is computed */
        rc = es_encoder_open(&t->encoder, &options, error);
    }
    if (rc != ES_DONE) {
        es_tokenizer_close(t);
        return rc;
    }
    *out = t;
    return ES_DONE;
}

void es_tokenizer_close(es_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    es_encoder_close(tokenizer->encoder);
    es_tokens_close(tokenizer->tokens);
    free(tokenizer);
}

int es_tokenizer_ids(const es_tokenizer *tokenizer, const char *text, size_t bytes, int32_t *ids, size_t room, size_t *n,
                     es_error *error)
{
    if (tokenizer->encoder) return es_encoder_tokenize(tokenizer->encoder, text, bytes, ids, room, n, error);
    *n = es_tokens_plain(tokenizer->tokens, text, bytes, ids, room);
    if (*n != SIZE_MAX) return ES_DONE;
    *n = 0;
    return es_door_fail(error, ES_NO_MEMORY, "not enough memory for the tokens of %zu bytes", bytes);
}
