/*
 * test_find_vectors.c - passages found by their vectors, against the plain sum, on every instruction set and number of threads; and
 * spaces of several models in one library.
 */
#define _GNU_SOURCE
#include "found.h"

#include "store/dots.h"
#include "store/half.h"
#include "store/top.h"

/* ---- vectors ---- */

static es_vectors random_vectors(es_noise *noise, size_t n, int width, int space)
{
    es_vectors v = {.space = content_of(space), .width = width, .n = n};

    v.rows = calloc(n * (size_t)width, sizeof *v.rows);
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        float *row = v.rows + i * (size_t)width;
        es_noise_fill(noise, row, (size_t)width, 1);
        for (int k = 0; k < width; k++) sum += (double)row[k] * (double)row[k];
        for (int k = 0; k < width; k++) row[k] = (float)(row[k] / sqrt(sum));
    }
    return v;
}

static void put_vectors(es_store *s, es_noise *noise, int seed, int n, int width, int space)
{
    es_result r = make_result(seed, 1, "/x.wav");
    es_err err = {0};

    for (int i = 0; i < n; i++) add_passage(&r, "en", "text", 4, i % 3);
    r.passages.vectors = random_vectors(noise, (size_t)n, width, space);
    CHECK(es_store_put(s, &r, &err) == ES_OK, "%s", err.text);
    es_result_done(&r);
}

/* The 1 .. k best by sums in double over what the library gives back. */
static void check_nearest(es_store *s, int recordings, int width, int space, const float *query, size_t k,
                          const es_filter *f, int only_speaker)
{
    es_scored *room = calloc(k, sizeof *room);
    es_hit *hits = calloc(k, sizeof *hits), *again = calloc(k, sizeof *again);
    es_top top = {.at = room, .k = k};
    size_t n, n_again;
    es_err err = {0};

    for (int m = 0; m < recordings; m++) {
        es_passages p;
        CHECK_INT(es_store_get_passages(s, content_of(m), 0, true, &p, &err), ES_OK);
        for (size_t i = 0; i < p.vectors.n; i++) {
            es_scored one = {.id = {es_hash_id(content_of(m)), 0, (uint32_t)i}};
            if (only_speaker >= 0 && p.at[i].speaker != only_speaker) continue;
            for (int d = 0; d < width; d++)
                one.score += (double)p.vectors.rows[i * (size_t)width + (size_t)d] * (double)query[d];
            es_top_add(&top, &one);
        }
        es_passages_done(&p);
    }
    es_top_sort(&top);
    CHECK(es_store_find_vectors(s, content_of(space), query, width, f, 1, k, hits, &n, &err) == ES_OK, "%s", err.text);
    CHECK_INT(n, top.n);
    for (size_t i = 0; i < n && i < top.n; i++) {
        CHECK(fabs((double)hits[i].score - room[i].score) < 1e-6, "hit %zu: %g, expected %g", i, (double)hits[i].score,
              room[i].score);
        CHECK(hits[i].id.media == room[i].id.media && hits[i].id.number == room[i].id.number, "hit %zu is another", i);
    }
    for (int threads = 2; threads <= 5; threads += 3) { /* the same bits on any number of threads */
        CHECK_INT(es_store_find_vectors(s, content_of(space), query, width, f, threads, k, again, &n_again, &err),
                  ES_OK);
        CHECK(n_again == n && !memcmp(hits, again, n * sizeof *hits), "%d threads give another result", threads);
    }
    free(room);
    free(hits);
    free(again);
}

static bool any_recording(void *user, uint64_t media, int track)
{
    (void)user, (void)media, (void)track;
    return true;
}

static bool this_speaker(void *user, const es_glance *g)
{
    return g->speaker == *(int *)user;
}

static void test_vectors(void)
{
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    es_noise noise = {.state = 3};
    float query[100];
    int speaker = 1;
    es_filter f = {.recording = any_recording, .passage = this_speaker, .user = &speaker};
    es_hit hit;
    size_t n;
    es_err err = {0};

    if (!s) return;
    CHECK_INT(es_store_find_vectors(s, content_of(-9), query, 100, NULL, 0, 1, &hit, &n, &err), ES_OK); /* empty */
    CHECK_INT(n, 0);
    for (int m = 0; m < 6; m++) put_vectors(s, &noise, m, m == 2 ? 2500 : 1 + 150 * m, 100, -9);
    check_whole(s);
    for (int i = 0; i < 3; i++) {
        es_vectors q = random_vectors(&noise, 1, 100, -9);
        check_nearest(s, 6, 100, -9, q.rows, i ? 10 : 1000, NULL, -1);
        check_nearest(s, 6, 100, -9, q.rows, 10, &f, 1);
        es_vectors_done(&q);
    }
    memset(query, 0, sizeof query); /* all scores are equal: the smallest ids, in their order */
    check_nearest(s, 6, 100, -9, query, 50, NULL, -1);
    CHECK_INT(es_store_find_vectors(s, content_of(-9), query, 99, NULL, 0, 1, &hit, &n, &err), ES_EARG);
    CHECK(strstr(err.text, "99") && strstr(err.text, "100"), "%s", err.text);
    CHECK_INT(es_store_find_vectors(s, content_of(-8), query, 99, NULL, 0, 1, &hit, &n, &err),
              ES_OK); /* another space */
    CHECK_INT(n, 0);
    es_store_close(s);
}

