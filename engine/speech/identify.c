/*
 * identify.c - names for voices, and numbers for those without.
 *
 * The work falls into two parts that do not see each other, so that enrolling somebody never renumbers anybody:
 *
 *   numbers  recording by recording in the order of content hashes, each voice joins the group it is nearest to if the
 *            cosine to the group's mean is above the threshold, else it founds one. Two voices of a recording never
 * join one group: the diarizer found them to be two. Of all pairs of a recording the assignment with the largest sum is
 * taken. Groups are numbered by their first voice names    every voice against everybody enrolled in its space. A
 * person is as near as the mean of all clips, or as the best three of them on average, whichever is nearer: a clip made
 * with another microphone is not outvoted
 *
 * What the user said comes first in both: voices that are said to be one person's are one group, and those that are
 * said to be apart found one each.
 *
 * The threshold. With one person enrolled it is the model's own. A stranger who is compared with n people has n chances
 * to be taken for somebody, so it rises until each chance is an n-th of what it was, the cosines of strangers being
 * normally distributed with the mean and deviation of the table. That keeps a large library as careful as a small one.
 *
 * The values of CAM++ are measured on few recordings (same person 0.78 to 0.93, others 0.02 to 0.28 for sentences, 0.37
 * on one telephone line); those of the two others are starting points, unmeasured for want of their weights.
 */
#include "speech/identify.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "speech/score.h"

static const es_identify_rule rules[] = {
    {"campplus", 0.60, 0.10, 0.10, 0.15, 0.10, 0.595},
    {"ecapa", 0.40, 0.10, 0.10, 0.05, 0.10, 0.40},
    {"resnet34", 0.50, 0.10, 0.10, 0.15, 0.10, 0.50},
    {"", 0.60, 0.10, 0.10, 0.15, 0.10, 0.60},
};

const es_identify_rule *es_identify_rule_of(const char *architecture)
{
    size_t i = 0;

    while (rules[i].architecture[0] && strcmp(rules[i].architecture, architecture)) i++;
    return &rules[i];
}

double es_identify_threshold(const es_identify_rule *rule, size_t n)
{
    double z = (rule->same - rule->others) / rule->spread, tail = erfc(z / sqrt(2)) / (n > 1 ? (double)n : 1),
           high = z + 40;

    /* The z whose tail is an n-th: between z and far beyond it, by halving. */
    for (int i = 0; i < 60 && n > 1; i++) {
        double middle = (z + high) / 2;
        if (erfc(middle / sqrt(2)) > tail) z = middle;
        else high = middle;
    }
    double t = rule->others + rule->spread * z;
    return t < 0.95 ? t : 0.95;
}

/* ---- vectors ---- */

/* Four sums side by side, in an order that no compiler may change. */
static double dot(const float *a, const float *b, int n)
{
    double s[4] = {0, 0, 0, 0};
    int i = 0;

    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++) s[k] += (double)a[i + k] * (double)b[i + k];
    for (; i < n; i++) s[0] += (double)a[i] * (double)b[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* The same in f32 and eight sums, for the one place where most of the time goes: a library of n voices asks up to n * n
 * / 2 times. A millionth either way is nothing beside what two pieces of one voice differ by. */
static double quick_dot(const float *a, const float *b, int n)
{
    float s[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    int i = 0;

    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) s[k] += a[i + k] * b[i + k];
    for (; i < n; i++) s[0] += a[i] * b[i];
    return (double)(((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])));
}

double es_identify_cosine(const float *a, const float *b, int width)
{
    double aa = dot(a, a, width), bb = dot(b, b, width);

    return aa > 0 && bb > 0 ? dot(a, b, width) / sqrt(aa * bb) : 0;
}

bool es_identify_unit(float *y, const float *x, int n)
{
    double length = sqrt(dot(x, x, n));

    if (!(length > 0) || !isfinite(length)) return false;
    for (int i = 0; i < n; i++) y[i] = (float)((double)x[i] / length);
    return true;
}

