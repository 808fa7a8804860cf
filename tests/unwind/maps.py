# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a process has its code, and in it its allocator functions."""
import os
import struct

ALLOCATORS = ("malloc", "calloc", "realloc")  # no more than there are debug registers


def elf_symbols(path, wanted):
    """Returns {name: file offset} of the functions of `wanted` that the file exports."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:5] != b"\x7fELF\x02":
        return {}
    phoff, shoff = struct.unpack_from("<QQ", data, 32)
    phsize, phnum, shsize, shnum = struct.unpack_from("<HHHH", data, 54)
    loads = []
    for i in range(phnum):
        kind, _, offset, vaddr, _, filesz = struct.unpack_from("<IIQQQQ", data, phoff + i * phsize)
        if kind == 1:
            loads.append((vaddr, filesz, offset))
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, shoff + i * shsize) for i in range(shnum)]
    found = {}
    for section in sections:
        if section[1] != 11:  # SHT_DYNSYM
            continue
        strings = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], 24):
            name, info, _, index, value = struct.unpack_from("<IBBHQ", data, at)
            if info & 15 not in (2, 10) or not index:
                continue
            end = data.index(b"\0", strings + name)
            text = data[strings + name : end].decode("utf-8", "replace")
            if text not in wanted:
                continue
            for vaddr, filesz, offset in loads:
                if vaddr <= value < vaddr + filesz:
                    found[text] = value - vaddr + offset
    return found


class Maps:
    """/proc/PID/maps, executable part."""

    def __init__(self, pid):
        self.areas = []
        with open("/proc/%d/maps" % pid, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                words = line.rstrip("\n").split(None, 5)
                if "x" not in words[1]:
                    continue
                start, end = (int(word, 16) for word in words[0].split("-"))
                path = words[5] if len(words) > 5 else "[anon]"
                if path.endswith(" (deleted)"):
                    path = path[: -len(" (deleted)")]
                self.areas.append((start, end, int(words[2], 16), path))

    def locate(self, pc):
        """Returns (path, file offset) of a return address; code without an image keeps it as is."""
        for start, end, offset, path in self.areas:
            if start < pc <= end:
                is_image = path.startswith("/") or path == "[vdso]"
                return (path, pc - start + offset if is_image else pc)
        return ("[unknown]", pc)

    def is_trampoline(self, pc):
        """Whether a return address has been replaced by a return probe's."""
        return any(start <= pc < end and path == "[uprobes]" for start, end, _, path in self.areas)


def find_allocators(pid):
    """Returns {name: address} of the definitions that the process uses."""
    by_name = {}
    seen = set()
    for start, _, offset, path in Maps(pid).areas:
        base = os.path.basename(path)
        if not path.startswith("/") or path in seen or base.startswith("ld-"):
            continue
        seen.add(path)
        # Whoever defines it beside the C and the C++ library has been put before them.
        rank = 1 if base.startswith(("libc.so", "libstdc++", "ld-musl", "libc.musl")) else 0
        try:
            symbols = elf_symbols("/proc/%d/root%s" % (pid, path), ALLOCATORS)
        except OSError:
            continue
        for name, place in symbols.items():
            for area in Maps(pid).areas:
                if area[3] == path and area[2] <= place < area[2] + area[1] - area[0]:
                    by_name.setdefault(name, []).append((rank, area[0] + place - area[2]))
    return {name: min(places)[1] for name, places in by_name.items()}
