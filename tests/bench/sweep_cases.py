# SPDX-License-Identifier: GPL-2.0-or-later
"""The services of the sweep's campaign (tests/leakers/service.c, tests/python/service.py), and what is asked of it."""
import os

HERE = os.path.dirname(os.path.abspath(__file__))

# case: arguments of the service, what it is, and the seconds in which its leak has to be named (None = not asked)
CASES = {
    "leak10": ("leak 10000000", "leak, 10 MB/min", 60),
    "leak1": ("leak 1000000", "leak, 1 MB/min", 300),
    "mmap": ("mmap 10000000", "mappings, 10 MB/min", None),
    "dict": ("dict 400", "Python dict, 11 MB/min", None),
    "cache": ("cache 10", "cache of 10 s", None),
    "replace": ("replace", "random replacement", None),
    "startup": ("startup 64", "start-up load, 64 MiB", None),
    "retained": ("retained", "retention, 10 MB/min", None),
    "plain": ("plain", "steady", None),
    "lru": ("lru 1000", "Python lru_cache", None),
}
PYTHON = ("dict", "lru")


def command(case, leakers, python):
    program = [python, "-I", os.path.join(HERE, "../python/service.py")] if case in PYTHON else [
        os.path.join(leakers, "service")]
    return program + CASES[case][0].split()


def title(case):
    return CASES[case][1]


def named_within(case):
    return CASES[case][2]
