# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 9: what was freed is not given back, because a little of it is still in use everywhere."""
import gc

import story

ITEMS = 40000
EVERY = 10
HELD, PINS = [], []


def fill(count):
    for number in range(ITEMS * count):
        HELD.append(b"%0300d" % number)  # FILL


def drop(count):
    """Keeps one of EVERY, so that no pool becomes empty."""
    PINS.append(HELD[::EVERY])
    HELD.clear()
    for _ in range(count):
        gc.collect()


def own_truth():
    live = len(HELD) + sum(len(pins) for pins in PINS)
    story.tell_line("FILL", function="fill", type="bytes", min_count=live, min_bytes=336 * live)


story.serve({"fill": fill, "drop": drop}, own_truth)
