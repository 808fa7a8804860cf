# SPDX-License-Identifier: GPL-2.0-or-later
"""The ways in which Python code comes to be called, for stack_marks.py. Each scene marks at least
once, and calls `inner` (mark, or a scene of its own) where nothing else is to be seen."""
import asyncio
import contextlib
import copy
import ctypes
import functools
import itertools
import json
import pickle
import re
import signal
import sys
import threading
import warnings
import weakref

from stack_marks import mark

INNER = [mark]


def inner():
    INNER[-1]()
    return 0


# ---- calls ----


def plain():
    inner()
    second(
        1,
        third(inner()),
    )


def second(_first, _other):
    mark()


def third(_value):
    return [
        mark(),
        inner(),
    ]


class Thing:
    """Every way in which an object's code is called by the interpreter itself."""

    made = property(lambda self: inner())

    def __init__(self):
        inner()

    def __eq__(self, other):
        mark()
        return self is other

    def __lt__(self, other):
        mark()
        return id(self) < id(other)

    def __hash__(self):
        mark()
        return 1

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return inner()

    def __len__(self):
        return inner() + 1

    def __bool__(self):
        mark()
        return True

    def __getitem__(self, index):
        mark()
        if index > 2:
            raise IndexError(index)
        return index

    def __call__(self):
        return inner()

    def __repr__(self):
        mark()
        return "thing"

    def __format__(self, spec):
        inner()
        return spec

    def __enter__(self):
        return inner()

    def __exit__(self, *_):
        mark()

    @classmethod
    def of_class(cls):
        return inner()

    @staticmethod
    def of_none():
        return inner()


def methods():
    thing = Thing()
    thing()
    _ = thing.made + thing.anything
    thing.of_class()
    Thing.of_none()
    _ = thing == 3, thing < 4, hash(thing), len(thing), bool(thing), list(thing)
    _ = "%r" % thing, format(thing, "x"), {thing: 1}, thing in [Thing()]
    with thing:
        inner()


class Gone:
    def __del__(self):
        mark()


def deletion():
    Gone()
    held = Gone()
    ref = weakref.ref(held, lambda _: mark())
    del held
    return ref


def class_body():
    class Made:
        inner()

        def __init_subclass__(cls, **_):
            mark()

        def __set_name__(self, owner, name):
            mark()

    class Below(Made):
        x = mark()

    return Below


def comprehensions():
    _ = [inner() for _ in range(2)]
    _ = {mark() for _ in range(2)}
    _ = {i: mark() for i in range(2)}
    _ = sum(mark() for _ in range(2))
    _ = list(map(lambda _: inner(), range(2)))


def decorated():
    @functools.wraps(mark)
    def wrapper(*args):
        return inner() + mark(*args)

    @functools.lru_cache(maxsize=None)
    def cached(_number):
        return mark()

    functools.partial(wrapper)()
    cached(1)
    cached(2)
    return cached(1)


def branches():
    for number in range(3):
        if number == 0:
            mark()
        elif number == 1: mark(); inner()
        else:
            (lambda: (inner(),
                      mark()))()
    while True:
        mark()
        break
    return mark() or inner() \
        or mark()


# ---- called back from C ----


def callbacks():
    sorted([3, 1, 2], key=lambda _: inner())
    sorted([3, 1, 2], key=functools.cmp_to_key(mark))
    [2, 1].sort(key=mark)
    max([1, 2], key=mark)
    functools.reduce(lambda a, b: mark(), [1, 2, 3])
    list(filter(mark, [1, 2]))
    list(itertools.starmap(mark, [(1, 2), (3, 4)]))
    list(itertools.groupby([1, 2], key=mark))
    re.sub("a", lambda _: str(inner()), "banana")
    json.dumps({"a": Thing}, default=lambda _: mark())
    json.loads('{"a": {"b": 1}}', object_hook=lambda found: mark() or found)
    copy.deepcopy(Copied())
    pickle.loads(pickle.dumps(Copied()))
    next(iter(mark, 0), None)


class Copied:
    def __reduce__(self):
        mark()
        return (make_copied, ())


def make_copied():
    inner()
    return Copied()


COMPARE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)
)


@COMPARE
def compare(first, second):
    mark()
    return (first[0] > second[0]) - (first[0] < second[0])


def from_c():
    numbers = (ctypes.c_int * 4)(3, 1, 4, 2)
    library = ctypes.CDLL(sys.argv[1])
    library.leaky_sort.argtypes = [ctypes.POINTER(ctypes.c_int), ctypes.c_size_t, COMPARE]
    library.leaky_sort.restype = None
    library.leaky_sort(numbers, 4, compare)


def traced():
    def tracer(_frame, event, _arg):
        if event == "call":
            mark()

    def called():
        return 1

    sys.setprofile(tracer)
    try:
        called()
    finally:
        sys.setprofile(None)


