/*
 * bpe.c - byte-level byte-pair encoding with GPT-2's way of splitting text.
 *
 *   text -> pieces (a word with the blank before it, a number, a run of other signs, white space)
 *   piece -> itself, if it is a token; else its single bytes, and again and again the neighbouring pair whose union is
 *            the token with the lowest id becomes one (the leftmost of equals), until no union is a token
 *
 * A token file of Whisper orders its tokens by the order in which training merged them, so the id of a union is its
 * rank and no list of merges is needed: the pair's bytes lie side by side in the piece, and one lookup of those bytes
 * gives the rank.
 *
 * Pieces are short in most languages, but a megabyte without a blank is one piece. Searching for the lowest pair after
 * every merge would then take n^2 steps. Instead each pair goes into a heap ordered by (rank, place), and a merge makes
 * at most two new pairs: n log n. Pairs that a merge destroyed stay in the heap and are recognised when they come up,
 * because their rank is no longer the one noted at their place.
 */
#include "text/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

enum { MAX_TOKENS = 1 << 20 };

struct es_bpe {
    int count;
    size_t longest;     /* bytes of the longest token */
    char *bytes;        /* of all tokens, one after the other */
    uint32_t *at;       /* [count + 1]: where each begins */
    int32_t *slots;     /* hash table of ids, -1 empty, linear probing */
    uint32_t slot_mask; /* slots - 1, a power of two less one */
};

/* ---- the table ---- */

static uint32_t hash_of(const char *p, size_t n)
{
    uint64_t h = 0xCBF29CE484222325u; /* FNV-1a, then the high bits folded in: the mask takes low bits only */

    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)p[i]) * 0x100000001B3u;
    return (uint32_t)(h ^ (h >> 32));
}

static size_t length_of(const es_bpe *b, int id)
{
    return b->at[id + 1] - b->at[id];
}

int es_bpe_find(const es_bpe *b, const char *bytes, size_t n)
{
    if (n == 0 || n > b->longest) return -1;
    for (uint32_t s = hash_of(bytes, n) & b->slot_mask;; s = (s + 1) & b->slot_mask) {
        int id = b->slots[s];
        if (id < 0) return -1;
        if (length_of(b, id) == n && memcmp(b->bytes + b->at[id], bytes, n) == 0) return id;
    }
}

static void insert(es_bpe *b, int id)
{
    size_t n = length_of(b, id);
    const char *bytes = b->bytes + b->at[id];

    if (n == 0 || es_bpe_find(b, bytes, n) >= 0) return; /* the lowest id of equal ones is the one encoding gives */
    uint32_t s = hash_of(bytes, n) & b->slot_mask;
    while (b->slots[s] >= 0) s = (s + 1) & b->slot_mask;
    b->slots[s] = id;
}

int es_bpe_open(es_bpe **out, const uint8_t *table, size_t bytes, es_err *err)
{
    es_bpe *b = NULL;
    size_t count = 0, total = 0;
    int rc = ES_OK;

    *out = NULL;
    for (size_t at = 0; at < bytes; at += 1 + (size_t)table[at]) {
        if (table[at] > bytes - at - 1)
            return es_fail(err, ES_EFORMAT, "the token table ends in token %zu: %zu bytes are left of %d", count,
                           bytes - at - 1, table[at]);
        if (++count > MAX_TOKENS)
            return es_fail(err, ES_EFORMAT, "the token table has more than %d tokens", (int)MAX_TOKENS);
        total += table[at];
    }
    if (!(b = calloc(1, sizeof *b))) goto memory;
    b->count = (int)count;
    size_t slots = 1024;
    while (slots < 2 * count) slots *= 2;
    b->slot_mask = (uint32_t)(slots - 1);
    b->bytes = malloc(total + 1);
    b->at = malloc((count + 1) * sizeof *b->at);
    b->slots = malloc(slots * sizeof *b->slots);
    if (!b->bytes || !b->at || !b->slots) goto memory;
    memset(b->slots, 0xFF, slots * sizeof *b->slots);
    uint32_t to = 0;
    int id = 0;
    for (size_t at = 0; at < bytes; at += 1 + (size_t)table[at]) {
        size_t n = table[at];
        memcpy(b->bytes + to, table + at + 1, n);
        b->at[id] = to;
        to += (uint32_t)n;
        b->at[++id] = to;
        if (n > b->longest) b->longest = n;
        insert(b, id - 1);
    }
    if (count == 0) b->at[0] = 0;
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        if (es_bpe_find(b, &c, 1) < 0) {
            rc = es_fail(err, ES_EFORMAT, "the token table of %zu tokens has none for the single byte 0x%02X", count,
                         (unsigned)byte);
            goto out;
        }
    }
    *out = b;
    b = NULL; /* owned by the caller from here on */
    goto out;
