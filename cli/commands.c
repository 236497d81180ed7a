/*
 * commands.c - the table of options and commands; parse.c reads the command line with it.
 */
#include "commands.h"

#include <string.h>

enum {
    OPT_LIBRARY,
    OPT_MODELS,
    OPT_ASR,
    OPT_SEGMENTATION,
    OPT_DIARIZER,
    OPT_VOICE,
    OPT_EMBEDDER,
    OPT_EMBEDDER_DEVICE,
    OPT_DEVICE,
    OPT_BUDGET,
    OPT_THREADS,
    OPT_LANGUAGE,
    OPT_TASK,
    OPT_PROMPT,
    OPT_TEMPERATURE,
    OPT_SEQUENTIAL,
    OPT_WORDS,
    OPT_SEEK,
    OPT_DIARIZATION,
    OPT_SPEAKERS,
    OPT_STEP,
    OPT_FAST_PATH,
    OPT_UEM,
    OPT_COLLAR,
    OPT_TO_RTTM,
    OPT_TRACK,
    OPT_AGAIN,
    OPT_KEEP,
    OPT_TO_FOLDER,
    OPT_TO_PACK,
    OPT_NAME,
    OPT_DTYPE,
    OPT_ATTENTION,
    OPT_FORMAT,
    OPT_LINE_WIDTH,
    OPT_LINES,
    OPT_VTT_WORDS,
    OPT_TEXT,
    OPT_MODEL,
    OPT_BATCH_SIZE,
    OPT_IDS,
    OPT_QUERY,
    OPT_LONG,
    OPT_TOKENS,
    OPT_TEXTS,
    OPT_SWEEP,
    OPT_VERIFY,
    OPT_TO_VECTORS,
    OPT_VECTOR_FORMAT,
    OPT_MODE,
    OPT_SPEAKER,
    OPT_IN,
    OPT_AFTER,
    OPT_BEFORE,
    OPT_LANG,
    OPT_LIMIT,
    OPT_WITH,
    OPT_SYNTHETIC,
    OPT_SECONDS,
    OPT_COMPARE,
    OPT_MIN,
    OPT_BUDGETS,
    OPT_SVG,
    OPT_SETTLE,
    OPT_POLL,
    OPT_JSON,
    OPT_JSON_LINES,
    OPT_MAN,
    OPT_CONFIG,
    OPT_QUIET,
    OPT_VERBOSE,
    OPT_HELP,
    N_OPTIONS
};

#define AT(member) offsetof(cli_settings, member)
#define BIT(o)     ((cli_bits)1 << (o))

