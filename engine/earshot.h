/*
 * earshot.h - the public door: recordings in, their words in a library, found and exported again.
 *
 * Two handles. An es_engine holds the models: where they lie, on which device they run, in how much memory. An es_library
 * is a folder with everything known of every recording. They meet in es_engine_ingest(), which walks files through
 * decoding, transcription and storing; es_engine_transcribe() does the middle part for samples that are already at hand.
 * An es_encoder, beside them, turns texts into vectors that lie close where the texts mean the same.
 *
 *     es_error error = {0};
 *     es_engine_options options = ES_ENGINE_OPTIONS;
 *     es_engine *engine = NULL;
 *     es_speech *speech = NULL;
 *     if (es_engine_open(&engine, &options, &error) == ES_DONE &&
 *         es_engine_transcribe(engine, &speech, samples, n_samples, NULL, NULL, NULL, &error) == ES_DONE)
 *         ...
 *     es_speech_close(speech);
 *     es_engine_close(engine);
 *
 * Every function that can fail returns ES_DONE (0) or a negative code and fills *error, which may be NULL, with one
 * sentence. Every closer accepts NULL. Texts are UTF-8. Structs that the caller fills begin with their size, so that a
 * program built against this header runs with later libraries: start from the ES_..._OPTIONS initialiser.
 *
 * A handle is used by one thread at a time; different engines and one library handle each may be used by different
 * threads. Processes may share a library folder; one process opens it once.
 */
#ifndef EARSHOT_H
#define EARSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ES_VERSION_MAJOR 0
#define ES_VERSION_MINOR 1
#define ES_VERSION_PATCH 0
#define ES_VERSION_NUMBER (ES_VERSION_MAJOR * 10000 + ES_VERSION_MINOR * 100 + ES_VERSION_PATCH)

#if defined(__GNUC__)
#define ES_API __attribute__((visibility("default")))
#else
#define ES_API
#endif

ES_API int es_version_number(void);         /* of the library in use, as ES_VERSION_NUMBER */
ES_API const char *es_version_text(void);   /* "0.1.0" */

/* ---- errors and messages ---- */

typedef enum es_code {
    ES_DONE = 0,
    ES_BAD_ARGUMENT = -1,
    ES_IO_FAILED = -2,
    ES_BAD_FORMAT = -3,
    ES_NO_MEMORY = -4,
    ES_OVER_BUDGET = -5,
    ES_BAD_MODEL = -6,
    ES_BAD_LIBRARY = -7,
    ES_NOT_FOUND = -8,
    ES_NO_SOUND = -9,
    ES_DEVICE_FAILED = -10,
    ES_CANCELLED = -11,
    ES_TOO_NEW = -12,
    ES_IN_USE = -13
} es_code;

typedef struct es_error {
    int code;        /* an es_code */
    char text[1024]; /* one sentence without a newline; control characters of names are escaped */
} es_error;

ES_API const char *es_code_text(int code); /* "not found" */

/* A name as it may be printed: control characters and broken UTF-8 as \xNN, cut with "..."; returns out. */
ES_API const char *es_name_shown(char *out, size_t room, const char *name);

/* Columns that n bytes of text take where every character has a place of its own, as on terminals and in subtitles: 0 for marks
 * and controls, 2 for wide characters of East Asia and emoji. Bytes that are not UTF-8 take 1 for each run of them. */
ES_API int es_text_columns(const char *text, size_t n);

/* Notes and warnings of the library, one sentence at a time, called under a lock; NULL: silence, as at the start. Set
 * before other threads start. level: 0 error, 1 warning, 2 note, 3 information, 4 debugging; least: the last one told. */
typedef void (*es_message_fn)(void *user, int level, const char *sentence);
ES_API void es_messages_to(es_message_fn tell, void *user, int least);

/* ---- where things lie ---- */

/* Defaults when an option is NULL: $XDG_DATA_HOME/earshot/library and $XDG_DATA_HOME/earshot/models, with ~/.local/share
 * where the variable is not set. ES_BAD_ARGUMENT when there is neither the variable nor a home. */
ES_API int es_default_library(char *out, size_t room, es_error *error);
ES_API int es_default_models(char *out, size_t room, es_error *error);

/* ---- the engine ---- */

typedef struct es_engine es_engine;

