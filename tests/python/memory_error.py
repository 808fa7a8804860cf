# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that end in MemoryError, as people write them. usage: memory_error.py MODE [now]

  list       one huge list at once
  readlines  a whole file by readlines()
  grow       a list that grows until there is no more
  overflow   a size that Python refuses by itself, without asking for anything
  thread     the huge list, in a thread

Talks as the C leakers do: READY PID, waits for a newline (not with "now"), TRUTH {json} with the
place of the MemoryError (the traceback's last entry), DONE, waits again. RLIMIT_AS is set by the
program itself, right before.
"""
import json
import os
import resource
import sys
import tempfile
import threading

KIB = 1024
MIB = 1024 * KIB
HUGE = 1000000000


def set_limit(limit):
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def huge_list():
    return [0] * HUGE


def read_lines(path):
    with open(path) as file:
        return file.readlines()


def grow_list():
    blocks = []
    while True:
        blocks.append(bytearray(MIB))


def overflowing_list():
    return [0] * sys.maxsize


def in_thread():
    errors = []

    def work():
        try:
            huge_list()
        except MemoryError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    raise errors[0]


def write_lines():
    file, path = tempfile.mkstemp(prefix="leaksweep-lines-")
    with os.fdopen(file, "w") as out:
        for _ in range(250):
            out.write("ab\n" * 10000)
    return path


def run(mode):
    """Returns (limit in bytes, bytes that the failing call asks for or None, call)."""
    if mode == "list":
        return 512 * MIB, 8 * HUGE, huge_list
    if mode == "thread":
        return 512 * MIB, 8 * HUGE, in_thread
    if mode == "readlines":
        path = write_lines()

        def call():
            try:
                return read_lines(path)
            finally:
                os.unlink(path)

        return 128 * MIB, None, call
    if mode == "grow":
        return 256 * MIB, None, grow_list
    if mode == "overflow":
        return 512 * MIB, None, overflowing_list
    sys.exit("memory_error.py: unknown mode " + mode)


def last_place(error):
    entry = error.__traceback__
    while entry.tb_next:
        entry = entry.tb_next
    return entry.tb_frame.f_code, entry.tb_lineno


def wait(now):
    if not now:
        sys.stdin.readline()


def main():
    now = sys.argv[-1] == "now"
    mode = sys.argv[1]
    limit, asked, call = run(mode)
    print("READY", os.getpid(), flush=True)
    wait(now)
    set_limit(limit)
    try:
        call()
    except MemoryError as error:
        place = last_place(error)  # without asking for memory: all of it is still in use
    else:
        sys.exit("memory_error.py: there was memory")
    code, line = place
    truth = {"pid": os.getpid(), "mode": mode, "file": code.co_filename, "line": line,
             "function": code.co_name, "bytes": asked, "limit_kib": limit // KIB}
    print("TRUTH", json.dumps(truth), flush=True)
    print("DONE", flush=True)
    wait(now)


main()
