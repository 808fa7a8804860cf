# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that makes objects in one way over and over and says what that costs: python.py [OBJECTS MODULES]

Reads "OP HOW NUMBER" from stdin, one line for each measurement, and answers with a line: steps, then ns.

  lists, dicts, instances, strings   a step makes one of a thousand, which are then given back together
  loads, dumps                       a step is one JSON document
  compute                            a step is arithmetic on small numbers, nothing is allocated
  sleep                              a step is 10 ms of sleep; the ns are of CPU time, one step stands for all

HOW is "for" NUMBER milliseconds (the only way to sleep), "steps" so many of them, or "until": until the next line
comes. The line "blocks OP" is answered by how many blocks the allocator has given out for each of a thousand kept results of OP,
"tracemalloc N" starts tracemalloc with N frames (0 stops it), "modules" says how many are loaded. With OBJECTS the
program first makes and keeps so many blocks and loads so many modules. Ends at end of file.
"""
import gc
import importlib
import json
import select
import sys
import time
import tracemalloc
from itertools import repeat

BATCH = 1000
SLEEP_S = 0.01
MODULES = """asyncio http.client http.server http.cookiejar xml.etree.ElementTree xml.dom.minidom xml.sax sqlite3
    email.message email.mime.multipart unittest logging.handlers logging.config concurrent.futures
    multiprocessing.pool urllib.request urllib.robotparser ctypes decimal ssl curses bz2 lzma
    zipfile tarfile csv difflib doctest pdb cProfile timeit argparse configparser optparse getopt
    plistlib html.parser calendar statistics fractions numbers cmath array mmap readline resource
    syslog termios fcntl grp shelve dbm pickletools smtplib imaplib poplib ftplib socketserver
    xmlrpc.client xmlrpc.server wsgiref.simple_server queue sched contextvars graphlib zoneinfo
    secrets hmac uuid ipaddress gettext locale cmd code codeop pprint reprlib textwrap stringprep
    symtable tabnanny pyclbr py_compile compileall zipapp filecmp fileinput glob netrc mailbox
    mimetypes quopri colorsys wave dataclasses trace modulefinder runpy encodings.idna
    encodings.utf_16 encodings.cp1252 encodings.shift_jis""".split()


class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = y


def order(i):
    return {
        "id": 70000 + i,
        "placed": "2024-03-%02dT12:%02d:07Z" % (1 + i % 28, i % 60),
        "customer": {"name": "Customer number %d" % i, "email": "c%d@example.org" % i, "vip": i % 7 == 0},
        "items": [{"sku": "SKU-%05d" % (i * 7 + j), "count": 1 + j, "price": 3.25 * (i + j), "tags": ["new", "sale"]}
                  for j in range(4)],
        "note": None if i % 3 else "left at the door, second floor",
    }


DOCUMENT = [order(i) for i in range(50)]
TEXT = json.dumps(DOCUMENT)


def lists(n):
    return [[None] for _ in repeat(None, n)]


def dicts(n):
    return [{"name": None} for _ in repeat(None, n)]


def instances(n):
    return [Point(1, 2) for _ in repeat(None, n)]


def strings(n):
    part = "a part of a text"
    return [part + "." for _ in repeat(None, n)]


def loads(n):
    for _ in repeat(None, n):
        json.loads(TEXT)


def dumps(n):
    for _ in repeat(None, n):
        json.dumps(DOCUMENT)


def compute(n):
    x = 1
    for _ in repeat(None, n):
        x = (x * 7 + 3) & 15
    return x


# how many steps at a time
OPS = {lists: BATCH, dicts: BATCH, instances: BATCH, strings: BATCH, loads: 1, dumps: 1, compute: 10 * BATCH}
BY_NAME = {op.__name__: op for op in OPS}


def is_over(how, number, start, steps):
    if how == "steps":
        return steps >= number
    if how == "until":
        return bool(select.select([sys.stdin], [], [], 0)[0])
    return time.perf_counter() - start >= number / 1000


def measure(op, how, number):
    at_once = OPS[op]
    steps = 0
    start = time.perf_counter()
    while True:
        op(at_once)
        steps += at_once
        if is_over(how, number, start, steps):
            break
    return "%d %.0f" % (steps, (time.perf_counter() - start) * 1e9)


def measure_sleep(number):
    """The median: some wakes find cold caches that other programs have left."""
    spent = []
    start = time.perf_counter()
    while time.perf_counter() - start < number / 1000:
        before = time.process_time()
        time.sleep(SLEEP_S)
        spent.append(time.process_time() - before)
    return "1 %.0f" % (sorted(spent)[len(spent) // 2] * 1e9)


def blocks(op):
    """Most of them are asked for anew: the interpreter's own lists of free objects are short."""
    kept = op(BATCH)
    del kept
    gc.collect()
    before = sys.getallocatedblocks()
    kept = op(BATCH)
    after = sys.getallocatedblocks()
    return "%.4f" % ((after - before - 1) / BATCH) if kept else "0"


def keep(object_cnt, module_cnt):
    kept = []
    for name in MODULES:
        if len(sys.modules) >= module_cnt:
            break
        try:
            importlib.import_module(name)
        except ImportError:
            pass
    gc.disable()
    while sys.getallocatedblocks() < object_cnt:
        kept.append([Point("number %d" % (i + 300), [None]) for i in range(100)])
    if hasattr(gc, "freeze"):
        gc.freeze()
    gc.enable()
    return kept


def answer(words):
    if words[0] == "blocks":
        return blocks(BY_NAME[words[1]])
    if words[0] == "modules":
        return "%d %d" % (len(sys.modules), sys.getallocatedblocks())
    if words[0] == "tracemalloc":
        tracemalloc.stop()
        if words[1] != "0":
            tracemalloc.start(int(words[1]))
        return "done"
    if words[0] == "sleep":
        return measure_sleep(int(words[2]))
    return measure(BY_NAME[words[0]], words[1], int(words[2]))


def main():
    kept = keep(int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 2 else None
    # Unbuffered: what select() is asked about must not have been read already.
    lines = open(sys.stdin.fileno(), "rb", 0, closefd=False)
    print("ready", flush=True)
    while True:
        line = lines.readline()
        if not line:
            break
        words = line.decode().split()
        if words:
            print(answer(words), flush=True)
    return kept


main()
