/*
 * simt.cc - fibers, barriers and warps: one launch of a kernel on the CPU.
 *
 * A block is run to its end before the next one starts. Its threads are fibers on stacks of their own, switched by a few
 * instructions that save the callee's registers (swapcontext would enter the kernel at every switch). The scheduler makes
 * rounds: it resumes every runnable thread in the chosen order, then opens what can be opened: a warp collective when all
 * live lanes of the warp have arrived at the same one, a block barrier when all live threads of the block wait at it. In
 * shuffled order some warps are left out for a while, so that others run ahead. A round in which nothing ran and nothing opened is a deadlock and is reported with every waiting thread.
 *
 * A thread that has ended counts as arrived nowhere: a barrier is an error when some threads wait at it and others have
 * ended without it, because on a card that is undefined before it is a hang.
 */
#include "simt.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/mman.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define SIMT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIMT_ASAN 1
#endif
#endif
#ifdef SIMT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace simt {
namespace {

enum { STACK = 64 * 1024, GUARD = 64, SHARED_MAX = 256 * 1024, MAX_THREADS = 1024 };

/* ---- the switch ---- */
#if defined(__x86_64__)
extern "C" void simt_switch(void **save, void *load);
__asm__(".text\n.globl simt_switch\n.type simt_switch,@function\nsimt_switch:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n  ret\n"
        ".size simt_switch,.-simt_switch\n");
extern "C" void simt_entry();
void *first_frame(char *top)
{
    void **sp = reinterpret_cast<void **>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t(15));
    *--sp = nullptr; /* keeps the stack aligned as after a call */
    *--sp = reinterpret_cast<void *>(simt_entry);
    for (int i = 0; i < 6; i++) *--sp = nullptr;
    return sp;
}
#elif defined(__aarch64__)
extern "C" void simt_switch(void **save, void *load);
__asm__(".text\n.globl simt_switch\n.type simt_switch,%function\nsimt_switch:\n"
        "  sub sp, sp, #176\n"
        "  stp x19, x20, [sp, #0]\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n  stp x25, x26, [sp, #48]\n"
        "  stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n"
        "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n  stp d14, d15, [sp, #144]\n"
        "  mov x9, sp\n  str x9, [x0]\n  mov sp, x1\n"
        "  ldp x19, x20, [sp, #0]\n  ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n  ldp x25, x26, [sp, #48]\n"
        "  ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n"
        "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n  ldp d12, d13, [sp, #128]\n  ldp d14, d15, [sp, #144]\n"
        "  add sp, sp, #176\n  ret\n"
        ".size simt_switch,.-simt_switch\n");
extern "C" void simt_entry();
void *first_frame(char *top)
{
    char *sp = reinterpret_cast<char *>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t(15)) - 176;
    memset(sp, 0, 176);
    reinterpret_cast<void **>(sp)[11] = reinterpret_cast<void *>(simt_entry); /* x30 */
    return sp;
}
#else
#error "the emulator has a context switch for x86-64 and AArch64"
#endif

enum state { runnable, at_barrier, at_collective, ended };

struct copy {
    unsigned char *to;
    const unsigned char *from;
    size_t bytes, valid;
};

struct thread {
    void *sp;
    char *stack;
    state what;
    const char *file, *name;
    int line;
    collective_fn fn;
    lane_io io;
    thread_view view;
    std::vector<std::vector<copy>> groups; /* committed, oldest first */
    std::vector<copy> open;
    void *asan_fake;
};

struct array {
    const char *file;
    int line;
    size_t at, bytes;
};

struct machine {
    order ord = forward;
    uint64_t seed = 0, count = 0;
    report_fn report = nullptr;
    void *report_user = nullptr;
    char *stacks = nullptr;
    unsigned char *memory = nullptr; /* shared memory of the running block */
    size_t used = 0, dynamic = 0;
    std::vector<array> arrays;
    std::vector<thread> threads;
    thread *now = nullptr;
    void *main_sp = nullptr;
    const void *main_stack = nullptr;
    size_t main_stack_bytes = 0;
    void *main_fake = nullptr;
    const std::function<void()> *body = nullptr;
    const char *kernel = "";
    bool failed = false;
} m;

