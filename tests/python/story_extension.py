# SPDX-License-Identifier: GPL-2.0-or-later
"""Story 8: C code that never frees, called through ctypes (argument 1: the library) and as a
compiled module (argument 2: where it is, may be missing)."""
import ctypes
import importlib.machinery
import importlib.util
import sys

import story

BLOCKS = 100
SIZE = 3000
CALLS = [0, 0]
LIBRARY = ctypes.CDLL(sys.argv[1])
LIBRARY.leaky_keep.argtypes = [ctypes.c_size_t]
LIBRARY.leaky_keep.restype = None
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_size_t)
LIBRARY.leaky_call.argtypes = [CALLBACK, ctypes.c_size_t]
LIBRARY.leaky_call.restype = None


def load_module(path):
    loader = importlib.machinery.ExtensionFileLoader("leaky_module", path)
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_file_location("leaky_module", path, loader=loader)
    )
    loader.exec_module(module)
    return module


MODULE = load_module(sys.argv[2]) if len(sys.argv) > 2 else None


def by_ctypes():
    LIBRARY.leaky_keep(SIZE)  # CTYPES
    CALLS[0] += 1


def by_module():
    MODULE.keep(SIZE)  # MODULE
    CALLS[1] += 1


@CALLBACK
def called_back(size):
    LIBRARY.leaky_keep(size // 2)  # CALLED


def by_callback():
    LIBRARY.leaky_call(called_back, SIZE)  # CALLING


def step(count):
    for _ in range(BLOCKS * count):
        by_ctypes()
        by_callback()
        if MODULE:
            by_module()


def own_truth():
    story.tell_line("CTYPES", function="by_ctypes", native="leaky_keep", min_count=CALLS[0],
                    min_bytes=SIZE * CALLS[0])
    story.tell_line("CALLED", function="called_back", native="leaky_keep", min_count=CALLS[0],
                    min_bytes=SIZE // 2 * CALLS[0])
    story.tell_line("CALLING", function="by_callback", deep_count=CALLS[0],
                    deep_bytes=SIZE // 2 * CALLS[0])
    if MODULE:
        story.tell_line("MODULE", function="by_module", native="leaky_module_keep",
                        min_count=CALLS[1], min_bytes=SIZE * CALLS[1])


story.serve({"step": step}, own_truth)
