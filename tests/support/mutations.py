"""Ways to damage a file: blind, and within the archive, pickle or JSON that it is."""

import io
import json
import random
import struct
import zipfile

INTEGERS = [0, 1, 2, 7, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1]
PIECES = [
    b"", b"\x00" * 64, b"\xff" * 64, b"PK\x05\x06", b"PK\x03\x04", b"\x80\x02", b"cposix\nsystem\n", b"cos\nmkdir\n",
    b"(S'x'\ntR.", b"\x8c\x05posix\x8c\x06system\x93", b'{"', b"[" * 3000, b"\x93NUMPY\x01\x00", b"nan", b"1e999",
    "ü\u202e".encode(), b"../../", b"\n", b"}", b".",
]  # fmt: skip
VALUES = [
    None, True, -1, 0, 2**63, 10**30, 10**400, 0.5, float("nan"), float("inf"), "", "x", "../x", "\x00", "\ud800", [],
    [[]], {}, {"": {}}, [None], ["a", 1], {"a": [1, {"b": None}]}, "9" * 5000, [0] * 2000,
]  # fmt: skip


def _blind(data: bytes, chance: random.Random) -> bytes:
    made = bytearray(data)
    at = chance.randrange(len(made) + 1)
    length = min(len(made) - at, chance.choice([1, 2, 4, 8, 64, 1000]))
    match chance.randrange(8):
        case 0:
            del made[at:]
        case 1 if at < len(made):
            made[at] ^= 1 << chance.randrange(8)
        case 2:
            made[at : at + length] = chance.randbytes(length)
        case 3:
            del made[at : at + length]
        case 4:
            made[at:at] = made[at : at + length]
        case 5:
            made[at:at] = chance.choice(PIECES)
        case 6:
            form = chance.choice(["<I", ">I", "<Q", "<H", "B"])
            size = struct.calcsize(form)
            made[at : at + size] = struct.pack(form, chance.choice(INTEGERS) % 256**size)
        case _:
            made += chance.choice(PIECES)
    return bytes(made)


def _in_archive(data: bytes, chance: random.Random) -> bytes:
    """Change one member, or the list of members, and write a sound archive around it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    i = chance.randrange(len(members))
    name, content = members[i]
    match chance.randrange(8):
        case 0:
            del members[i]
        case 1:
            members[i] = name + chance.choice(["x", "/", "\ud7ff", "../"]), content
        case 2:
            members[i] = name, members[chance.randrange(len(members))][1]
        case 3:
            members.append((name.upper() if chance.random() < 0.5 else f"{name}2", content))
        case 4:
            members[i] = name, b"\x00" * chance.choice([10, 100_000, 5_000_000])
        case _:
            members[i] = name, mutated(content, chance)
    made = io.BytesIO()
    kind = chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    with zipfile.ZipFile(made, "w", kind) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return made.getvalue()


def _places(value, where=()):
    yield where
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inside:
        yield from _places(entry, (*where, key))


def _in_json(text: str, chance: random.Random) -> bytes:
    """Replace, drop or rename one value."""
    value = json.loads(text)
    *outer, last = chance.choice([place for place in _places(value) if place] or [(None,)])
    if last is None:
        return json.dumps(chance.choice(VALUES)).encode()
    holder = value
    for key in outer:
        holder = holder[key]
    if chance.random() < 0.2:
        del holder[last]
    elif chance.random() < 0.1:
        text = json.dumps(value)
        return text.replace(json.dumps(holder[last]), "[" * 5000 + "]" * 5000, 1).encode()
    else:
        holder[last] = chance.choice(VALUES)
    return json.dumps(value).encode()


def _in_array(data: bytes, chance: random.Random) -> bytes:
    """Let an array's header claim another shape or kind."""
    shape = chance.choice(["()", "(0,)", "(1000000000000,)", "(-1,)", "(3, 1000000)", "(2**70,)", "(3.0,)", "(1,)"])
    kind = chance.choice(["'<f8'", "'|O'", "'|u1'", "'<U100000000'", "'|V0'", "'<c16'", "'?'", "[('a', '<f8')]"])
    header = f"{{'descr': {kind}, 'fortran_order': {chance.choice(['True', 'False'])}, 'shape': {shape}, }}"
    start = data.index(b"\n") + 1 if b"\n" in data else len(data)
    text = header.encode().ljust(118)[:60000] + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data[start:]


def _in_safetensors(data: bytes, chance: random.Random) -> bytes:
    length = struct.unpack("<Q", data[:8])[0]
    header = _in_json(data[8 : 8 + length].decode(), chance)
    claimed = len(header) if chance.random() < 0.8 else chance.choice(INTEGERS)
    return struct.pack("<Q", claimed) + header + data[8 + length :]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Damage a file in one to three ways, with an eye to what it is."""
    for _ in range(chance.choice([1, 1, 2, 3])):
        way = _blind
        if chance.random() < 0.7:
            if data[:2] == b"PK":
                way = _in_archive
            elif data[:6] == b"\x93NUMPY":
                way = _in_array
            elif data[:1] in {b"{", b"["}:
                way = lambda text, chance: _in_json(text.decode(), chance)  # noqa: E731
            elif data[8:9] == b"{":
                way = _in_safetensors
        try:
            data = way(data, chance)
        except Exception:
            data = _blind(data, chance)  # too damaged already to be taken for what it was
    return data


def bomb(data: bytes, size: int) -> bytes:
    """Put so many zeros into an archive that it takes a thousand times its size."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as other:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
        for info in archive.infolist():
            unfolding = zipfile.ZipInfo(info.filename)
            unfolding.compress_type = zipfile.ZIP_DEFLATED
            with other.open(unfolding, "w", force_zip64=True) as member:
                member.write(archive.read(info))
                if info is largest:
                    for _ in range(size // 2**20):
                        member.write(b"\x00" * 2**20)
    return made.getvalue()
