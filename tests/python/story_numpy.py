# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 12: arrays of the wrong type and copies of them. Ends with code 77 without NumPy."""
import sys

import story

try:
    import numpy
except ImportError:
    sys.exit(77)

ITEMS = 1 << 18
WHOLE, WIDE, COPIES = [], [], []


def load(count):
    WHOLE.append(numpy.ones(ITEMS * count, dtype=numpy.uint8))  # LOAD


def widen():
    WIDE.append(WHOLE[-1].astype(numpy.float64))  # WIDEN


def add():
    COPIES.append(WIDE[-1][::2] + 1.0)  # ADD


def step(count):
    load(count)
    widen()
    add()


def own_truth():
    for mark, arrays in (("LOAD", WHOLE), ("WIDEN", WIDE), ("ADD", COPIES)):
        story.tell_line(mark, min_count=len(arrays), min_bytes=sum(item.nbytes for item in arrays),
                        module="numpy", any_depth=mark == "LOAD")


story.serve({"step": step}, own_truth)
