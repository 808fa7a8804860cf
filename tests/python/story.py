# SPDX-License-Identifier: GPL-2.0-or-later
"""What all Python test programs share: they do as they are told and tell the truth about it.

A program calls serve() with its verbs. It prints {"ready": ...}, reads commands from stdin, one a
line, and answers each with the line {"done": N}, N being the number of the command:

    VERB [N]           calls the program's own verb with N (1), after a collection, which empties
                       what the interpreter keeps for its next objects
    tracemalloc [N]    starts tracemalloc with N frames (1)
    truth              prints what is live, by line, one object a line, then the program's own truth
    blocks             prints sys.getallocatedblocks()
    end                ends the program

The truth by line needs tracemalloc, which itself takes memory while it watches. "mode" says whether
it was on; without it a line's numbers come from another run of the same program.
"""
import gc
import json
import linecache
import os
import sys

SMALL = 512  # the object allocator hands everything larger on to malloc
ALIGNMENT = 16


def rounded(size):
    """Bytes that the object allocator spends on a block; None when the block is malloc's."""
    size = max(size, 1)
    return -(-size // ALIGNMENT) * ALIGNMENT if size <= SMALL else None


def tell(**fields):
    sys.stdout.write(json.dumps(fields) + "\n")


def function_name(code):
    return getattr(code, "co_qualname", code.co_name)


def marked(mark, path=None):
    """The number of the only line of a program that ends with the comment `# mark`."""
    path = path or os.path.abspath(sys.argv[0])
    lines = [
        number
        for number, text in enumerate(linecache.getlines(path), 1)
        if text.rstrip().endswith("# " + mark)
    ]
    if len(lines) != 1:
        raise ValueError("%d lines are marked %s in %s" % (len(lines), mark, path))
    return lines[0]


def tell_line(mark, **fields):
    """What the program knows of a line by itself."""
    path = os.path.abspath(sys.argv[0])
    tell(truth="mark", mark=mark, file=path, line=marked(mark, path), **fields)


class Line:
    """The live blocks that one line has allocated."""

    def __init__(self):
        self.small_count = self.small_bytes = self.small_rounded = 0
        self.large_count = self.large_bytes = 0

    def add(self, size):
        if size <= SMALL:
            self.small_count += 1
            self.small_bytes += size
            self.small_rounded += rounded(size)
        else:
            self.large_count += 1
            self.large_bytes += size

    def fields(self):
        return {
            "count": self.small_count + self.large_count,
            "bytes": self.small_bytes + self.large_bytes,
            "rounded_bytes": self.small_rounded + self.large_bytes,
            "small_count": self.small_count,
            "small_bytes": self.small_bytes,
            "small_rounded": self.small_rounded,
            "large_count": self.large_count,
            "large_bytes": self.large_bytes,
        }


def tell_lines(snapshot):
    lines = {}
    for trace in snapshot.traces:
        frame = trace.traceback[-1]
        key = (frame.filename, frame.lineno)
        if key not in lines:
            lines[key] = Line()
        lines[key].add(trace.size)
    for (path, number), line in lines.items():
        tell(truth="line", file=path, line=number, **line.fields())


def tell_truth(own_truth):
    blocks = sys.getallocatedblocks()
    module = sys.modules.get("tracemalloc")
    watched = module is not None and module.is_tracing()
    snapshot = module.take_snapshot() if watched else None
    tell(truth="process", mode="tracemalloc" if watched else "none", pid=os.getpid(),
         allocated_blocks=blocks)
    if watched:
        tell_lines(snapshot)
    if own_truth:
        own_truth()


def start_tracemalloc(frames):
    import tracemalloc

    gc.collect()
    tracemalloc.start(frames)


def serve(verbs, own_truth=None):
    """Does what stdin says until it says `end`. Returns then."""
    number = 0
    known = {
        "tracemalloc": start_tracemalloc,
        "truth": lambda _: tell_truth(own_truth),
        "blocks": lambda _: tell(truth="blocks", allocated_blocks=sys.getallocatedblocks()),
    }
    known.update(verbs)
    tell(ready=1, pid=os.getpid(), python="%d.%d.%d" % sys.version_info[:3],
         file=os.path.abspath(sys.argv[0]))
    sys.stdout.flush()
    while True:
        words = sys.stdin.readline().split()
        if not words or words[0] == "end":
            return
        number += 1
        if words[0] in verbs:
            gc.collect()
        known[words[0]](int(words[1]) if len(words) > 1 else 1)
        tell(done=number, verb=words[0])
        sys.stdout.flush()
