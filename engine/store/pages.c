/*
 * pages.c - the shape of an LMDB file (format 1, 64-bit, little-endian), read page by page and trusted nowhere.
 *
 *   page      u64 number; u16 -; u16 flags; u16 lower, u16 upper (a tree's page) or u32 pages (an overflow page)
 *             then from byte 16 on, up to lower: u16 offsets of the nodes, in the order of their keys; nodes from upper
 * on node      u16 low, u16 high, u16 flags, u16 key bytes; the key; the value. In a branch the first three are the
 * number of the page below; in a leaf low and high are the value's length, and flags say whether it lies in overflow
 *             pages (1; then the value is their u64 number) or is a tree (2)
 *   tree      u32 -, u16 flags, u16 depth, u64 branch, leaf and overflow pages, u64 entries, u64 root (all ones: empty)
 *   page 0, 1 two meta pages, the newer of which counts: at byte 16 u32 magic, u32 version, u64 -, u64 map size, the
 * tree of free pages (whose first field is the page size), the tree of trees, u64 last page, u64 transaction
 *
 * The free pages' tree holds lists of page numbers, u64 count and the numbers; they are looked at too, since the next
 * writer takes its pages from them. A page that is met twice, by two trees or by a loop, is a fault.
 */
#define _GNU_SOURCE
#include "store/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEADER = 16,
    NODE = 8,
    TREE = 48,
    META_END = HEADER + 136,
    MAX_DEPTH = 32,
    MAX_TOLD = 100,
    BRANCH = 1,
    LEAF = 2,
    OVERFLOW_ = 4,
    META = 8,
    BIG = 1,
    SUBTREE = 2
};

static const uint32_t magic = 0xBEEFC0DE;

typedef struct walk {
    int fd;
    size_t page_bytes;
    uint64_t last; /* page */
    bool all;
    uint8_t *seen; /* a bit per page */
    es_pages_fault fault;
    void *user;
    uint64_t faults;
    const char *tree; /* name of the present one */
    bool is_free;     /* it is the one of free pages */
    uint64_t entries; /* met in it */
    bool failed;      /* out of memory, or the file cannot be read */
} walk;

