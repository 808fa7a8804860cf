# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 1: one huge allocation. A list is made at one line, a file is read whole at another, and a
third asks for more than the limit of the address space."""
import resource
import sys
import tempfile

import story

ITEMS = 1 << 20
ROWS = 20000
REFUSED = 1 << 31  # items of 8 bytes: 16 GiB
LISTS, TABLES = [], []
ERRORS = [0]


def fill_list(count):
    LISTS.append([0] * (ITEMS * count))  # LIST


def read_rows(count):
    with tempfile.TemporaryFile("w+", encoding="ascii") as file:
        for number in range(ROWS * count):
            file.write("%08d,some,columns,of,a,table\n" % number)
        file.seek(0)
        TABLES.append(file.readlines())  # ROWS


def ask_too_much(count):
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))
    for _ in range(count):
        try:
            LISTS.append([0] * REFUSED)  # REFUSED
        except MemoryError:
            ERRORS[0] += 1


def own_truth():
    rows = sum(len(table) for table in TABLES)
    story.tell_line("LIST", function="fill_list", min_count=len(LISTS),
                    min_bytes=sum(8 * len(item) for item in LISTS))
    story.tell_line("ROWS", function="read_rows", type="str", min_count=rows,
                    min_bytes=sum(sys.getsizeof(row) for table in TABLES for row in table))
    story.tell_line("REFUSED", function="ask_too_much", errors=ERRORS[0], asked=8 * REFUSED,
                    max_bytes=4096)


def step(count):
    fill_list(count)
    read_rows(count)


story.serve({"step": step, "refuse": ask_too_much}, own_truth)
