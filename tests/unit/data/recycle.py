# SPDX-License-Identifier: GPL-2.0-or-later
# Makes objects of the types that CPython keeps freed ones of, frees them and makes them again, while
# tracemalloc traces. Says SIGUSR1 to itself before the first and behind the last.
import asyncio
import contextvars
import json
import os
import signal
import tracemalloc

COUNT = 16


class Plain:
    def method(self):
        return self


class Slotted:
    __slots__ = ("value",)

    def __getitem__(self, key):
        return key


def keywords(**names):
    return names


def positional(*values):
    return values


def nested(depth, a=1, b=2):
    c = [a, b]
    return nested(depth - 1, b, c) if depth else c


def generate(count):
    for i in range(count):
        yield (i, -i)


plain = Plain()
slotted = Slotted()
numbers = [1.5, 2.25, 3.0]
names = {"a": 1, "b": 2}


def with_dict():
    made = Plain()
    made.value = 1
    return made.__dict__


def out_of_memory():
    try:
        raise MemoryError("no")
    except MemoryError as error:
        return error


makers = {
    "list": [
        lambda: [],
        lambda: [1, 2, 3],
        lambda: [x for x in numbers],
        lambda: numbers[:2],
        lambda: numbers + numbers,
        lambda: numbers * 2,
        lambda: sorted(numbers),
        lambda: list(names.items()),
        lambda: "a b c".split(),
        lambda: numbers.copy(),
        lambda: json.loads("[[1, 2.5], {\"a\": [3]}]"),
        lambda: names.keys() and dir(slotted),
    ],
    "tuple": [
        lambda: (len(names),),
        lambda: (len(names), 2),
        lambda: (len(names), 2, 3, 4, 5),
        lambda: tuple(numbers),
        lambda: tuple(numbers * 5),
        lambda: positional(1, 2, 3, 4),
        lambda: positional(*numbers),
        lambda: list(zip(numbers, numbers)),
        lambda: list(enumerate(numbers)),
        lambda: list(names.items()),
        lambda: divmod(1000000, 7),
        lambda: "a-b".partition("-"),
        lambda: (1, 2) + (len(names), 4),
        lambda: (len(names), 2, 3)[1:],
        lambda: list(generate(3)),
        lambda: (len(names), 5) * 2,
        lambda: nested.__get__(plain),
    ],
    "dict": [
        lambda: {},
        lambda: {"a": len(names)},
        lambda: dict(names),
        lambda: names.copy(),
        lambda: keywords(a=1, b=2),
        lambda: keywords(**names),
        lambda: {x: 1 for x in numbers},
        lambda: with_dict(),
        lambda: json.loads('{"a": {"b": {}}}'),
        lambda: dict.fromkeys(numbers),
        lambda: dict(zip("abc", numbers)),
    ],
    "float": [
        lambda: numbers[0] * 7.0,
        lambda: numbers[0] + len(names),
        lambda: -numbers[0],
        lambda: float("2.5"),
        lambda: float(len(names)),
        lambda: sum(numbers),
        lambda: len(names) / 7,
        lambda: abs(numbers[1]),
        lambda: numbers[0] ** 2,
        lambda: json.loads("[1.5, 2.5e3]"),
        lambda: round(numbers[1], 1),
    ],
    "slice": [lambda: slice(1, 2), lambda: slotted[len(names) :], lambda: numbers[len(names) :]],
    "Context": [lambda: contextvars.copy_context(), lambda: contextvars.Context()],
    "method": [lambda: plain.method],
    "builtin_function_or_method": [lambda: numbers.append, lambda: names.get],
    "frame": [lambda: nested(3), lambda: list(generate(3)), lambda: [nested(i) for i in range(3)]],
    "MemoryError": [out_of_memory],
}


async def ticks(count):
    for i in range(count):
        yield i


async def tick():
    return [i async for i in ticks(COUNT)]


async def send():
    source = ticks(COUNT)
    await source.__anext__()
    for i in range(COUNT // 2):
        await source.asend(i)


tracemalloc.start()
signal.signal(signal.SIGUSR1, signal.SIG_DFL)
os.kill(os.getpid(), signal.SIGUSR1)
for kind in makers:
    for make in makers[kind]:
        made = [make() for i in range(COUNT)]
        del made
        made = [make() for i in range(COUNT)]
        del made
loop = asyncio.new_event_loop()
for i in range(2):
    loop.run_until_complete(tick())
    loop.run_until_complete(send())
os.kill(os.getpid(), signal.SIGUSR1)
