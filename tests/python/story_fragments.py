# SPDX-License-Identifier: GPL-2.0-or-later
"""200 MiB in small objects, of which a few stay: not enough to be worth it, too many to give it back."""
import story

ITEMS = 230000
EVERY = 250  # fewer than an arena of any version has room for
HELD, PINS = [], []


def fill(count):
    for number in range(ITEMS * count):
        HELD.append(b"%0400d" % number)  # FILL


def drop(_):
    PINS.append(HELD[::EVERY])
    HELD.clear()


story.serve({"fill": fill, "drop": drop})
