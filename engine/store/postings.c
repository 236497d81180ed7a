/*
 * postings.c - lists of varints.
 */
#include "store/postings.h"

#include <assert.h>
#include <string.h>

#include "store/field.h"

enum { FORMAT = 1 };

static void put_number(es_record *r, uint32_t v)
{
    uint8_t b[5];
    size_t n = 0;

    for (; v >= 0x80; v >>= 7) b[n++] = (uint8_t)(v | 0x80);
    b[n++] = (uint8_t)v;
    es_field_put_bytes(r, b, n);
}

/* The number at *at, which moves behind it; *bad is set by one that is cut or too large. */
static inline uint32_t get_number(const uint8_t **at, const uint8_t *end, bool *bad)
{
    const uint8_t *p = *at;
    uint32_t v = 0;

    if (p < end && *p < 0x80) { /* most of them */
        *at = p + 1;
        return *p;
    }
    for (int shift = 0; shift < 35 && p < end; shift += 7) {
        uint8_t b = *p++;
        if (shift == 28 && b > 0x0F) break;
        v |= (uint32_t)(b & 0x7F) << shift;
        if (b < 0x80) {
            *at = p;
            return v;
        }
    }
    *at = end;
    *bad = true;
    return 0;
}

/* The postings from at on that lie in one passage. */
static size_t count_here(const es_posting *p, size_t n, size_t at)
{
    size_t to = at;

    while (to < n && p[to].passage == p[at].passage) to++;
    return to - at;
}

int es_postings_write(es_record *r, const es_posting *p, size_t n, bool positions, const uint32_t *lengths, es_err *err)
{
    uint32_t passages = 0, most = 0, least = UINT32_MAX, last = UINT32_MAX;
    uint8_t size[5];
    size_t head, body;

    assert(n > 0);
    for (size_t at = 0, k; at < n; at += k) {
        k = count_here(p, n, at);
        passages++;
        if (k > most) most = (uint32_t)k;
        if (lengths[p[at].passage] < least) least = lengths[p[at].passage];
    }
    r->n = 0;
    r->failed = false;
    es_field_put_u8(r, FORMAT);
    put_number(r, passages);
    put_number(r, most);
    put_number(r, least);
    head = r->n; /* the size comes here when it is known */
    for (size_t at = 0, k; at < n; at += k) {
        k = count_here(p, n, at);
        put_number(r, (p[at].passage - last - 1) << 1 | (k == 1));
        if (k > 1) put_number(r, (uint32_t)k - 2);
        last = p[at].passage;
    }
    body = r->n - head;
    for (size_t at = 0, k; positions && at < n; at += k) {
        uint32_t before = UINT32_MAX;
        k = count_here(p, n, at);
        for (size_t i = at; i < at + k; i++) {
            put_number(r, p[i].position - before - 1);
            before = p[i].position;
        }
    }
    /* Room for the size, and all behind it moved up. */
    size_t size_n = 0;
    for (size_t v = body;; v >>= 7) {
        size[size_n++] = (uint8_t)(v >= 0x80 ? v | 0x80 : v);
        if (v < 0x80) break;
    }
    es_field_put_bytes(r, size, size_n);
    if (r->failed) return es_fail(err, ES_ENOMEM, "not enough memory to write a list of %zu postings", n);
    memmove(r->p + head + size_n, r->p + head, r->n - size_n - head);
    memcpy(r->p + head, size, size_n);
    return ES_OK;
}

bool es_postings_open(es_postings *l, es_bytes value)
{
    const uint8_t *at = value.p, *end = at + value.n;
    uint32_t bytes;

    *l = (es_postings){.passage = UINT32_MAX};
    if (value.n < 5 || *at++ != FORMAT) return false;
    l->n = get_number(&at, end, &l->damaged);
    l->most = get_number(&at, end, &l->damaged);
    l->least = get_number(&at, end, &l->damaged);
    bytes = get_number(&at, end, &l->damaged);
    if (l->damaged || bytes > (size_t)(end - at) || l->n == 0 || l->n > bytes) return false;
    l->at = at;
    l->end = l->places = at + bytes;
    l->all_end = end;
    l->left = l->n;
    return true;
}

bool es_postings_next(es_postings *l)
{
    uint32_t step;

    if (!l->left) return false;
    l->left--;
    step = get_number(&l->at, l->end, &l->damaged);
    l->count = step & 1 ? 1 : get_number(&l->at, l->end, &l->damaged);
    if (!(step & 1)) l->count = l->count > UINT32_MAX - 2 ? UINT32_MAX : l->count + 2;
    step >>= 1;
    if (l->damaged || step > UINT32_MAX - 1 - (l->passage + 1)) {
        l->damaged = true;
        l->left = 0;
        return false;
    }
    l->passage += 1 + step;
    return true;
}

uint32_t es_postings_places(es_postings *l, uint32_t *places, uint32_t room)
{
    uint32_t at = UINT32_MAX, kept = 0;

    for (uint32_t i = 0; i < l->count; i++) {
        uint32_t step = get_number(&l->places, l->all_end, &l->damaged);
        if (l->damaged || step > UINT32_MAX - 1 - (at + 1)) {
            l->damaged = true;
            l->places = l->all_end;
            break;
        }
        at += 1 + step;
        if (kept < room) places[kept++] = at;
    }
    return kept;
}

bool es_postings_check(es_bytes value, bool positions, uint32_t n_passages)
{
    es_postings l;
    uint32_t read = 0, most = 0, one;

    if (!es_postings_open(&l, value)) return false;
    while (es_postings_next(&l)) {
        read++;
        if (l.count > most) most = l.count;
        if (l.passage >= n_passages) return false;
        if (!positions) continue;
        es_postings_places(&l, &one, 1);
        if (l.damaged) return false;
    }
    return !l.damaged && read == l.n && most == l.most && l.at == l.end && l.places == l.all_end;
}
