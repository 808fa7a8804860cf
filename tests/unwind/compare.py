#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Judges what compare.sh has recorded.

  compare.py stops NAME DIR       every backtrace of gdb (DIR/stops.jsonl) must be among the stacks
                                  that the tool reported (DIR/round-N.json); exit code 1 if one is
                                  not, 2 if there is nothing to compare
  compare.py ends NAME FILE...    how the stacks of reports end, weighted by their allocations;
                                  exit code 1 if fewer than 99.9 % are complete
  compare.py sum FILE             the number of allocations in a report

Reports may be larger than memory: they have one stack a line, and are read like that.
"""
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter

MAX_FRAMES = 256
ENOUGH = 0.999
SHOWN = 10  # differences told in full


# ---- reading ----


def stack_lines(file):
    """Yields the lines of the list "stacks"; each begins with a JSON object."""
    inside = False
    for line in file:
        if inside and line.startswith("{"):
            yield line
        elif line.startswith('"stacks":['):
            inside = True


def parse(line):
    return json.JSONDecoder().raw_decode(line)[0]


def frames_of(stack):
    """The physical frames of a reported stack as (path, offset), leaf first."""
    return [
        (frame["module"] or "[unknown]", frame["offset"])
        for frame in stack["frames"]
        if frame["kind"] == "native" and not frame["inlined"]
    ]


def digest(frames):
    text = "\n".join("%s %x" % frame for frame in frames)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def read_stacks(path):
    """Returns {digest: how the walk ended} of all malloc stacks of a report."""
    ends = {}
    with open(path, encoding="utf-8") as file:
        for line in stack_lines(file):
            stack = parse(line)
            if stack["layer"] == "malloc" and stack["alloc_count"] > 0:
                ends[digest(frames_of(stack))] = stack["unwind"]
    return ends


def read_stops(directory):
    """Returns the stops with "round" and "thread", without nested calls."""
    stops = []
    with open(directory + "/stops.jsonl", encoding="utf-8") as frames:
        with open(directory + "/where.txt", encoding="utf-8") as places:
            for number, (stop, place) in enumerate(zip(map(json.loads, frames), places)):
                stop["number"] = number
                stop["round"], stop["thread"] = map(int, place.split())
                if not stop["nested"]:
                    stops.append(stop)
    return stops


# ---- comparing ----


def compare(stops, directory):
    """Returns (number of equal stacks, [stops without an equal])."""
    equal, different, ends, known = 0, [], {}, None
    for stop in stops:
        if stop["round"] != known:
            known = stop["round"]
            ends = read_stacks("%s/round-%d.json" % (directory, known))
        frames = [tuple(frame[:2]) for frame in stop["frames"]][:MAX_FRAMES]
        end = ends.get(digest(frames))
        if end is None:
            different.append(stop)
            continue
        whole = len(stop["frames"]) <= MAX_FRAMES
        if end != ("complete" if whole else "truncated"):
            stop["unlike"] = end
            different.append(stop)
            continue
        equal += 1
    return equal, different


def nearest(stop, directory):
    """Returns (equal frames from the leaf, the tool's stack) that has most in common with gdb's."""
    want = [tuple(frame[:2]) for frame in stop["frames"]]
    best, found = -1, None
    with open("%s/round-%d.json" % (directory, stop["round"]), encoding="utf-8") as file:
        for line in stack_lines(file):
            stack = parse(line)
            frames = frames_of(stack)
            same = 0
            while same < min(len(frames), len(want)) and frames[same] == want[same]:
                same += 1
            at_end = 0
            while at_end < min(len(frames), len(want)) - same and (
                frames[-1 - at_end] == want[-1 - at_end]
            ):
                at_end += 1
            if same + at_end / 1000 > best:
                best, found = same + at_end / 1000, stack
    return int(best), found


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.stdout


def file_offset_to_address(path, offset):
    for line in run("readelf", "-lW", path).splitlines():
        words = line.split()
        if words[:1] == ["LOAD"]:
            start, address, size = (int(words[i], 16) for i in (1, 2, 4))
            if start <= offset < start + size:
                return address + offset - start
    return None


def rule_at(path, address):
    """The row of the file's call frame information that holds at an address, as readelf says it."""
    row, head, columns = None, "", ""
    text = run("readelf", "--debug-dump=frames-interp", path)
    for line in text.splitlines():
        match = re.search(r"FDE .*pc=([0-9a-f]+)\.\.([0-9a-f]+)", line)
        if match:
            if row:
                break
            begin, end = (int(part, 16) for part in match.groups())
            head = line if begin <= address < end else ""
        elif head and line.strip().startswith("LOC"):
            columns = line
        elif head and re.match(r"[0-9a-f]{8,16} ", line) and int(line.split()[0], 16) <= address:
            row = line
    return "%s\n      %s\n      %s" % (head, columns.strip(), row.strip()) if row else "no row"


def explain_frame(path, offset):
    """Code and rule at the frame from which the walk went wrong."""
    if not path.startswith("/"):
        return []
    address = file_offset_to_address(path, offset - 1)
    if address is None:
        return []
    code = run(
        "objdump",
        "-d",
        "--no-show-raw-insn",
        "--start-address=%#x" % max(address - 24, 0),
        "--stop-address=%#x" % (address + 12),
        path,
    )
    lines = ["    code before %#x (address in the file):" % (address + 1)]
    lines += ["      " + line.strip() for line in code.splitlines() if ":\t" in line]
    return lines + ["    rule: " + rule_at(path, address)]


def explain(stop, directory):
    same, stack = nearest(stop, directory)
    print("  stop %d, thread %d, round %d:" % (stop["number"], stop["thread"], stop["round"]))
    print("    gdb ends: %s; the tool: %s" % (stop["end"], stop.get("unlike", "no such stack")))
    if not stack:
        print("    the tool has no stack at all")
        return
    ours = frames_of(stack)
    print(
        "    nearest of the tool: %d frames, equal from the leaf: %d of gdb's %d; %s, chained %s"
        % (len(ours), same, len(stop["frames"]), stack["unwind"], stack.get("chained"))
    )
    for i in range(max(same - 3, 0), min(same + 3, max(len(ours), len(stop["frames"])))):
        gdbs = "%s %#x %s (%s)" % (
            stop["frames"][i][0],
            stop["frames"][i][1],
            stop["frames"][i][3],
            stop["frames"][i][4],
        ) if i < len(stop["frames"]) else "-"
        tools = "%s %#x" % ours[i] if i < len(ours) else "-"
        print("    #%d gdb %s | tool %s%s" % (i, gdbs, tools, "" if gdbs != "-" and i < same else "  <"))
    if same > 0:
        print("\n".join(explain_frame(*stop["frames"][same - 1][:2])))


def judge_stops(name, directory):
    stops = read_stops(directory)
    if not stops:
        print("%s: no stops" % name)
        return 2
    equal, different = compare(stops, directory)
    frames = sum(len(stop["frames"]) for stop in stops)
    kinds = Counter(frame[4] for stop in stops for frame in stop["frames"])
    print(
        "%-10s %4d stops in %d places: %d equal (%.2f %%), %d different; %d frames, %.1f a stack, "
        "at most %d; %d through signal handlers"
        % (
            name,
            len(stops),
            len({str(stop["frames"]) for stop in stops}),
            equal,
            100 * equal / len(stops),
            len(different),
            frames,
            frames / len(stops),
            min(max(len(stop["frames"]) for stop in stops), MAX_FRAMES),
            kinds["signal"],
        )
    )
    odd = Counter(stop["end"] for stop in stops if stop["end"] not in ("outermost", "deeper"))
    for end, cnt in odd.items():
        print("  gdb itself did not reach the end %d times: %s" % (cnt, end))
    for stop in different[:SHOWN]:
        explain(stop, directory)
    return 0 if equal >= ENOUGH * len(stops) else 1


# ---- counting ----

COUNT = re.compile(r'"alloc_count": ?(\d+)')
END = re.compile(r'"unwind": ?"([^"]*)"')


def judge_ends(name, paths):
    ends, stacks, losses = Counter(), 0, Counter()
    for path in paths:
        with open(path, encoding="utf-8") as file:
            head = file.readline()
            for loss, value in re.findall(r'"(stacks?_\w+)": ?(\d+)', head):
                losses[loss] += int(value)
            for line in stack_lines(file):
                if '"layer":"malloc"' not in line.replace('": "', '":"'):
                    continue
                ends[END.search(line).group(1)] += int(COUNT.search(line).group(1))
                stacks += 1
    total = sum(ends.values())
    if not total:
        print("%s: no allocations" % name)
        return 2
    print(
        "%-10s %9d stacks taken (%d different): %.4f %% complete"
        % (name, total, stacks, 100 * ends["complete"] / total)
    )
    for end, cnt in ends.most_common():
        if end != "complete":
            print("  %-12s %9d  %.4f %%" % (end, cnt, 100 * cnt / total))
    print("  counters: " + ", ".join("%s %d" % item for item in losses.items() if item[1]))
    # A stack that is too deep is cut on purpose, and says so.
    return 0 if ends["complete"] + ends["truncated"] >= ENOUGH * total else 1


def main(arguments):
    if len(arguments) == 3 and arguments[1] == "sum":
        with open(arguments[2], encoding="utf-8") as file:
            print(COUNT.search(file.readline()).group(1))
        return 0
    if len(arguments) == 4 and arguments[1] == "stops":
        return judge_stops(arguments[2], arguments[3])
    if len(arguments) >= 4 and arguments[1] == "ends":
        return judge_ends(arguments[2], arguments[3:])
    print(__doc__.strip(), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
