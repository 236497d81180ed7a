/*
 * torch.c - PyTorch checkpoints: the zip archives of torch.save since 1.6, and the files before it.
 *
 *     zip      ROOT/data.pkl, one pickle; ROOT/data/KEY, the bytes of a storage; ROOT/byteorder, "little" where it is there
 *     legacy   pickles of: a magic number, 1001, a dictionary with little_endian, the object, the list of storage keys;
 *              then, for each key in that order, the number of elements (i64) and the elements
 *
 * A tensor is a view into a storage, by offset and strides; several may share one. Views that are not packed stay
 * strided here and are walked when they are read. The tensors sought are those of the state dictionary: the root, or what
 * stands in it as "state_dict", "model_state_dict" or "model_state". TorchScript archives hold code and are refused.
 */
#include "source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pickle.h"
#include "zip.h"

static const unsigned char magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e};

/* Where the bytes of each storage of the pickle are; NULL: not found yet. */
typedef struct place {
    const unsigned char *p;
    size_t bytes;
} place;

static bool packed(const es_pickle_tensor *t)
{
    int64_t want = 1;

    for (int i = t->n_dims; i-- > 0;) {
        if (t->dim[i] != 1 && t->stride[i] != want) return false;
        want *= t->dim[i];
    }
    return true;
}

static int add_tensor(es_source *s, const es_pickle *k, const es_pickle_tensor *t, const place *places,
                      const es_pickle_value *name, const char *path, es_err *err)
{
    const es_pickle_storage *storage = &k->storages[t->storage];
    const place *at = &places[t->storage];
    size_t size = es_num_bytes(storage->num);
    es_src_tensor out = {.num = storage->num, .n_dims = t->n_dims, .strided = !packed(t)};

    memcpy(out.dim, t->dim, sizeof out.dim);
    memcpy(out.stride, t->stride, sizeof out.stride);
    /* An empty tensor may have any offset; it reads nothing. */
    size_t offset = (size_t)t->offset <= (size_t)storage->count ? (size_t)t->offset : 0;
    out.p = at->p + offset * size;
    out.bytes = at->bytes - offset * size;
    return es_source_add(s, &out, name->text, name->bytes, path, err);
}

/* The dictionary that holds the tensors. */
static const es_pickle_value *state_dict(const es_pickle *k)
{
    static const char *const keys[] = {"state_dict", "model_state_dict", "model_state"};
    const es_pickle_value *root = &k->values[k->root], *v;

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        v = es_pickle_get(k, root, keys[i]);
        if (v && v->kind == ES_PICKLE_DICT) return v;
    }
    return root->kind == ES_PICKLE_DICT ? root : NULL;
}

static int add_tensors(es_source *s, const es_pickle *k, const place *places, const char *path, es_err *err)
{
    const es_pickle_value *d = state_dict(k);
    int rc = ES_OK, n = 0;

    for (uint32_t i = 0; d && i + 1 < d->n && !rc; i += 2) {
        const es_pickle_value *name = &k->values[d->items[i]], *v = &k->values[d->items[i + 1]];
        if (v->kind != ES_PICKLE_TENSOR) continue;
        if (name->kind != ES_PICKLE_TEXT) return es_fail(err, ES_EFORMAT, "%s: the name of a tensor is not text", path);
        rc = add_tensor(s, k, &k->tensors[v->tensor], places, name, path, err);
        n++;
    }
    if (!rc && !n) rc = es_fail(err, ES_EFORMAT, "%s: the checkpoint holds no dictionary of tensors", path);
    return rc ? rc : es_source_ready(s, err);
}

static int check_size(const es_pickle_storage *storage, uint64_t have, const char *path, es_err *err)
{
    uint64_t want = (uint64_t)storage->count * es_num_bytes(storage->num);

    if ((uint64_t)storage->count <= UINT64_MAX / 8 && want == have) return ES_OK;
    return es_fail(err, ES_EFORMAT, "%s: storage %.*s has %llu bytes, %lld elements of %s are declared", path,
                   (int)storage->key_bytes, storage->key, (unsigned long long)have, (long long)storage->count,
                   es_num_name(storage->num));
}

/* ---- zip ---- */

static int read_zip(es_source *s, const unsigned char *p, size_t bytes, const char *path, es_err *err)
{
    es_zip z;
    const es_zip_member *data = NULL, *m;
    es_pickle *k = NULL;
    place *places = NULL;
    char name[256], shown[96];
    size_t root = 0, used;
    int rc = es_zip_read(&z, p, bytes, path, err);

    for (int i = 0; i < z.n && !rc; i++) {
        m = &z.members[i];
        const char *slash = memchr(m->name, '/', m->name_bytes);
        size_t stem = slash ? (size_t)(slash - m->name) : 0;
        if (slash && m->name_bytes - stem == 9 && !memcmp(slash, "/data.pkl", 9)) {
            if (data) rc = es_fail(err, ES_EFORMAT, "%s: the archive holds two checkpoints", path);
            data = m;
            root = stem;
        }
        if (slash && m->name_bytes - stem > 6 && !memcmp(slash, "/code/", 6)) {
            rc = es_fail(err, ES_EFORMAT, "%s: a TorchScript archive; it holds code, a checkpoint of weights is needed", path);
        }
    }
    if (!rc && (!data || root > 200)) rc = es_fail(err, ES_EFORMAT, "%s: a zip archive, but no PyTorch checkpoint is in it", path);
    if (rc) goto out;
    snprintf(name, sizeof name, "%.*s/byteorder", (int)root, data->name);
    m = es_zip_find(&z, name, strlen(name));
    if (m && (m->bytes < 6 || memcmp(m->p, "little", 6))) {
        rc = es_fail(err, ES_EFORMAT, "%s: the checkpoint is not little-endian", path);
        goto out;
    }
    rc = es_pickle_read(&k, data->p, data->bytes, &used, path, err);
    if (!rc && used != data->bytes) rc = es_fail(err, ES_EFORMAT, "%s: %zu bytes follow the pickle", path, data->bytes - used);
    if (!rc) places = calloc((size_t)k->n_storages + 1, sizeof *places);
    if (!rc && !places) rc = es_fail(err, ES_ENOMEM, "%s: out of memory", path);
    for (int i = 0; !rc && i < k->n_storages; i++) {
        snprintf(name, sizeof name, "%.*s/data/%.*s", (int)root, data->name, (int)k->storages[i].key_bytes, k->storages[i].key);
        m = es_zip_find(&z, name, strlen(name));
        if (!m) rc = es_fail(err, ES_EFORMAT, "%s: member %s is missing", path, es_printable(shown, sizeof shown, name));
        else rc = check_size(&k->storages[i], m->bytes, path, err);
        if (!rc) places[i] = (place){m->p, m->bytes};
    }
    if (!rc) rc = add_tensors(s, k, places, path, err);
    if (!rc) snprintf(s->format, sizeof s->format, "PyTorch checkpoint");
out:
    free(places);
    es_pickle_close(k);
    es_zip_done(&z);
    return rc;
}

