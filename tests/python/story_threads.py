# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 13: worker threads, each of which keeps something."""
import concurrent.futures
import threading

import story

WORKERS = 4
ITEMS = 500
KEPT = []


def work(number):
    own = []
    for item in range(ITEMS):
        own.append(b"%0100d" % (number * ITEMS + item))  # WORK
    KEPT.append(own)


class Worker(threading.Thread):
    def run(self):
        work(0)  # THREAD


def step(count):
    for _ in range(count):
        threads = [Worker() for _ in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(work, range(WORKERS)))


def own_truth():
    live = ITEMS * len(KEPT)
    story.tell_line("WORK", function="work", type="bytes", min_count=live, min_bytes=144 * live)
    story.tell_line("THREAD", function="Worker.run", deep_count=live // 2,
                    deep_bytes=144 * live // 2)


story.serve({"step": step}, own_truth)