static void add(double *sum, const float *x, double weight, int n)
{
    for (int i = 0; i < n; i++) sum[i] += weight * (double)x[i];
}

/* The mean's direction from a weighted sum; false where it has none. */
static bool direction(float *y, const double *sum, int n)
{
    double length = 0;

    for (int i = 0; i < n; i++) length += sum[i] * sum[i];
    length = sqrt(length);
    if (!(length > 0)) return false;
    for (int i = 0; i < n; i++) y[i] = (float)(sum[i] / length);
    return true;
}

/* Speech counts up to a minute: beyond that a longer recording says nothing new about the voice. */
static double weight_of(int64_t ms)
{
    return ms > 60000 ? 60 : ms < 1 ? 0.001 : (double)ms / 1000;
}

/* ---- people ---- */

/* A profile in one space. */
typedef struct person {
    size_t profile;
    float *mean;           /* [width] */
    const es_clip **clips; /* of this space */
    int n;
} person;

typedef struct crowd {
    person *at;
    size_t n;
    int width;
} crowd;

/* Everybody who has clips in the space. Its arrays stay in the work until the caller gives it back. */
static crowd crowd_of(const es_people *all, const es_space *space, es_work *work)
{
    size_t width = (size_t)space->width;
    crowd out = {.at = es_work_take(work, all->n_profiles, sizeof(person)), .width = space->width};
    double *sum = es_work_take(work, width, sizeof *sum);

    for (size_t i = 0; i < all->n_profiles; i++) {
        const es_profile *p = &all->profiles[i];
        person *q = &out.at[out.n];
        size_t mark = work->used;
        *q = (person){.profile = i, .mean = es_work_take(work, width, sizeof *q->mean)};
        q->clips = es_work_take(work, p->n, sizeof *q->clips);
        memset(sum, 0, width * sizeof *sum);
        for (size_t k = 0; k < p->n; k++) {
            const es_clip *c = &p->clips[k];
            if (!es_hash_same(c->space, space->hash) || c->width != space->width) continue;
            add(sum, c->vector, weight_of(c->net_ms), space->width);
            q->clips[q->n++] = c;
        }
        if (q->n && direction(q->mean, sum, space->width)) out.n++;
        else es_work_drop(work, mark); /* not in this space */
    }
    return out;
}

static size_t crowd_bytes(const es_people *all, const es_space *space)
{
    size_t width = (size_t)space->width, bytes = es_work_bytes(all->n_profiles, sizeof(person)) + es_work_bytes(width, sizeof(double));

    for (size_t i = 0; i < all->n_profiles; i++)
        bytes += es_work_bytes(width, sizeof(float)) + es_work_bytes(all->profiles[i].n, sizeof(es_clip *));
    return bytes;
}

/* x of unit length. */
static double likeness(const person *p, const float *x, int width)
{
    double best[ES_IDENTIFY_BEST], mean = dot(p->mean, x, width), sum = 0;
    int n = 0;

    for (int i = 0; i < p->n; i++) { /* the best ones so far, descending */
        double s = dot(p->clips[i]->vector, x, width);
        int at;
        if (n < ES_IDENTIFY_BEST) at = n++;
        else if (s > best[n - 1]) at = n - 1;
        else continue;
        for (; at > 0 && best[at - 1] < s; at--) best[at] = best[at - 1];
        best[at] = s;
    }
    for (int i = 0; i < n; i++) sum += best[i];
    return n && sum / n > mean ? sum / n : mean;
}

/* ---- names ---- */