/* Every instruction set that this machine has: the same bits, at every width and address. */
static void test_dots(void)
{
    static const size_t widths[] = {1, 3, 15, 16, 17, 63, 64, 65, 100, 384, 1536};
    es_dots others[2] = {NULL, NULL};
    es_noise noise = {.state = 9};
    enum { ROWS = 7 };
    uint8_t *rows = malloc(ROWS * 1536 * 2 + 1);
    float query[1536 + ES_DOTS_LANES], have[ROWS], want[ROWS];
    double exact[ROWS];

#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) others[0] = es_dots_avx512;
    if (__builtin_cpu_supports("avx2")) others[1] = es_dots_avx2;
#endif
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        size_t width = widths[w];
        memset(query, 0, sizeof query);
        for (size_t i = 0; i < width; i++) query[i] = (float)es_noise_normal(&noise);
        for (int odd = 0; odd < 2; odd++) {
            for (size_t i = 0; i < ROWS * width; i++) {
                uint16_t h = es_half_of((float)es_noise_normal(&noise) * (i % 5 ? 1.0f : 1e-6f)); /* subnormals too */
                memcpy(rows + odd + 2 * i, &h, 2);
            }
            es_dots_portable(want, rows + odd, ROWS, width, query);
            for (size_t r = 0; r < ROWS; r++) {
                exact[r] = 0;
                for (size_t i = 0; i < width; i++) {
                    uint16_t h;
                    memcpy(&h, rows + odd + 2 * (r * width + i), 2);
                    exact[r] += (double)es_half_value(h) * (double)query[i];
                }
            }
            CHECK_CLOSE("portable", want, exact, ROWS, 1e-6 * (double)width, 1e-5);
            for (int o = 0; o < 2; o++) {
                if (!others[o]) continue;
                for (size_t n = 1; n <= ROWS; n++) { /* some variants take rows in twos */
                    memset(have, 0, sizeof have);
                    others[o](have, rows + odd, n, width, query);
                    CHECK(!memcmp(have, want, n * sizeof *want) && (n == ROWS || have[n] == 0),
                          "variant %d differs at %zu rows of width %zu", o, n, width);
                }
            }
        }
    }
    free(rows);
}

static void test_half(void)
{
    for (uint32_t h = 0; h < 0x10000; h++) { /* every half and back */
        float f = es_half_value((uint16_t)h);
        if ((h & 0x7C00) == 0x7C00) CHECK(!(fabsf(f) < 1e30f), "%04x is finite", h);
        else CHECK(es_half_of(f) == h, "%04x comes back as %04x", h, es_half_of(f));
    }
    CHECK_INT(es_half_of(1.0f + 0x1p-11f), 0x3C00); /* ties go to even */
    CHECK_INT(es_half_of(1.0f + 3 * 0x1p-11f), 0x3C02);
    CHECK_INT(es_half_of(1.0f + 0x1p-11f + 0x1p-20f), 0x3C01);
    CHECK_INT(es_half_of(65519.0f), 0x7BFF);
    CHECK_INT(es_half_of(0x1p-25f), 0);
    CHECK_INT(es_half_of(0x1.1p-25f), 1);
    CHECK(es_half_value(0x3555) == 0.333251953125f, "%.9g", (double)es_half_value(0x3555));
    CHECK(es_half_value(0x0001) == 0x1p-24f && es_half_value(0x8000) == 0 && signbit(es_half_value(0x8000)), "zeros");
}

/* ---- spaces ---- */

static int note_space(void *user, const es_text_space *space)
{
    char *text = user, hex[33];

    es_hash_hex(hex, space->space);
    hex[4] = 0;
    snprintf(text + strlen(text), 200 - strlen(text), "%s:%d:%d:%d ", hex, space->width, (int)space->n_vectors,
             (int)space->n_recordings);
    return 0;
}