def on_signal():
    if threading.current_thread() is not threading.main_thread():
        return
    old = signal.signal(signal.SIGUSR2, lambda *_: mark())
    signal.raise_signal(signal.SIGUSR2)
    signal.signal(signal.SIGUSR2, old)


def warned():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *_, **__: mark()
        warnings.warn("look")


# ---- generators and tasks ----


def count_up(limit):
    for number in range(limit):
        mark()
        yield number
    inner()


def delegate(limit):
    yield from count_up(limit)
    return (yield from count_up(1))


class Iterates:
    def __iter__(self):
        mark()
        return self

    def __init__(self):
        self.left = 2

    def __next__(self):
        inner()
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return self.left


def generators():
    for _ in count_up(2):
        inner()
    list(delegate(2))
    for _ in Iterates():
        mark()
    first = delegate(1)
    next(first)
    first.close()
    sent = echo()
    next(sent)
    sent.send(1)
    with contextlib.suppress(ValueError):
        sent.throw(ValueError("out"))


def echo():
    try:
        while True:
            yield mark()
    finally:
        inner()


@contextlib.contextmanager
def managed():
    inner()
    try:
        yield
    finally:
        mark()


def managers():
    with managed():
        mark()
    with contextlib.ExitStack() as stack:
        stack.callback(mark)
        stack.enter_context(managed())


async def wait(depth):
    if depth:
        await wait(depth - 1)
    else:
        await asyncio.sleep(0)
    mark()


async def produce():
    for number in range(2):
        mark()
        yield number
        await asyncio.sleep(0)


class Entered:
    async def __aenter__(self):
        mark()

    async def __aexit__(self, *_):
        await wait(1)


async def tasks():
    loop = asyncio.get_running_loop()
    await asyncio.gather(wait(0), wait(3))
    async for _ in produce():
        mark()
    _ = [mark() async for _ in produce()]
    async with Entered():
        inner()
    loop.call_soon(mark)
    await asyncio.create_task(wait(2))
    await loop.run_in_executor(None, mark)


def event_loop():
    with contextlib.suppress(RuntimeError):
        if asyncio._get_running_loop() is None:
            asyncio.run(tasks())


# ---- exceptions ----


def fail_at(depth):
    if depth:
        try:
            fail_at(depth - 1)
        finally:
            mark()
    raise KeyError(depth)


def exceptions():
    try:
        fail_at(3)
    except KeyError:
        inner()
    else:
        raise AssertionError
    finally:
        mark()
    try:
        try:
            {}[Thing]
        except KeyError as err:
            mark()
            raise ValueError(inner()) from err
    except ValueError:
        mark()


# ---- code that was not there ----

SOURCE = """
def gone_%d(call):

    call()
    def within():
        return call()
    return within()
"""
ROUND = [0]


def executed():
    ROUND[0] += 1
    space = {"mark": mark}
    exec(SOURCE % (ROUND[0] % 50), space)
    space["gone_%d" % (ROUND[0] % 50)](mark)
    eval("[mark(), mark()]", space)
    exec(compile("\n" * (ROUND[0] % 40) + "mark()", "<template %d>" % (ROUND[0] % 7), "exec"), space)


UNICODE = """
def größe(ruf):
    return ruf()

class Ключ:
    def 値(self, ruf):
        return größe(ruf)

def 𠮷野(ruf):
    return Ключ().値(ruf)
"""


def non_ascii():
    for name in ("naïve.py", "файл.py", "ファイル.py", "🐍/mod.py", "a" * 300 + "é.py"):
        space = {}
        exec(compile(UNICODE, name, "exec"), space)
        space["𠮷野"](mark)
        space["größe"](inner)


LONG = {"mark": mark}


def long_code():
    """More lines than are copied of a line table at once. It is kept: of what is freed, the lines
    behind those are not known any more."""
    if "long" not in LONG:
        body = "".join("    x = %d\n    y = (x +\n    %d)\n" % (i, i) for i in range(900))
        text = "def long():\n    mark()\n%s    mark()\n" % body
        exec(compile(text, "long.py", "exec"), LONG)
    LONG["long"]()


# ---- threads ----


def in_threads():
    threads = [threading.Thread(target=plain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def recursion():
    def descend(depth):
        return descend(depth - 1) if depth else inner()

    descend(40)


QUICK = [
    plain, methods, deletion, class_body, comprehensions, decorated, branches, callbacks, generators,
    managers, exceptions, executed, recursion, warned,
]
SCENES = QUICK + [from_c, traced, on_signal, event_loop, non_ascii, long_code, in_threads]


def nest(chance, depth):
    """A scene within a scene, up to `depth` deep."""
    if depth <= 1:
        chance.choice(SCENES)()
        return
    calls = [1]

    def once():
        if calls[0]:
            calls[0] -= 1
            nest(chance, depth - 1)

    INNER.append(once)
    try:
        chance.choice(QUICK)()
    finally:
        INNER.pop()
