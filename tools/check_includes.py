#!/usr/bin/env python3
"""Holds the rooms apart: who may include whom, and which file is the door to which outside library.

    tools/check_includes.py [ROOT]

Prints "ok" and the number of files looked at, or one line for each include that breaks a rule, and exits with 1.

The rules, from the bottom up: kernels see themselves alone; base sees base; runtime sees base and kernels; a room sees
base and, if it computes, runtime (and through it the plain types of kernels); no room sees another, but for the store,
whose index splits texts as text/terms.h does; the pipeline and the door see all rooms; the program sees the door's header alone. Tests and benches may see anything, and nothing sees them.
"""
import pathlib
import re
import sys

# room -> rooms it may include, itself aside. Includes are written from engine/ ("base/err.h"), or "kernels/x.h".
ROOMS = {
    "kernels": set(),
    "base": set(),
    "runtime": {"base", "kernels"},
    "media": {"base"},
    "audio": {"base", "runtime", "kernels"},
    "models": {"base", "runtime", "kernels"},
    "text": {"base"},
    "speech": {"base"},
    "store": {"base", "text"},
    "convert": {"base", "runtime", "kernels"},
    "pipeline": {"base", "runtime", "kernels", "media", "audio", "models", "text", "speech", "store"},
    "door": {"base", "runtime", "kernels", "media", "audio", "models", "text", "speech", "store", "pipeline", "convert"},
    "cli": {"door"},
}

# What of kernels may be seen from outside: the contract, not the inside.
KERNELS_OUTSIDE = {"kernels/kernels.h", "kernels/device.h"}

# What of text may be seen from the store: an index is a function of the texts in it, so it has to split them itself.
TEXT_IN_STORE = {"text/terms.h"}

# outside header -> files that may include it
DOORS = [
    (r"libav\w+/|libsw\w+/", r"engine/media/[^/]+"),
    (r"lmdb\.h$", r"engine/store/[^/]+\.c"),
    (r"xxhash\.h$", r"engine/base/hash\.c"),
    (r"(cjson/)?cJSON\.h$", r"engine/base/json\.c"),
    (r"utf8proc\.h$", r"engine/text/[^/]+"),
    (r"libstemmer\.h$", r"engine/text/terms\.c"),
    (r"zlib\.h$", r"(engine/text|weights/convert)/[^/]+"),
    (r"(cblas|lapacke|mkl\w*)\.h$", r"kernels/cpu\.h"),
    (r"(cuda\w*|cublas\w*|cudnn\w*|mma)(\.h|\.hpp|/)|cooperative_groups", r"kernels/[^/]+\.(cu|cuh)"),
    (r"sanitizer/", r"engine/runtime/guard\.h|tests/.*"),
]

# Stands in for the compiler's own header where the .cu files are built for the emulator.
EMULATOR = {("kernels/launch.cuh", "simt.h")}

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')


def room_of(path):
    parts = path.split("/")
    if parts[0] == "kernels":
        return "kernels"
    if parts[0] == "engine":
        return "door" if len(parts) == 2 else parts[1]
    if parts[:2] == ["weights", "convert"]:
        return "convert"
    if parts[0] == "cli":
        return "cli"
    return None  # tests, benches: anything goes


def target_of(name, path, root):
    """The room that a quoted include leads to, or None where there is no such file."""
    first = name.split("/")[0]
    if (root / name).is_file():  # "kernels/x.h", "weights/convert/x.h", "engine/x.h"
        return room_of(name)
    if (root / "engine" / name).is_file():
        return room_of("engine/" + name)
    if (root / path).parent.joinpath(name).is_file():
        return room_of(str((root / path).parent.joinpath(name).resolve().relative_to(root)))
    return "missing" if first else None


def check_file(root, path, faults):
    room = room_of(path)
    text = (root / path).read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        ours, outside = match.groups()
        where = f"{path}:{number}: {line.strip()}"
        if ours is None:
            for header, door in DOORS:
                if re.match(header, outside) and room is not None and not re.fullmatch(door, path):
                    faults.append(f"{where}: {outside} has its own door")
            continue
        if ".." in ours.split("/"):
            faults.append(f"{where}: is written from engine/, without ..")
            continue
        if room is None or (path, ours) in EMULATOR:
            continue
        target = target_of(ours, path, root)
        if target == "missing":
            faults.append(f"{where}: no such file")
        elif target is None:
            faults.append(f"{where}: nothing includes tests or benches")
        elif target == room:
            continue
        elif room not in ROOMS:
            faults.append(f"{where}: {room} is no known room")
        elif target not in ROOMS[room]:
            faults.append(f"{where}: {room} may not see {target}")
        elif target == "kernels" and ours not in KERNELS_OUTSIDE:
            faults.append(f"{where}: this is the inside of kernels")
        elif room == "store" and target == "text" and ours not in TEXT_IN_STORE:
            faults.append(f"{where}: the store may see of text only how it is split into terms")
        elif target == "door" and ours != "earshot.h":
            faults.append(f"{where}: the program sees earshot.h alone")


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    faults, looked_at = [], 0
    for folder in ("kernels", "engine", "weights", "cli", "tests", "bench"):
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in (".c", ".h", ".cu", ".cuh", ".cc") and file.is_file():
                check_file(root, str(file.relative_to(root)), faults)
                looked_at += 1
    for fault in faults:
        print(fault)
    if faults or not looked_at:
        print(f"{len(faults)} includes break the rules of {looked_at} files")
        return 1
    print(f"ok: {looked_at} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