static uint64_t number(const uint8_t *p, int n)
{
    uint64_t v = 0;

    for (int i = 0; i < n; i++) v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static void tell(walk *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void tell(walk *w, const char *format, ...)
{
    char raw[400], text[500];
    va_list ap;

    if (w->faults++ >= MAX_TOLD || !w->fault) return;
    va_start(ap, format);
    vsnprintf(raw, sizeof raw, format, ap);
    va_end(ap);
    w->fault(w->user, es_printable(text, sizeof text, raw));
}

/* Bytes at a place of the file; false where it has fewer. */
static bool read_at(int fd, void *to, size_t n, uint64_t at)
{
    uint8_t *p = to;

    while (n) {
        ssize_t got = pread(fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        p += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return true;
}

/* Notes that pages first .. +n are used; false where one was before or lies outside. */
static bool take(walk *w, uint64_t first, uint64_t n)
{
    if (first < 2 || first > w->last || n == 0 || n > w->last - first + 1) {
        tell(w, "%s: points at page %llu, outside 2 .. %llu", w->tree, (unsigned long long)first,
             (unsigned long long)w->last);
        return false;
    }
    for (uint64_t i = first; i < first + n; i++) {
        if (w->seen[i / 8] >> i % 8 & 1) {
            tell(w, "%s: page %llu is used twice", w->tree, (unsigned long long)i);
            return false;
        }
        w->seen[i / 8] = (uint8_t)(w->seen[i / 8] | 1u << i % 8);
    }
    return true;
}

/* ---- values ---- */

static void check_free_list(walk *w, const uint8_t *p, size_t n)
{
    uint64_t count = n >= 8 ? number(p, 8) : UINT64_MAX;

    if (count > n / 8 - (n >= 8)) {
        tell(w, "%s: a list of %zu bytes says that it holds %llu pages", w->tree, n, (unsigned long long)count);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t page = number(p + 8 + 8 * i, 8);
        if (page >= 2 && page <= w->last) continue;
        tell(w, "%s: lists page %llu, outside 2 .. %llu", w->tree, (unsigned long long)page,
             (unsigned long long)w->last);
        return;
    }
}

/* A value in pages of its own. */
static void check_overflow(walk *w, uint64_t page, size_t bytes)
{
    uint64_t n = (HEADER - 1 + bytes) / w->page_bytes + 1;
    uint8_t head[HEADER], *p;

    if (page <= w->last && !read_at(w->fd, head, sizeof head, page * w->page_bytes)) {
        w->failed = true;
        return;
    }
    if (page <= w->last && (number(head, 8) != page || !(head[10] & OVERFLOW_) || number(head + 12, 4) < n)) {
        tell(w, "%s: page %llu is not the start of %llu overflow pages", w->tree, (unsigned long long)page,
             (unsigned long long)n);
        return;
    }
    /* It may own more pages than it needs: all of them are freed with it. */
    if (!take(w, page, page <= w->last ? number(head + 12, 4) : 1) || !w->is_free) return;
    p = malloc(bytes + 1);
    if (p && read_at(w->fd, p, bytes, page * w->page_bytes + HEADER)) check_free_list(w, p, bytes);
    else w->failed = true;
    free(p);
}

static void walk_tree(walk *w, const char *name, const uint8_t *tree, bool all, bool holds_trees);

static void check_leaf_node(walk *w, const uint8_t *page, size_t at, bool holds_trees)
{
    const uint8_t *node = page + at, *value;
    size_t key = (size_t)number(node + 6, 2), n = (size_t)(number(node, 2) | number(node + 2, 2) << 16);
    unsigned flags = (unsigned)number(node + 4, 2);
    size_t room = w->page_bytes - at - NODE - key; /* the caller saw that the key fits */

    value = node + NODE + key;
    w->entries++;
    if (flags & ~(unsigned)(BIG | SUBTREE) || (flags & SUBTREE && (!holds_trees || n != TREE)) ||
        (holds_trees && flags != SUBTREE) || (flags & BIG ? 8 : n) > room) {
        tell(w, "%s: a value of %zu bytes with the marks %x does not fit its page", w->tree, n, flags);
    } else if (flags & BIG) {
        check_overflow(w, number(value, 8), n);
    } else if (w->is_free) {
        check_free_list(w, value, n);
    } else if (holds_trees) {
        char name[64];
        const char *outer = w->tree;
        uint64_t entries = w->entries;
        snprintf(name, sizeof name, "%.*s", key < 60 ? (int)key : 60, (const char *)(node + NODE));
        walk_tree(w, name, value, w->all, false);
        w->tree = outer;
        w->entries = entries;
    }
}

/* ---- pages ---- */

/* Whether the nodes' offsets and keys lie inside the page and the keys ascend. */
static bool nodes_fit(walk *w, const uint8_t *page, uint64_t id, size_t n, size_t upper, bool branch)
{
    const uint8_t *last_key = NULL;
    size_t last_bytes = 0;

    for (size_t i = 0; i < n; i++) {
        size_t at = (size_t)number(page + HEADER + 2 * i, 2), key;
        if (at < upper || at + NODE > w->page_bytes ||
            at + NODE + (key = (size_t)number(page + at + 6, 2)) > w->page_bytes) {
            tell(w, "%s: node %zu of page %llu lies outside it", w->tree, i, (unsigned long long)id);
            return false;
        }
        if (branch && i == 0) continue; /* stands for everything below the second key */
        if (key == 0) {
            tell(w, "%s: node %zu of page %llu has no key", w->tree, i, (unsigned long long)id);
            return false;
        }
        const uint8_t *p = page + at + NODE;
        int order = last_key ? memcmp(last_key, p, last_bytes < key ? last_bytes : key) : -1;
        if (last_key && !w->is_free && (order > 0 || (order == 0 && last_bytes >= key))) {
            tell(w, "%s: the keys of page %llu do not ascend", w->tree, (unsigned long long)id);
            return false;
        }
        last_key = p;
        last_bytes = key;
    }
    return true;
}

/* depth: levels from here down, the leaf's included. */
static void walk_page(walk *w, uint64_t id, int depth, bool all, bool holds_trees)
{
    uint8_t *page;
    size_t lower, upper, n;
    bool branch = depth > 1;

    if (w->failed || !take(w, id, 1)) return;
    page = malloc(w->page_bytes);
    if (!page || !read_at(w->fd, page, w->page_bytes, id * w->page_bytes)) {
        w->failed = true;
        goto out;
    }
    lower = (size_t)number(page + 12, 2);
    upper = (size_t)number(page + 14, 2);
    n = lower >= HEADER ? (lower - HEADER) / 2 : 0;
    if (number(page, 8) != id || (number(page + 10, 2) & 0x7F & ~0x10u) != (branch ? BRANCH : LEAF)) {
        tell(w, "%s: page %llu is not the %s that belongs there", w->tree, (unsigned long long)id,
             branch ? "branch" : "leaf");
        goto out;
    }
    if (lower < HEADER || lower % 2 || upper < lower || upper > w->page_bytes || n < (branch ? 2u : 1u)) {
        tell(w, "%s: page %llu has room from %zu to %zu", w->tree, (unsigned long long)id, lower, upper);
        goto out;
    }
    if (!nodes_fit(w, page, id, n, upper, branch)) goto out;
    for (size_t i = 0; i < n && all; i++) {
        size_t at = (size_t)number(page + HEADER + 2 * i, 2);
        if (branch) walk_page(w, number(page + at, 6), depth - 1, all, holds_trees);
        else check_leaf_node(w, page, at, holds_trees);
    }
out:
    free(page);
}

/* Its root alone unless all. */
static void walk_tree(walk *w, const char *name, const uint8_t *tree, bool all, bool holds_trees)
{
    unsigned flags = (unsigned)number(tree + 4, 2), depth = (unsigned)number(tree + 6, 2);
    uint64_t entries = number(tree + 32, 8), root = number(tree + 40, 8);

    w->tree = name;
    w->entries = 0;
    if (root == UINT64_MAX && entries == 0 && depth == 0) return;
    if (depth < 1 || depth > MAX_DEPTH || (!w->is_free && flags != 0)) {
        tell(w, "%s: a tree of depth %u with the marks %x", name, depth, flags);
        return;
    }
    walk_page(w, root, (int)depth, all, holds_trees);
    if (all && !w->failed && w->entries != entries)
        tell(w, "%s: has %llu entries, and counts %llu", name, (unsigned long long)w->entries,
             (unsigned long long)entries);
}

/* ---- the file ---- */

/* The meta page at this place is one; *page_bytes as it says. */
static bool read_meta(int fd, uint64_t at, uint8_t meta[META_END], size_t *page_bytes)
{
    if (!read_at(fd, meta, META_END, at)) return false;
    *page_bytes = (size_t)number(meta + HEADER + 24, 4);
    return meta[10] & META && number(meta + HEADER, 4) == magic && number(meta + HEADER + 4, 4) == 1 &&
           *page_bytes >= 512 && *page_bytes <= 65536 && !(*page_bytes & (*page_bytes - 1));
}

int es_pages_head(const char *file, es_err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC), rc = ES_OK;
    uint8_t meta[META_END];
    size_t page_bytes = 0, second = 0;
    struct stat st;

    if (fd < 0) return errno == ENOENT ? ES_OK : es_fail(err, ES_ELIBRARY, "%s: %s", file, strerror(errno));
    if (fstat(fd, &st)) rc = es_fail(err, ES_EIO, "%s: %s", file, strerror(errno));
    else if (st.st_size > 0 && (!read_meta(fd, 0, meta, &page_bytes) || !read_meta(fd, page_bytes, meta, &second) ||
                                second != page_bytes))
        rc = es_fail(err, ES_ELIBRARY, "%s: not a library, or one whose first pages are damaged; restore a backup",
                     file);
    close(fd);
    return rc;
}

int es_pages_walk(const char *file, uint64_t snapshot, bool all, es_pages_fault fault, void *user, uint64_t *faults,
                  es_err *err)
{
    walk w = {.fd = open(file, O_RDONLY | O_CLOEXEC), .all = all, .fault = fault, .user = user};
    uint8_t meta[META_END];
    struct stat st;
    bool found = false;
    int rc = ES_OK;

    *faults = 0;
    if (w.fd < 0 || fstat(w.fd, &st)) {
        rc = es_fail(err, ES_EIO, "%s: %s", file, strerror(errno));
        goto out;
    }
    for (int i = 0; i < 2 && !found; i++)
        found = read_meta(w.fd, (uint64_t)i * w.page_bytes, meta, &w.page_bytes) &&
                number(meta + HEADER + 128, 8) == snapshot;
    if (!found) {
        rc = ES_EBUSY;
        goto out;
    }
    w.last = number(meta + HEADER + 120, 8);
    if (w.last >= (uint64_t)st.st_size / w.page_bytes) {
        rc = es_fail(err, ES_ELIBRARY, "%s: cut short: it has %llu pages and needs %llu; restore a backup", file,
                     (unsigned long long)((uint64_t)st.st_size / w.page_bytes), (unsigned long long)w.last + 1);
        goto out;
    }
    w.seen = calloc((size_t)(w.last / 8 + 1), 1);
    if (!w.seen) {
        rc = es_fail(err, ES_ENOMEM, "%s: not enough memory to check it", file);
        goto out;
    }
    walk_tree(&w, "tree of trees", meta + HEADER + 72, true, true);
    w.is_free = true;
    walk_tree(&w, "free pages", meta + HEADER + 24, all, false);
    if (w.failed) rc = es_fail(err, ES_EIO, "%s: cannot be read to its end, or memory is out", file);
    *faults = w.faults;
out:
    free(w.seen);
    if (w.fd >= 0) close(w.fd);
    return rc;
}
