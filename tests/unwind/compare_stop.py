#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Stops a process at random allocations and lets gdb and the tool look at the same calls:

  compare_stop.py --pid PID --tool TOOL --out DIR [--stops N] [--rounds N] [--skip N] ...

In each round the process runs freely for a while, is halted, the tool begins to trace it, and one
thread at a time runs on to a random call of malloc, calloc or realloc by hardware breakpoints. There
gdb walks the stack. At the end of the round the tool reports. So tool and gdb see the same calls,
and the tool sees few others.

gdb does not run the process itself: stepping over a breakpoint that shares its address with a probe,
in a process with threads and signals, is more than it does reliably. It is connected as to a remote
target whose registers and memory are given out here ("GDB Remote Serial Protocol" in its manual).
DIR gets stops.jsonl (see compare_gdb.py) and round-N.json, the tool's report.
"""
import argparse
import ctypes
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time

from maps import find_allocators

# <sys/ptrace.h>, <sys/user.h> of x86-64
PTRACE_POKEUSER, PTRACE_CONT, PTRACE_GETREGS = 6, 7, 12
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_LISTEN = 17, 0x4206, 0x4207, 0x4208
PTRACE_EVENT_STOP = 128
PTRACE_PEEKUSER = 3
DEBUG_REGISTERS = 848  # offsetof(struct user, u_debugreg)
WALL = 0x40000000
NO_HARDWARE = 77

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class Gone(Exception):
    """The process, or the thread, has ended."""


class NoHardware(Exception):
    """There are no debug registers."""


def ptrace(request, tid, address=0, data=0):
    ctypes.set_errno(0)
    result = libc.ptrace(request, tid, address, data)
    if result == -1 and ctypes.get_errno():
        if ctypes.get_errno() == 3:
            raise Gone
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "ptrace %d" % request)
    return result


class Threads:
    """All threads of the process, running or halted together."""

    def __init__(self, pid, points):
        self.pid = pid
        self.points = points
        self.running = set()
        self.halted = {}  # tid -> signal that it shall get when it goes on

    def seize(self):
        for name in os.listdir("/proc/%d/task" % self.pid):
            tid = int(name)
            if tid in self.running or tid in self.halted:
                continue
            try:
                ptrace(PTRACE_SEIZE, tid)
                self.running.add(tid)
            except (Gone, PermissionError):
                pass  # it is ending

    def forget(self, tid):
        self.running.discard(tid)
        self.halted.pop(tid, None)

    def wait(self, tid):
        """Returns the status of a thread that has stopped, or None."""
        try:
            got, status = os.waitpid(tid, os.WNOHANG | WALL)
        except ChildProcessError:
            self.forget(tid)
            return None
        if not got:
            return None
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            self.forget(tid)
            return None
        self.running.discard(tid)
        return status

    def go_on(self, tid, number=0):
        self.halted.pop(tid, None)
        try:
            ptrace(PTRACE_CONT, tid, 0, number)
            self.running.add(tid)
        except Gone:
            self.forget(tid)

    def pass_on(self, tid, status):
        """Lets a thread go on after a stop that is not ours."""
        number, event = os.WSTOPSIG(status), status >> 16
        if event == PTRACE_EVENT_STOP and number in (signal.SIGSTOP, signal.SIGTSTP):
            ptrace(PTRACE_LISTEN, tid)
            self.running.add(tid)
        else:
            self.go_on(tid, 0 if event else number)

    def halt(self):
        for tid in list(self.running):
            try:
                ptrace(PTRACE_INTERRUPT, tid)
            except Gone:
                self.forget(tid)
        while self.running:
            for tid in list(self.running):
                status = self.wait(tid)
                if status is not None:
                    event = status >> 16
                    hit = not event and os.WSTOPSIG(status) == signal.SIGTRAP and self.hit(tid)
                    self.halted[tid] = 0 if event or hit else os.WSTOPSIG(status)
            time.sleep(0.0001)

    def resume(self):
        for tid, number in list(self.halted.items()):
            self.go_on(tid, number)

    def release(self):
        self.halt()
        for tid, number in list(self.halted.items()):
            try:
                self.set_points(tid, False)
                ptrace(PTRACE_DETACH, tid, 0, number)
            except Gone:
                pass
        self.halted.clear()

    # ---- breakpoints: a thread has its own ----

    def set_points(self, tid, on):
        try:
            ptrace(PTRACE_POKEUSER, tid, DEBUG_REGISTERS + 7 * 8, 0)
            if not on:
                return
            enabled = 0
            for i, address in enumerate(self.points):
                ptrace(PTRACE_POKEUSER, tid, DEBUG_REGISTERS + i * 8, address)
                enabled |= 1 << (2 * i)
            ptrace(PTRACE_POKEUSER, tid, DEBUG_REGISTERS + 7 * 8, enabled)
        except OSError as error:
            raise NoHardware(str(error)) from error

    def registers(self, tid):
        buffer = (ctypes.c_ulonglong * 27)()
        ptrace(PTRACE_GETREGS, tid, 0, ctypes.addressof(buffer))
        return list(buffer)

    def hit(self, tid):
        return self.registers(tid)[16] in self.points

    def run_to_call(self, tid, skip, seconds):
        """Runs all; returns True when `tid` has come to its allocation number `skip` + 1."""
        deadline = time.monotonic() + seconds
        self.set_points(tid, True)
        self.resume()
        while time.monotonic() < deadline:
            idle = True
            for one in list(self.running):
                status = self.wait(one)
                if status is None:
                    if tid not in self.running and tid not in self.halted:
                        return False
                    continue
                idle = False
                at_point = os.WSTOPSIG(status) == signal.SIGTRAP and not status >> 16
                if one != tid or not at_point or not self.hit(one):
                    self.pass_on(one, status)
                elif skip > 0:
                    skip -= 1
                    self.go_on(one)  # the kernel has set the resume flag
                else:
                    self.halted[one] = 0
                    self.halt()
                    self.set_points(tid, False)
                    return True
            if idle:
                time.sleep(0.0001)
            if not os.path.exists("/proc/%d/task/%d" % (self.pid, tid)):
                return False
        self.halt()
        if tid in self.halted:
            self.set_points(tid, False)
        return False


class Tool:
    def __init__(self, args, number):
        self.report = "%s/round-%d.json" % (args.out, number)
        self.errors = "%s/round-%d.err" % (args.out, number)
        if os.path.exists(self.report):
            os.unlink(self.report)
        with open(self.errors, "wb") as stream:
            self.process = subprocess.Popen(
                [args.tool, "trace", "-p", str(args.pid), "--format", "json", "--all-frames"]
                + ["--top", "0", "-o", self.report],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        while "leaksweep: tracing" not in self.said():
            if self.process.poll() is not None:
                raise RuntimeError("the tool does not trace: " + self.said())
            time.sleep(0.02)

    def said(self):
        with open(self.errors, encoding="utf-8", errors="replace") as stream:
            return stream.read()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        if self.process.wait(600):
            raise RuntimeError("the tool failed: " + self.said())


class Stops:
    """The order of events: next_stop() halts the process at the next place to look at."""

    def __init__(self, args):
        self.args = args
        self.random = random.Random(args.seed)
        self.threads = Threads(args.pid, sorted(find_allocators(args.pid).values())[:4])
        self.where = open(args.out + "/where.txt", "w", encoding="utf-8")
        self.round = -1
        self.left = 0
        self.tool = None
        self.tid = args.pid
        self.idle = {}  # tid -> how often in a row it has not allocated
        if not self.threads.points:
            raise RuntimeError("no allocator function in process %d" % args.pid)

    def begin_round(self):
        self.round += 1
        share = self.args.stops // self.args.rounds
        self.left = share + (self.args.stops % self.args.rounds if not self.round else 0)
        time.sleep(self.random.random() * self.args.free_ms / 1000)
        self.threads.seize()
        self.threads.halt()
        self.tool = Tool(self.args, self.round)

    def end_round(self):
        # Let the calls return: the tool takes the stack of those that did.
        self.threads.release()
        time.sleep(0.03)
        tool, self.tool = self.tool, None
        tool.stop()

    def next_stop(self):
        """Returns the registers of the stopped thread, or None after the last stop."""
        while True:
            if self.tool and not self.left:
                self.end_round()
            if not self.tool:
                if self.round + 1 >= self.args.rounds:
                    return None
                self.begin_round()
            self.threads.seize()
            self.threads.halt()
            if not self.threads.halted:
                raise Gone
            tids = sorted(self.threads.halted)
            weights = [(1 + self.idle.get(tid, 0)) ** -2 for tid in tids]
            self.tid = self.random.choices(tids, weights)[0]
            skip = self.random.choice((0, 3, self.random.randrange(self.args.skip)))
            idle = self.idle.get(self.tid, 0)
            if self.threads.run_to_call(self.tid, skip, 0.3 + idle * 0.2):
                self.idle[self.tid] = 0
                self.left -= 1
                self.where.write("%d %d\n" % (self.round, self.tid))
                self.where.flush()
                return self.threads.registers(self.tid)
            self.idle[self.tid] = idle + 1
            if idle > 30:
                raise RuntimeError("the process does not allocate")

    def close(self):
        if self.tool:
            self.tool.process.kill()
        try:
            self.threads.release()
        except Gone:
            pass


class Stub:
    """What gdb asks of a remote target, as far as it needs it to look."""

    def __init__(self, stream, stops):
        self.stream = stream
        self.stops = stops
        self.memory = open("/proc/%d/mem" % stops.args.pid, "rb", buffering=0)
        self.registers = stops.threads.registers(stops.tid)
        self.buffer = b""

    def byte(self):
        if not self.buffer:
            self.buffer = self.stream.recv(65536)
            if not self.buffer:
                raise EOFError
        first, self.buffer = self.buffer[:1], self.buffer[1:]
        return first

    def packet(self):
        while self.byte() != b"$":
            pass
        text = b""
        while (one := self.byte()) != b"#":
            text += one
        self.byte()
        self.byte()
        self.stream.sendall(b"+")
        return text.decode("latin-1")

    def reply(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        self.stream.sendall(b"$" + data + b"#%02x" % (sum(data) & 255))

    def all_registers(self):
        r = self.registers  # struct user_regs_struct
        order = (10, 5, 11, 12, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0, 16)
        data = struct.pack("<17Q", *(r[i] for i in order))
        data += struct.pack("<7I", *(r[i] & 0xFFFFFFFF for i in (18, 17, 20, 23, 24, 25, 26)))
        return data.hex()

    def read_memory(self, place):
        address, size = (int(part, 16) for part in place.split(","))
        try:
            return os.pread(self.memory.fileno(), min(size, 16384), address).hex() or "E01"
        except (OSError, OverflowError):
            return "E01"

    def auxv(self, place):
        offset, size = (int(part, 16) for part in place.split(","))
        with open("/proc/%d/auxv" % self.stops.args.pid, "rb") as file:
            data = file.read()[offset : offset + size]
        escaped = b"".join(b"}" + bytes([c ^ 32]) if c in b"#$}*" else bytes([c]) for c in data)
        return b"l" + escaped

    def answer(self, text):
        if text.startswith("qSupported"):
            return "PacketSize=8000;qXfer:auxv:read+"
        if text.startswith("qXfer:auxv:read::"):
            return self.auxv(text.rsplit(":", 1)[1])
        if text == "?":
            return "S05"
        if text == "g":
            return self.all_registers()
        if text[:1] == "m":
            return self.read_memory(text[1:])
        if text[:1] in "ZzMXHGP" or text == "qSymbol::":
            return "OK"  # gdb's own breakpoints: not needed, never written
        if text == "qAttached":
            return "1"
        return ""

    def serve(self):
        try:
            while True:
                text = self.packet()
                if text[:1] == "c":
                    registers = self.stops.next_stop()
                    self.registers = registers or self.registers
                    self.reply("S05" if registers else "W00")
                elif text[:1] in "Dk":
                    self.reply("OK")
                    return
                else:
                    self.reply(self.answer(text))
        except (EOFError, ConnectionError):
            return


def run(args):
    here = os.path.dirname(os.path.abspath(__file__))
    stops = Stops(args)
    where = args.out + "/gdb.socket"
    if os.path.exists(where):
        os.unlink(where)
    with socket.socket(socket.AF_UNIX) as server, open(args.out + "/gdb.log", "wb") as log:
        server.bind(where)
        server.listen(1)
        gdb = subprocess.Popen(
            ["gdb", "-nx", "-batch", "-iex", "set auto-load no", "-x", here + "/compare_gdb.py"],
            env=dict(os.environ, PID=str(args.pid), OUT=args.out, SOCKET=where, HERE=here),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            server.settimeout(120)
            stream, _ = server.accept()
            stops.threads.seize()
            stops.threads.halt()
            try:
                Stub(stream, stops).serve()
            except Gone:
                print("the process has ended")
            finally:
                stream.close()
                stops.close()
        finally:
            try:
                gdb.wait(20)
            except subprocess.TimeoutExpired:
                gdb.kill()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--tool", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--stops", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--skip", type=int, default=200, help="calls between two stops, at most")
    parser.add_argument("--free-ms", type=int, default=1000, help="between two rounds, at most")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out = os.path.abspath(args.out)
    try:
        run(args)
    except NoHardware as error:
        print("no hardware breakpoints here: %s" % error, file=sys.stderr)
        return NO_HARDWARE
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
