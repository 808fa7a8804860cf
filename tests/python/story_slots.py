# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 6: objects with a dict each, and the same with slots."""
import story

POINTS = 5000
DICTS, SLOTS = [], []


class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = y  # SECOND


class SlotPoint:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x = x
        self.y = y


class LoosePoint:
    """Its dict cannot be shared between instances."""

    def __init__(self, x, y):
        self.__dict__ = {"x": x, "y": y}  # LOOSE


def step(count):
    for number in range(POINTS * count):
        DICTS.append(Point(number, -number))  # POINT
        SLOTS.append(SlotPoint(number, -number))  # SLOT
        DICTS.append(LoosePoint(number, -number))


def own_truth():
    story.tell_line("POINT", function="step", type="__main__.Point", min_count=len(DICTS) // 2,
                    min_bytes=48 * len(DICTS) // 2)
    story.tell_line("SLOT", function="step", type="__main__.SlotPoint", min_count=len(SLOTS),
                    min_bytes=48 * len(SLOTS))
    story.tell_line("LOOSE", function="LoosePoint.__init__", type="dict of __main__.LoosePoint",
                    min_count=len(DICTS) // 2, min_bytes=64 * len(DICTS) // 2)


story.serve({"step": step}, own_truth)
