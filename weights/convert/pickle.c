/*
 * pickle.c - the stack machine: opcodes of protocols 2 to 4 to inert values.
 *
 * The machine has a stack of values, a stack of marks (heights of the first) and a memo. Values are never copied: stack,
 * memo and containers hold indices, so that a pickle of n bytes costs memory in proportion to n, whatever it repeats.
 * What torch writes is small: dictionaries, tuples, whole numbers, text, a persistent id for each storage, and a call of
 * _rebuild_tensor_v2 on it for each tensor. Calls of listed names that are not tensors leave an opaque value.
 */
#include "pickle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_BYTES = 64 << 20,
    MAX_VALUES = 2 << 20,
    MAX_STACK = 1 << 20,
    MAX_MEMO = 1 << 20,
    MAX_TEXT = 64 << 10, /* of a name or a key; longer text is kept, but as a value only */
    MAX_DEPTH = 200
};

/* ---- names ---- */

typedef enum meaning { OPAQUE, ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, STORAGE /* + es_num */ } meaning;

static const struct {
    const char *module, *name;
    int meaning;
} names[] = {
    {"collections", "OrderedDict", ORDERED_DICT},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR},
    {"torch._utils", "_rebuild_tensor", REBUILD_TENSOR},
    {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER},
    {"torch._utils", "_rebuild_parameter_with_state", REBUILD_PARAMETER},
    {"torch", "FloatStorage", STORAGE + ES_NUM_F32},
    {"torch", "HalfStorage", STORAGE + ES_NUM_F16},
    {"torch", "BFloat16Storage", STORAGE + ES_NUM_BF16},
    {"torch", "DoubleStorage", STORAGE + ES_NUM_F64},
    {"torch", "LongStorage", STORAGE + ES_NUM_I64},
    {"torch", "IntStorage", STORAGE + ES_NUM_I32},
    {"torch", "ShortStorage", STORAGE + ES_NUM_I16},
    {"torch", "CharStorage", STORAGE + ES_NUM_I8},
    {"torch", "ByteStorage", STORAGE + ES_NUM_U8},
    {"torch", "BoolStorage", STORAGE + ES_NUM_BOOL},
    {"torch.torch_version", "TorchVersion", OPAQUE},
    {"torch", "Size", OPAQUE},
    {"torch", "device", OPAQUE},
    {"collections", "defaultdict", OPAQUE},
    {"collections", "Counter", OPAQUE},
    {"numpy.core.multiarray", "scalar", OPAQUE},
    {"numpy.core.multiarray", "_reconstruct", OPAQUE},
    {"numpy._core.multiarray", "scalar", OPAQUE},
    {"numpy._core.multiarray", "_reconstruct", OPAQUE},
    {"numpy", "dtype", OPAQUE},
    {"numpy", "ndarray", OPAQUE},
    {"_codecs", "encode", OPAQUE},
    {"pathlib", "PosixPath", OPAQUE},
    {"pathlib", "WindowsPath", OPAQUE},
    {"typing", "Any", OPAQUE},
    {"argparse", "Namespace", OPAQUE},
    {"datetime", "datetime", OPAQUE},
    {"datetime", "timedelta", OPAQUE},
    {"builtins", "dict", OPAQUE},
    {"builtins", "list", OPAQUE},
    {"builtins", "set", OPAQUE},
    {"builtins", "int", OPAQUE},
    {"builtins", "float", OPAQUE},
    {"builtins", "str", OPAQUE},
    {"builtins", "bool", OPAQUE},
    {"builtins", "tuple", OPAQUE},
    {"__builtin__", "dict", OPAQUE},
    {"__builtin__", "list", OPAQUE},
    {"__builtin__", "set", OPAQUE},
};
/* Packages whose objects stand beside weights; all of their names are opaque. */
static const char *const packages[] = {"pyannote.", "pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf."};

/* What a name stands for, or -1. */
static int meaning_of(const char *module, size_t m, const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i].module) == m && !memcmp(names[i].module, module, m) && strlen(names[i].name) == n &&
            !memcmp(names[i].name, name, n)) return names[i].meaning;
    }
    for (size_t i = 0; i < sizeof packages / sizeof *packages; i++) {
        if (m > strlen(packages[i]) && !memcmp(packages[i], module, strlen(packages[i]))) return OPAQUE;
    }
    return -1;
}

