# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 10: runaway recursion. Nothing is kept once it has ended; what is kept at its bottom has the
whole stack."""
import sys

import story

KEPT = []
ERRORS = [0]
DEEPEST = [0]


def descend(depth):
    """Takes something at every depth and keeps it only while the call lasts."""
    page = b"%0700d" % depth  # PAGE
    DEEPEST[0] = max(DEEPEST[0], depth)
    return descend(depth + 1) + len(page)  # AGAIN


def run_away(count):
    for _ in range(count):
        try:
            descend(0)  # BEGIN
        except RecursionError:
            ERRORS[0] += 1


def keep_at_bottom(depth):
    if depth:
        return keep_at_bottom(depth - 1)  # DOWN
    KEPT.append(b"%0900d" % len(KEPT))  # BOTTOM
    return None


def step(count):
    run_away(count)
    keep_at_bottom(900)


def own_truth():
    story.tell_line("PAGE", function="descend", max_bytes=0,
                    min_alloc_bytes=700 * DEEPEST[0] * ERRORS[0])
    story.tell_line("BOTTOM", function="keep_at_bottom", min_count=len(KEPT),
                    min_bytes=933 * len(KEPT), depth=900)


sys.setrecursionlimit(1000)
story.serve({"step": step}, own_truth)