memory:
    rc = es_fail(err, ES_ENOMEM, "no memory for a token table of %zu tokens", count);
out:
    es_bpe_close(b);
    return rc;
}

void es_bpe_close(es_bpe *b)
{
    if (!b) return;
    free(b->bytes);
    free(b->at);
    free(b->slots);
    free(b);
}

int es_bpe_count(const es_bpe *b)
{
    return b->count;
}

const char *es_bpe_bytes(const es_bpe *b, int id, size_t *n)
{
    *n = id >= 0 && id < b->count ? length_of(b, id) : 0;
    return *n ? b->bytes + b->at[id] : "";
}

/* ---- text to pieces ---- */

typedef enum kind { LETTER, NUMBER, SPACE, OTHER, END } kind;

static kind kind_at(const char *s, size_t n, size_t at, size_t *bytes)
{
    int32_t c;

    *bytes = 0;
    if (at >= n) return END;
    *bytes = es_unicode_next(s + at, n - at, &c);
    return es_unicode_is_space(c) ? SPACE : es_unicode_is_letter(c) ? LETTER : es_unicode_is_number(c) ? NUMBER : OTHER;
}

/* End of the piece that begins at `at`: the first alternative that matches of
 * 's 't 're 've 'm 'll 'd | ?letters | ?numbers | ?others | white space not before a word | white space. */
static size_t piece_end(const char *s, size_t n, size_t at)
{
    static const char *const tails[] = {"s", "t", "re", "ve", "m", "ll", "d"};
    size_t bytes, from, last;
    kind k;

    if (s[at] == '\'') {
        for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
            size_t length = strlen(tails[i]);
            if (length < n - at && memcmp(s + at + 1, tails[i], length) == 0) return at + 1 + length;
        }
    }
    from = at + (s[at] == ' ');
    k = kind_at(s, n, from, &bytes);
    if (k != SPACE && k != END) {
        kind first = k;
        while (k == first) {
            from += bytes;
            k = kind_at(s, n, from, &bytes);
        }
        return from;
    }
    /* White space: before a word its last character is left for the word, unless it is the only one. */
    last = from = at;
    while ((k = kind_at(s, n, from, &bytes)) == SPACE) {
        last = from;
        from += bytes;
    }
    return k == END || last == at ? from : last;
}

/* ---- pieces to ids ---- */

typedef struct merger {
    const es_bpe *b;
    int32_t *ids;
    size_t room, n;        /* n counts on past room */
    uint32_t *next, *prev; /* [piece]: of the parts, by the place of their first byte */
    int32_t *rank;         /* [piece]: of the union of a part and the next one, -1 none */
    uint64_t *heap;        /* [3 * piece]: rank << 32 | place */
    size_t heap_n, space;  /* space: bytes of the longest piece there is room for */
} merger;

static void emit(merger *m, int id)
{
    if (m->n < m->room) m->ids[m->n] = id;
    m->n++;
}

static void heap_push(merger *m, uint64_t v)
{
    size_t i = m->heap_n++;

    while (i > 0 && m->heap[(i - 1) / 2] > v) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = v;
}

static uint64_t heap_pop(merger *m)
{
    uint64_t top = m->heap[0], v = m->heap[--m->heap_n];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= m->heap_n) break;
        if (child + 1 < m->heap_n && m->heap[child + 1] < m->heap[child]) child++;
        if (m->heap[child] >= v) break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = v;
    return top;
}

static bool make_room(merger *m, size_t piece)
{
    if (piece <= m->space) return true;
    if (piece > UINT32_MAX / 2) return false;
    size_t space = piece < 256 ? 256 : piece;
    free(m->next), free(m->prev), free(m->rank), free(m->heap);
    m->space = 0;
    m->next = malloc(space * sizeof *m->next);
    m->prev = malloc(space * sizeof *m->prev);
    m->rank = malloc(space * sizeof *m->rank);
    m->heap = malloc(3 * space * sizeof *m->heap);
    if (!m->next || !m->prev || !m->rank || !m->heap) return false;
    m->space = space;
    return true;
}