typedef struct es_engine_options {
    size_t size;
    const char *models; /* folder of packs, or one pack; NULL: es_default_models() */
    const char *asr;    /* name of the speech model's pack; NULL: the only one */
    const char *device; /* "auto", "cpu", "cuda", "cuda:N"; NULL: auto */
    uint64_t budget;    /* bytes the engine may hold on its device; 0: the default of that device */
    int threads;        /* of the CPU; 0: all cores */
    /* Names of the packs of the other stages. NULL: the only one of its kind in the folder; else ResNet34 before CAM++ as
     * the diarizer, ECAPA before the diarizer's network as the voice, GTE before MiniLM as the embedder. "none": the stage
     * is left out, as it is where no pack serves it. */
    const char *segmentation, *diarizer, *voice, *embedder;
    bool sequential;             /* one window after the other: room for no more is planned */
    bool least;                  /* es_engine_plan: the smallest batches, and as the budget what they need */
    const char *embedder_device; /* where the embedder runs, if elsewhere; it then has a memory plan of its own. NULL: device */
    int embedder_batch_size;     /* texts it computes together, at most; 0: as many as the plan allows. Vectors stay the same */
} es_engine_options;
#define ES_ENGINE_OPTIONS {.size = sizeof(es_engine_options)}

/* Finds and chooses the packs; models are planned, memory is taken and weights are read when they are first needed.
 * ES_NOT_FOUND where there is no pack, with a sentence that says how to get one. */
ES_API int es_engine_open(es_engine **out, const es_engine_options *options, es_error *error);
ES_API void es_engine_close(es_engine *engine);

/* How to listen. NULL members and zeroes are the defaults named here. */
typedef struct es_speech_options {
    size_t size;
    const char *language;   /* "en" ... ; "auto": heard once, from the first 30 s; "each": for every window. NULL: auto */
    const char *task;       /* "transcribe", or "translate" into English. NULL: transcribe */
    const char *prompt;     /* words the recording may contain, as if said before it. NULL: none */
    double temperature;     /* < 0: greedy with fallback to higher temperatures; 0: greedy only; else that alone */
    bool no_words;          /* leave out the times of words */
    bool seek_words;        /* the next window starts at the end of the last word, not at the last timestamp */
    const char *diarization; /* "campplus", "3.1", "community-1", "none"; NULL: what belongs to the diarizer's pack */
    const char *speakers;   /* how many people speak: "2", "2-5"; NULL: not known */
    double step;            /* seconds between the windows in which speakers are looked for; <= 0: 1 */
    bool no_fast_path;      /* tell speakers apart also where one enrolled person speaks alone */
    bool sequential;        /* one recording after the other, each window where the last one's text ended */
} es_speech_options;
#define ES_SPEECH_OPTIONS {.size = sizeof(es_speech_options), .temperature = -1}

/* What happens, told while it happens. A listener that returns anything but 0 cancels: the call ends with
 * ES_CANCELLED, and nothing half-done is left behind. */
typedef enum es_event_kind {
    ES_EVENT_START,    /* a file is begun */
    ES_EVENT_PROGRESS, /* stage, fraction and the times are new */
    ES_EVENT_STORED,   /* the file is in the library: words, audio_ms, seconds; text: its id */
    ES_EVENT_KNOWN,    /* its content was there already; text: what is said about that */
    ES_EVENT_FAILED,   /* text: why; the walk goes on with the next file */
    ES_EVENT_NOTE,     /* text: something about the file that its owner should know */
    ES_EVENT_WAITING   /* only of es_engine_watch(): there is nothing to do; again and again, a few times a second; path: "" */
} es_event_kind;

typedef struct es_event {
    es_event_kind kind;
    const char *path;        /* as given, or found below a given folder */
    size_t index, count;     /* of the file, from 0, among all files of the call */
    const char *stage;       /* "reading", "decoding", "finding speech", "hearing voices", "transcribing", "embedding", "storing" */
    double fraction;         /* 0 .. 1 of this file's work */
    double eta_seconds;      /* until this file is done; < 0: not known yet */
    double eta_all_seconds;  /* until all files are done; < 0: not known yet */
    double speed;            /* seconds of sound transcribed in a second so far, in this file */
    int64_t audio_ms;        /* length of the recording; 0 while it is not known */
    double seconds;          /* spent on this file */
    uint64_t words;
    const char *text;        /* a sentence, see kind; else NULL */
    double fraction_all;     /* 0 .. 1 of the work of all files of the call; < 0: not known */
} es_event;

typedef int (*es_event_fn)(void *user, const es_event *event);

