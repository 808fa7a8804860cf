# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 4: a bounded cache, which looks like a leak until it is full."""
import collections
import functools

import story

LIMIT = 2000
ENTRIES = 4000
NEXT = [100000]
RECENT = collections.OrderedDict()


@functools.lru_cache(maxsize=LIMIT)
def render(number):
    return b"%0200d" % number  # RENDER


def remember(number):
    RECENT[number] = b"%0300d" % number  # REMEMBER
    if len(RECENT) > LIMIT:
        RECENT.popitem(last=False)


def step(count):
    for number in range(NEXT[0], NEXT[0] + ENTRIES * count):
        render(number)
        remember(number)
    NEXT[0] += ENTRIES * count


def own_truth():
    done = NEXT[0] - 100000
    # A page of 200 digits takes 240 bytes, one of 300 takes 336; the cache's own links are C's.
    story.tell_line("RENDER", function="render", type="bytes", min_count=min(done, LIMIT),
                    max_bytes=LIMIT * 248, min_alloc_bytes=done * 240)
    story.tell_line("REMEMBER", function="remember", type="bytes", min_count=min(done, LIMIT),
                    max_bytes=LIMIT * 800, min_alloc_bytes=done * 336)


story.serve({"step": step}, own_truth)
