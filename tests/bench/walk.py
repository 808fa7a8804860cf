# SPDX-License-Identifier: GPL-2.0-or-later
"""Allocates in many ways: once for each line that it reads, and then says "done"."""
import functools
import json
import re
import sys

WORDS = [f"word number {i} of a list" for i in range(300)]


def deep(depth, fn):
    return fn() if depth == 0 else deep(depth - 1, fn)


def parse():
    text = json.dumps({word: {"text": word * 40, "list": list(range(100))} for word in WORDS})
    return len(json.loads(text))


def sort():
    by_callback = functools.cmp_to_key(lambda a, b: (a * 30 > b * 30) - (a * 30 < b * 30))
    return sorted(WORDS, key=by_callback)[0]


def match():
    pattern = re.compile("([a-z]+) number ([0-9]+)")
    return pattern.sub(lambda m: m.group(2) * 200, " ".join(WORDS))


def build():
    return {i: [bytes(600 + i % 50) for _ in range(20)] for i in range(100)}


def generate():
    return sum(len(bytearray(n)) for n in (600 + i % 900 for i in range(3000)))


def work():
    for i in range(30):
        for fn in (parse, sort, match, build, generate):
            deep(i, fn)


for _ in sys.stdin:
    work()
    print("done", flush=True)