/* Transcribes n samples, mono at 16 kHz in [-1, 1). options, listen may be NULL. *out is the caller's. */
typedef struct es_speech es_speech;
ES_API int es_engine_transcribe(es_engine *engine, es_speech **out, const float *samples, int64_t n,
                                const es_speech_options *options, es_event_fn listen, void *user, es_error *error);

/* ---- speech: what was said ---- */

typedef struct es_segment_view {
    int64_t start_ms, end_ms;
    const char *text; /* not terminated: text_bytes of it; until es_speech_close() */
    size_t text_bytes;
    size_t first_word, n_words;
    const char *language;
    float avg_logprob, no_speech, compression_ratio, temperature;
    int speaker; /* below es_speech_speakers(); -1 unknown */
} es_segment_view;

typedef struct es_word_view {
    int64_t start_ms, end_ms;
    const char *text; /* with the blank before it */
    size_t text_bytes;
    float probability;
    int speaker; /* -1 unknown */
} es_word_view;

/* Somebody speaking without a break. Turns may overlap. */
typedef struct es_turn_view {
    int64_t start_ms, end_ms;
    int speaker;
} es_turn_view;

ES_API size_t es_speech_segments(const es_speech *speech);
ES_API size_t es_speech_words(const es_speech *speech);
ES_API int es_speech_segment(const es_speech *speech, size_t i, es_segment_view *out);
ES_API int es_speech_word(const es_speech *speech, size_t i, es_word_view *out);
/* Who was told apart, numbered in the order in which they are first heard; 0 where nobody was looked for or heard. */
ES_API int es_speech_speakers(const es_speech *speech);
/* What a speaker is called, cut to room; returns out. */
ES_API const char *es_speech_speaker(const es_speech *speech, int speaker, char *out, size_t room);
/* How a speaker of a recording of a library compares with those who are enrolled. */
typedef struct es_likeness {
    const char *name;    /* the nearest one, whether the speaker is called so or not; "" where nobody was compared. Until
                          * es_speech_close() */
    const char *verdict; /* "named", "told" (by the user), "maybe", "close" (another is nearly as near), "unknown", "short"
                          * (too little speech) or "incomparable" (nobody is enrolled with this model) */
    double score;        /* cosine */
    double margin;       /* of the score over the next person's, or the next voice's of the recording */
} es_likeness;
ES_API int es_speech_likeness(const es_speech *speech, int speaker, es_likeness *out); /* ES_NOT_FOUND: nothing is known of it */
ES_API size_t es_speech_turns(const es_speech *speech); /* in order of start */
ES_API int es_speech_turn(const es_speech *speech, size_t i, es_turn_view *out);
ES_API const char *es_speech_language(const es_speech *speech);
ES_API void es_speech_close(es_speech *speech);

typedef struct es_subtitle_options {
    size_t size;
    int max_line_width;  /* of subtitles, in columns; 0: 42 */
    int max_lines;       /* of one subtitle; 0: 2 */
    bool vtt_words;      /* word times inside the lines of vtt */
} es_subtitle_options;
#define ES_SUBTITLE_OPTIONS {.size = sizeof(es_subtitle_options)}

/* format: "txt", "srt", "vtt", "json", "tsv" or "rttm". *text is the caller's, to give to es_free(); it ends with a NUL that
 * *bytes does not count. */
ES_API int es_speech_export(const es_speech *speech, const char *format, const es_subtitle_options *options, char **text,
                            size_t *bytes, es_error *error);
ES_API const char *es_speech_format(int i); /* names of the formats; NULL past the last */
ES_API void es_free(void *p);

/* ---- the library ---- */

typedef struct es_library es_library;
enum { ES_LIBRARY_READ_ONLY = 1, ES_LIBRARY_CREATE = 2 };

ES_API int es_library_open(es_library **out, const char *folder /* or NULL */, unsigned flags, es_error *error);
ES_API void es_library_close(es_library *library);
ES_API const char *es_library_folder(const es_library *library);

typedef struct es_recording {
    char id[33];               /* XXH3-128 of the file's bytes in hexadecimal digits */
    int track;                 /* among its audio streams, from 0 */
    int tracks;
    const char *path;          /* where it was seen last */
    uint64_t bytes;
    int64_t duration_ms;
    const char *container, *codec;
    int sample_rate, channels;
    int64_t damaged_packets;   /* skipped */
    bool truncated;            /* the file ended early */
    const char *language;
    uint64_t segments, words;
    int speakers;              /* told apart; 0 also where nobody was looked for */
    const char *asr, *settings, *program; /* made with: pack, settings as JSON, version */
    int64_t ingested_ms;       /* wall clock, since 1970 */
} es_recording;

