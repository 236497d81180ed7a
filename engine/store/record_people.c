/*
 * record_people.c - the records behind names for voices.
 *
 *   person 1    text name; u32 n, then n x (16 B content, 16 B space, u8 heard, i64 net_ms, u32 width, width x f32)
 *   space 1     text model, text architecture; u32 width
 *   saying 1    u8 said; 16 B person
 *   identity 1  u32 number; u8 verdict; 16 B person; f32 score, f32 margin
 *   derived 1   u32 rules
 *
 * A person's vectors stay in full precision: there are few, and everything else is compared with them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/field.h"

enum { CLIP_BYTES = 16 + 16 + 1 + 8 + 4 /* the least that a clip takes */, MOST_WIDTH = 1 << 16 };

int es_record_write_person(es_record *r, const es_profile *p, es_err *err)
{
    es_field_begin(r, ES_RECORD_PERSON);
    es_field_put_name(r, p->name, sizeof p->name);
    es_field_put_u32(r, (uint32_t)p->n);
    for (size_t i = 0; i < p->n; i++) {
        const es_clip *c = &p->clips[i];
        es_field_put_bytes(r, c->content.b, sizeof c->content.b);
        es_field_put_bytes(r, c->space.b, sizeof c->space.b);
        es_field_put_u8(r, c->heard);
        es_field_put_i64(r, c->net_ms);
        es_field_put_u32(r, (uint32_t)c->width);
        for (int k = 0; k < c->width; k++) es_field_put_f32(r, c->vector[k]);
    }
    return es_field_end(r, err);
}

/* A yes or no. */
static bool get_flag(es_fields *in)
{
    uint64_t v = es_field_get_le(in, 1);

    es_field_check(in, v <= 1, "a yes-or-no in it is neither");
    return v == 1;
}

static void read_clip(es_fields *in, es_clip *c)
{
    c->content = es_field_get_hash(in);
    c->space = es_field_get_hash(in);
    c->heard = get_flag(in);
    c->net_ms = es_field_get_i64(in);
    uint32_t width = es_field_get_count(in, sizeof(float));
    es_field_check(in, width >= 1 && width <= MOST_WIDTH, "a vector's width is out of range");
    if (in->fault) return;
    c->vector = malloc(width * sizeof *c->vector);
    es_field_check(in, c->vector != NULL, "there is not enough memory");
    if (in->fault) return;
    c->width = (int)width;
    for (uint32_t k = 0; k < width; k++) {
        c->vector[k] = es_field_get_f32(in);
        es_field_check(in, isfinite(c->vector[k]), "a vector holds what is no number");
    }
}

int es_record_read_person(es_bytes b, es_profile *out, es_err *err)
{
    es_fields in;
    int rc = es_field_open(&in, b, ES_RECORD_PERSON, err);

    *out = (es_profile){.n = 0};
    if (rc) return rc;
    es_field_get_name(&in, out->name, sizeof out->name);
    uint32_t n = es_field_get_count(&in, CLIP_BYTES);
    out->clips = calloc((size_t)n + 1, sizeof *out->clips);
    es_field_check(&in, out->clips != NULL, "there is not enough memory");
    for (uint32_t i = 0; i < n && !in.fault; i++) read_clip(&in, &out->clips[out->n++]);
    rc = es_field_close(&in, err);
    if (rc) es_profile_done(out);
    return rc;
}

int es_record_write_space(es_record *r, const es_space *s, es_err *err)
{
    es_field_begin(r, ES_RECORD_SPACE);
    es_field_put_name(r, s->model, sizeof s->model);
    es_field_put_name(r, s->architecture, sizeof s->architecture);
    es_field_put_u32(r, (uint32_t)s->width);
    return es_field_end(r, err);
}

int es_record_read_space(es_bytes b, es_space *out, es_err *err)
{
    es_fields in;
    int rc = es_field_open(&in, b, ES_RECORD_SPACE, err);

    *out = (es_space){.width = 0};
    if (rc) return rc;
    es_field_get_name(&in, out->model, sizeof out->model);
    es_field_get_name(&in, out->architecture, sizeof out->architecture);
    uint32_t width = es_field_get_u32(&in);
    es_field_check(&in, width >= 1 && width <= MOST_WIDTH, "its width is out of range");
    out->width = (int)width;
    return es_field_close(&in, err);
}

int es_record_write_saying(es_record *r, const es_saying *s, es_err *err)
{
    es_field_begin(r, ES_RECORD_SAYING);
    es_field_put_u8(r, s->said);
    es_field_put_bytes(r, s->person.b, sizeof s->person.b);
    return es_field_end(r, err);
}

int es_record_read_saying(es_bytes b, es_saying *out, es_err *err)
{
    es_fields in;
    int rc = es_field_open(&in, b, ES_RECORD_SAYING, err);

    *out = (es_saying){.said = ES_SAID_NOTHING};
    if (rc) return rc;
    out->said = (uint8_t)es_field_get_le(&in, 1);
    es_field_check(&in, out->said == ES_SAID_IS || out->said == ES_SAID_APART, "it says nothing that is known");
    out->person = es_field_get_hash(&in);
    return es_field_close(&in, err);
}

int es_record_write_identity(es_record *r, const es_identity *i, es_err *err)
{
    es_field_begin(r, ES_RECORD_IDENTITY);
    es_field_put_u32(r, i->number);
    es_field_put_u8(r, i->verdict);
    es_field_put_bytes(r, i->person.b, sizeof i->person.b);
    es_field_put_f32(r, i->score);
    es_field_put_f32(r, i->margin);
    return es_field_end(r, err);
}

int es_record_read_identity(es_bytes b, es_identity *out, es_err *err)
{
    es_fields in;
    int rc = es_field_open(&in, b, ES_RECORD_IDENTITY, err);

    *out = (es_identity){.number = 0};
    if (rc) return rc;
    out->number = es_field_get_u32(&in);
    out->verdict = (uint8_t)es_field_get_le(&in, 1);
    es_field_check(&in, out->verdict < ES_N_VERDICTS, "its verdict is none that is known");
    out->person = es_field_get_hash(&in);
    out->score = es_field_get_f32(&in);
    out->margin = es_field_get_f32(&in);
    es_field_check(&in, isfinite(out->score) && isfinite(out->margin), "its score is no number");
    rc = es_field_close(&in, err);
    if (rc) *out = (es_identity){.number = 0};
    return rc;
}

int es_record_write_derived(es_record *r, uint32_t rules, es_err *err)
{
    es_field_begin(r, ES_RECORD_DERIVED);
    es_field_put_u32(r, rules);
    return es_field_end(r, err);
}

int es_record_read_derived(es_bytes b, uint32_t *rules, es_err *err)
{
    es_fields in;
    int rc = es_field_open(&in, b, ES_RECORD_DERIVED, err);

    *rules = 0;
    if (rc) return rc;
    *rules = es_field_get_u32(&in);
    return es_field_close(&in, err);
}
