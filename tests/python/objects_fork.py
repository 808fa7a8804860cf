# SPDX-License-Identifier: GPL-2.0-or-later
"""What of objects.py forks: in a file of its own, for the lines of the other are compared with those of
a program that does not."""
import gc
import os

import story

CHILD = []


def child_main(orders, answers, drop, keep):
    while True:
        words = orders.readline().split()
        if not words:
            os._exit(0)
        drop(1)
        keep(int(words[0]))
        answers.write("done %d\n" % os.getpid())
        answers.flush()


def fork(drop, keep):
    orders, orders_in = os.pipe()
    answers, answers_in = os.pipe()
    gc.collect()
    pid = os.fork()
    if pid == 0:
        os.close(orders_in)
        os.close(answers)
        child_main(os.fdopen(orders), os.fdopen(answers_in, "w"), drop, keep)
    os.close(orders)
    os.close(answers_in)
    CHILD[:] = [os.fdopen(orders_in, "w"), os.fdopen(answers), pid]
    story.tell(truth="child", pid=pid)


def work(count):
    CHILD[0].write("%d\n" % count)
    CHILD[0].flush()
    CHILD[1].readline()


def verbs(drop, keep):
    return {"fork": lambda _count: fork(drop, keep), "work": work}