uint64_t mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void to_main()
{
    thread *t = m.now;
#ifdef SIMT_ASAN
    __sanitizer_start_switch_fiber(t->what == ended ? nullptr : &t->asan_fake, m.main_stack, m.main_stack_bytes);
#endif
    simt_switch(&t->sp, m.main_sp);
#ifdef SIMT_ASAN
    __sanitizer_finish_switch_fiber(m.now->asan_fake, &m.main_stack, &m.main_stack_bytes);
#endif
}

void resume(thread *t)
{
    m.now = t;
#ifdef SIMT_ASAN
    __sanitizer_start_switch_fiber(&m.main_fake, t->stack, STACK);
#endif
    simt_switch(&m.main_sp, t->sp);
#ifdef SIMT_ASAN
    __sanitizer_finish_switch_fiber(m.main_fake, nullptr, nullptr);
#endif
    m.now = nullptr;
}

extern "C" void simt_entry()
{
#ifdef SIMT_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &m.main_stack, &m.main_stack_bytes);
#endif
    (*m.body)();
    m.now->what = ended;
    to_main();
    abort(); /* an ended thread is never resumed */
}

/* Positions 0 .. n-1 in the chosen order. */
void arrange(std::vector<int> &out, int n, uint64_t salt)
{
    out.resize(size_t(n));
    for (int i = 0; i < n; i++) out[size_t(i)] = m.ord == reverse ? n - 1 - i : i;
    if (m.ord != shuffled) return;
    uint64_t s = mix(m.seed ^ salt);
    for (int i = n - 1; i > 0; i--) {
        s = mix(s);
        std::swap(out[size_t(i)], out[size_t(s % uint64_t(i + 1))]);
    }
}

void say(const std::string &text)
{
    m.failed = true;
    if (m.report) {
        m.report(m.report_user, text.c_str());
        return;
    }
    fprintf(stderr, "simt: %s\n", text.c_str());
    abort();
}

std::string where(const thread &t)
{
    char b[256];
    const char *file = t.file ? strrchr(t.file, '/') : nullptr;

    snprintf(b, sizeof b, "thread (%u,%u,%u) at %s %s:%d", t.view.thread.x, t.view.thread.y, t.view.thread.z,
             t.what == at_barrier ? "barrier" : t.name ? t.name : "collective", file ? file + 1 : t.file ? t.file : "?", t.line);
    return b;
}

void stuck(const char *why)
{
    char b[256];
    int shown = 0, gone = 0;
    const thread &first = m.threads[0];

    snprintf(b, sizeof b, "kernel %s, block (%u,%u,%u): %s:", m.kernel, first.view.block.x, first.view.block.y,
             first.view.block.z, why);
    std::string text = b;
    for (const thread &t : m.threads) {
        if (t.what == ended) gone++;
        else if (shown++ < 8) text += " " + where(t) + ";";
    }
    snprintf(b, sizeof b, " %d waiting, %d ended", int(m.threads.size()) - gone, gone);
    say(text + b);
}

/* Opens every warp collective whose live lanes have all arrived. Returns how many. */
int open_collectives()
{
    int opened = 0;

    for (size_t w = 0; w < m.threads.size() && !m.failed; w += 32) {
        size_t lanes = std::min<size_t>(32, m.threads.size() - w);
        int waiting = 0, live = 0;
        const thread *first = nullptr;
        for (size_t i = 0; i < lanes; i++) {
            const thread &t = m.threads[w + i];
            if (t.what != ended) live++;
            if (t.what == at_collective) {
                waiting++;
                if (!first) first = &t;
            }
        }
        if (!waiting || waiting < live) continue;
        lane_io io[32];
        uint32_t present = 0;
        bool same = true;
        for (size_t i = 0; i < lanes; i++) {
            thread &t = m.threads[w + i];
            if (t.what != at_collective) continue;
            same = same && t.fn == first->fn && t.line == first->line && !strcmp(t.file, first->file);
            present |= 1u << i;
            io[i] = t.io;
        }
        if (!same) {
            stuck("the lanes of a warp meet at different collectives");
            return opened;
        }
        if (live < int(lanes)) {
            stuck("a warp collective that some lanes of the warp ended without");
            return opened;
        }
        first->fn(io, present);
        for (size_t i = 0; i < lanes; i++) {
            thread &t = m.threads[w + i];
            if (t.what != at_collective) continue;
            memcpy(t.io.out, io[i].out, sizeof t.io.out);
            t.what = runnable;
        }
        opened++;
    }
    return opened;
}