const cli_option cli_options[] = {
    [OPT_LIBRARY] = {"library", 'L', CLI_FOLDER, "FOLDER", NULL, AT(library), 0, 0,
                     "The library. Without it: $XDG_DATA_HOME/earshot/library, or ~/.local/share/earshot/library.", false},
    [OPT_MODELS] = {"models", 0, CLI_FOLDER, "FOLDER", NULL, AT(models), 0, 0,
                    "Folder of model packs. Without it: $XDG_DATA_HOME/earshot/models, or "
                    "~/.local/share/earshot/models.", false},
    [OPT_ASR] = {"asr", 0, CLI_TEXT, "NAME", NULL, AT(asr), 0, 0,
                 "The speech model, where the folder holds more than one: its pack's name.", false},
    [OPT_SEGMENTATION] = {"segmentation", 0, CLI_TEXT, "NAME", NULL, AT(segmentation), 0, 0,
                          "The pack that finds who speaks when, or none. Without it: the only one in the folder.", false},
    [OPT_DIARIZER] = {"diarizer", 0, CLI_TEXT, "NAME", NULL, AT(diarizer), 0, 0,
                      "The pack that tells speakers apart, or none. Without it: ResNet34 before CAM++.", false},
    [OPT_VOICE] = {"voice", 0, CLI_TEXT, "NAME", NULL, AT(voice), 0, 0,
                   "The pack that knows enrolled voices, or none. Without it: ECAPA before the diarizer's network.", false},
    [OPT_EMBEDDER] = {"embedder", 0, CLI_TEXT, "NAME", NULL, AT(embedder), 0, 0,
                      "The pack that turns text into vectors, or none. Without it: GTE before MiniLM.", false},
    [OPT_EMBEDDER_DEVICE] = {"embedder-device", 0, CLI_TEXT, "auto|cpu|cuda[:N]", NULL, AT(embedder_device), 0, 0,
                             "Where text becomes vectors, if elsewhere than --device: then with memory of its own there. "
                             "Without it: EMBEDDING_DEVICE.", false},
    [OPT_DEVICE] = {"device", 0, CLI_TEXT, "auto|cpu|cuda[:N]", NULL, AT(device), 0, 0,
                    "Where models run. auto takes a GPU where there is one and says so where there is none.", false},
    [OPT_BUDGET] = {"budget", 0, CLI_BYTES, "BYTES", NULL, AT(budget), 0, 0,
                    "Upper bound of the memory that models take on the device, such as 16G (G is 10^9).", false},
    [OPT_THREADS] = {"threads", 0, CLI_INT, "N", NULL, AT(threads), 0, 1024,
                     "Threads of the CPU that compute; 0, the default, takes every core. Results do not depend on it.", false},
    [OPT_LANGUAGE] = {"language", 0, CLI_TEXT, "xx|auto|each", NULL, AT(language), 0, 0,
                      "A language such as en or German; auto hears it once from the first 30 seconds, each for every "
                      "window.", false},
    [OPT_TASK] = {"task", 0, CLI_CHOICE, NULL, "transcribe|translate", AT(task), 0, 0,
                  "translate writes English whatever is spoken.", false},
    [OPT_PROMPT] = {"prompt", 0, CLI_TEXT, "TEXT", NULL, AT(prompt), 0, 0,
                    "Words the model takes as said before the recording: names, spellings, a manner of writing.", false},
    [OPT_TEMPERATURE] = {"temperature", 0, CLI_NUMBER, "T", NULL, AT(temperature), 0, 0,
                         "0: greedy decoding only. Without it, windows that come out badly are tried again at 0.2, 0.4 "
                         "... 1.", false},
    [OPT_SEQUENTIAL] = {"sequential", 0, CLI_FLAG, NULL, NULL, AT(sequential), 0, 0,
                        "One recording after the other, and in it one window after the other, each starting where the "
                        "text of the last one ended. Without it, windows of at most 30 s that are cut where it is quiet "
                        "go side by side, those of all files together: faster, and near enough the same words.", false},
    [OPT_WORDS] = {"words", 0, CLI_CHOICE, NULL, "on|off", AT(words), 0, 0,
                   "Times of words beside those of segments; on by default.", false},
    [OPT_SEEK] = {"seek", 0, CLI_CHOICE, NULL, "timestamps|words", AT(seek), 0, 0,
                  "Where the next window starts: at the last timestamp (default) or at the end of the last word.", false},
    [OPT_DIARIZATION] = {"diarization", 0, CLI_CHOICE, NULL, "campplus|3.1|community-1|none", AT(diarization), 0, 0,
                         "How speakers are told apart. Without it: what belongs to the diarizer's pack; for ResNet34 community-1 "
                         "where its PLDA is there, else 3.1.", false},
    [OPT_SPEAKERS] = {"speakers", 0, CLI_TEXT, "N|MIN-MAX", NULL, AT(speakers), 0, 0,
                      "How many people speak, where that is known: 2, or 2-5.", false},
    [OPT_STEP] = {"step", 0, CLI_NUMBER, "SECONDS", NULL, AT(step), 0, 0,
                  "Between the windows in which speakers are looked for: 1 by default; 2 and 5 cost less and err more.", false},
    [OPT_FAST_PATH] = {"fast-path", 0, CLI_CHOICE, NULL, "auto|off", AT(fast_path), 0, 0,
                       "auto, the default: where one enrolled person speaks alone, nobody is told apart, and a line says so; off: "
                       "speakers are always told apart.", false},
    [OPT_UEM] = {"uem", 0, CLI_FILE, "FILE", NULL, AT(uem), 0, 0,
                 "Score the regions of this file alone. Without it: from the first onset to the last end of both.", false},
    [OPT_COLLAR] = {"collar", 0, CLI_NUMBER, "SECONDS", NULL, AT(collar), 0, 0,
                    "Leave out so much on either side of each boundary of the reference; 0 by default.", false},
    [OPT_TO_RTTM] = {"output", 'o', CLI_FILE, "FILE", NULL, AT(output), 0, 0, "Where the turns of `bench diarize` go, as RTTM.", false},
    [OPT_TRACK] = {"track", 0, CLI_INT, "N", NULL, AT(track), 0, 1000,
                   "The audio stream to take, counted from 0, which is the default.", false},
    [OPT_AGAIN] = {"again", 0, CLI_CHOICE, "[words|speakers|meaning]", "words|speakers|meaning", AT(again), 0, 0,
                   "Compute recordings once more that the library already holds, and replace what it has: everything, or one "
                   "stage. words: what is said; who speaks is kept. speakers: who speaks when; the words are kept, and given to "
                   "them anew. meaning: passages and their vectors, from what is kept. A file called words is ./words.", true},
    [OPT_KEEP] = {"keep", 0, CLI_NUMBER, "SECONDS", NULL, AT(keep), 0, 0,
                  "How much work inside a recording a kill or a power cut may cost: what is done of it is kept that often, and the "
                  "next ingest goes on from there. 2 by default; 0 keeps every step.", false},
    [OPT_TO_FOLDER] = {"output", 'o', CLI_FOLDER, "FOLDER", NULL, AT(output), 0, 0,
                       "Where the files go; made if need be. Without it: the current folder.", false},
    [OPT_TO_PACK] = {"output", 'o', CLI_FILE, "PACK", NULL, AT(output), 0, 0,
                     "The pack to write, or a folder that is to hold it. Without it: the default folder of models.", false},
    [OPT_NAME] = {"name", 0, CLI_TEXT, "NAME", NULL, AT(name), 0, 0,
                  "The pack's name. Without it, the name of the source.", false},
    [OPT_DTYPE] = {"dtype", 0, CLI_CHOICE, NULL, "f32|f16", AT(dtype), 0, 0,
                   "How matrices are stored. Without it: as in the source, integers as f16.", false},
    [OPT_ATTENTION] = {"attention", 0, CLI_CHOICE, NULL, "causal|bidirectional", AT(attention), 0, 0,
                       "Which way a text encoder looks. Without it: what the source says; a GGUF that says nothing is "
                       "refused.", false},
    [OPT_FORMAT] = {"format", 'f', CLI_TEXT, "LIST", NULL, AT(format), 0, 0,
                    "Formats, separated by commas: txt, srt, vtt, json, tsv, rttm (who spoke when). Without it: srt.", false},
    [OPT_LINE_WIDTH] = {"max-line-width", 0, CLI_INT, "N", NULL, AT(max_line_width), 8, 1000,
                        "Columns of a subtitle's line; 42 by default.", false},
    [OPT_LINES] = {"max-lines", 0, CLI_INT, "N", NULL, AT(max_lines), 1, 20, "Lines of one subtitle; 2 by default.", false},
    [OPT_VTT_WORDS] = {"vtt-words", 0, CLI_FLAG, NULL, NULL, AT(vtt_words), 0, 0,
                       "Times of words inside the lines of vtt.", false},
    [OPT_TEXT] = {"text", 0, CLI_FLAG, NULL, NULL, AT(text), 0, 0, "Only what was said, without times.", false},
    [OPT_MODEL] = {"model", 'm', CLI_FILE, "PACK", NULL, AT(model), 0, 0,
                   "The text encoder: a pack, or the name of one in the folder of models. Without it: the only one there.", false},
    [OPT_BATCH_SIZE] = {"batch-size", 0, CLI_INT, "N", NULL, AT(batch_size), 1, 1000000,
                        "Texts computed together, at most; 256 by default. Memory does not depend on it: how many tokens "
                        "are computed together follows from --budget. Without it: EMBEDDING_BATCH_SIZE.", false},
    [OPT_IDS] = {"ids", 0, CLI_FLAG, NULL, NULL, AT(ids), 0, 0,
                 "Lines are token ids separated by blanks, taken as they are: nothing is added or cut.", false},
    [OPT_QUERY] = {"query", 0, CLI_FLAG, NULL, NULL, AT(query), 0, 0,
                   "The texts are questions: models trained with an instruction for those get it.", false},
    [OPT_LONG] = {"long", 0, CLI_CHOICE, NULL, "truncate|split", AT(long_texts), 0, 0,
                  "Texts longer than the model or the plan takes: truncate, the default, leaves out their end; split computes "
                  "them in parts of equal length and takes the mean of the parts' vectors, weighted by their tokens.", false},
    [OPT_TOKENS] = {"tokens", 0, CLI_INT, "N", NULL, AT(tokens), 1, 32768, "embed: tokens of each text; 64 by default.", false},
    [OPT_TEXTS] = {"texts", 0, CLI_INT, "N", NULL, AT(texts), 1, 1000000, "embed: texts of each run; the batch by default.", false},
    [OPT_SWEEP] = {"sweep", 0, CLI_FLAG, NULL, NULL, AT(sweep), 0, 0,
                   "embed: a table, the CPU at 128 texts together, a GPU at 32, 64, 96, 128 and 256.", false},
    [OPT_VERIFY] = {"verify", 0, CLI_FILE, "PACK", NULL, AT(verify), 0, 0,
                    "Compute what is published of this model's outputs, and compare; a name in the folder of models will do.", false},
    [OPT_TO_VECTORS] = {"output", 'o', CLI_FILE, "FILE", NULL, AT(output), 0, 0,
                        "Where the vectors go. Without it, or with -: standard output.", false},
    [OPT_VECTOR_FORMAT] = {"format", 'f', CLI_CHOICE, NULL, "npy|jsonl", AT(format), 0, 0,
                           "npy: one array of f32; jsonl: a list a line. Without it: npy, or what FILE ends in.", false},
    [OPT_MODE] = {"mode", 0, CLI_CHOICE, NULL, "meaning|words", AT(mode), 0, 0,
                  "One ranking alone. Without it both are fused: what is high in either comes first.", false},
    [OPT_SPEAKER] = {"speaker", 0, CLI_TEXT, "NAME", NULL, AT(speaker), 0, 0,
                     "Only what this person says: a name, or Speaker 12 of those without one.", false},
    [OPT_IN] = {"in", 0, CLI_FILE, "FILE|FOLDER", NULL, AT(in), 0, 0,
                "Only in this recording, named as for show, or in those below a folder.", false},
    [OPT_AFTER] = {"after", 0, CLI_TEXT, "TIME|DATE", NULL, AT(after), 0, 0,
                   "12:34: only at or after this time of a recording. 2026-05-01: only in files last changed on this day or "
                   "later.", false},
    [OPT_BEFORE] = {"before", 0, CLI_TEXT, "TIME|DATE", NULL, AT(before), 0, 0,
                    "12:34: only what begins before this time of a recording. 2026-05-01: only in files last changed before "
                    "this day.", false},
    [OPT_LANG] = {"lang", 0, CLI_TEXT, "xx", NULL, AT(lang), 0, 0, "Only what is said in this language, such as en or German.", false},
    [OPT_LIMIT] = {"limit", 'k', CLI_INT, "N", NULL, AT(limit), 1, 1000, "So many hits, at most; 10 by default.", false},
    [OPT_WITH] = {"with", 0, CLI_TEXT, "NAME,...", NULL, AT(with), 0, 0,
                  "Plan these architectures by name, without their weights: tiny, base, small, medium, large-v3, "
                  "turbo, distil-large-v3, minilm, gte-qwen2-1.5b, segmentation-3.0, resnet34, ecapa, campplus ...", false},
    [OPT_SYNTHETIC] = {"synthetic", 0, CLI_TEXT, "[NAME]", NULL, AT(synthetic), 0, 0,
                       "Measure an architecture by name, with noise for weights and noise to hear or to read: for embed "
                       "gte-qwen2-1.5b, gte-qwen2-7b or minilm. pipeline takes no name, but --with.", true},
    [OPT_SECONDS] = {"seconds", 0, CLI_INT, "N", NULL, AT(seconds), 10, 360000,
                     "pipeline --synthetic: of made-up sound; by default an hour on a GPU, a minute on the CPU.", false},
    [OPT_COMPARE] = {"compare", 0, CLI_FILE, "FILE", NULL, AT(compare), 0, 0,
                     "pipeline: beside the figures, the change of each line in percent against those that an earlier run printed "
                     "with --json.", false},
    [OPT_MIN] = {"min", 0, CLI_FLAG, NULL, NULL, AT(min), 0, 0,
                 "Plan the smallest batches, and name the smallest budget.", false},
    [OPT_BUDGETS] = {"budgets", 0, CLI_TEXT, "LIST", NULL, AT(budgets), 0, 0,
                     "A table in Markdown with a row for each of these budgets, such as 8G,16G.", false},
    [OPT_SVG] = {"svg", 0, CLI_FILE, "FILE", NULL, AT(svg), 0, 0,
                 "Draw scratch memory over the steps of each program into a file.", false},
    [OPT_SETTLE] = {"settle", 0, CLI_INT, "SECONDS", NULL, AT(settle), 1, 86400,
                    "How long a file must stay as it is before it counts as complete, where nobody was seen to close it; 5 by "
                    "default.", false},
    [OPT_POLL] = {"poll", 0, CLI_FLAG, NULL, NULL, AT(poll), 0, 0,
                  "Look at the folders every few seconds also where the system tells of changes.", false},
    [OPT_JSON] = {"json", 0, CLI_FLAG, NULL, NULL, AT(json), 0, 0, "Print JSON instead of text for people.", false},
    [OPT_JSON_LINES] = {"json-lines", 0, CLI_FLAG, NULL, NULL, AT(json_lines), 0, 0,
                        "For programs: an object a line on standard output for all that happens, instead of text.", false},
    [OPT_MAN] = {"man", 0, CLI_FLAG, NULL, NULL, AT(man), 0, 0, "Print the manual page, as man reads it.", false},
    [OPT_CONFIG] = {"config", 'c', CLI_FILE, "FILE", NULL, AT(config), 0, 0,
                    "Settings. Without it: $XDG_CONFIG_HOME/earshot/earshot.conf, or ~/.config/earshot/earshot.conf.", false},
    [OPT_QUIET] = {"quiet", 'q', CLI_FLAG, NULL, NULL, AT(quiet), 0, 0, "Say only what went wrong.", false},
    [OPT_VERBOSE] = {"verbose", 'v', CLI_FLAG, NULL, NULL, AT(verbose), 0, 0, "Say more about what is being done.", false},
    [OPT_HELP] = {"help", 'h', CLI_FLAG, NULL, NULL, AT(help), 0, 0, "Print this help.", false},
};
const int cli_n_options = N_OPTIONS;
_Static_assert(sizeof(cli_options) / sizeof(cli_options[0]) == N_OPTIONS, "every option is described");
_Static_assert((int)N_OPTIONS <= (int)CLI_MOST_OPTIONS, "a command's options are the bits of one number");

