# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 5: parents and children that refer to each other while nobody collects cycles."""
import gc

import story

TREES = 200
CHILDREN = 10
MADE = [0]
COLLECTED = [False]


class Node:
    __slots__ = ("parent", "children", "payload", "__weakref__")

    def __init__(self, parent):
        self.parent = parent
        self.children = []
        self.payload = b"%0128d" % MADE[0]  # PAYLOAD
        MADE[0] += 1

    def add(self):
        self.children.append(Node(self))  # CHILD


class Closing(Node):
    __slots__ = ()
    closed = 0

    def __del__(self):
        Closing.closed += 1


def grow():
    root = Closing(None)  # ROOT
    for _ in range(CHILDREN):
        root.add()


def step(count):
    gc.disable()
    for _ in range(TREES * count):
        grow()


def collect(count):
    for _ in range(count):
        gc.collect()
    COLLECTED[0] = True


def own_truth():
    live = 0 if COLLECTED[0] else MADE[0]
    roots = live // (CHILDREN + 1)
    story.tell_line("PAYLOAD", function="Node.__init__", type="bytes", min_count=live,
                    min_bytes=176 * live, max_bytes=177 * live + 4096)
    story.tell_line("CHILD", function="Node.add", type="__main__.Node", min_count=live - roots,
                    min_bytes=64 * (live - roots))
    story.tell_line("ROOT", function="grow", type="__main__.Closing", min_count=roots,
                    min_bytes=64 * roots)


story.serve({"step": step, "collect": collect}, own_truth)