int open_barrier()
{
    const thread *first = nullptr;
    size_t waiting = 0, gone = 0;

    for (const thread &t : m.threads) {
        if (t.what == at_barrier) {
            waiting++;
            if (!first) first = &t;
        }
        if (t.what == ended) gone++;
    }
    if (!waiting || waiting + gone < m.threads.size()) return 0;
    if (gone) {
        stuck("divergent barrier: some threads ended without it");
        return 0;
    }
    for (thread &t : m.threads) {
        if (t.line != first->line || strcmp(t.file, first->file)) {
            stuck("divergent barrier: threads meet at different ones");
            return 0;
        }
    }
    for (thread &t : m.threads) t.what = runnable;
    return 1;
}

void start_block(idx block, dim3 grid, dim3 dim, size_t smem)
{
    size_t n = size_t(dim.x) * dim.y * dim.z;

    m.threads.clear();
    m.threads.resize(n);
    m.arrays.clear();
#ifdef SIMT_ASAN
    ASAN_UNPOISON_MEMORY_REGION(m.memory, SHARED_MAX);
#endif
    memset(m.memory, 0xFF, SHARED_MAX);
    m.dynamic = smem;
    m.used = (smem + GUARD + 127) & ~size_t(127);
    memset(m.memory + smem, 0xA5, m.used - smem);
#ifdef SIMT_ASAN
    ASAN_POISON_MEMORY_REGION(m.memory + smem, SHARED_MAX - smem);
#endif
    for (size_t i = 0; i < n; i++) {
        thread &t = m.threads[i];
        t.stack = m.stacks + i * STACK;
#ifdef SIMT_ASAN
        ASAN_UNPOISON_MEMORY_REGION(t.stack, STACK);
#endif
        memset(t.stack, 0x5A, GUARD);
        t.sp = first_frame(t.stack + STACK);
        t.what = runnable;
        t.view.thread = {unsigned(i % dim.x), unsigned(i / dim.x % dim.y), unsigned(i / dim.x / dim.y)};
        t.view.block = block;
        t.view.block_dim = dim;
        t.view.grid_dim = grid;
        t.view.lane = int(i % 32);
    }
}

void end_block()
{
    for (const thread &t : m.threads) {
        bool left = !t.open.empty();
        for (const std::vector<copy> &g : t.groups) left = left || !g.empty();
        if (left) {
            stuck("a thread ended with asynchronous copies that nothing waited for");
            return;
        }
        for (int i = 0; i < GUARD; i++) {
            if (static_cast<unsigned char>(t.stack[i]) != 0x5A) {
                stuck("a thread's stack overflowed");
                return;
            }
        }
    }
#ifdef SIMT_ASAN
    ASAN_UNPOISON_MEMORY_REGION(m.memory, SHARED_MAX);
#endif
    size_t end = m.dynamic;
    for (size_t a = 0; a <= m.arrays.size(); a++) {
        for (size_t i = end; i < ((end + GUARD + 127) & ~size_t(127)); i++) {
            if (m.memory[i] != 0xA5) {
                char b[200];
                snprintf(b, sizeof b, "kernel %s: a write past the end of %s (%zu bytes)", m.kernel,
                         a ? "a shared array" : "dynamic shared memory", a ? m.arrays[a - 1].bytes : m.dynamic);
                if (a) snprintf(b + strlen(b), sizeof b - strlen(b), " declared at line %d", m.arrays[a - 1].line);
                say(b);
                return;
            }
        }
        if (a < m.arrays.size()) end = m.arrays[a].at + m.arrays[a].bytes;
    }
}

/* In shuffled order warps run ahead of each other: about half of them sleep through any eight rounds. */
bool asleep(size_t thread, uint64_t round)
{
    return m.ord == shuffled && (mix(m.seed ^ mix(m.count ^ mix(thread / 32 ^ mix(round / 8)))) & 1);
}

void run_block()
{
    std::vector<int> turn;
    uint64_t round = 0;

    for (;;) {
        int ran = 0, live = 0, late = 0;
        arrange(turn, int(m.threads.size()), mix(m.count) ^ ++round);
        for (int i : turn) {
            thread &t = m.threads[size_t(i)];
            if (t.what != runnable) continue;
            if (asleep(size_t(i), round)) {
                late++;
                continue;
            }
            ran++;
            resume(&t);
            if (m.failed) return;
        }
        for (const thread &t : m.threads) live += t.what != ended;
        if (!live) break;
        if (open_collectives() + open_barrier() == 0 && !ran && !late) {
            if (!m.failed) stuck("deadlock: no thread can go on");
            return;
        }
        if (m.failed) return;
    }
    end_block();
}

