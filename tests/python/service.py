# SPDX-License-Identifier: GPL-2.0-or-later
"""A service in Python whose memory grows, or only looks as if it did: service.py [--rate N] dict [N] | lru [N]

  dict   a dictionary that gets N entries a second (400) and never loses one, all of it in remember()
  lru    N calls a second (1000) of render(), whose functools.lru_cache is full after five seconds

Beside it `--rate` objects a second (10 000) are made and dropped again by churn().

The talk with who drives it, and the truth, are those of tests/leakers/service.c: READY and the PID; at SIGUSR1, and at
the end, a line with "pid", "kind", "seconds", "settled", "leak", "leaked_bytes" and "functions". Bytes are those of the
objects, without the tables that hold them. Ends on SIGTERM, and when nobody holds the other end of its stdin any more.
"""
import argparse
import functools
import json
import os
import select
import signal
import sys
import time

STEP_S = 0.005
LAG_S = 0.1  # of churn that is made up for, when others had the CPU
LRU_FULL_S = 5
VALUE = b"%0400d"  # one object of the object allocator

STORE = {}
ASKED = []
STOPPED = []


def remember():
    STORE[len(STORE)] = VALUE % len(STORE)


def render(number):
    return VALUE % number


def churn(count):
    return len([b"%060d" % number for number in range(count)])


class Pace:
    """How often something that happens so many times a second is due."""

    def __init__(self, per_s, lag_s=float("inf")):
        self.per_s = per_s
        self.lag_s = lag_s
        self.done = 0

    def due(self, seconds):
        goal = int(seconds * self.per_s)
        due = min(goal - self.done, self.lag_s * self.per_s + 1)
        self.done = goal
        return int(due)


class Dict:
    name = "dict"
    leak = "remember"
    rest_s = 0
    live_bytes = live_count = 0

    def __init__(self, per_s):
        self.per_s = per_s or 400

    def step(self):
        remember()
        number = len(STORE) - 1
        self.live_bytes += sys.getsizeof(number) + sys.getsizeof(STORE[number])
        self.live_count += 1


class Lru:
    name = "lru"
    leak = None
    rest_s = LRU_FULL_S
    live_bytes = live_count = 0

    def __init__(self, per_s):
        self.per_s = per_s or 1000
        self.room = self.per_s * LRU_FULL_S
        self.render = functools.lru_cache(maxsize=self.room)(render)
        self.number = 0

    def step(self):
        value = self.render(self.number)
        self.number += 1
        if self.live_count < self.room:
            self.live_count += 1
            self.live_bytes += sys.getsizeof(value)


def tell_truth(kind, seconds):
    live = {"live_bytes": kind.live_bytes, "live_count": kind.live_count}
    sys.stdout.write(json.dumps({
        "pid": os.getpid(),
        "kind": kind.name,
        "seconds": round(seconds, 3),
        "settled": seconds >= 2 * kind.rest_s,
        "leak": kind.leak,
        "leaked_bytes": kind.live_bytes if kind.leak else 0,
        "functions": {"remember" if kind.leak else "render": live},
    }) + "\n")
    sys.stdout.flush()


def serve(kind, rate):
    poll = select.poll()
    poll.register(sys.stdin, 0)
    start = time.monotonic()
    own, beside = Pace(kind.per_s), Pace(rate, LAG_S)
    seconds = 0
    while not STOPPED and not poll.poll(0):
        seconds = time.monotonic() - start
        for _ in range(own.due(seconds)):
            kind.step()
        churn(beside.due(seconds))
        if ASKED:
            ASKED.clear()
            tell_truth(kind, seconds)
        time.sleep(STEP_S)
    tell_truth(kind, seconds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=10000)
    parser.add_argument("kind", choices=("dict", "lru"))
    parser.add_argument("number", type=int, nargs="?", default=0)
    args = parser.parse_args()
    signal.signal(signal.SIGUSR1, lambda *_: ASKED.append(1))
    signal.signal(signal.SIGTERM, lambda *_: STOPPED.append(1))
    kind = {"dict": Dict, "lru": Lru}[args.kind](args.number)
    sys.stdout.write("READY %d\n" % os.getpid())
    sys.stdout.flush()
    serve(kind, args.rate)


main()
