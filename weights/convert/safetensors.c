/*
 * safetensors.c - one safetensors file, or the shards that an index (model.safetensors.index.json) names.
 *
 * The file itself is read by runtime/weights.h, the one reader of the format. This adds sharding: the index maps names
 * to files beside it; every tensor it names must be in the shard it says, no shard may hold others, and no file may lie
 * in another folder.
 */
#include "source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int add_file(es_source *s, const char *path, es_err *err)
{
    es_weights *w;
    int rc = es_weights_open(&w, path, err);

    if (!rc) rc = es_source_keep_weights(s, w, err);
    if (!rc) rc = es_source_add_file(s, path, err);
    for (int i = 0; !rc && i < es_weights_count(w); i++) {
        const es_weight *from = es_weights_at(w, i);
        es_src_tensor t = {.num = ES_N_NUMS, .n_dims = from->n_dims, .p = from->p, .bytes = from->bytes};
        char shown[128];

        for (int k = 0; k <= ES_NUM_BOOL; k++) {
            if (!strcmp(es_num_name((es_num)k), from->type)) t.num = (es_num)k;
        }
        memcpy(t.dim, from->dim, sizeof t.dim);
        if (t.num == ES_N_NUMS) {
            return es_fail(err, ES_EFORMAT, "%s: tensor %s has the type %s, which is not supported", path,
                           es_printable(shown, sizeof shown, from->name), from->type);
        }
        rc = es_source_add(s, &t, from->name, strlen(from->name), path, err);
    }
    return rc;
}

/* True when the file was read before. */
static bool known(const es_source *s, const char *path)
{
    for (int i = 0; i < s->n_files; i++) {
        if (!strcmp(s->files[i], path)) return true;
    }
    return false;
}

static int read_index(es_source *s, const char *path, es_err *err)
{
    es_json *j = NULL;
    const es_json_node *map, *n;
    char *shard = NULL, shown[128];
    int rc = es_json_read(&j, path, (size_t)64 << 20, err);

    map = rc ? NULL : es_json_get(es_json_root(j), "weight_map");
    if (!rc && (!es_json_is_object(map) || !es_json_count(map))) {
        rc = es_fail(err, ES_EFORMAT, "%s: there is no \"weight_map\" in it", path);
    }
    for (n = es_json_first(map); n && !rc; n = es_json_next(n)) {
        const char *file = es_json_string(n);
        if (!file || !*file || strchr(file, '/') || file[0] == '.') {
            rc = es_fail(err, ES_EFORMAT, "%s: \"%s\" is not the name of a file beside the index", path,
                         es_printable(shown, sizeof shown, file ? file : ""));
            break;
        }
        free(shard);
        shard = es_source_join(s->folder, file);
        if (!shard) rc = es_fail(err, ES_ENOMEM, "%s: out of memory", path);
        else if (!known(s, shard)) rc = add_file(s, shard, err);
    }
    if (!rc) rc = es_source_ready(s, err);
    for (n = es_json_first(map); n && !rc; n = es_json_next(n)) {
        es_printable(shown, sizeof shown, es_json_key(n));
        free(shard);
        shard = es_source_join(s->folder, es_json_string(n));
        if (!shard) {
            rc = es_fail(err, ES_ENOMEM, "%s: out of memory", path);
        } else if (!es_source_find(s, es_json_key(n))) {
            rc = es_fail(err, ES_EFORMAT, "%s: tensor %s is in none of the shards", path, shown);
        } else if (!es_weights_find(es_source_weights(s, shard), es_json_key(n))) {
            rc = es_fail(err, ES_EFORMAT, "%s: tensor %s is not in %s, where it should be, but in another shard", path, shown,
                         es_json_string(n));
        }
    }
    if (!rc && s->n_tensors != es_json_count(map)) {
        rc = es_fail(err, ES_EFORMAT, "%s: the shards hold %d tensors, the index names %d", path, s->n_tensors,
                     es_json_count(map));
    }
    if (!rc) snprintf(s->format, sizeof s->format, "safetensors in %d shards", s->n_files);
    free(shard);
    es_json_close(j);
    return rc;
}

int es_safetensors_read(es_source *s, const char *path, es_err *err)
{
    size_t n = strlen(path);
    int rc;

    if (n > 5 && !strcmp(path + n - 5, ".json")) return read_index(s, path, err);
    rc = add_file(s, path, err);
    if (!rc) rc = es_source_ready(s, err);
    if (!rc) snprintf(s->format, sizeof s->format, "safetensors");
    return rc;
}