#define TALK   (BIT(OPT_CONFIG) | BIT(OPT_QUIET) | BIT(OPT_VERBOSE) | BIT(OPT_HELP))
#define FILTER                                                                                                         \
    (BIT(OPT_SPEAKER) | BIT(OPT_IN) | BIT(OPT_AFTER) | BIT(OPT_BEFORE) | BIT(OPT_LANG) | BIT(OPT_LIMIT) | BIT(OPT_JSON))
#define ENCODER                                                                                                        \
    (BIT(OPT_MODELS) | BIT(OPT_EMBEDDER) | BIT(OPT_EMBEDDER_DEVICE) | BIT(OPT_DEVICE) | BIT(OPT_BUDGET) |                  \
     BIT(OPT_THREADS) | BIT(OPT_BATCH_SIZE))
#define ENGINE                                                                                                         \
    (BIT(OPT_MODELS) | BIT(OPT_ASR) | BIT(OPT_SEGMENTATION) | BIT(OPT_DIARIZER) | BIT(OPT_VOICE) | BIT(OPT_EMBEDDER) | \
     BIT(OPT_EMBEDDER_DEVICE) | BIT(OPT_DEVICE) | BIT(OPT_BUDGET) | BIT(OPT_THREADS))
#define SPEECH                                                                                                         \
    (BIT(OPT_LANGUAGE) | BIT(OPT_TASK) | BIT(OPT_PROMPT) | BIT(OPT_TEMPERATURE) | BIT(OPT_SEQUENTIAL) |                \
     BIT(OPT_WORDS) | BIT(OPT_SEEK) | BIT(OPT_DIARIZATION) | BIT(OPT_SPEAKERS) | BIT(OPT_STEP) | \
     BIT(OPT_FAST_PATH))

