# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 11: files and sockets that nobody closes, tracebacks that keep what their frames hold."""
import socket
import warnings

import story

FILES = 50
ERRORS = 100
LEFT, SOCKETS, CAUGHT = [], [], []


def open_file():
    LEFT.append(open(__file__, "rb"))  # OPEN


def open_socket():
    SOCKETS.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))  # SOCKET


def fail(number):
    body = b"%02000d" % number  # BODY
    raise ValueError("request %d of %d bytes" % (number, len(body)))  # RAISE


def handle(number):
    try:
        fail(number)
    except ValueError as err:
        CAUGHT.append(err)


def step(count):
    for _ in range(FILES * count):
        open_file()
        open_socket()
    for number in range(ERRORS * count):
        handle(len(CAUGHT) + number)


def own_truth():
    # A buffered reader has a buffer of 4 KiB or more.
    story.tell_line("OPEN", function="open_file", min_count=3 * len(LEFT),
                    min_bytes=4096 * len(LEFT), type="_io.BufferedReader")
    story.tell_line("SOCKET", function="open_socket", min_count=len(SOCKETS),
                    min_bytes=64 * len(SOCKETS), type="socket.socket")
    story.tell_line("BODY", function="fail", min_count=len(CAUGHT), min_bytes=2033 * len(CAUGHT))
    story.tell_line("RAISE", function="fail", type="ValueError", min_count=2 * len(CAUGHT),
                    min_bytes=128 * len(CAUGHT))


warnings.simplefilter("ignore", ResourceWarning)
story.serve({"step": step}, own_truth)
