# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 3: a cache that nobody bounds."""
import story

ENTRIES = 1000
CACHE = {}


class Session:
    __slots__ = ("user", "basket")

    def __init__(self, user):
        self.user = user
        self.basket = b"%064d" % user  # BASKET


def lookup(user):
    if user not in CACHE:
        CACHE[user] = Session(user)  # INSERT
    return CACHE[user]


def step(count):
    first = 1000 + len(CACHE)  # small ones are there already
    for user in range(first, first + ENTRIES * count):
        for _ in range(3):
            lookup(user)


def own_truth():
    story.tell_line("INSERT", function="lookup", type="__main__.Session", min_count=len(CACHE),
                    min_bytes=48 * len(CACHE))
    story.tell_line("BASKET", function="Session.__init__", type="bytes", min_count=len(CACHE),
                    min_bytes=112 * len(CACHE))


story.serve({"step": step}, own_truth)