/* In the order of paths; visit returns 0 to go on. The struct is valid inside the call. */
ES_API int es_library_list(es_library *library, int (*visit)(void *user, const es_recording *r), void *user,
                           es_error *error);
/* name: a path, a file name, or 6 or more digits of an id. visit may be NULL; *speech, which is the caller's, too. */
ES_API int es_library_find(es_library *library, const char *name, int (*visit)(void *user, const es_recording *r),
                           void *user, es_speech **speech, es_error *error);
/* Writes a file for each recording and format into a folder, which is made if need be: all recordings, or those named.
 * formats: separated by commas; NULL: srt. written is told each path, or what failed (then the export goes on); it
 * returns 0 to go on and may be NULL. */
ES_API int es_library_export(es_library *library, const char *const *names, size_t n, const char *formats,
                             const char *folder, const es_subtitle_options *options,
                             int (*written)(void *user, const char *path, const es_error *failed), void *user,
                             es_error *error);
ES_API int es_library_remove(es_library *library, const char *name, es_error *error);
/* Rewrites the library without what was removed: no byte of it is left. Sizes before and after; may be NULL. */
ES_API int es_library_compact(es_library *library, uint64_t *before, uint64_t *after, es_error *error);
ES_API int es_library_backup(es_library *library, const char *to_folder, es_error *error);

typedef struct es_library_report {
    uint64_t recordings, segments, words, records, faults;
} es_library_report;
/* Reads every record. ES_DONE also where faults were found: each is told as a sentence. */
ES_API int es_library_check(es_library *library, es_library_report *out, void (*fault)(void *user, const char *sentence),
                            void *user, es_error *error);

/* ---- people: names for voices ---- */

/* Somebody who speaks in recordings, or whose voice was enrolled. */
typedef struct es_person {
    const char *name;         /* or "Speaker 12": the same unknown person in all recordings */
    bool enrolled;            /* there is a name */
    size_t clips;             /* recordings the voice is known by */
    int64_t speech_ms;        /* in these, or without any, alone in the recordings */
    const char *models;       /* whose vectors the clips are, separated by commas */
    size_t recordings;        /* in which the person speaks */
    const char *const *paths; /* of these */
    bool comparable;          /* false once the person's vectors were forgotten */
} es_person;
/* Those with names in the order of their names, then the others; visit returns 0 to go on. */
ES_API int es_library_people(es_library *library, int (*visit)(void *user, const es_person *person), void *user,
                             es_error *error);
/* The paths of the recordings in which a person speaks; who: a name, or "Speaker 12". visit returns 0 to go on. */
ES_API int es_library_speaks_in(es_library *library, const char *who, int (*visit)(void *user, const char *path),
                                void *user, es_error *error);

/* Speakers of recordings who are called otherwise after a change, and in how many recordings they are. */
typedef struct es_relabeled {
    size_t speakers, recordings;
} es_relabeled;
/* out may be NULL in all of these. A name for somebody who has none, or another one. */
ES_API int es_library_rename_speaker(es_library *library, const char *who, const char *name, es_relabeled *out,
                                     es_error *error);
/* Both are one person, by the first name. */
ES_API int es_library_merge_speakers(es_library *library, const char *who, const char *other, es_relabeled *out,
                                     es_error *error);
/* Who speaks in this recording is not that person. */
ES_API int es_library_split_speaker(es_library *library, const char *who, const char *recording, es_relabeled *out,
                                    es_error *error);
/* Forgets the name and every vector of the person; after es_library_compact() no byte of them is left. */
ES_API int es_library_forget_speaker(es_library *library, const char *who, es_relabeled *out, es_error *error);

/* Told of a file that was refused, with why, and of what the user should know of one that was taken; path is "" where it
 * is not about one file. */
typedef void (*es_enroll_fn)(void *user, const char *path, bool refused, const char *sentence);
typedef struct es_enrolled_report {
    size_t clips;      /* files that were taken */
    int64_t speech_ms; /* in them */
    size_t speakers, recordings; /* of the library who are called by the name now */
} es_enrolled_report;
/* Makes a person known by files in which nobody else speaks, and names them in all recordings of the library, past and to
 * come. Of the engine's options those about the speech model mean nothing. A file that is refused does not keep the others
 * from being taken; the call fails where none was. tell and out may be NULL. */
