# SPDX-License-Identifier: GPL-2.0-or-later
"""Allocates marked sizes and remembers, by sys._getframe, from where.

Every distinct stack of Python frames gets a size of its own (4096 of them, then they come again): what
is allocated with it is allocated there and nowhere else. The blocks are bytes of more than 512 bytes, which malloc gives out, are
requested at the line marked MARK, and are freed at once unless the scene keeps them.

Verbs: `scene N` plays scene number N once, `play N` all scenes N times, `kept N` the same and keeps the
blocks, `random N` goes on until N blocks are marked, `deep N` marks at the bottom of N calls, `forget`
forgets what was told. The truth has one line for each stack: {"truth": "stack", "frames": [[file, line, function]...],
"size", "count", "kept"}, leaf first; its block takes size + 33 bytes from malloc.

Argument 1: leaky_extension.so.
"""
import ctypes
import gc
import random
import sys
import threading

import story

FIRST_SIZE = 1000
STEP = 16  # between the sizes of two stacks
SIZES = 4096  # then they come again
SEEDS = 40  # random stacks come again, too

# key -> [size, count, kept]; a key is (file, line, function, file, line, function, ...), leaf first
STACKS = {}
KEPT = []
LOCK = threading.Lock()
STATE = {"keep": False, "marked": 0}


def seen_from(frame):
    key = []
    while frame is not None:
        code = frame.f_code
        key.append(code.co_filename)
        key.append(frame.f_lineno or 0)
        key.append(story.function_name(code))
        frame = frame.f_back
    key = tuple(key)
    with LOCK:
        entry = STACKS.get(key)
        if entry is None:
            entry = STACKS[key] = [FIRST_SIZE + STEP * (len(STACKS) % SIZES), 0, 0]
        entry[1] += 1
        entry[2] += STATE["keep"]
        STATE["marked"] += 1
    return entry[0]


def mark(_=None, __=None):
    """Returns 0, so that it can stand for a key, a comparison and more."""
    size = seen_from(sys._getframe(1))
    block = bytes(size)  # MARK
    if STATE["keep"]:
        KEPT.append(block)
    return 0


def own_truth():
    mark_line = story.marked("MARK")
    for key, (size, count, kept) in STACKS.items():
        frames = [[__file__, mark_line, "mark"]]
        frames += [list(key[i:i + 3]) for i in range(0, len(key), 3)]
        story.tell(truth="stack", frames=frames, size=size, count=count, kept=kept)
    story.tell(truth="marks", marked=STATE["marked"], stacks=len(STACKS), header=33)


def play_all(count):
    for _ in range(count):
        for scene in scenes.SCENES:
            scene()


def play_one(number):
    scenes.SCENES[number]()


def play_random(count):
    goal = STATE["marked"] + count
    played = 0
    while STATE["marked"] < goal:
        chance = random.Random(played % SEEDS)
        played += 1
        for _ in range(20):
            scenes.nest(chance, chance.randrange(1, 6))
    gc.collect()


def play_kept(count):
    STATE["keep"] = True
    play_all(count)
    STATE["keep"] = False


def descend(depth):
    if depth > 1:
        return descend(depth - 1)
    return mark()


def play_deep(depth):
    sys.setrecursionlimit(max(1000, depth + 200))
    descend(depth)


if __name__ == "__main__":
    sys.modules["stack_marks"] = sys.modules["__main__"]
    import scenes
    ctypes.CDLL(sys.argv[1])
    story.serve(
        {
            "play": play_all,
            "scene": play_one,
            "random": play_random,
            "kept": play_kept,
            "deep": play_deep,
            "forget": lambda _: STACKS.clear(),
        },
        own_truth,
    )
