# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps objects of many kinds, each kind made at one line, for counts of blocks line by line.

Verbs: `keep N` keeps N of each kind, `churn N` makes and drops N of each, `drop` drops every second
of what is kept, `threads N` keeps N of each kind in several threads at once, `fork` makes a child
that keeps and drops some itself, `work N` lets it go on.
"""
import asyncio
import collections
import datetime
import decimal
import gc
import itertools
import json
import random
import re
import threading

import objects_fork
import story

KEPT = []
WORKERS = 4


class Slots:
    __slots__ = ("x", "y")


class Dicts:
    def __init__(self, number):
        self.number = number


class Loose:
    pass


Pair = collections.namedtuple("Pair", "first second")
DOCUMENT = json.dumps({"items": [{"name": "n%d" % i, "x": i * 1.5, "y": None} for i in range(20)]})


def bare(n):
    return [object() for _ in range(n)]


def slots(n):
    return [Slots() for _ in range(n)]


def dicts(n):
    return [Dicts(i) for i in range(1000, 1000 + n)]


def loose(n):
    kept = []
    for i in range(n):
        item = Loose()
        setattr(item, "name%d" % (i % 3), item)
        kept.append(item)
    return kept


def integers(n):
    return [10**12 + i for i in range(n)]


def large_integers(n):
    return [1 << (100 + i % 5000) for i in range(n)]


def floats(n):
    return [i * 0.5 for i in range(n)]


def texts(n):
    return ["text %d" % i for i in range(n)]


def f_texts(n):
    return [f"{i}:{i + 1}" for i in range(n)]


def joined(n):
    return ["".join(["é", str(i), "☃"]) for i in range(n)]


def raw(n):
    return [b"%d" % i for i in range(1000, 1000 + n)]


def byte_arrays(n):
    return [bytearray(i % 900) for i in range(n)]


def sizes(n):
    return [bytes(i % 1200) for i in range(n)]


def lists(n):
    return [[i, n] for i in range(n)]


def grown(n):
    kept = []
    for i in range(n):
        item = []
        item.extend(range(i % 40))
        kept.append(item)
    return kept


def tuples(n):
    return [(i, n, kept_none()) for i in range(n)]


def kept_none():
    return None


def tables(n):
    return [{"a": i, "b": n} for i in range(n)]


def large_tables(n):
    return [dict.fromkeys(range(i % 60)) for i in range(n)]


def sets(n):
    return [{i, n, -1} for i in range(n)]


def pairs(n):
    return [Pair(i, n) for i in range(n)]


def closures(n):
    def make(value):
        return lambda: value

    return [make(i) for i in range(n)]


def generators(n):
    def count(limit):
        for i in range(limit):
            yield i

    kept = [count(i) for i in range(n)]
    for item in kept:
        next(item, None)
    return kept


def exceptions(n):
    kept = []
    for i in range(n):
        try:
            raise ValueError(i)
        except ValueError as err:
            kept.append(err)
    return kept


def documents(n):
    return [json.loads(DOCUMENT) for _ in range(n // 50)]


def dumped(n):
    return [json.dumps({"number": i}) for i in range(n)]


def patterns(n):
    return [re.compile("a{%d}" % (i % 50)) for i in range(n // 50)]


def substituted(n):
    return [re.sub("[0-9]", "x", "a%d" % i) for i in range(n)]


def dates(n):
    return [datetime.datetime(2020, 1, 1) + datetime.timedelta(i) for i in range(n)]


def decimals(n):
    return [decimal.Decimal(i) / 7 for i in range(n)]


def queues(n):
    return [collections.deque([i]) for i in range(n // 10)]


def ordered(n):
    return [collections.OrderedDict(a=i) for i in range(n // 10)]


def compiled(n):
    return [compile("x = %d + y" % i, "made.py", "exec") for i in range(n // 50)]


def iterators(n):
    return [itertools.chain([i], [n]) for i in range(n)]


def methods(n):
    return [(lambda: n).__call__ for _ in range(n)]


def cycles(n):
    for _ in range(n):
        item = Loose()
        item.self = item
    return None


async def nap(number):
    await asyncio.sleep(0)
    return [number]


async def nap_all(n):
    return await asyncio.gather(*[nap(i) for i in range(n)])


def tasks(n):
    return asyncio.run(nap_all(n // 10))


KINDS = [
    bare, slots, dicts, loose, integers, large_integers, floats, texts, f_texts, joined, raw,
    byte_arrays, sizes, lists, grown, tuples, tables, large_tables, sets, pairs, closures,
    generators, exceptions, documents, dumped, patterns, substituted, dates, decimals, queues,
    ordered, compiled, iterators, methods, cycles, tasks,
]


def keep(count):
    """A collection between two kinds empties what the interpreter keeps for the next object."""
    for kind in KINDS:
        gc.collect()
        KEPT.append(kind(count))
        gc.collect()


def churn(count):
    for kind in KINDS:
        kind(count)
        gc.collect()


def drop(_count):
    chance = random.Random(1)
    # Not del: a list that shrinks in its place keeps its block, and with it its line. All at once:
    # one that takes the place of another from before the trace is new to the tool alone.
    KEPT[:] = [kept and kept[::2] for kept in KEPT]
    for kept in KEPT:
        if kept:
            chance.shuffle(kept)
    gc.collect()


def only(index):
    """One kind by itself; tells its name, "" behind the last one."""
    if index < len(KINDS):
        KEPT.append(KINDS[index](1000))
        gc.collect()
    story.tell(truth="kind", name=KINDS[index].__name__ if index < len(KINDS) else "")


def in_threads(count):
    def work():
        own = []
        for kind in (slots, dicts, texts, tables, closures, documents, sizes, exceptions):
            own.append(kind(count))
        KEPT.append(own)

    workers = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    gc.collect()


story.serve({
    "keep": keep, "churn": churn, "drop": drop, "only": only, "threads": in_threads,
    **objects_fork.verbs(drop, lambda count: KEPT.append(slots(count))),
})