ES_API int es_library_enroll(es_library *library, const char *name, const char *const *files, size_t n, int track,
                             const es_engine_options *options, es_enroll_fn tell, void *user, es_enrolled_report *out,
                             es_error *error);

/* ---- ingest ---- */

/* A stage of ingest, over all files of a run. */
typedef struct es_stage_figures {
    const char *name;  /* "load", "read", "decode", "segment", "voices", "cluster", "listen", "encode", "text", "words", "embed",
                        * "store", "names" */
    const char *label; /* the same for people: "mel and encoder" */
    double seconds;    /* at work. Threads that read and decode files work beside the models, so that the sum over all
                        * stages may exceed the run */
    double busy;       /* seconds over those of the run */
    double speed;      /* seconds of sound a second at work; 0: not known */
    double fill;       /* 0 .. 1: how much of the batch that was planned was in use; < 0: not counted */
} es_stage_figures;

typedef struct es_ingest_summary {
    size_t size; /* of this struct, in the library that fills it */
    size_t files, stored, known, failed;
    int64_t audio_ms;       /* of the files stored */
    double seconds;         /* of the run; es_engine_watch(): without those in which there was nothing to do */
    double speed;           /* seconds of sound a second */
    double files_per_hour;  /* stored */
    uint64_t windows;       /* of at most 30 s that reached the speech model */
    uint64_t tokens;        /* that it wrote */
    uint64_t passages;      /* cut and, where there is an encoder, embedded */
    double passages_per_second;
    uint64_t arena_bytes;   /* memory of the models on the device; 0 where none was loaded */
    uint64_t peak_bytes;    /* the most that the process had resident on the host so far; 0: not known */
    const es_stage_figures *stages; /* those that did anything, in the order of their work */
    size_t n_stages;
    bool cancelled;   /* the run ended early */
    uint64_t vectors; /* of passages, computed in this run: without those that an ended one had kept */
} es_ingest_summary;

typedef struct es_ingest_options {
    size_t size;
    const es_speech_options *speech; /* NULL: the defaults */
    int track;                       /* audio stream to take, counted from 0 */
    bool again;                      /* compute what is known once more, all of it or again_stage */
    /* Told once what the run cost, at its end, also where it was cancelled; user as for listen. NULL: nobody asks. The
     * struct and all in it are valid inside the call. */
    void (*summary)(void *user, const es_ingest_summary *summary);
    double keep_seconds; /* work inside a recording that an end at any moment may cost; 0: less than a step; < 0: 2 */
    /* With again: the stage that is computed once more, while the rest is taken from the library. "words": the speech model;
     * who speaks stays. "speakers": who speaks when; words stay, and are theirs anew. "meaning": passages and their vectors,
     * for which the sound is not needed. A recording that is not there yet is taken in whole. NULL: everything. */
    const char *again_stage;
} es_ingest_options;
#define ES_INGEST_OPTIONS {.size = sizeof(es_ingest_options), .keep_seconds = -1}

typedef struct es_ingest_report {
    size_t files, stored, known, failed;
    int64_t audio_ms; /* of the files stored */
    double seconds;
} es_ingest_report;

/* Files, and folders with everything below them that has a known media ending. A file that fails is told to listen and
 * counted; the call then still returns ES_DONE. report may be NULL. */
ES_API int es_engine_ingest(es_engine *engine, es_library *library, const char *const *paths, size_t n,
                            const es_ingest_options *options, es_event_fn listen, void *user, es_ingest_report *report,
                            es_error *error);

typedef struct es_watch_options {
    size_t size;
    const es_ingest_options *ingest; /* NULL: the defaults. What it says of again holds for everything that is taken */
    double settle_seconds; /* a file that nobody was seen to close is complete when it stays as it is so long; <= 0: 5 */
    bool poll;             /* look at all files every few seconds also where the system tells of changes */
} es_watch_options;
#define ES_WATCH_OPTIONS {.size = sizeof(es_watch_options)}