/* ---- legacy ---- */

static int find_storage(const es_pickle *k, const es_pickle_value *key)
{
    for (int i = 0; i < k->n_storages; i++) {
        if (k->storages[i].key_bytes == key->bytes && !memcmp(k->storages[i].key, key->text, key->bytes)) return i;
    }
    return -1;
}

static int read_legacy(es_source *s, const unsigned char *p, size_t bytes, const char *path, es_err *err)
{
    es_pickle *part[4] = {0}; /* protocol, facts, object, keys */
    const es_pickle_value *v, *keys;
    place *places = NULL;
    size_t at = sizeof magic, used;
    int rc = ES_OK;

    for (int i = 0; i < 4 && !rc; i++) {
        rc = es_pickle_read(&part[i], p + at, bytes - at, &used, path, err);
        if (!rc) at += used;
    }
    if (rc) goto out;
    v = &part[0]->values[part[0]->root];
    if (v->kind != ES_PICKLE_INT || v->i != 1001) {
        rc = es_fail(err, ES_EFORMAT, "%s: the protocol of the checkpoint is not 1001", path);
        goto out;
    }
    v = es_pickle_get(part[1], &part[1]->values[part[1]->root], "little_endian");
    if (!v || v->kind != ES_PICKLE_BOOL || !v->i) {
        rc = es_fail(err, ES_EFORMAT, "%s: the checkpoint is not little-endian", path);
        goto out;
    }
    keys = &part[3]->values[part[3]->root];
    places = calloc((size_t)part[2]->n_storages + 1, sizeof *places);
    if (!places) rc = es_fail(err, ES_ENOMEM, "%s: out of memory", path);
    else if (keys->kind != ES_PICKLE_LIST) rc = es_fail(err, ES_EFORMAT, "%s: the keys of the storages are no list", path);
    for (uint32_t i = 0; !rc && i < keys->n; i++) {
        const es_pickle_value *key = &part[3]->values[keys->items[i]];
        int k = key->kind == ES_PICKLE_TEXT ? find_storage(part[2], key) : -1;
        uint64_t count = 0;
        if (k < 0 || places[k].p) rc = es_fail(err, ES_EFORMAT, "%s: key %u names no storage, or one for the second time", path, i);
        else if (bytes - at < 8) rc = es_fail(err, ES_EFORMAT, "%s: cut off in storage %u of %u", path, i, keys->n);
        if (rc) break;
        for (int b = 0; b < 8; b++) count |= (uint64_t)p[at + (size_t)b] << (8 * b);
        at += 8;
        size_t size = es_num_bytes(part[2]->storages[k].num);
        rc = count > bytes / size ? es_fail(err, ES_EFORMAT, "%s: storage %u has %llu elements, the file %zu bytes", path, i,
                                            (unsigned long long)count, bytes)
                                  : check_size(&part[2]->storages[k], count * size, path, err);
        if (!rc && count * size > bytes - at) rc = es_fail(err, ES_EFORMAT, "%s: cut off in storage %u of %u", path, i, keys->n);
        if (rc) break;
        places[k] = (place){p + at, (size_t)count * size};
        at += (size_t)count * size;
    }
    for (int i = 0; !rc && i < part[2]->n_storages; i++) {
        if (!places[i].p) rc = es_fail(err, ES_EFORMAT, "%s: storage %.*s is missing", path, (int)part[2]->storages[i].key_bytes,
                                       part[2]->storages[i].key);
    }
    if (!rc && at != bytes) rc = es_fail(err, ES_EFORMAT, "%s: %zu bytes follow the last storage", path, bytes - at);
    if (!rc) rc = add_tensors(s, part[2], places, path, err);
    if (!rc) snprintf(s->format, sizeof s->format, "PyTorch checkpoint of the old format");
out:
    free(places);
    for (int i = 0; i < 4; i++) es_pickle_close(part[i]);
    return rc;
}

int es_torch_read(es_source *s, const char *path, es_err *err)
{
    const unsigned char *p;
    size_t bytes;
    int rc = es_source_map(s, path, &p, &bytes, err);

    if (rc) return rc;
    if (bytes > sizeof magic && !memcmp(p, magic, sizeof magic)) return read_legacy(s, p, bytes, path, err);
    return read_zip(s, p, bytes, path, err);
}
