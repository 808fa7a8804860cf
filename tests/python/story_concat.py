# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 7: bytes put together by += or by BytesIO."""
import io

import story

CHUNK = 1000
CHUNKS = 200
HELD = []
STREAMED = [0]


def concatenate():
    data = b""
    for number in range(CHUNKS):
        data += b"%01000d" % number  # CONCATENATE
    HELD.append(data)


def stream():
    data = io.BytesIO()
    for number in range(CHUNKS):
        data.write(b"%01000d" % number)  # STREAM
    STREAMED[0] += len(data.getvalue())


def step(count):
    for _ in range(count):
        concatenate()
        stream()


def own_truth():
    runs = len(HELD)
    size = CHUNK * CHUNKS
    story.tell_line("CONCATENATE", function="concatenate", min_count=runs, min_bytes=size * runs,
                    max_bytes=(size + 64) * runs, min_alloc_bytes=CHUNKS // 2 * size * runs)
    story.tell_line("STREAM", function="stream", max_alloc_bytes=15 * size * runs)


story.serve({"step": step}, own_truth)
