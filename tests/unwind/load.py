# SPDX-License-Identifier: GPL-2.0-or-later
"""Work for python3 that reaches malloc on many ways: big objects, callbacks from C, exceptions, threads."""
import ctypes
import functools
import json
import os
import random
import re
import threading
import zlib

COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
libc = ctypes.CDLL(None)


def block():
    return bytearray(random.randrange(600, 4000))


class Node:
    def __init__(self, depth):
        self.data = block()
        self.below = [Node(depth - 1) for _ in range(2)] if depth else []

    def __del__(self):
        block()

    def __iter__(self):
        yield self.data
        for node in self.below:
            yield from node


def by_tree():
    return sum(len(data) for data in Node(4))


def by_json():
    text = json.dumps({str(i): ["x" * 600] * 3 for i in range(10)})
    return json.loads(text, object_hook=lambda value: dict(value, extra=block()))


def by_callback():
    numbers = (ctypes.c_int * 9)(*random.sample(range(99), 9))

    @COMPARE
    def compare(_left, _right):
        return len(block()) % 3 - 1

    libc.qsort(numbers, len(numbers), 4, compare)


def by_sort():
    words = ["w" * random.randrange(700) for _ in range(30)]
    return sorted(words, key=functools.cmp_to_key(lambda a, b: len(a + "x" * 600) - len(b)))


def by_regex():
    return re.sub(r"(\w+)=(\w+)", lambda match: match[2] * 100, "alpha=beta; " * 40)


def by_exception(depth=8):
    try:
        if not depth:
            raise ValueError("x" * 900)
        by_exception(depth - 1)
    except ValueError as error:
        if depth < 8:
            raise RuntimeError(str(error) + "y" * 600) from error
    except RuntimeError:
        if depth < 8:
            raise


def by_compile():
    source = "\n".join("def f%d(x): return [x, %d, {'k': x}]" % (i, i) for i in range(40))
    exec(compile(source, "made", "exec"), {})  # pylint: disable=exec-used


def by_zlib():
    return zlib.decompress(zlib.compress(b"data " * 2000))


def work():
    ways = (by_tree, by_json, by_callback, by_sort, by_regex, by_exception, by_compile, by_zlib)
    while True:
        random.choice(ways)()


threading.Thread(target=work, daemon=True).start()
print("READY", os.getpid(), flush=True)
work()