/* Ingests what lies in folders and below them, then what arrives there, until listen says that it is enough: it returns
 * anything but 0, and the call ES_DONE. Models stay where they are between files. Taken are complete files alone: those that
 * were closed by whoever wrote them, or moved there, and those that do not change for a while; never names of files that are
 * on their way (.part, .crdownload, .tmp and others, or hidden). A file that changes later is taken again. One that fails is
 * told and left alone until it changes. Returns anything else only where no file could be taken: a folder that is not there
 * at the start, a library or a device that failed. Called on the thread that has the engine, which it keeps; listen is called
 * on it, at least a few times a second while there is nothing to do. */
ES_API int es_engine_watch(es_engine *engine, es_library *library, const char *const *folders, size_t n,
                           const es_watch_options *options, es_event_fn listen, void *user, es_error *error);

/* ---- meaning: texts as vectors ---- */

typedef struct es_encoder es_encoder;

typedef struct es_encoder_options {
    size_t size;
    const char *models; /* folder of packs; NULL: es_default_models() */
    const char *model;  /* a pack's path, or its name in that folder; NULL: the only text encoder there */
    const char *device; /* "auto", "cpu", "cuda", "cuda:N"; NULL: auto */
    uint64_t budget;    /* bytes the encoder may hold on its device; 0: the default of that device */
    int threads;        /* of the CPU; 0: all cores */
    int batch_size;     /* texts computed together, at most; 0: 256. Memory does not depend on it, vectors neither */
    const char *device_from; /* what the device was written in, for sentences: "EMBEDDING_DEVICE"; NULL: "--device" */
    bool split;         /* texts longer than the model or the plan takes: in parts, not cut; es_encoder_embed() says how */
} es_encoder_options;
#define ES_ENCODER_OPTIONS {.size = sizeof(es_encoder_options)}

/* Finds the pack and opens its tokenizer; memory is taken and weights are read when the first vector is asked for. */
ES_API int es_encoder_open(es_encoder **out, const es_encoder_options *options, es_error *error);
ES_API void es_encoder_close(es_encoder *encoder);
ES_API int es_encoder_width(const es_encoder *encoder); /* numbers of a vector */

/* Vectors of length 1 of n texts of bytes[i] bytes each, as they are: vectors [n, width]. A text that is longer than the
 * model takes loses its end, which a message counts. Where the options say split, its tokens are cut into parts instead, as
 * few as possible and equally long, give or take one: the vector is the sum of theirs, each times the tokens of its part,
 * made as long as 1. query: the texts are questions; models that were trained with an instruction for those get it. */
ES_API int es_encoder_embed(es_encoder *encoder, const char *const *texts, const size_t *bytes, size_t n, bool query,
                            float *vectors, es_error *error);
/* The same of token ids as they are, nothing added: text i is ids[bounds[i] .. bounds[i + 1]), at least one. */
ES_API int es_encoder_embed_ids(es_encoder *encoder, const int32_t *ids, const size_t *bounds, size_t n, float *vectors,
                                es_error *error);
/* Measures texts and tokens a second and memory, as "text" or "json". */
typedef struct es_encoder_bench_options {
    size_t size;
    const es_encoder_options *encoder; /* batch_size 0: 128; NULL: the defaults */
    const char *synthetic; /* instead of a pack: "gte-qwen2-1.5b", "gte-qwen2-7b" or "minilm", of seeded weights; or NULL */
    int tokens;            /* of each text; 0: 64 */
    int texts;             /* of each run; 0: the batch size */
    bool sweep;            /* the CPU at 128 texts together, and the GPU, where there is one, at 32, 64, 96, 128 and 256 */
} es_encoder_bench_options;
#define ES_ENCODER_BENCH_OPTIONS {.size = sizeof(es_encoder_bench_options)}
ES_API int es_encoder_bench(const es_encoder_bench_options *options, const char *format, char **text, size_t *bytes,
                            es_error *error);
/* Token ids of a text alone, without what the model's frame adds; added tokens that it spells are recognised. At most room
 * are written; *n: how many there are. */
ES_API int es_encoder_tokenize(const es_encoder *encoder, const char *text, size_t bytes, int32_t *ids, size_t room,
                               size_t *n, es_error *error);

/* The tokenizer alone. model: as in es_encoder_options, or a folder with tokenizer.json or vocab.txt as models are
 * published; no weights are needed then. */
typedef struct es_tokenizer es_tokenizer;
ES_API int es_tokenizer_open(es_tokenizer **out, const char *models, const char *model, es_error *error);
ES_API void es_tokenizer_close(es_tokenizer *tokenizer);
/* As es_encoder_tokenize(). */
ES_API int es_tokenizer_ids(const es_tokenizer *tokenizer, const char *text, size_t bytes, int32_t *ids, size_t room,
                            size_t *n, es_error *error);