/* What may be settled once and for all. */
#define SETTINGS                                                                                                       \
    (ENGINE | SPEECH | BIT(OPT_LIBRARY) | BIT(OPT_FORMAT) | BIT(OPT_LINE_WIDTH) | BIT(OPT_LINES) | BIT(OPT_VTT_WORDS) | \
     BIT(OPT_BATCH_SIZE) | BIT(OPT_KEEP) | BIT(OPT_QUIET) | BIT(OPT_VERBOSE))

bool cli_option_is_setting(int option)
{
    return (SETTINGS >> option & 1) != 0;
}

bool cli_command_has_settings(const cli_command *c)
{
    return cli_command_takes(c, OPT_CONFIG);
}

cli_from cli_origin_of(const cli_settings *s, const char *name)
{
    for (int i = 0; i < N_OPTIONS; i++)
        if (cli_option_is_setting(i) && !strcmp(cli_options[i].name, name)) return s->origin[i].from;
    return CLI_FROM_DEFAULT;
}

#define JSON_LINES                                                                                                     \
    "With --json-lines each line is an object: its \"event\" is start, progress, stored, known, failed or note, each with path, " \
    "index and count; message with level and text, waiting, summary, or error with code and text. progress has stage, " \
    "fraction, speed, seconds, audio_ms, eta_seconds, fraction_all and eta_all_seconds; stored has id, words, speed, seconds and " \
    "audio_ms; known, failed and note have text. summary has files, stored, known, failed, audio_ms, seconds, speed, " \
    "files_per_hour, windows, tokens, passages, vectors, passages_per_second, arena_bytes, peak_bytes, cancelled, and stages, each with " \
    "stage, label, seconds, busy, speed and fill. null is not known. Bytes of a path that are not UTF-8 are written as U+FFFD, " \
    "and path_hex has all bytes of such a path in hexadecimal digits. -q leaves failed, summary and error."

