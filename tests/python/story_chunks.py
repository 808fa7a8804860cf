# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 2: a file read whole or in chunks, a list or a generator of the same numbers."""
import tempfile

import story

SIZE = 1 << 18
ROWS = 10000
TEXTS, LISTS = [], []
SEEN = [0, 0]


def read_whole(file):
    file.seek(0)
    TEXTS.append(file.read())  # WHOLE


def read_chunks(file):
    file.seek(0)
    while True:
        chunk = file.read(4000)  # CHUNKS
        if not chunk:
            return
        SEEN[0] += len(chunk)


def keep_list(base):
    LISTS.append([str(base + i) for i in range(ROWS)])  # LIST


def use_generator(base):
    for text in (str(base + i) for i in range(ROWS)):  # GENERATOR
        SEEN[1] += len(text)


def step(count):
    with tempfile.TemporaryFile("w+b") as file:
        file.write(b"0123456789abcdef" * (SIZE // 16))
        for _ in range(count):
            base = 1000000 * (len(LISTS) + 1)
            read_whole(file)
            read_chunks(file)
            keep_list(base)
            use_generator(base)


def own_truth():
    steps = len(LISTS)
    story.tell_line("WHOLE", function="read_whole", min_count=steps, min_bytes=SIZE * steps)
    story.tell_line("CHUNKS", function="read_chunks", max_bytes=65536,
                    min_alloc_bytes=SIZE * steps)
    story.tell_line("LIST", type="str", min_count=ROWS * steps, min_bytes=ROWS * steps * 56)
    story.tell_line("GENERATOR", max_bytes=65536, min_alloc_bytes=ROWS * steps * 48)


story.serve({"step": step}, own_truth)
