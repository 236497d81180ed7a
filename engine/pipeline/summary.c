/*
 * summary.c - see summary.h.
 *
 * A stage's speed is of the sound that was stored, so in a run that was broken off the stages of what was lost look slower
 * than they are; their share of the time is right all the same.
 *
 * The decoder's fill is counted over steps while windows wait, since a run's last windows leave slots empty that nothing could
 * fill; the encoder's over all its steps, since it is begun again whenever enough slots are free.
 */
#include "pipeline/summary.h"

#include "pipeline/bench/machine.h"

static double over(double a, double b)
{
    return b > 0 ? a / b : 0;
}

void es_summary_make(es_summary *out, const es_ingest_tally *t, const es_session *s)
{
    const es_batch_figures *b = &t->batch;
    const es_transcribe_times *m = &t->times;
    double audio = (double)t->audio_ms / 1000;
    const struct {
        const char *name, *label;
        double seconds, fill;
        bool of_sound; /* its work grows with the sound */
    } all[] = {
        {"load", "load the models", t->load_seconds, -1, false},
        {"read", "read for the hash", t->read_seconds, -1, true},
        {"decode", "decode the file", t->decode_seconds, -1, true},
        {"segment", "find speech", t->heard.segment, -1, true},
        {"voices", "hear voices", t->heard.embed, -1, true},
        {"cluster", "tell them apart", t->heard.cluster, -1, true},
        {"listen", "mel maximum", m->listen, -1, true},
        {"encode", "mel and encoder", m->encode, b->encode_all ? over((double)b->times.windows, (double)b->encode_all) : -1, true},
        {"text", "decoder", m->decode, b->full_all ? over((double)b->full_slot_steps, (double)b->full_all) : -1, true},
        {"words", "times of words", m->align, -1, true},
        {"embed", "passages, vectors", t->meaning_seconds, -1, true},
        {"store", "store", t->store_seconds, -1, true},
        {"names", "who is who", t->names_seconds, -1, false},
    };

    _Static_assert(sizeof all / sizeof all[0] == ES_SUMMARY_STAGES, "there is room for every stage");
    *out = (es_summary){.speed = over(audio, t->seconds),
                        .files_per_hour = over(3600 * (double)t->stored, t->seconds),
                        .passages_per_second = over((double)t->passages, t->meaning_seconds),
                        .arena_bytes = es_session_arena_bytes(s),
                        .peak_bytes = es_machine_peak_bytes()};
    for (size_t i = 0; i < ES_SUMMARY_STAGES; i++) {
        if (all[i].seconds < 5e-5) continue; /* nothing worth a line */
        out->stage[out->n++] = (es_summary_stage){.name = all[i].name,
                                                  .label = all[i].label,
                                                  .seconds = all[i].seconds,
                                                  .busy = over(all[i].seconds, t->seconds),
                                                  .speed = all[i].of_sound ? over(audio, all[i].seconds) : 0,
                                                  .fill = all[i].fill};
    }
}

void es_summary_add(es_ingest_tally *a, const es_ingest_tally *b)
{
    a->files += b->files, a->stored += b->stored, a->known += b->known, a->failed += b->failed;
    a->audio_ms += b->audio_ms, a->passages += b->passages;
    a->seconds += b->seconds, a->load_seconds += b->load_seconds, a->read_seconds += b->read_seconds;
    a->decode_seconds += b->decode_seconds, a->hear_seconds += b->hear_seconds, a->speech_seconds += b->speech_seconds;
    a->meaning.cut += b->meaning.cut, a->meaning.vectors += b->meaning.vectors, a->meaning.computed += b->meaning.computed;
    a->meaning_seconds += b->meaning_seconds, a->store_seconds += b->store_seconds, a->names_seconds += b->names_seconds;

    es_diarize_times *d = &a->heard;
    d->segment += b->heard.segment, d->embed += b->heard.embed, d->cluster += b->heard.cluster;
    d->windows += b->heard.windows, d->vectors += b->heard.vectors, d->trained += b->heard.trained;

    es_transcribe_times *const to[] = {&a->times, &a->batch.times};
    const es_transcribe_times *const from[] = {&b->times, &b->batch.times};
    for (int i = 0; i < 2; i++) {
        to[i]->listen += from[i]->listen, to[i]->encode += from[i]->encode, to[i]->decode += from[i]->decode;
        to[i]->align += from[i]->align, to[i]->windows += from[i]->windows, to[i]->attempts += from[i]->attempts;
        to[i]->tokens += from[i]->tokens;
    }

    es_batch_figures *f = &a->batch;
    const es_batch_figures *g = &b->batch;
    f->steps += g->steps, f->slot_steps += g->slot_steps, f->encode_all += g->encode_all;
    f->full_steps += g->full_steps, f->full_slot_steps += g->full_slot_steps, f->full_all += g->full_all;
}