const cli_command cli_commands[] = {
    {"convert", "SOURCE", 1, 1, "file", BIT(OPT_TO_PACK) | BIT(OPT_NAME) | BIT(OPT_DTYPE) | BIT(OPT_ATTENTION) | TALK,
     "make a model pack from a model as others publish it",
     "SOURCE is a folder with a model: CTranslate2 (model.bin, config.json, vocabulary.json) or Hugging Face "
     "(model.safetensors or its shards, config.json, tokenizer.json), or a file: safetensors, a PyTorch checkpoint (.pt, "
     ".bin, .ckpt), GGUF, whisper.cpp's ggml, npz. What it is, is found out and printed: Whisper, PyanNet, CAM++, "
     "ResNet34, ECAPA-TDNN, PLDA, BERT, Qwen2. The same source gives the same bytes every time, and nothing in it is "
     "ever run.",
     "earshot convert ~/models/faster-whisper-base --name whisper-base", cli_run_convert},
    {"ingest", "PATH...", 1, -1, "file", BIT(OPT_LIBRARY) | ENGINE | SPEECH | BIT(OPT_BATCH_SIZE) |
         BIT(OPT_TRACK) | BIT(OPT_AGAIN) | BIT(OPT_KEEP) | BIT(OPT_JSON_LINES) | TALK,
     "transcribe recordings into the library, and say who speaks",
     "PATH is a file of any kind that FFmpeg reads, or a folder: then everything below it that has a known media "
     "ending is taken. A recording is known by its content: the same one is not computed twice, whatever its "
     "name.\n\n"
     "With a segmentation pack windows without speech never reach the speech model; with one that knows voices, too, each "
     "word gets its speaker.\n\n"
     "With --again and a stage the rest is taken from the library, with what it was made with; the sound is read where the stage "
     "needs it, which meaning does not. Whose a word is, passages and vectors follow from words and speakers, and are made anew "
     "with either. A recording that is not in the library yet is taken in whole.\n\n"
     "A file that fails does not stop the others; the last lines name it. However it ends - Ctrl-C, a kill, a full disk, a "
     "power cut - what is done is in the library, the recordings at work are not, and the next ingest goes on inside them "
     "where this one was: the library becomes the one that an undisturbed run makes.\n\n" JSON_LINES,
     "earshot ingest talk.mp4\nearshot ingest --language en ~/Videos\nearshot ingest --again speakers --speakers 2 talk.mp4", cli_run_ingest},
    {"watch", "FOLDER...", 1, -1, "folder", BIT(OPT_LIBRARY) | ENGINE | SPEECH | BIT(OPT_BATCH_SIZE) | BIT(OPT_TRACK) | BIT(OPT_KEEP) |
         BIT(OPT_SETTLE) | BIT(OPT_POLL) | BIT(OPT_JSON_LINES) | TALK,
     "ingest what arrives in folders, until stopped",
     "First what lies in FOLDER and below it, then what comes: files that are written there, moved there or copied there from "
     "another machine, in new folders, too. The models stay loaded between them.\n\n"
     "A file is taken when whoever wrote it has closed it, or when it has not changed for --settle seconds; never while its name "
     "or one beside it says that it is on its way (.part, .crdownload, .tmp and the like), and never a hidden one. A file that "
     "fails is told and left alone until it changes. Ctrl-C or SIGTERM ends it, with exit code 0.\n\n" JSON_LINES,
     "earshot watch ~/Videos /mnt/recorder", cli_run_watch},
    {"list", "", 0, 0, "", BIT(OPT_LIBRARY) | BIT(OPT_JSON) | TALK, "list the recordings in the library",
     "One line each: the first digits of its id, length, language, number of words, path.", "earshot list",
     cli_run_list},
    {"show", "NAME...", 1, -1, "recording", BIT(OPT_LIBRARY) | BIT(OPT_TEXT) | BIT(OPT_JSON) | TALK,
     "print what was said in a recording",
     "NAME is a path, a file name, or the first six or more digits of an id, with #N behind them for one of several "
     "tracks.",
     "earshot show talk.mp4", cli_run_show},
    {"search", "[QUERY...]", 0, -1, "", BIT(OPT_LIBRARY) | BIT(OPT_MODE) | FILTER | ENCODER | TALK,
     "find the moment where something was said",
     "By what it means and by its words, fused: a passage that is high in either ranking comes first. Each hit is a file, a "
     "time in it, who speaks where that is known, the text with the words of the query marked, and a command that opens the "
     "moment. Without QUERY, every line of standard input is one.\n\n"
     "\"two words\" in quotes have to stand side by side; an asterisk behind the beginning of a word stands for every end of "
     "it. Meaning needs the text encoder that the library was made with; where it is not there, words alone are searched.\n\n"
     "EMBEDDING_DEVICE and EMBEDDING_BATCH_SIZE in the environment stand in for --device and --batch-size.",
     "earshot search where did they live as children\nearshot search --speaker Anna --in ~/Videos '\"the budget\" deci*'",
     cli_run_search},
    {"similar", "FILE@12:34", 1, 1, "recording", BIT(OPT_LIBRARY) | FILTER | TALK,
     "find passages that mean what is said at a moment",
     "FILE is a recording, named as for show, and 12:34 a time in it. The passage itself is not among the hits. No model is "
     "needed: what is compared is in the library.",
     "earshot similar talk.mp4@12:34", cli_run_similar},
    {"reembed", "", 0, 0, "", BIT(OPT_LIBRARY) | ENCODER | TALK, "make the vectors of the library anew, after a change of models",
     "Every recording gets vectors of the text encoder that is there now, and passages where it has none because an older "
     "version took it in. Media files are not needed. Ended at any time, it goes on from there when run again; until it is "
     "done, search goes on with the old vectors.",
     "earshot reembed --embedder gte-qwen2-1.5b", cli_run_reembed},
    {"export", "[NAME...]", 0, -1, "recording",
     BIT(OPT_LIBRARY) | BIT(OPT_FORMAT) | BIT(OPT_TO_FOLDER) | BIT(OPT_LINE_WIDTH) | BIT(OPT_LINES) |
         BIT(OPT_VTT_WORDS) | TALK,
     "write subtitles and transcripts",
     "One file for each recording and format, named after the recording; two recordings of one name are numbered. "
     "Without NAME, every recording of the library. With -o - one recording goes to standard output.",
     "earshot export -f srt,vtt -o subtitles talk.mp4", cli_run_export},
    {"remove", "NAME...", 1, -1, "recording", BIT(OPT_LIBRARY) | TALK, "remove recordings from the library",
     "The media files themselves are never touched. `earshot compact` afterwards leaves no byte of what was removed.",
     "earshot remove talk.mp4", cli_run_remove},
    {"compact", "", 0, 0, "", BIT(OPT_LIBRARY) | TALK, "rewrite the library without what was removed",
     "Nothing of removed recordings is left in the folder, and it takes no more room than it must.", "earshot compact",
     cli_run_compact},
    {"check", "", 0, 0, "", BIT(OPT_LIBRARY) | BIT(OPT_JSON) | TALK,
     "read every record of the library and report faults", "Exit code 3 when there is one.", "earshot check",
     cli_run_check},
    {"backup", "FOLDER", 1, 1, "folder", BIT(OPT_LIBRARY) | TALK, "copy the library while it is in use",
     "FOLDER must not exist or be empty; it is a library like the first one afterwards.",
     "earshot backup /media/usb/earshot", cli_run_backup},
    {"enroll", "NAME FILE...", 2, -1, "file",
     BIT(OPT_LIBRARY) | BIT(OPT_MODELS) | BIT(OPT_SEGMENTATION) | BIT(OPT_DIARIZER) | BIT(OPT_VOICE) | BIT(OPT_DEVICE) | BIT(OPT_BUDGET) |
         BIT(OPT_THREADS) | BIT(OPT_TRACK) | TALK,
     "make a person known by recordings of their voice",
     "FILE holds the voice of one person, at best ten seconds of speech or more. From then on the person is named in every "
     "recording, also in those that the library holds already: their voices are stored, so nothing of them is read again. "
     "Enrolling more files adds to what is known.\n\n"
     "Refused are files with less than 3 s of speech, with more than one voice, and with clipped sound.",
     "earshot enroll \"Anna Berg\" anna.wav", cli_run_enroll},
    {"speakers", "[list | rename WHO NAME | merge WHO OTHER | split WHO RECORDING | forget WHO]", 0, 3, "",
     BIT(OPT_LIBRARY) | BIT(OPT_JSON) | TALK, "list who speaks in the library, and say who is who",
     "WHO is a name, or \"Speaker 12\": whoever is not enrolled has one number in all recordings. The numbers follow from "
     "what is in the library and may change when recordings come and go; names stay.\n\n"
     "rename gives a name, also to somebody who has none yet; merge says that two are one person, by the first name; split, "
     "that whoever speaks in RECORDING is somebody else. forget removes the name and every vector of the voice, also those of "
     "recordings; after `earshot compact` no byte of them is left. What was said and when stays.",
     "earshot speakers\nearshot speakers rename \"Speaker 2\" \"Anna Berg\"", cli_run_speakers},
    {"embed", "[TEXTFILE]", 0, 1, "file",
     BIT(OPT_MODELS) | BIT(OPT_MODEL) | BIT(OPT_TO_VECTORS) | BIT(OPT_VECTOR_FORMAT) | BIT(OPT_IDS) | BIT(OPT_QUERY) |
         BIT(OPT_LONG) | BIT(OPT_BATCH_SIZE) | BIT(OPT_EMBEDDER_DEVICE) | BIT(OPT_DEVICE) | BIT(OPT_BUDGET) | BIT(OPT_THREADS) | TALK,
     "turn texts into vectors",
     "One text a line, from TEXTFILE or standard input: blank lines are texts, too, nothing is stripped, the order stays. "
     "A text longer than the model takes loses its end, unless --long split asks for a mean of parts; a note says which.\n\n"
     "EMBEDDING_DEVICE and EMBEDDING_BATCH_SIZE in the environment stand in for --device and --batch-size.",
     "earshot embed --model minilm -o vectors.npy texts.txt", cli_run_embed},
    {"tokenize", "", 0, 0, "", BIT(OPT_MODELS) | BIT(OPT_MODEL) | TALK, "print the token ids of texts",
     "A line of ids, separated by blanks, for each line of standard input: the text alone, without what the model's frame "
     "adds; added tokens that it spells are recognised. --model may also be a folder with tokenizer.json or vocab.txt, as "
     "models are published: no weights are needed for ids.",
     "echo 'Hello world' | earshot tokenize --model minilm", cli_run_tokenize},
    {"plan", "", 0, 0, "", ENGINE | BIT(OPT_WITH) | BIT(OPT_MIN) | BIT(OPT_BUDGETS) | BIT(OPT_SVG) | BIT(OPT_JSON) | TALK,
     "print who lives where in memory, before anything runs",
     "From the packs in the folder of models or, with --with, from names of architectures: then neither weights nor, "
     "for --device cuda, a GPU is needed.",
     "earshot plan --with distil-large-v3 --device cuda --budget 16G", cli_run_plan},
    {"bench", "FILE|pipeline [FILE...]|asr|embed|batches|diarize [FILE]|der REF HYP|eer FILE", 1, -1, "file",
     ENGINE | SPEECH | BIT(OPT_WITH) | BIT(OPT_SECONDS) | BIT(OPT_COMPARE) | BIT(OPT_UEM) | BIT(OPT_COLLAR) | BIT(OPT_TO_RTTM) | BIT(OPT_MODEL) | BIT(OPT_BATCH_SIZE) | BIT(OPT_SYNTHETIC) | BIT(OPT_TOKENS) | BIT(OPT_TEXTS) |
         BIT(OPT_SWEEP) | BIT(OPT_JSON) | TALK,
     "run the main job on one file and say what it cost",
     "Seconds of each stage, how many times real time, and the peak of memory. The library used for it is a new one "
     "and is removed.\n\n"
     "pipeline does that for a queue of files or folders and says of each stage how long it took and how full its steps were; "
     "videos an hour, memory against the plan, allocations, energy where the machine counts it. What it prints is a table in "
     "Markdown; what it prints with --json can be kept, for --compare. With --synthetic it needs no media and no packs: seeded "
     "weights of the sizes that --with names, made-up sound of --seconds, in the plan of a --budget.\n\n"
     "asr with --synthetic measures a speech model of a released size without its weights: windows of 30 s a second at "
     "the batch that the budget allows, 100 tokens each, and what mel, encoder, cross keys and decoder take of it.\n\n"
     "embed measures the text encoder, the one of the folder of models or a made-up one: texts and tokens a second, "
     "arithmetic, memory. (A file called embed is ./embed.)\n\n"
     "batches times steps of every pack of the folder of models, a few sizes each, and keeps the times beside the packs, in "
     "costs-cpu.json or costs-cuda.json: batches are then chosen by them instead of by counting operations.\n\n"
     "diarize tells the speakers of a file apart, without a speech model, and says what that took; with -o the turns go to an "
     "RTTM file. With --synthetic campplus or resnet34 it needs neither weights nor a file.\n\n"
     "der compares two RTTM files: seconds missed, false alarms and speakers confused, under the best map between the speakers of "
     "both. eer finds where false acceptance and false rejection cross, in lines of a label (1 or 0) and a score.",
     "earshot bench talk.mp4\n"
     "earshot bench pipeline --synthetic --device cuda --budget 16G --json > now.json\n"
     "earshot bench asr --synthetic distil-large-v3 --device cuda --budget 16G\n"
     "earshot bench embed --synthetic gte-qwen2-1.5b --texts 16\n"
     "earshot bench der reference.rttm talk.rttm --collar 0.25", cli_run_bench},
    {"config", "", 0, 0, "", SETTINGS | BIT(OPT_JSON) | TALK, "print the settings in force, and where each comes from",
     "Settings come from a file, earshot.conf in $XDG_CONFIG_HOME/earshot or ~/.config/earshot, or the one that -c names. A line "
     "is the long name of an option, = and a value; flags take on and off; # begins a line that is passed over; ~/ at the start "
     "of a path is the home folder; double quotes keep blanks at the ends.\n\n"
     "Options win over the environment, the environment over the file. There an option is called EARSHOT_ and its name in "
     "capitals, with _ for -: EARSHOT_LANGUAGE. EMBEDDING_DEVICE is --embedder-device, EMBEDDING_BATCH_SIZE --batch-size.",
     "earshot config -c earshot.conf", cli_run_config},
    {"doctor", "[RECORDING]", 0, 1, "file", BIT(OPT_LIBRARY) | ENGINE | BIT(OPT_VERIFY) | BIT(OPT_JSON) | TALK,
     "say what this machine and its models offer",
     "Processor, GPU or why not, versions of the libraries, the packs and whether their bytes are whole.\n\n"
     "--verify is about one model: it says with what published numbers or words it compared, and ends with 3 when they differ. "
     "A speech model needs a RECORDING of a sentence that is known, such as jfk.wav; without one, that of the package "
     "pocketsphinx-testdata is taken.",
     "earshot doctor\nearshot doctor --verify minilm", cli_run_doctor},
    {"version", "", 0, 0, "", BIT(OPT_HELP), "print the version", "", NULL, cli_run_version},
    {"help", "[COMMAND]", 0, 1, "command", BIT(OPT_MAN) | BIT(OPT_HELP), "explain a command", "", "earshot help ingest",
     cli_run_help},
    {"completions", "bash|zsh|fish", 1, 1, "shell", BIT(OPT_HELP), "print completions for a shell",
     "bash: source them from ~/.bashrc. zsh: save them as _earshot in a folder of $fpath. fish: save them as "
     "~/.config/fish/completions/earshot.fish.",
     "earshot completions bash > ~/.local/share/bash-completion/completions/earshot", cli_run_completions},
};
const int cli_n_commands = (int)(sizeof(cli_commands) / sizeof(cli_commands[0]));

const cli_command *cli_command_find(const char *name)
{
    for (int i = 0; i < cli_n_commands; i++)
        if (!strcmp(cli_commands[i].name, name)) return &cli_commands[i];
    return NULL;
}