/* Notes the rank of the part at `at` joined with its neighbour, and queues the pair if it has one. */
static void note_pair(merger *m, const char *s, size_t n, uint32_t at)
{
    uint32_t second = m->next[at];

    m->rank[at] = second < n ? es_bpe_find(m->b, s + at, m->next[second] - at) : -1;
    if (m->rank[at] >= 0) heap_push(m, (uint64_t)m->rank[at] << 32 | at);
}

static bool encode_piece(merger *m, const char *s, size_t n)
{
    int whole = es_bpe_find(m->b, s, n);

    if (whole >= 0) {
        emit(m, whole);
        return true;
    }
    if (!make_room(m, n)) return false;
    for (uint32_t i = 0; i < n; i++) m->next[i] = i + 1, m->prev[i] = i - 1;
    m->heap_n = 0;
    for (uint32_t i = 0; i < n; i++) note_pair(m, s, n, i);
    while (m->heap_n) {
        uint64_t top = heap_pop(m);
        uint32_t at = (uint32_t)top;
        if (m->rank[at] != (int32_t)(top >> 32)) continue; /* destroyed by an earlier merge */
        uint32_t second = m->next[at], after = m->next[second];
        m->next[at] = after;
        if (after < n) m->prev[after] = at;
        m->rank[second] = -1; /* no longer a part */
        note_pair(m, s, n, at);
        if (at > 0) note_pair(m, s, n, m->prev[at]);
    }
    for (uint32_t at = 0; at < n; at = m->next[at]) emit(m, es_bpe_find(m->b, s + at, m->next[at] - at));
    return true;
}

/* A copy of the text with U+FFFD for what is not UTF-8, or NULL; *n becomes its length. */
static char *repaired(const char *text, size_t *n)
{
    char *copy = malloc(3 * *n + 1);
    size_t to = 0;

    for (size_t at = 0; copy && at < *n;) {
        int32_t c;
        at += es_unicode_next(text + at, *n - at, &c);
        to += es_unicode_put(copy + to, c);
    }
    *n = to;
    return copy;
}

static bool is_valid(const char *text, size_t n)
{
    int32_t c = 0;

    for (size_t at = 0; at < n && c >= 0;) at += es_unicode_next(text + at, n - at, &c);
    return c >= 0;
}

size_t es_bpe_encode_pieces(const es_bpe *b, es_bpe_piece_fn end_of, const char *text, size_t n, int32_t *ids, size_t room)
{
    merger m = {.b = b, .ids = ids, .room = room};
    bool fits = true;

    for (size_t at = 0; fits && at < n;) {
        size_t end = end_of(text, n, at);
        fits = encode_piece(&m, text + at, end - at);
        at = end;
    }
    free(m.next), free(m.prev), free(m.rank), free(m.heap);
    return fits ? m.n : SIZE_MAX;
}

size_t es_bpe_encode(const es_bpe *b, const char *text, size_t n, int32_t *ids, size_t room)
{
    char *copy = NULL;

    if (!is_valid(text, n)) {
        if (!(copy = repaired(text, &n))) return SIZE_MAX;
        text = copy;
    }
    size_t count = es_bpe_encode_pieces(b, piece_end, text, n, ids, room);
    free(copy);
    return count;
}

int es_bpe_check_order(const es_bpe *b, es_err *err)
{
    for (int id = 0; id < b->count; id++) {
        const char *bytes = b->bytes + b->at[id];
        size_t n = length_of(b, id), cut = 1;
        if (n == 0 || es_bpe_find(b, bytes, n) != id)
            return es_fail(err, ES_EFORMAT, "token %d is %s", id, n ? "the same as an earlier one" : "empty");
        if (id < 256 ? n != 1 : n == 1)
            return es_fail(err, ES_EFORMAT, "token %d has %zu bytes: the first 256 are the single bytes, in any order", id, n);
        if (id < 256) continue;
        /* The longer part first: most tokens continue a word by one short piece. */
        for (; cut < n; cut++) {
            int left = es_bpe_find(b, bytes, n - cut);
            if (left < 0 || left >= id) continue;
            int right = es_bpe_find(b, bytes + n - cut, cut);
            if (right >= 0 && right < id) break;
        }
        if (cut == n) return es_fail(err, ES_EFORMAT, "token %d is not the union of two earlier tokens", id);
    }
    return ES_OK;
}