static void check_spaces(es_store *s, const char *want)
{
    char text[200] = "";
    es_err err = {0};

    CHECK(es_store_spaces(s, note_space, text, &err) == ES_OK, "%s", err.text);
    CHECK_STR(text, want);
}

static void test_spaces(void)
{
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    es_noise noise = {.state = 4};
    es_maker maker = {"other", content_of(-8)};
    es_vectors v;
    es_result r;
    es_err err = {0};
    char both[300], one[100], h8[33], h9[33];
    bool has;
    dump was, is;

    if (!s) return;
    check_spaces(s, "");
    put_vectors(s, &noise, 0, 5, 32, -9);
    put_vectors(s, &noise, 1, 1100, 32, -9);
    put(s, 2, 3, "/without");
    was = dump_store(s, false);
    v = random_vectors(&noise, 1100, 48, -8);
    CHECK(es_store_has_vectors(s, content_of(1), 0, v.space, &has, &err) == ES_OK && !has, "%s", err.text);
    CHECK(es_store_put_vectors(s, content_of(1), 0, &v, &maker, &err) == ES_OK, "%s", err.text);
    CHECK(es_store_put_vectors(s, content_of(1), 0, &v, &maker, &err) == ES_OK, "%s", err.text); /* again */
    check_whole(s);
    CHECK(es_store_has_vectors(s, content_of(1), 0, v.space, &has, &err) == ES_OK && has, "%s", err.text);
    CHECK(es_store_has_vectors(s, content_of(0), 0, v.space, &has, &err) == ES_OK && !has, "%s", err.text);
    CHECK(es_store_has_vectors(s, content_of(2), 0, v.space, &has, &err) == ES_OK && !has, "%s", err.text);
    es_hash_hex(h8, content_of(-8)), es_hash_hex(h9, content_of(-9));
    h8[4] = h9[4] = 0;
    snprintf(one, sizeof one, "%s:48:1100:1 ", h8);
    if (strcmp(h8, h9) < 0) snprintf(both, sizeof both, "%s%s:32:1105:2 ", one, h9);
    else snprintf(both, sizeof both, "%s:32:1105:2 %s", h9, one);
    check_spaces(s, both);
    CHECK(es_store_get(s, content_of(1), 0, &r, &err) == ES_OK, "%s", err.text);
    CHECK(r.passages.vectors.width == 48 && r.passages.vectors.n == 1100, "the old vectors came back");
    CHECK_STR(r.made.by[ES_STAGE_EMBEDDER].name, "other");
    es_result_done(&r);
    err = (es_err){0};
    v.n = 5;
    CHECK_INT(es_store_put_vectors(s, content_of(1), 0, &v, &maker, &err), ES_EARG);
    CHECK(strstr(err.text, "5 vectors for a recording of 1100 passages"), "%s", err.text);
    err = (es_err){0};
    CHECK(es_store_drop_space(s, content_of(-9), &err) == ES_OK, "%s", err.text);
    check_spaces(s, one);
    check_whole(s);
    CHECK(es_store_get(s, content_of(0), 0, &r, &err) == ES_OK && !r.passages.vectors.n && r.passages.n == 5, "%s",
          err.text);
    CHECK_STR(r.made.by[ES_STAGE_EMBEDDER].name, "");
    es_result_done(&r);
    CHECK(es_store_drop_space(s, content_of(-9), &err) == ES_OK, "%s", err.text); /* nothing there */

    es_passages p = {0}; /* new passages: their words are found, those of the old ones are not */
    es_result fresh = make_result(0, 1, "/x");
    add_passage(&fresh, "en", "entirely new", 12, 0);
    CHECK(es_store_put_passages(s, content_of(0), 0, &fresh.passages, &maker, &err) == ES_OK, "%s", err.text);
    check_whole(s);
    CHECK_STR(hits_of(s, "entirely", 3), "0:0");
    CHECK_INT(es_store_get_passages(s, content_of(0), 0, false, &p, &err), ES_OK);
    CHECK_INT(p.n, 1);
    es_passages_done(&p);
    es_result_done(&fresh);
    for (int i = 0; i < 3; i++) CHECK_INT(es_store_remove(s, content_of(i), -1, &err), ES_OK);
    is = dump_store(s, true);
    CHECK_INT(is.records, 1);
    es_vectors_done(&v);
    free(was.b.p), free(is.b.p);
    es_store_close(s);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"vectors", test_vectors},
        {"dots", test_dots},
        {"half", test_half},
        {"spaces", test_spaces},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