/* The voices [from, to) of one recording, the vectors of unit length beside them (NULL: none, or too little speech). */
static void name_recording(es_people *all, const es_space *space, const crowd *c, size_t from, size_t to,
                           float *const *units, es_work *work)
{
    const es_identify_rule *rule = es_identify_rule_of(space->architecture);
    double threshold = es_identify_threshold(rule, c->n), *score;
    size_t m = to - from, mark = work->used;

    if (!c->n) return;
    score = es_work_take(work, m * c->n, sizeof *score);
    for (size_t i = 0; i < m; i++)
        for (size_t k = 0; k < c->n; k++)
            score[i * c->n + k] = units[from + i] ? likeness(&c->at[k], units[from + i], space->width) : -1;
    for (size_t i = 0; i < m; i++) {
        es_voice *v = &all->voices[from + i];
        size_t best = 0;
        double second = 0, rival = 0; /* nobody at all is as far as a stranger can be: 0 */
        if (!units[from + i] || v->saying.said != ES_SAID_NOTHING) continue;
        for (size_t k = 1; k < c->n; k++)
            if (score[i * c->n + k] > score[i * c->n + best]) best = k;
        double s = score[i * c->n + best];
        for (size_t k = 0; k < c->n; k++)
            if (k != best && score[i * c->n + k] > second) second = score[i * c->n + k];
        for (size_t j = 0; j < m; j++)
            if (j != i && score[j * c->n + best] > rival) rival = score[j * c->n + best];
        double margin = s - (second > rival ? second : rival);
        v->identity.person = es_person_of(all->profiles[c->at[best].profile].name);
        v->identity.score = (float)s;
        v->identity.margin = (float)margin;
        v->identity.verdict = s >= threshold && margin >= rule->margin ? ES_VERDICT_NAMED
                              : s >= threshold                         ? ES_VERDICT_CLOSE
                              : s >= threshold - rule->maybe           ? ES_VERDICT_MAYBE
                                                                       : ES_VERDICT_UNKNOWN;
    }
    es_work_drop(work, mark);
}

/* ---- numbers ---- */

typedef struct group {
    double *sum;
    float *mean; /* [width] of the space; NULL: no vector yet */
    const es_space *space;
    es_hash128 person; /* what the user called it; none for one that grew by itself */
    size_t recording;  /* the last one that has a voice in it, as the index of its first voice; SIZE_MAX none */
    uint32_t number;   /* 0: not given yet */
} group;

/* Each voice founds one at most, and is the first with a vector in one at most. */
typedef struct groups {
    group *at;
    size_t n;
    es_work vectors; /* sums and means */
} groups;

static group *new_group(groups *g)
{
    g->at[g->n] = (group){.recording = SIZE_MAX};
    return &g->at[g->n++];
}

static void join(groups *all, group *g, const es_voice *v, const es_space *space, const float *x)
{
    if (!x) return;
    if (!g->mean) {
        size_t width = (size_t)space->width;
        g->sum = es_work_take(&all->vectors, width, sizeof *g->sum);
        g->mean = es_work_take(&all->vectors, width, sizeof *g->mean);
        g->space = space;
        memset(g->sum, 0, width * sizeof *g->sum);
    }
    if (g->space != space) return; /* told to be one person in two models' spaces: the first one's counts */
    add(g->sum, x, weight_of(v->alone_ms), space->width);
    direction(g->mean, g->sum, space->width);
}

static size_t vectors_bytes(const es_people *all)
{
    size_t bytes = 0;

    for (size_t i = 0; i < all->n_voices; i++) {
        size_t width = (size_t)all->voices[i].width;
        bytes += es_work_bytes(width, sizeof(double)) + es_work_bytes(width, sizeof(float));
    }
    return bytes;
}

static size_t group_called(const groups *g, es_hash128 called)
{
    for (size_t i = 0; i < g->n; i++)
        if (es_hash_same(g->at[i].person, called)) return i;
    return SIZE_MAX;
}

/* Voices whose person the user named, before all others: groups [n] of each voice, SIZE_MAX where it has none yet. */
static void group_told(groups *g, size_t *of, const es_people *all, float *const *units)
{
    for (size_t i = 0; i < all->n_voices; i++) {
        const es_voice *v = &all->voices[i];
        of[i] = SIZE_MAX;
        if (v->saying.said != ES_SAID_IS) continue;
        size_t k = group_called(g, v->saying.person);
        if (k == SIZE_MAX) {
            new_group(g)->person = v->saying.person;
            k = g->n - 1;
        }
        of[i] = k;
        join(g, &g->at[k], v, es_people_space(all, v->space), units[i]);
    }
}