/* ---- the machine ---- */

typedef struct machine {
    const unsigned char *p;
    size_t n, at;
    es_pickle *k;
    uint32_t *stack, *marks, *memo; /* memo: index + 1, 0 is empty */
    size_t n_stack, room_stack, n_marks, room_marks, n_memo, next_memo;
    const char *what;
    es_err *err;
    int rc;
} machine;

static void fail(machine *m, const char *sentence)
{
    if (!m->rc) m->rc = es_fail(m->err, ES_EFORMAT, "%s: byte %zu of the pickle: %s", m->what, m->at, sentence);
}

static void no_memory(machine *m)
{
    if (!m->rc) m->rc = es_fail(m->err, ES_ENOMEM, "%s: out of memory", m->what);
}

/* Makes room for one more element of a list that may hold `most`. */
static bool room(machine *m, void **p, size_t n, size_t *have, size_t size, size_t most, const char *what)
{
    void *grown;

    if (m->rc) return false;
    if (n >= most) {
        fail(m, what);
        return false;
    }
    if (n < *have) return true;
    size_t want = *have ? *have * 2 : 64;
    grown = realloc(*p, want * size);
    if (!grown) {
        no_memory(m);
        return false;
    }
    *p = grown;
    *have = want;
    return true;
}

/* n bytes of the pickle, or NULL. */
static const unsigned char *bytes(machine *m, size_t n)
{
    const unsigned char *p = m->p + m->at;

    if (m->rc) return NULL;
    if (n > m->n - m->at) {
        fail(m, "the pickle is cut off");
        return NULL;
    }
    m->at += n;
    return p;
}

