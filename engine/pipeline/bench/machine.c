/*
 * machine.c - Linux' own files, and the one library that is looked for at run time: NVML, which comes with NVIDIA's driver.
 */
#define _GNU_SOURCE
#include "pipeline/bench/machine.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* ---- memory ---- */

static uint64_t status_bytes(const char *key)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    uint64_t kib = 0;

    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)) && sscanf(line + strlen(key), ": %" SCNu64 " kB", &kib) == 1) break;
    fclose(f);
    return kib * 1024;
}

uint64_t es_machine_peak_bytes(void)
{
    return status_bytes("VmHWM");
}

uint64_t es_machine_anonymous_bytes(void)
{
    return status_bytes("RssAnon");
}

void es_machine_forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "we");

    if (!f) return;
    fputs("5", f);
    fclose(f);
}

/* ---- time and place ---- */

static double clock_of(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double es_machine_now(void)
{
    return clock_of(CLOCK_MONOTONIC);
}

double es_machine_cpu_seconds(void)
{
    return clock_of(CLOCK_PROCESS_CPUTIME_ID);
}

void es_machine_name(char *out, size_t room)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct utsname u;

    snprintf(out, room, "%s, %ld core%s", uname(&u) == 0 ? u.machine : "a machine without a name", cores, cores == 1 ? "" : "s");
}

void es_machine_date(char *out, size_t room)
{
    time_t now = time(NULL);
    struct tm t;

    if (!gmtime_r(&now, &t) || !strftime(out, room, "%Y-%m-%d %H:%M UTC", &t)) snprintf(out, room, "a day unknown");
}

void es_machine_commit(char *out, size_t room)
{
#ifdef ES_COMMIT
    snprintf(out, room, "%s", ES_COMMIT);
#else
    snprintf(out, room, "version %s", ES_VERSION);
#endif
}

/* ---- energy: NVML ---- */

typedef int (*nvml_plain)(void);
typedef int (*nvml_count)(unsigned *n);
typedef int (*nvml_handle)(unsigned index, void **card);
typedef int (*nvml_energy)(void *card, unsigned long long *millijoules);

/* The standard has no cast from a pointer to data to one to a function; POSIX says that the bits are the same. */
#define SYMBOL(library, name, function)                  \
    do {                                                 \
        void *symbol = dlsym(library, name);             \
        memcpy(&(function), &symbol, sizeof(function));  \
    } while (0)

static bool card_joules(const es_energy *e, double *joules)
{
    unsigned long long millijoules = 0;
    nvml_energy energy = NULL;

    SYMBOL(e->library, "nvmlDeviceGetTotalEnergyConsumption", energy);
    if (!energy || energy(e->card, &millijoules)) return false;
    *joules = (double)millijoules * 1e-3;
    return true;
}

/* NVML counts cards in another order than CUDA, so that a machine with several tells nothing. */
static void open_nvml(es_energy *e)
{
    nvml_plain init = NULL;
    nvml_count count = NULL;
    nvml_handle handle = NULL;
    unsigned n = 0;

    e->library = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (!e->library) {
        snprintf(e->from, sizeof e->from, "the driver's library NVML is not here");
        return;
    }
    SYMBOL(e->library, "nvmlInit_v2", init);
    SYMBOL(e->library, "nvmlDeviceGetCount_v2", count);
    SYMBOL(e->library, "nvmlDeviceGetHandleByIndex_v2", handle);
    if (!init || !count || !handle || init()) {
        dlclose(e->library);
        e->library = NULL;
        snprintf(e->from, sizeof e->from, "NVML does not start");
    } else if (count(&n) || n != 1) {
        snprintf(e->from, sizeof e->from, "there are %u cards, and NVML numbers them in its own way", n);
    } else if (handle(0, &e->card) || !card_joules(e, &e->last[0])) {
        snprintf(e->from, sizeof e->from, "NVML does not count this card's energy");
    } else {
        e->told = true;
        snprintf(e->from, sizeof e->from, "the card, by NVML");
    }
}

/* ---- energy: RAPL ---- */

static bool read_joules(const char *path, double *joules)
{
    unsigned long long microjoules;
    FILE *f = fopen(path, "re");
    bool good = f && fscanf(f, "%llu", &microjoules) == 1;

    if (f) fclose(f);
    if (good) *joules = (double)microjoules * 1e-6;
    return good;
}

static void open_rapl(es_energy *e)
{
    char wrap[96];
    bool there = false;

    for (int i = 0; i < ES_ENERGY_COUNTERS; i++) {
        snprintf(e->path[e->n], sizeof e->path[0], "/sys/class/powercap/intel-rapl:%d/energy_uj", i);
        snprintf(wrap, sizeof wrap, "/sys/class/powercap/intel-rapl:%d/max_energy_range_uj", i);
        there = there || access(e->path[e->n], F_OK) == 0;
        if (read_joules(e->path[e->n], &e->last[e->n]) && read_joules(wrap, &e->wrap[e->n])) e->n++;
    }
    e->told = e->n > 0;
    snprintf(e->from, sizeof e->from, "%s", e->told ? "the machine's processors, by RAPL, whoever used them"
                                      : there       ? "RAPL's counters may not be read"
                                                    : "the processor has no counters that Linux shows (RAPL)");
}

void es_energy_open(es_energy *e, es_backend backend)
{
    *e = (es_energy){0};
    if (backend == ES_CUDA) open_nvml(e);
    else open_rapl(e);
}

double es_energy_joules(es_energy *e)
{
    double now;

    if (!e->told) return -1;
    if (e->card) {
        if (card_joules(e, &now)) e->joules += now - e->last[0], e->last[0] = now;
        return e->joules;
    }
    for (int i = 0; i < e->n; i++) {
        if (!read_joules(e->path[i], &now)) continue;
        e->joules += now >= e->last[i] ? now - e->last[i] : now + e->wrap[i] - e->last[i];
        e->last[i] = now;
    }
    return e->joules;
}

void es_energy_close(es_energy *e)
{
    nvml_plain shutdown = NULL;

    if (!e->library) return;
    SYMBOL(e->library, "nvmlShutdown", shutdown);
    if (shutdown) shutdown();
    dlclose(e->library);
    e->library = NULL;
}