/* The columns of groups that some free voice of the recording [from, to) is near enough to: near [n] says which groups
 * they are, gain [n, to - from] the cosines, 0 where they are too small. Returns n; there is room for every group. */
static size_t find_near(size_t *near, double *gain, const groups *g, const size_t *of, const es_people *all,
                     size_t from, size_t to, float *const *units)
{
    const es_space *space = es_people_space(all, all->voices[from].space);
    double same = space ? es_identify_rule_of(space->architecture)->same : 2;
    size_t m = to - from, n = 0;

    for (size_t k = 0; k < g->n; k++) {
        const group *c = &g->at[k];
        double *column = gain + n * m;
        bool any = false;
        if (!c->mean || c->space != space || c->recording == from) continue;
        for (size_t i = 0; i < m; i++) {
            bool free_voice =
                of[from + i] == SIZE_MAX && units[from + i] && all->voices[from + i].saying.said == ES_SAID_NOTHING;
            double s = free_voice ? quick_dot(c->mean, units[from + i], space->width) : 0;
            column[i] = s >= same ? s : 0;
            any = any || column[i] > 0;
        }
        if (any) near[n++] = k;
    }
    return n;
}

/* The free voices of the recording [from, to) into groups, as many as fit. */
static void group_recording(groups *g, size_t *of, const es_people *all, size_t from, size_t to, float *const *units, es_work *work)
{
    const es_space *space = es_people_space(all, all->voices[from].space);
    size_t m = to - from, n, mark = work->used;
    int *column = es_work_take(work, m, sizeof *column);
    size_t *near = es_work_take(work, g->n, sizeof *near);
    double *gain = es_work_take(work, g->n * m, sizeof *gain), *rows;

    for (size_t i = from; i < to; i++)
        if (of[i] != SIZE_MAX) g->at[of[i]].recording = from;
    n = find_near(near, gain, g, of, all, from, to, units);
    rows = es_work_take(work, m * n, sizeof *rows);
    for (size_t i = 0; i < m; i++)
        for (size_t k = 0; k < n; k++) rows[i * n + k] = gain[k * m + i];
    es_score_assign(column, rows, (int)m, (int)n, work);
    for (size_t i = 0; i < m; i++) {
        const es_voice *v = &all->voices[from + i];
        if (of[from + i] != SIZE_MAX) continue;
        if (column[i] >= 0) {
            of[from + i] = near[column[i]];
        } else {
            new_group(g);
            of[from + i] = g->n - 1;
        }
        group *mine = &g->at[of[from + i]];
        mine->recording = from;
        /* One that is said to be apart gets no mean: nobody joins it. */
        if (v->saying.said != ES_SAID_APART) join(g, mine, v, space, units[from + i]);
    }
    es_work_drop(work, mark);
}

/* Of m voices, where there are n groups. */
static size_t group_recording_bytes(size_t m, size_t n)
{
    return es_work_bytes(m, sizeof(int)) + es_work_bytes(n, sizeof(size_t)) + 2 * es_work_bytes(n * m, sizeof(double)) +
           es_score_assign_bytes((int)m, (int)n);
}

/* ---- all ---- */

static bool same_recording(const es_voice *a, const es_voice *b)
{
    return a->track == b->track && es_hash_same(a->content, b->content);
}

/* Vectors of unit length of the voices that may be compared; NULL for the others. */
static float **units_of(const es_people *all, es_work *work)
{
    float **units = es_work_take(work, all->n_voices, sizeof *units);

    for (size_t i = 0; i < all->n_voices; i++) {
        const es_voice *v = &all->voices[i];
        const es_space *space = es_people_space(all, v->space);
        size_t mark = work->used;
        units[i] = NULL;
        if (!space || space->width != v->width || v->alone_ms < ES_IDENTIFY_LEAST_MS) continue;
        units[i] = es_work_take(work, (size_t)v->width, sizeof *units[i]);
        if (es_identify_unit(units[i], v->vector, v->width)) continue;
        units[i] = NULL;
        es_work_drop(work, mark);
    }
    return units;
}

