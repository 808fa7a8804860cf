# SPDX-License-Identifier: GPL-2.0-or-later
"""The services of the sweep's campaign (tests/leakers/service.c, tests/python/service.py), and what is asked of it."""
import math
import os

HERE = os.path.dirname(os.path.abspath(__file__))

# case: arguments of the service, what it is, and the seconds in which its leak has to be named (inf = before the run
# ends, None = there is none)
CASES = {
    "leak10": ("leak 10000000", "leak, 10 MB/min", 60),
    "leak1": ("leak 1000000", "leak, 1 MB/min", 300),
    "leakcache": ("leakcache 10000000", "leak, cache and load", math.inf),
    "mmap": ("mmap 10000000", "mappings, 10 MB/min", math.inf),
    "dict": ("dict 400", "Python dict, 11 MB/min", math.inf),
    "cache": ("cache 10", "cache of 10 s", None),
    "replace": ("replace", "random replacement", None),
    "startup": ("startup 64", "start-up load, 64 MiB", None),
    "retained": ("retained", "retention, 10 MB/min", None),
    "plain": ("plain", "steady", None),
    "lru": ("lru 1000", "Python lru_cache", None),
}
PYTHON = ("dict", "lru")
TOUCHED = ("mmap",)  # named by where memory is first touched: it comes too seldom to be seen in windows


def command(case, leakers, python):
    program = [python, "-I", os.path.join(HERE, "../python/service.py")] if case in PYTHON else [
        os.path.join(leakers, "service")]
    return program + CASES[case][0].split()


def title(case):
    return CASES[case][1]


def named_within(case):
    return CASES[case][2]
