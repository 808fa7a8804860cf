# SPDX-License-Identifier: GPL-2.0-or-later
"""
The gdb side of compare_stop.py: walks the stack wherever that has stopped a thread and writes one
line of JSON for each stop to OUT/stops.jsonl.

A frame is [path, file offset, address, name, kind] of its return address, leaf first, without the
allocator function itself; inlined calls and the frames that gdb makes up for tail calls are left
out. The kinds are "call", "signal" (the handler's return trampoline, which nothing has called) and
"interrupted": in these two the tool's pc is one byte behind the instruction, and so is ours.
"""
import json
import os
import sys

import gdb

sys.path.insert(0, os.environ["HERE"])
from maps import Maps  # pylint: disable=wrong-import-position

MAX_FRAMES = 256
PID = int(os.environ["PID"])


def describe(maps, frame, newer):
    pc, kind = frame.pc(), "call"
    if frame.type() == gdb.SIGTRAMP_FRAME:
        kind = "signal"
        pc += 1
    elif newer.type() == gdb.SIGTRAMP_FRAME:
        kind = "interrupted"
        pc += 1
    path, offset = maps.locate(pc)
    return [path, offset, hex(pc), frame.name() or "?", kind]


def backtrace():
    """Returns (frames, why they end, whether a return probe's trampoline is among them)."""
    maps = Maps(PID)
    frames = []
    frame = gdb.newest_frame()
    while frame.type() == gdb.INLINE_FRAME:
        frame = frame.older()
    last = frame
    try:
        newer, frame = frame, frame.older()
        while frame is not None and len(frames) <= MAX_FRAMES:
            if frame.type() in (gdb.NORMAL_FRAME, gdb.SIGTRAMP_FRAME):
                if maps.is_trampoline(frame.pc()):
                    return frames, "trampoline", True
                frames.append(describe(maps, frame, newer))
                newer = frame
            last, frame = frame, frame.older()
    except gdb.error as error:
        return frames, str(error), False
    if frame:
        return frames, "deeper", False
    return frames, gdb.frame_stop_reason_string(last.unwind_stop_reason()), False


def load_vdso():
    with open("/proc/%d/maps" % PID, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.rstrip().endswith("[vdso]"):
                start = line.split("-")[0]
                gdb.execute("add-symbol-file-from-memory 0x" + start, to_string=True)


def loaded_files():
    return {path for _, _, _, path in Maps(PID).areas}


def main():
    for command in (
        "set pagination off",
        "set confirm off",
        "set debuginfod enabled off",
        "set backtrace past-main on",
        "set backtrace past-entry on",
        "set backtrace limit unlimited",
        "set sysroot /",
        "set width 0",
        "set remotetimeout 600",
        "file /proc/%d/exe" % PID,
        "target remote " + os.environ["SOCKET"],
    ):
        gdb.execute(command, to_string=True)
    load_vdso()
    nested, files = 0, loaded_files()
    with open(os.environ["OUT"] + "/stops.jsonl", "w", encoding="utf-8") as log:
        while True:
            gdb.execute("continue", to_string=True)
            if not gdb.selected_inferior().pid:
                break
            if loaded_files() != files:
                files = loaded_files()
                gdb.execute("sharedlibrary", to_string=True)
            frames, end, trampoline = backtrace()
            # Inside another probed call, which is the one that counts the block.
            nested += trampoline
            stop = {"end": end, "nested": trampoline, "frames": frames}
            log.write(json.dumps(stop) + "\n")
            log.flush()
    print("nested calls left out: %d" % nested)


main()