static size_t units_bytes(const es_people *all)
{
    size_t bytes = es_work_bytes(all->n_voices, sizeof(float *));

    for (size_t i = 0; i < all->n_voices; i++) bytes += es_work_bytes((size_t)all->voices[i].width, sizeof(float));
    return bytes;
}

/* The first voice of the recording behind that of voice i. */
static size_t next_recording(const es_people *all, size_t i)
{
    size_t end = i + 1;

    while (end < all->n_voices && same_recording(&all->voices[i], &all->voices[end])) end++;
    return end;
}

static void number_all(es_people *all, float *const *units, es_work *work)
{
    size_t mark = work->used, *of = es_work_take(work, all->n_voices, sizeof *of); /* whose group each voice is in */
    groups g = {.at = es_work_take(work, all->n_voices, sizeof *g.at), .vectors = {.bytes = vectors_bytes(all)}};
    uint32_t given = 0;

    g.vectors.at = es_work_take(work, g.vectors.bytes, 1);
    group_told(&g, of, all, units);
    for (size_t i = 0, end; i < all->n_voices; i = end) {
        end = next_recording(all, i);
        group_recording(&g, of, all, i, end, units, work);
    }
    for (size_t i = 0; i < all->n_voices; i++) {
        group *mine = &g.at[of[i]];
        if (!mine->number) mine->number = ++given;
        all->voices[i].identity.number = mine->number;
    }
    es_work_drop(work, mark);
}

/* What can be said of a voice before anybody is compared with it. */
static void begin(es_people *all, size_t i, bool comparable, const crowd *crowds)
{
    es_voice *v = &all->voices[i];
    const es_space *space = es_people_space(all, v->space);
    const crowd *c = space ? &crowds[space - all->spaces] : NULL;

    v->identity = (es_identity){0};
    if (v->saying.said == ES_SAID_IS && es_people_find(all, v->saying.person)) {
        v->identity.verdict = ES_VERDICT_TOLD;
        v->identity.person = v->saying.person;
    } else if (!comparable) {
        v->identity.verdict = ES_VERDICT_SHORT;
    } else if (all->n_profiles && (!c || !c->n)) {
        v->identity.verdict = ES_VERDICT_INCOMPARABLE;
    }
}

size_t es_identify_all_bytes(const es_people *all)
{
    size_t n = all->n_voices, largest = 0, bytes = units_bytes(all) + es_work_bytes(all->n_spaces, sizeof(crowd)), number;

    for (size_t i = 0; i < all->n_spaces; i++) bytes += crowd_bytes(all, &all->spaces[i]);
    for (size_t i = 0, end; i < n; i = end) {
        end = next_recording(all, i);
        largest = end - i > largest ? end - i : largest;
    }
    number = es_work_bytes(n, sizeof(size_t)) + es_work_bytes(n, sizeof(group)) + es_work_bytes(vectors_bytes(all), 1) +
             group_recording_bytes(largest, n);
    return bytes + es_work_larger(es_work_bytes(largest * all->n_profiles, sizeof(double)), number);
}

void es_identify_all(es_people *all, es_work *work)
{
    size_t mark = work->used;
    float **units = units_of(all, work);
    crowd *crowds = es_work_take(work, all->n_spaces, sizeof *crowds);

    for (size_t i = 0; i < all->n_spaces; i++) crowds[i] = crowd_of(all, &all->spaces[i], work);
    for (size_t i = 0; i < all->n_voices; i++) begin(all, i, units[i] != NULL, crowds);
    for (size_t i = 0, end; i < all->n_voices; i = end) {
        const es_space *space = es_people_space(all, all->voices[i].space);
        end = next_recording(all, i);
        for (size_t k = i + 1; k < end; k++)
            assert(es_hash_same(all->voices[i].space, all->voices[k].space)); /* one model made a recording's vectors */
        if (space) name_recording(all, space, &crowds[space - all->spaces], i, end, units, work);
    }
    number_all(all, units, work);
    es_work_drop(work, mark);
}