/* ---- ids to text ---- */

/* Copies up to room bytes of the tokens from the reader's place on, without moving it. */
static size_t peek(es_bpe_reader r, char *out, size_t room)
{
    size_t n = 0;

    while (n < room && r.token < r.n) {
        size_t length = 0;
        const char *bytes = r.ids[r.token] < r.eot ? es_bpe_bytes(r.b, r.ids[r.token], &length) : "";
        while (n < room && r.byte < length) out[n++] = bytes[r.byte++];
        if (r.byte >= length) r.token++, r.byte = 0;
    }
    return n;
}

bool es_bpe_next(es_bpe_reader *r, int32_t *c)
{
    char ahead[4];
    size_t n = peek(*r, ahead, sizeof ahead), k;

    if (n == 0) return false;
    k = es_unicode_next(ahead, n, c);
    if (*c < 0) *c = ES_UNICODE_REPLACEMENT;
    while (k) { /* move on by k bytes, over empty and special tokens */
        size_t length = 0, step;
        if (r->ids[r->token] < r->eot) es_bpe_bytes(r->b, r->ids[r->token], &length);
        step = length - r->byte < k ? length - r->byte : k;
        k -= step;
        r->byte += step;
        if (r->byte == length) r->token++, r->byte = 0;
    }
    return true;
}

size_t es_bpe_decode(const es_bpe *b, const int32_t *ids, size_t n, int eot, char *out, size_t room)
{
    es_bpe_reader r = {.b = b, .ids = ids, .n = n, .eot = eot};
    size_t length = 0;
    int32_t c;

    while (es_bpe_next(&r, &c)) {
        char character[4];
        size_t k = es_unicode_put(character, c);
        for (size_t i = 0; i < k && length + i < room; i++) out[length + i] = character[i];
        length += k;
    }
    return length;
}

/* ---- what is never said ---- */

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

    return (x > y) - (x < y);
}

size_t es_bpe_non_speech(const es_bpe *b, int32_t *ids, size_t room)
{
    /* Brackets, quotation marks and signs that annotate sound and are not speech. Each is taken with and without a
     * blank before it; most only where they are one token. */
    static const char *const single[] = {
        "\"",  "#",  "(",  ")",  "*",   "+",  "/",  ":",   ";",   "<",  "=",  ">",  "@",  "[",   "\\",  "]",
        "^",   "_",  "`",  "{",  "|",   "}",  "~",  "「",  "」",  "『", "』", "<<", ">>", "<<<", ">>>", "--",
        "---", "-(", "-[", "('", "(\"", "((", "))", "(((", ")))", "[[", "]]", "{{", "}}", "♪♪",  "♪♪♪",
    };
    /* Musical signs are banned by their first token, also where that is only a part of the sign. */
    static const char *const music[] = {"♩", "♪", "♫", "♬", "♭", "♮", "♯"};
    /* A dash or an apostrophe inside a word is speech; before one it marks a change of speaker or a quotation. */
    static const char *const leading[] = {" -", " '"};
    enum { SINGLE = sizeof single / sizeof *single, MUSIC = sizeof music / sizeof *music };
    int32_t all[2 * SINGLE + 2 * MUSIC + 2];
    size_t n = 0, kept = 0;

    for (int i = 0; i < SINGLE + MUSIC; i++) {
        for (int blank = 0; blank < 2; blank++) {
            char text[16] = " ";
            int32_t first = 0;
            strcpy(text + blank, i < SINGLE ? single[i] : music[i - SINGLE]);
            size_t tokens = es_bpe_encode(b, text, strlen(text), &first, 1);
            if (tokens == SIZE_MAX) return SIZE_MAX;
            if (tokens == 1 || i >= SINGLE) all[n++] = first;
        }
    }
    for (int i = 0; i < 2; i++) {
        size_t tokens = es_bpe_encode(b, leading[i], 2, &all[n++], 1);
        if (tokens == SIZE_MAX) return SIZE_MAX;
    }
    qsort(all, n, sizeof *all, ascending);
    for (size_t i = 0; i < n; i++) {
        if (i && all[i] == all[i - 1]) continue;
        if (kept < room) ids[kept] = all[i];
        kept++;
    }
    return kept;
}