/* ---- search: the moment where something was said ---- */

typedef struct es_search_options {
    size_t size;
    const char *mode;     /* "meaning", "words"; NULL: both, fused by rank, or words alone where there is no encoder */
    const char *speaker;  /* only what this person says: a name, or "Speaker 12"; NULL: anybody */
    const char *in;       /* only in this recording, named as for es_library_find(), or below this folder; NULL: anywhere */
    const char *after;    /* "12:34": at or after this time of a recording; "2026-05-01": in files of this day or later */
    const char *before;   /* the same the other way */
    const char *language; /* only what is said in it: "en"; NULL: any */
    int limit;            /* hits, at most; 0: 10 */
} es_search_options;
#define ES_SEARCH_OPTIONS {.size = sizeof(es_search_options)}

typedef struct es_mark {
    uint32_t at, bytes; /* of a text */
} es_mark;

/* A passage that was found; valid inside the call. */
typedef struct es_match {
    int rank;                 /* from 1 */
    const char *id;           /* of the recording */
    int track;
    const char *path;         /* where it was seen */
    int64_t start_ms, end_ms; /* of the passage */
    int64_t at_ms;            /* where to begin to listen: the sentence with most of the query's words, or the passage */
    uint32_t at;              /* byte of the text at which that begins */
    int speaker;              /* in this recording, from 0; -1: not known */
    const char *speaker_name; /* "" where it is not known who speaks */
    const char *language;
    const char *text;         /* not terminated */
    size_t text_bytes;
    const es_mark *marks;     /* words of the query in it, in order */
    size_t n_marks;
    double score;             /* 1 / (60 + rank) of each ranking, added up */
    int meaning_rank, words_rank; /* in each ranking, from 1; 0: not among its best */
    double similarity;        /* cosine of query and passage, where meaning_rank is not 0 */
    double words_score;       /* BM25, where words_rank is not 0 */
} es_match;

/* The text encoder that the library's vectors were made with, found in the folder of models by its data. ES_NOT_FOUND, with
 * a sentence, where there is none or the library has no vectors; ES_BAD_MODEL where options name another: the vectors of two
 * models are never compared, es_library_reembed() makes new ones. */
ES_API int es_library_encoder(es_library *library, es_encoder **out, const es_encoder_options *options, es_error *error);

/* Visits the hits, best first; visit returns 0 to go on. query: any bytes. In "words" and where both are searched, "two
 * words" in quotes are a phrase and the beginning of a word with * behind it stands for all such words. encoder: from
 * es_library_encoder(), or NULL for words alone. A speaker or recording that is not there is refused with the names that
 * come near. */
ES_API int es_library_search(es_library *library, es_encoder *encoder, const char *query, size_t bytes,
                             const es_search_options *options, int (*visit)(void *user, const es_match *match), void *user,
                             es_error *error);
/* Passages that mean what is said at a moment, "FILE@12:34"; that passage itself is not among them. Needs no encoder. */
ES_API int es_library_similar(es_library *library, const char *moment, const es_search_options *options,
                              int (*visit)(void *user, const es_match *match), void *user, es_error *error);

/* Gives every recording vectors of the text encoder that options name or ingest would take, recording by recording, without
 * the media files; recordings of older libraries get their passages, too. Ended at any time it goes on from there when called
 * again. Until all have theirs, searches go on with the old vectors; those are removed at the end. listen is told
 * ES_EVENT_PROGRESS before a recording, ES_EVENT_STORED behind one that was made anew, ES_EVENT_FAILED; it may be NULL, as
 * report may. */
ES_API int es_library_reembed(es_library *library, const es_encoder_options *options, es_event_fn listen, void *user,
                              es_ingest_report *report, es_error *error);

/* ---- models, memory, machine ---- */

/* Reads a model as others publish it and writes a pack. to NULL: NAME.pack in the default folder for models. name NULL:
 * from the source. tell: what was found, a sentence at a time; may be NULL. */
typedef struct es_models_options {
    size_t size;
    const char *to;
    const char *name;
    const char *dtype; /* of matrices: "f32", "f16"; NULL: as the source stores them */
    const char *attention; /* of text encoders: "causal", "bidirectional"; NULL: as the source says */
} es_models_options;
#define ES_MODELS_OPTIONS {.size = sizeof(es_models_options)}
ES_API int es_models_convert(const char *from, const es_models_options *options,
                             void (*tell)(void *user, const char *sentence), void *user, es_error *error);