static uint64_t number(machine *m, size_t n)
{
    const unsigned char *p = bytes(m, n);
    uint64_t v = 0;

    for (size_t i = 0; p && i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static es_pickle_value *value(machine *m, uint32_t i)
{
    return &m->k->values[i];
}

static void push_index(machine *m, uint32_t i)
{
    if (room(m, (void **)&m->stack, m->n_stack, &m->room_stack, sizeof *m->stack, MAX_STACK, "the stack is too deep")) {
        m->stack[m->n_stack++] = i;
    }
}

static uint32_t push(machine *m, es_pickle_value v)
{
    size_t have = m->k->room_values;

    if (!room(m, (void **)&m->k->values, m->k->n_values, &have, sizeof v, MAX_VALUES, "too many values")) return 0;
    m->k->room_values = (uint32_t)have;
    m->k->values[m->k->n_values] = v;
    push_index(m, m->k->n_values);
    return m->k->n_values++;
}

static void push_int(machine *m, int64_t i)
{
    push(m, (es_pickle_value){.kind = ES_PICKLE_INT, .i = i});
}

/* Values above the topmost mark belong to it: what lies below it cannot be taken. */
static uint32_t pop(machine *m)
{
    size_t floor = m->n_marks ? m->marks[m->n_marks - 1] : 0;

    if (!m->rc && m->n_stack <= floor) fail(m, "a value is taken from an empty stack");
    return m->rc ? 0 : m->stack[--m->n_stack];
}

static uint32_t top(machine *m)
{
    uint32_t i = pop(m);

    if (!m->rc) m->n_stack++;
    return i;
}

static size_t pop_mark(machine *m)
{
    if (!m->rc && !m->n_marks) fail(m, "a mark is missing");
    return m->rc ? 0 : m->marks[--m->n_marks];
}

static void append(machine *m, uint32_t to, uint32_t item)
{
    size_t have = value(m, to)->room;
    void *items = value(m, to)->items;

    if (!room(m, &items, value(m, to)->n, &have, sizeof(uint32_t), MAX_VALUES, "too many values")) return;
    value(m, to)->items = items;
    value(m, to)->room = (uint32_t)have;
    value(m, to)->items[value(m, to)->n++] = item;
}

/* Takes the values from `start` on into a new tuple or list. */
static void collect(machine *m, size_t start, es_pickle_kind kind)
{
    es_pickle_value v = {.kind = kind};
    size_t n = m->rc ? 0 : m->n_stack - start;

    if (m->rc) return;
    if (n) v.items = malloc(n * sizeof *v.items);
    if (n && !v.items) {
        no_memory(m);
        return;
    }
    if (n) memcpy(v.items, m->stack + start, n * sizeof *v.items);
    v.n = v.room = (uint32_t)n;
    m->n_stack = start;
    push(m, v);
    if (m->rc) free(v.items); /* it did not get into the list of values */
}

static void collect_top(machine *m, size_t n)
{
    size_t floor = m->n_marks ? m->marks[m->n_marks - 1] : 0;

    if (!m->rc && m->n_stack < floor + n) fail(m, "a value is taken from an empty stack");
    else collect(m, m->n_stack - n, ES_PICKLE_TUPLE);
}

/* Everything above the topmost mark goes into the container below it. */
static void extend(machine *m, bool pairs)
{
    size_t start = pop_mark(m), n = m->rc ? 0 : m->n_stack - start;
    uint32_t to;

    if (m->rc) return;
    m->n_stack = start;
    to = top(m);
    if (m->rc) return;
    es_pickle_kind kind = value(m, to)->kind;
    if (kind == ES_PICKLE_OPAQUE) return;
    if (kind != (pairs ? ES_PICKLE_DICT : ES_PICKLE_LIST) || (pairs && n % 2)) {
        fail(m, pairs ? "pairs are put into what is no dictionary" : "values are put into what is no list");
        return;
    }
    /* The values still lie above the top; nothing is pushed meanwhile. */
    for (size_t i = 0; i < n; i++) append(m, to, m->stack[start + i]);
}

static void extend_one(machine *m, bool pair)
{
    uint32_t v = pop(m), key = pair ? pop(m) : 0, to = top(m);

    if (m->rc || value(m, to)->kind == ES_PICKLE_OPAQUE) return;
    if (value(m, to)->kind != (pair ? ES_PICKLE_DICT : ES_PICKLE_LIST)) {
        fail(m, pair ? "a pair is put into what is no dictionary" : "a value is put into what is no list");
        return;
    }
    if (pair) append(m, to, key);
    append(m, to, v);
}

static void memo_put(machine *m, uint64_t at)
{
    uint32_t i = top(m);

    if (m->rc) return;
    if (at >= MAX_MEMO) {
        fail(m, "the memo is too large");
        return;
    }
    if (at >= m->n_memo) {
        size_t want = m->n_memo ? m->n_memo : 256;
        while (want <= at) want *= 2;
        uint32_t *grown = realloc(m->memo, want * sizeof *grown);
        if (!grown) {
            no_memory(m);
            return;
        }
        memset(grown + m->n_memo, 0, (want - m->n_memo) * sizeof *grown);
        m->memo = grown;
        m->n_memo = want;
    }
    m->memo[at] = i + 1;
    if (at >= m->next_memo) m->next_memo = (size_t)at + 1;
}

static void memo_get(machine *m, uint64_t at)
{
    if (m->rc) return;
    if (at >= m->n_memo || !m->memo[at]) fail(m, "the memo has no such entry");
    else push_index(m, m->memo[at] - 1);
}

static void push_text(machine *m, uint64_t n)
{
    const unsigned char *p = n > MAX_BYTES ? NULL : bytes(m, (size_t)n);

    if (n > MAX_BYTES) fail(m, "text longer than the pickle may be");
    if (p) push(m, (es_pickle_value){.kind = ES_PICKLE_TEXT, .text = (const char *)p, .bytes = (size_t)n});
}

/* A whole number of n bytes; what does not fit 64 bits is opaque. */
static void push_long(machine *m, uint64_t n)
{
    const unsigned char *p = n > MAX_BYTES ? NULL : bytes(m, (size_t)n);
    uint64_t v = 0;

    if (n > MAX_BYTES) fail(m, "a number longer than the pickle may be");
    if (!p) return;
    if (n > 8) {
        push(m, (es_pickle_value){.kind = ES_PICKLE_OPAQUE});
        return;
    }
    for (size_t i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    if (n && n < 8 && p[n - 1] & 0x80) v |= ~(uint64_t)0 << (8 * n);
    push_int(m, (int64_t)v);
}

static void push_float(machine *m)
{
    const unsigned char *p = bytes(m, 8);
    uint64_t v = 0;
    double f;

    for (int i = 0; p && i < 8; i++) v = v << 8 | p[i];
    memcpy(&f, &v, sizeof f);
    if (p) push(m, (es_pickle_value){.kind = ES_PICKLE_FLOAT, .f = f});
}

static void push_global(machine *m, const char *module, size_t mod, const char *name, size_t n)
{
    int means = meaning_of(module, mod, name, n);
    char text[160], shown[320];

    if (m->rc) return;
    if (means < 0) {
        snprintf(text, sizeof text, "%.*s.%.*s", mod > 70 ? 70 : (int)mod, module, n > 70 ? 70 : (int)n, name);
        m->rc = es_fail(m->err, ES_EFORMAT, "%s: the pickle names %s, which is not on the list of what weights need; nothing "
                        "in it was run", m->what, es_printable(shown, sizeof shown, text));
        return;
    }
    push(m, (es_pickle_value){.kind = ES_PICKLE_GLOBAL, .i = means});
}

static void global(machine *m)
{
    const char *p = (const char *)m->p + m->at, *end = (const char *)m->p + m->n, *a, *b;

    a = memchr(p, '\n', (size_t)(end - p));
    b = a ? memchr(a + 1, '\n', (size_t)(end - a - 1)) : NULL;
    if (!b || b - p > MAX_TEXT) {
        fail(m, "a name has no end");
        return;
    }
    m->at += (size_t)(b + 1 - p);
    push_global(m, p, (size_t)(a - p), a + 1, (size_t)(b - a - 1));
}

static void stack_global(machine *m)
{
    uint32_t name = pop(m), module = pop(m);

    if (m->rc) return;
    if (value(m, name)->kind != ES_PICKLE_TEXT || value(m, module)->kind != ES_PICKLE_TEXT) {
        fail(m, "a name is not text");
        return;
    }
    push_global(m, value(m, module)->text, value(m, module)->bytes, value(m, name)->text, value(m, name)->bytes);
}

/* ---- storages and tensors ---- */

static es_pickle_value *item(machine *m, uint32_t of, uint32_t i)
{
    return value(m, value(m, of)->items[i]);
}

/* ("storage", type, key, place, elements), in old files with None behind. */
static void persistent(machine *m)
{
    uint32_t id = pop(m);
    es_pickle_storage s = {0};
    size_t have;
    uint32_t n;

    if (m->rc) return;
    n = value(m, id)->kind == ES_PICKLE_TUPLE ? value(m, id)->n : 0;
    if ((n != 5 && n != 6) || !es_pickle_is_text(item(m, id, 0), "storage") || item(m, id, 1)->kind != ES_PICKLE_GLOBAL ||
        item(m, id, 1)->i < STORAGE || item(m, id, 2)->kind != ES_PICKLE_TEXT || item(m, id, 4)->kind != ES_PICKLE_INT ||
        item(m, id, 4)->i < 0 || (n == 6 && item(m, id, 5)->kind != ES_PICKLE_NONE)) {
        fail(m, "a persistent id does not name a storage");
        return;
    }
    s = (es_pickle_storage){.key = item(m, id, 2)->text, .key_bytes = item(m, id, 2)->bytes,
                            .num = (es_num)(item(m, id, 1)->i - STORAGE), .count = item(m, id, 4)->i};
    bool digits = s.key_bytes > 0 && s.key_bytes <= 32;
    for (size_t i = 0; i < s.key_bytes && digits; i++) digits = s.key[i] >= '0' && s.key[i] <= '9';
    if (!digits) {
        fail(m, "the key of a storage is not a number");
        return;
    }
    /* Keys repeat next to each other where tensors share a storage: look from the end. */
    for (int i = m->k->n_storages; i-- > 0;) {
        const es_pickle_storage *old = &m->k->storages[i];
        if (old->key_bytes != s.key_bytes || memcmp(old->key, s.key, s.key_bytes)) continue;
        if (old->num != s.num || old->count != s.count) fail(m, "a storage has two types or two sizes");
        else push(m, (es_pickle_value){.kind = ES_PICKLE_STORAGE, .i = i});
        return;
    }
    have = (size_t)m->k->room_storages;
    if (!room(m, (void **)&m->k->storages, (size_t)m->k->n_storages, &have, sizeof s, 20000, "too many storages")) return;
    m->k->room_storages = (int)have;
    m->k->storages[m->k->n_storages] = s;
    push(m, (es_pickle_value){.kind = ES_PICKLE_STORAGE, .i = m->k->n_storages++});
}

static bool read_sizes(machine *m, uint32_t tuple, uint32_t at, int64_t out[ES_SOURCE_MAX_DIMS], int *n)
{
    const es_pickle_value *v = item(m, tuple, at);

    if (v->kind != ES_PICKLE_TUPLE || v->n > ES_SOURCE_MAX_DIMS) return false;
    *n = (int)v->n;
    for (uint32_t i = 0; i < v->n; i++) {
        if (value(m, v->items[i])->kind != ES_PICKLE_INT || value(m, v->items[i])->i < 0) return false;
        out[i] = value(m, v->items[i])->i;
    }
    return true;
}

/* (storage, offset, sizes, strides, ...) */
static void rebuild_tensor(machine *m, uint32_t args)
{
    es_pickle_tensor t = {0};
    int n = 0;
    bool empty = false;
    int64_t last, step, count = 1;
    size_t have;

    if (value(m, args)->n < 4 || item(m, args, 0)->kind != ES_PICKLE_STORAGE || item(m, args, 1)->kind != ES_PICKLE_INT ||
        item(m, args, 1)->i < 0 || !read_sizes(m, args, 2, t.dim, &t.n_dims) || !read_sizes(m, args, 3, t.stride, &n) ||
        n != t.n_dims) {
        fail(m, "a tensor is not (storage, offset, sizes, strides)");
        return;
    }
    t.storage = (int)item(m, args, 0)->i;
    t.offset = last = item(m, args, 1)->i;
    for (int i = 0; i < n; i++) empty = empty || !t.dim[i];
    for (int i = 0; i < n && !empty; i++) {
        if (__builtin_mul_overflow(t.dim[i] - 1, t.stride[i], &step) || __builtin_add_overflow(last, step, &last) ||
            __builtin_mul_overflow(count, t.dim[i], &count) || count > (int64_t)1 << 33) {
            fail(m, "the sizes of a tensor are impossible");
            return;
        }
    }
    if (!empty && last >= m->k->storages[t.storage].count) {
        char sentence[160];
        snprintf(sentence, sizeof sentence, "a tensor reaches element %lld of a storage of %lld", (long long)last,
                 (long long)m->k->storages[t.storage].count);
        fail(m, sentence);
        return;
    }
    have = (size_t)m->k->room_tensors;
    if (!room(m, (void **)&m->k->tensors, (size_t)m->k->n_tensors, &have, sizeof t, ES_SOURCE_MAX_TENSORS, "too many tensors")) {
        return;
    }
    m->k->room_tensors = (int)have;
    m->k->tensors[m->k->n_tensors] = t;
    push(m, (es_pickle_value){.kind = ES_PICKLE_TENSOR, .tensor = m->k->n_tensors++});
}

/* A dictionary, from nothing or from a list of pairs. */
static void ordered_dict(machine *m, uint32_t args)
{
    uint32_t to, n = value(m, args)->n, pairs = n == 1 ? value(m, args)->items[0] : 0;

    if (n > 1 || (n && value(m, pairs)->kind != ES_PICKLE_LIST)) {
        fail(m, "an ordered dictionary is made from something else than a list of pairs");
        return;
    }
    to = push(m, (es_pickle_value){.kind = ES_PICKLE_DICT});
    for (uint32_t i = 0; n && !m->rc && i < value(m, pairs)->n; i++) {
        const es_pickle_value *p = item(m, pairs, i);
        if ((p->kind != ES_PICKLE_TUPLE && p->kind != ES_PICKLE_LIST) || p->n != 2) {
            fail(m, "an ordered dictionary is made from what are no pairs");
            return;
        }
        uint32_t key = p->items[0], v = p->items[1];
        append(m, to, key);
        append(m, to, v);
    }
}

static void reduce(machine *m)
{
    uint32_t args = pop(m), callee = pop(m);

    if (m->rc) return;
    if (value(m, args)->kind != ES_PICKLE_TUPLE ||
        (value(m, callee)->kind != ES_PICKLE_GLOBAL && value(m, callee)->kind != ES_PICKLE_OPAQUE)) {
        fail(m, "a call is not of a name with a tuple");
        return;
    }
    int64_t means = value(m, callee)->kind == ES_PICKLE_GLOBAL ? value(m, callee)->i : OPAQUE;
    if (means == ORDERED_DICT) ordered_dict(m, args);
    else if (means == REBUILD_TENSOR) rebuild_tensor(m, args);
    else if (means == REBUILD_PARAMETER && value(m, args)->n && item(m, args, 0)->kind == ES_PICKLE_TENSOR) {
        push_index(m, value(m, args)->items[0]);
    } else if (means == OPAQUE) push(m, (es_pickle_value){.kind = ES_PICKLE_OPAQUE});
    else fail(m, "a call has the wrong arguments");
}

/* ---- opcodes ---- */

static void opaque_object(machine *m, int operands)
{
    for (int i = 0; i < operands; i++) pop(m);
    push(m, (es_pickle_value){.kind = ES_PICKLE_OPAQUE});
}

static void mark(machine *m)
{
    if (!room(m, (void **)&m->marks, m->n_marks, &m->room_marks, sizeof *m->marks, MAX_STACK, "too many marks")) return;
    m->marks[m->n_marks++] = (uint32_t)m->n_stack;
}

/* One opcode; true when it was the last. */
static bool step(machine *m)
{
    const unsigned char *op = bytes(m, 1);
    uint64_t v;
    char sentence[64];

    if (!op) return false;
    switch (*op) {
    case 0x80: /* PROTO */
        v = number(m, 1);
        if (v < 2 || v > 4) fail(m, "a protocol that is not 2, 3 or 4");
        break;
    case 0x95: number(m, 8); break; /* FRAME */
    case 'c': global(m); break;
    case 0x93: stack_global(m); break;
    case '(': mark(m); break;
    case '0': pop(m); break;
    case '1': v = pop_mark(m); if (!m->rc) m->n_stack = (size_t)v; break;
    case '2': push_index(m, top(m)); break;
    case ')': push(m, (es_pickle_value){.kind = ES_PICKLE_TUPLE}); break;
    case 't': collect(m, pop_mark(m), ES_PICKLE_TUPLE); break;
    case 0x85: collect_top(m, 1); break;
    case 0x86: collect_top(m, 2); break;
    case 0x87: collect_top(m, 3); break;
    case ']': push(m, (es_pickle_value){.kind = ES_PICKLE_LIST}); break;
    case 0x8f: push(m, (es_pickle_value){.kind = ES_PICKLE_LIST}); break; /* EMPTY_SET */
    case 'a': extend_one(m, false); break;
    case 'e': case 0x90: extend(m, false); break; /* APPENDS, ADDITEMS */
    case '}': push(m, (es_pickle_value){.kind = ES_PICKLE_DICT}); break;
    case 's': extend_one(m, true); break;
    case 'u': extend(m, true); break;
    case 'N': push(m, (es_pickle_value){.kind = ES_PICKLE_NONE}); break;
    case 0x88: push(m, (es_pickle_value){.kind = ES_PICKLE_BOOL, .i = 1}); break;
    case 0x89: push(m, (es_pickle_value){.kind = ES_PICKLE_BOOL}); break;
    case 'J': push_int(m, (int32_t)(uint32_t)number(m, 4)); break;
    case 'K': push_int(m, (int64_t)number(m, 1)); break;
    case 'M': push_int(m, (int64_t)number(m, 2)); break;
    case 0x8a: push_long(m, number(m, 1)); break;
    case 0x8b: push_long(m, number(m, 4)); break;
    case 'G': push_float(m); break;
    case 'X': case 'T': case 'B': push_text(m, number(m, 4)); break;         /* BINUNICODE, BINSTRING, BINBYTES */
    case 0x8c: case 'U': case 'C': push_text(m, number(m, 1)); break;        /* the short ones */
    case 0x8d: push_text(m, number(m, 8)); break;
    case 'q': memo_put(m, number(m, 1)); break;
    case 'r': memo_put(m, number(m, 4)); break;
    case 0x94: memo_put(m, m->next_memo); break; /* MEMOIZE */
    case 'h': memo_get(m, number(m, 1)); break;
    case 'j': memo_get(m, number(m, 4)); break;
    case 'Q': persistent(m); break;
    case 'R': reduce(m); break;
    case 0x81: opaque_object(m, 2); break; /* NEWOBJ */
    case 0x92: opaque_object(m, 3); break; /* NEWOBJ_EX */
    case 'b': pop(m); top(m); break;       /* BUILD: the state of an object nobody looks into */
    case '.': return true;
    default:
        snprintf(sentence, sizeof sentence, "opcode 0x%02x is not one that weights need", *op);
        fail(m, sentence);
    }
    return false;
}

/* ---- after it ---- */

/* Walks all containers from the root: none may hold itself, and none may lie too deep. */
static void check_tree(machine *m)
{
    typedef struct place {
        uint32_t v, next;
    } place;
    place *path = malloc((MAX_DEPTH + 1) * sizeof *path);
    unsigned char *colour = calloc(m->k->n_values + 1, 1); /* 1: on the path, 2: done */
    int n = 1;

    if (!path || !colour) no_memory(m);
    if (!m->rc) {
        path[0] = (place){m->k->root, 0};
        colour[m->k->root] = 1;
    }
    while (!m->rc && n) {
        place *at = &path[n - 1];
        const es_pickle_value *v = value(m, at->v);
        if (at->next == v->n) {
            colour[at->v] = 2;
            n--;
            continue;
        }
        uint32_t child = v->items[at->next++];
        if (colour[child] == 1) fail(m, "a container holds itself");
        else if (colour[child] == 2) continue;
        else if (n > MAX_DEPTH) fail(m, "containers are nested too deep");
        else {
            colour[child] = 1;
            path[n++] = (place){child, 0};
        }
    }
    free(path);
    free(colour);
}

int es_pickle_read(es_pickle **out, const unsigned char *p, size_t n, size_t *used, const char *what, es_err *err)
{
    machine m = {.p = p, .n = n < MAX_BYTES ? n : MAX_BYTES, .what = what, .err = err};

    *out = NULL;
    m.k = calloc(1, sizeof *m.k);
    if (!m.k) return es_fail(err, ES_ENOMEM, "%s: out of memory", what);
    while (!m.rc && !step(&m)) {
    }
    if (!m.rc && (m.n_stack != 1 || m.n_marks)) fail(&m, "the end is not reached with exactly one value");
    if (!m.rc) {
        m.k->root = m.stack[0];
        check_tree(&m);
    }
    free(m.stack);
    free(m.marks);
    free(m.memo);
    if (m.rc) {
        es_pickle_close(m.k);
        return m.rc;
    }
    *used = m.at;
    *out = m.k;
    return ES_OK;
}

void es_pickle_close(es_pickle *k)
{
    if (!k) return;
    for (uint32_t i = 0; i < k->n_values; i++) free(k->values[i].items);
    free(k->values);
    free(k->storages);
    free(k->tensors);
    free(k);
}

bool es_pickle_is_text(const es_pickle_value *v, const char *text)
{
    return v && v->kind == ES_PICKLE_TEXT && v->bytes == strlen(text) && !memcmp(v->text, text, v->bytes);
}

const es_pickle_value *es_pickle_get(const es_pickle *k, const es_pickle_value *d, const char *key)
{
    if (!d || d->kind != ES_PICKLE_DICT) return NULL;
    for (uint32_t i = 0; i + 1 < d->n; i += 2) {
        if (es_pickle_is_text(&k->values[d->items[i]], key)) return &k->values[d->items[i + 1]];
    }
    return NULL;
}