void wait_here(state what, const char *file, int line)
{
    m.now->what = what;
    m.now->file = file;
    m.now->line = line;
    to_main();
}

void carry_out(const copy &c)
{
    if (c.valid) memcpy(c.to, c.from, c.valid);
    if (c.bytes > c.valid) memset(c.to + c.valid, 0, c.bytes - c.valid);
}

} // namespace

void set_order(order o, uint64_t seed)
{
    m.ord = o;
    m.seed = seed;
    simt_runtime_set_lazy(o != forward);
}

/* ES_SIMT_ORDER=forward|reverse|shuffled[:SEED] for programs that know nothing of the emulator. */
static void order_from_environment()
{
    static bool done;
    const char *v = getenv("ES_SIMT_ORDER"), *colon;

    if (done || !v) return;
    done = true;
    colon = strchr(v, ':');
    if (!strncmp(v, "reverse", 7)) set_order(reverse, 0);
    else if (!strncmp(v, "shuffled", 8)) set_order(shuffled, colon ? strtoull(colon + 1, nullptr, 10) : 1);
    else if (strcmp(v, "forward")) fail("ES_SIMT_ORDER is \"%s\", not forward, reverse or shuffled[:SEED]", v);
}

void set_report(report_fn fn, void *user)
{
    m.report = fn;
    m.report_user = user;
}

size_t shared_limit()
{
    const char *v = getenv("ES_SIMT_SHARED");
    size_t kb = v ? strtoull(v, nullptr, 10) : 99;

    if (kb < 48 || kb > 227) fail("ES_SIMT_SHARED is \"%s\", not 48 to 227", v);
    return kb * 1024;
}

uint64_t launches()
{
    return m.count;
}

const thread_view &self()
{
    return m.now->view;
}

