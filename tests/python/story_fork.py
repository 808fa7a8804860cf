# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 13: servers that fork their workers before or while they work. Each worker keeps something of
its own, and what the parent had made is in it as well."""
import gc
import multiprocessing
import os
import sys

import story

WORKERS = 2
ITEMS = 1000
SHARED, OWN = [], []
CHILDREN = []


def load(count):
    """What the parent makes before it forks."""
    for number in range(ITEMS * count):
        SHARED.append(b"%0150d" % number)  # SHARED


def work(count, number):
    for item in range(ITEMS * count * (number + 1)):
        OWN.append(b"%0350d" % item)  # OWN


def serve_child(number, orders, answers):
    """A worker: does its part, then drops half of what it got from its parent."""
    while True:
        order = orders.readline().split()
        if not order or order[0] == "end":
            return
        if order[0] == "work":
            work(int(order[1]), number)
        elif order[0] == "drop":
            del SHARED[len(SHARED) // 2:]
        answers.write("%d %d %d\n" % (os.getpid(), len(OWN), len(SHARED)))
        answers.flush()


def fork_one(number):
    orders_out, orders_in = os.pipe()
    answers_out, answers_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(orders_in)
        os.close(answers_out)
        serve_child(number, os.fdopen(orders_out), os.fdopen(answers_in, "w"))
        os._exit(0)
    os.close(orders_out)
    os.close(answers_in)
    CHILDREN.append([os.fdopen(orders_in, "w"), os.fdopen(answers_out), pid, 0, 0])


def fork(count):
    gc.collect()
    for _ in range(count):
        fork_one(len(CHILDREN))


def order(verb, count):
    for child in CHILDREN:
        child[0].write("%s %d\n" % (verb, count))
        child[0].flush()
        child[2:] = [int(word) for word in child[1].readline().split()]


def pool_task(count):
    """One task in a pool, for what the pool's own machinery needs."""
    data = [b"%0450d" % item for item in range(ITEMS * count)]
    return len(data)


def pool(count):
    context = multiprocessing.get_context("fork")
    with context.Pool(WORKERS) as workers:
        if workers.map(pool_task, [count] * WORKERS) != [ITEMS * count] * WORKERS:
            sys.exit("the pool does not count")


def own_truth():
    story.tell_line("SHARED", function="load", type="bytes", pid=os.getpid(),
                    min_count=len(SHARED), min_bytes=192 * len(SHARED))
    for child in CHILDREN:
        story.tell_line("OWN", function="work", type="bytes", pid=child[2], min_count=child[3],
                        min_bytes=384 * child[3])
        story.tell_line("SHARED", function="load", type="bytes", pid=child[2],
                        min_count=child[4], min_bytes=192 * child[4])


story.serve(
    {
        "load": load,
        "fork": fork,
        "work": lambda count: order("work", count),
        "drop": lambda count: order("drop", count),
        "pool": pool,
    },
    own_truth,
)
