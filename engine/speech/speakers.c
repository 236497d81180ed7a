/*
 * speakers.c - see speakers.h. Sums are of whole microseconds, rounded to milliseconds at the end.
 */
#include "speech/speakers.h"

#include <stdlib.h>

int es_speakers_order(int *order, const es_turn *turns, size_t n, int K)
{
    int found = 0;

    for (int j = 0; j < K; j++) order[j] = -1;
    for (size_t i = 0; i < n; i++)
        if (order[turns[i].speaker] < 0) order[turns[i].speaker] = found++;
    return found;
}

static int by_start(const void *a, const void *b)
{
    const es_turn *x = a, *y = b;

    if (x->start_us != y->start_us) return x->start_us < y->start_us ? -1 : 1;
    return (x->speaker > y->speaker) - (x->speaker < y->speaker);
}

void es_speakers_renumber(es_turn *turns, size_t n, const int *order)
{
    for (size_t i = 0; i < n; i++) turns[i].speaker = order[turns[i].speaker];
    if (n) qsort(turns, n, sizeof *turns, by_start);
}

/* ---- alone ---- */

typedef struct edge {
    int64_t at_us;
    int speaker, change; /* +1 begins, -1 ends */
} edge;

static int by_time(const void *a, const void *b)
{
    const edge *x = a, *y = b;

    if (x->at_us != y->at_us) return x->at_us < y->at_us ? -1 : 1;
    return x->change - y->change;
}

size_t es_speakers_alone_turns_bytes(size_t n)
{
    return es_work_bytes(2 * n, sizeof(edge));
}

size_t es_speakers_alone_turns(es_turn *out, const es_turn *turns, size_t n, es_work *work)
{
    size_t mark = work->used, m = 0;
    edge *edges = es_work_take(work, 2 * n, sizeof *edges);
    int64_t sum = 0; /* of the numbers of those who speak: with one of them, it is that one */
    int speaking = 0;

    for (size_t i = 0; i < n; i++) {
        edges[2 * i] = (edge){turns[i].start_us, turns[i].speaker, 1};
        edges[2 * i + 1] = (edge){turns[i].end_us, turns[i].speaker, -1};
    }
    if (n) qsort(edges, 2 * n, sizeof *edges, by_time);
    for (size_t i = 0; i < 2 * n; i++) {
        if (speaking == 1 && edges[i].at_us > edges[i - 1].at_us)
            out[m++] = (es_turn){edges[i - 1].at_us, edges[i].at_us, (int)sum};
        speaking += edges[i].change;
        sum += edges[i].change * edges[i].speaker;
    }
    es_work_drop(work, mark);
    return m;
}

size_t es_speakers_alone_bytes(size_t n)
{
    return es_work_bytes(2 * n, sizeof(es_turn)) + es_speakers_alone_turns_bytes(n);
}

void es_speakers_alone(int64_t *alone_ms, const es_turn *turns, size_t n, int speakers, es_work *work)
{
    size_t mark = work->used, m;
    es_turn *alone = es_work_take(work, 2 * n, sizeof *alone);

    for (int s = 0; s < speakers; s++) alone_ms[s] = 0;
    m = es_speakers_alone_turns(alone, turns, n, work);
    for (size_t i = 0; i < m; i++) alone_ms[alone[i].speaker] += alone[i].end_us - alone[i].start_us;
    for (int s = 0; s < speakers; s++) alone_ms[s] = (alone_ms[s] + 500) / 1000;
    es_work_drop(work, mark);
}

size_t es_speakers_spoken(es_spoken *out, const es_turn *turns, size_t n)
{
    size_t m = 0;

    for (size_t i = 0; i < n; i++) {
        es_spoken t = {.start_ms = (turns[i].start_us + 500) / 1000, .end_ms = (turns[i].end_us + 500) / 1000,
                       .speaker = turns[i].speaker};
        if (t.end_ms > t.start_ms) out[m++] = t;
    }
    return m;
}

/* ---- speech ---- */

/* Milliseconds of the centre of grid frame g. */
static int64_t centre_ms(int64_t g)
{
    return ((2 * ES_FRAME_STEP * g + 991) * 1000 + 16000) / 32000;
}

size_t es_speakers_heard(es_heard *out, size_t room, const uint8_t *classes, int64_t C, int64_t step, int64_t samples)
{
    int64_t G = C > 0 ? es_windows_grid(C, step) : 0, from = 0, since = -1, end_ms = samples * 1000 / ES_RATE;
    size_t n = 0;

    for (int64_t g = 0; g <= G; g++) {
        bool heard = false;
        while (from < C && es_windows_start(from, step) + ES_WINDOW_FRAMES <= g) from++;
        for (int64_t c = from; c < C && !heard && g < G; c++) {
            int64_t f = g - es_windows_start(c, step);
            if (f < 0) break;
            heard = classes[c * ES_WINDOW_FRAMES + f] != 0;
        }
        if (heard && since < 0) since = g;
        if (heard || since < 0) continue;
        es_heard h = {.start_ms = centre_ms(since), .end_ms = centre_ms(g)};
        since = -1;
        if (h.end_ms > end_ms) h.end_ms = end_ms;
        if (h.end_ms <= h.start_ms) continue;
        if (n < room) out[n] = h;
        n++;
    }
    return n;
}