void fail(const char *format, ...)
{
    char b[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(b, sizeof b, format, ap);
    va_end(ap);
    say(std::string("kernel ") + m.kernel + ": " + b);
}

void run_now(const char *kernel, dim3 grid, dim3 block, size_t smem, const std::function<void()> &body)
{
    size_t n = size_t(block.x) * block.y * block.z;
    std::vector<int> turn;

    m.kernel = kernel;
    m.failed = false;
    m.count++;
    if (!m.stacks) {
        m.stacks = static_cast<char *>(mmap(nullptr, size_t(STACK) * MAX_THREADS, PROT_READ | PROT_WRITE,
                                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        m.memory = static_cast<unsigned char *>(aligned_alloc(128, SHARED_MAX));
    }
    if (!n || n > MAX_THREADS || !grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535) {
        fail("launch of (%u,%u,%u) blocks of (%u,%u,%u) threads", grid.x, grid.y, grid.z, block.x, block.y, block.z);
        return;
    }
    if (smem > shared_limit()) {
        fail("%zu bytes of dynamic shared memory: this card has %zu", smem, shared_limit());
        return;
    }
    m.body = &body;
    size_t blocks = size_t(grid.x) * grid.y * grid.z;
    arrange(turn, int(blocks), mix(m.count));
    for (int b : turn) {
        unsigned u = unsigned(b);
        start_block({u % grid.x, u / grid.x % grid.y, u / grid.x / grid.y}, grid, block, smem);
        run_block();
        if (m.failed) break;
    }
#ifdef SIMT_ASAN
    ASAN_UNPOISON_MEMORY_REGION(m.memory, SHARED_MAX);
#endif
}

void launch(const char *kernel, dim3 grid, dim3 block, size_t smem, cudaStream_t stream, std::function<void()> body)
{
    order_from_environment();
    simt_runtime_enqueue(stream, [=]() { run_now(kernel, grid, block, smem, body); });
}

void *shared(size_t bytes, size_t align, const char *file, int line)
{
    (void)align; /* every array starts at a multiple of 128 */
    for (const array &a : m.arrays) {
        if (a.line == line && !strcmp(a.file, file)) return m.memory + a.at;
    }
    size_t at = m.used, end = (at + bytes + GUARD + 127) & ~size_t(127);
    if (end > SHARED_MAX) {
        fail("%zu bytes of shared memory", end);
        abort();
    }
#ifdef SIMT_ASAN
    ASAN_UNPOISON_MEMORY_REGION(m.memory + at, end - at);
#endif
    memset(m.memory + at + bytes, 0xA5, end - at - bytes);
#ifdef SIMT_ASAN
    ASAN_POISON_MEMORY_REGION(m.memory + at + bytes, end - at - bytes);
#endif
    m.used = end;
    m.arrays.push_back({file, line, at, bytes});
    return m.memory + at;
}

void *dynamic_shared()
{
    return m.memory;
}

void check_shared(const void *p, size_t bytes, size_t align, const char *what)
{
    const unsigned char *b = static_cast<const unsigned char *>(p);

    if (reinterpret_cast<uintptr_t>(p) % align) fail("%s: address %p is not a multiple of %zu", what, p, align);
    if (b >= m.memory && b + bytes <= m.memory + m.dynamic) return;
    for (const array &a : m.arrays) {
        if (b >= m.memory + a.at && b + bytes <= m.memory + a.at + a.bytes) return;
    }
    fail("%s: %zu bytes at %p are not in the block's shared memory", what, bytes, p);
}

void sync_threads(const char *file, int line)
{
    wait_here(at_barrier, file, line);
}

void collective(const char *name, collective_fn fn, const void *in, size_t in_bytes, void *out, size_t out_bytes,
                const char *file, int line)
{
    thread *t = m.now;

    if (in_bytes) memcpy(t->io.in, in, in_bytes);
    t->fn = fn;
    t->name = name;
    wait_here(at_collective, file, line);
    if (out_bytes) memcpy(out, t->io.out, out_bytes);
}

void sync_warp(const char *file, int line)
{
    collective("__syncwarp", [](lane_io *, uint32_t) {}, nullptr, 0, nullptr, 0, file, line);
}

uint32_t ballot(bool p, const char *file, int line)
{
    uint32_t r;

    collective("ballot",
               [](lane_io *lanes, uint32_t present) {
                   uint32_t bits = 0;
                   for (int i = 0; i < 32; i++)
                       if (present >> i & 1 && lanes[i].in[0]) bits |= 1u << i;
                   for (int i = 0; i < 32; i++) memcpy(lanes[i].out, &bits, 4);
               },
               &p, sizeof p, &r, sizeof r, file, line);
    return r;
}

void shuffle_bytes(const void *in, void *out, size_t bytes, int mode, int arg, const char *file, int line)
{
    unsigned char pack[96];
    int head[2] = {mode, arg};

    memcpy(pack, head, sizeof head);
    memcpy(pack + 16, in, bytes);
    collective("shuffle",
               [](lane_io *lanes, uint32_t present) {
                   for (int i = 0; i < 32; i++) {
                       int h[2], from;
                       if (!(present >> i & 1)) continue;
                       memcpy(h, lanes[i].in, sizeof h);
                       from = h[0] == 0 ? h[1] & 31 : h[0] == 1 ? i ^ h[1] : h[0] == 2 ? i - h[1] : i + h[1];
                       if (from < 0 || from > 31) from = i;
                       if (present >> from & 1) memcpy(lanes[i].out, lanes[from].in + 16, 32);
                       else memset(lanes[i].out, 0xFF, 32); /* a lane that is not there: undefined on a card */
                   }
               },
               pack, 16 + bytes, out, bytes, file, line);
}

void async_copy(void *to, const void *from, size_t bytes, size_t valid)
{
    check_shared(to, bytes, bytes, "cp.async");
    if (reinterpret_cast<uintptr_t>(from) % bytes) fail("cp.async: source %p is not a multiple of %zu", from, bytes);
    memset(to, 0xFF, bytes);
    m.now->open.push_back({static_cast<unsigned char *>(to), static_cast<const unsigned char *>(from), bytes, valid});
}

void async_commit()
{
    m.now->groups.push_back(m.now->open);
    m.now->open.clear();
}

void async_wait(int newest_left)
{
    thread *t = m.now;

    while (t->groups.size() > size_t(newest_left)) {
        for (const copy &c : t->groups.front()) carry_out(c);
        t->groups.erase(t->groups.begin());
    }
}

} // namespace simt