/* ---- single vectors ---- */

size_t es_identify_some_bytes(const es_people *all, const es_space *space, int n)
{
    return es_work_bytes((size_t)space->width, sizeof(float)) + es_work_bytes((size_t)n, sizeof(double)) + crowd_bytes(all, space);
}

int es_identify_nearest(const es_people *all, const es_space *space, const float *vector, double *score, es_work *work)
{
    size_t mark = work->used;
    float *x = es_work_take(work, (size_t)space->width, sizeof *x);
    crowd c = crowd_of(all, space, work);
    int found = -1;

    *score = 0;
    if (es_identify_unit(x, vector, space->width))
        for (size_t i = 0; i < c.n; i++) {
            double s = likeness(&c.at[i], x, space->width);
            if (found < 0 || s > *score) *score = s, found = (int)c.at[i].profile;
        }
    if (found >= 0 && *score < es_identify_threshold(es_identify_rule_of(space->architecture), c.n)) found = -1;
    es_work_drop(work, mark);
    return found;
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x < y) - (x > y);
}

int es_identify_alone(const es_people *all, const es_space *space, const float *pieces, int n, char *why, size_t room,
                      es_work *work)
{
    const es_identify_rule *rule = es_identify_rule_of(space->architecture);
    size_t who = 0, mark = work->used;
    double *mine = es_work_take(work, (size_t)n, sizeof *mine), threshold, other_score = 0, total = 0, best_total = 0;
    float *x = es_work_take(work, (size_t)space->width, sizeof *x);
    crowd c = crowd_of(all, space, work);
    int found = -1, weak = 0, ahead = 0;

    snprintf(why, room, c.n ? "there is too little speech" : "nobody is enrolled with the model %s", space->model);
    if (!n || !c.n) goto out;
    threshold = es_identify_threshold(rule, c.n);
    /* The candidate is whom all pieces together are nearest to. */
    for (size_t k = 0; k < c.n; k++) {
        total = 0;
        for (int i = 0; i < n; i++)
            if (es_identify_unit(x, pieces + (size_t)i * (size_t)space->width, space->width))
                total += likeness(&c.at[k], x, space->width);
        if (k == 0 || total > best_total) best_total = total, who = k;
    }
    for (int i = 0; i < n; i++) {
        mine[i] = 0;
        if (!es_identify_unit(x, pieces + (size_t)i * (size_t)space->width, space->width)) continue;
        mine[i] = likeness(&c.at[who], x, space->width);
        weak += mine[i] < threshold - rule->maybe;
        for (size_t k = 0; k < c.n; k++) {
            other_score = k == who ? -1 : likeness(&c.at[k], x, space->width);
            ahead += other_score > mine[i];
        }
    }
    qsort(mine, (size_t)n, sizeof *mine, descending);
    double median = mine[n / 2];
    if (median < threshold)
        snprintf(why, room, "the voice is nobody's who is enrolled: the nearest is %.2f like it, %.2f is needed",
                 median, threshold);
    else if (ahead) snprintf(why, room, "%d of %d pieces are more like another enrolled voice", ahead, n);
    else if (weak)
        snprintf(why, room, "%d of %d pieces are unlike the voice of %s", weak, n,
                 all->profiles[c.at[who].profile].name);
    else {
        found = (int)c.at[who].profile;
        snprintf(why, room, "all %d pieces are like the voice of %s, the least at %.2f", n, all->profiles[found].name,
                 mine[n - 1]);
    }
out:
    es_work_drop(work, mark);
    return found;
}
