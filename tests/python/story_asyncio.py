# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 13: tasks on an event loop, each of which keeps something."""
import asyncio

import story

TASKS = 20
ITEMS = 100
KEPT = []


async def fetch(number):
    await asyncio.sleep(0)
    KEPT.append(b"%0250d" % number)  # FETCH


async def serve_one(number):
    for item in range(ITEMS):
        await fetch(number * ITEMS + item)  # AWAIT


async def serve_all():
    await asyncio.gather(*[serve_one(number) for number in range(TASKS)])


def step(count):
    for _ in range(count):
        asyncio.run(serve_all())


def own_truth():
    live = len(KEPT)
    story.tell_line("FETCH", function="fetch", type="bytes", min_count=live, min_bytes=288 * live)
    story.tell_line("AWAIT", function="serve_one", deep_count=live, deep_bytes=288 * live)


story.serve({"step": step}, own_truth)