/* The memory plan of the engine's options as "text", "json", "svg" or "row": a table in Markdown of one row. with: names of architectures, separated by
 * commas, planned without weights; NULL: the packs that options choose. Needs neither weights nor, for "cuda", a GPU. */
ES_API int es_engine_plan(const es_engine_options *options, const char *with, const char *format, char **text,
                          size_t *bytes, es_error *error);

/* What this machine, the folder of models and the library (NULL: the default one) offer, as "text" or "json". *faults:
 * how many things would stop ingest. */
ES_API int es_engine_doctor(const es_engine_options *options, const char *library, const char *format, char **text,
                            size_t *bytes, int *faults, es_error *error);

/* Computes what is published of a model's outputs and compares: pack is a path, or a name in the folder of models; recording,
 * of a sentence that is known, is for speech models and may be NULL. *faults: 1 where the outputs differ, 0 where they are
 * equal or nothing is published, which the report says. */
ES_API int es_engine_verify(const es_engine_options *options, const char *pack, const char *recording, const char *format,
                            char **text, size_t *bytes, int *faults, es_error *error);

/* Runs the main job on one file in a library of its own that is removed afterwards; figures as "text" or "json". */
ES_API int es_engine_bench(es_engine *engine, const char *path, const es_speech_options *options, const char *format,
                           es_event_fn listen, void *user, char **text, size_t *bytes, es_error *error);

/* How right an account of who spoke when is, RTTM against RTTM: missed, false alarm and confused seconds and the rate that
 * they make, for each recording and over all. uem: regions to score, or NULL. collar: seconds left out on either side of each
 * boundary of the reference. format: "text" or "json". */
ES_API int es_score_turns(const char *reference, const char *hypothesis, const char *uem, double collar, const char *format,
                          char **text, size_t *bytes, es_error *error);
/* The equal error rate of a file of scores, a line each: 1 or target, 0 or other, then a number. */
ES_API int es_score_voices(const char *path, const char *format, char **text, size_t *bytes, es_error *error);
/* What telling the speakers of a file apart costs, without a speech model; rttm: where the turns go, or NULL. synthetic: the
 * name of a network to measure without its weights, and then path is NULL; else NULL. */
ES_API int es_engine_bench_diarize(const es_engine_options *options, const char *path, const char *synthetic,
                                   const es_speech_options *speech, const char *rttm, const char *format, char **text, size_t *bytes,
                                   es_error *error);

/* How long steps of a few sizes take here, for every pack of the folder of models; a table as "text" or "json". Kept beside
 * the packs, from where the memory plan takes it for the choice of batches. */
ES_API int es_engine_bench_batches(const es_engine_options *options, const char *format, char **text, size_t *bytes,
                                   es_error *error);

/* Windows of noise through a speech model of the size called name ("distil-large-v3"), with noise for weights: what this
 * machine makes of it, part by part, before anything is fetched. Figures as "text" or "json". */
ES_API int es_engine_bench_synthetic(const es_engine_options *options, const char *name, const char *format, char **text,
                                     size_t *bytes, es_error *error);

/* The whole pipeline on a queue of recordings, in a library of its own that is removed: each stage, memory against the plan,
 * energy where the machine counts it. Or without any: made-up sound through seeded weights. */
typedef struct es_pipeline_bench_options {
    size_t size;
    const es_speech_options *speech; /* NULL: the defaults */
    bool synthetic;                  /* then there are no paths, and no folder of models is needed */
    const char *with;                /* names of architectures, separated by commas; NULL: the five of a full house */
    int seconds;                     /* of made-up sound; 0: an hour on a device, a minute on the CPU */
    const char *compare;             /* what an earlier call gave as JSON, in a file: the change of each line; or NULL */
} es_pipeline_bench_options;
#define ES_PIPELINE_BENCH_OPTIONS {.size = sizeof(es_pipeline_bench_options)}
/* format: "text", which is Markdown, or "json". */
ES_API int es_engine_bench_pipeline(const es_engine_options *options, const char *const *paths, size_t n,
                                    const es_pipeline_bench_options *bench, const char *format, es_event_fn listen, void *user,
                                    char **text, size_t *bytes, es_error *error);

#ifdef __cplusplus
}
#endif
#endif
