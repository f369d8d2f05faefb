"""Marks that look like somebody's particulars, found wherever and however they are written."""

import gzip
import json
import zlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from quopri import encodestring
from typing import Any, NamedTuple
from urllib.parse import quote

import asyncpg

AROUND = 60
_TABLES = """
    SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    ORDER BY 1
"""


class Marks(NamedTuple):
    """Somebody who stands out."""

    chinese: str
    latin: str
    phone: str

    def text(self, way: str) -> str:
        """Free text with the name in it; `way` tells how it came in."""
        return f"{self.chinese} {self.latin} via {way}"

    def particulars(self, way: str) -> dict[str, str]:
        """Every personal field of a party."""
        text = self.text(way)
        return {
            "name": text,
            "phone": self.phone,
            "email": f"{self.latin}.{way}@example.com",
            "address": f"77 {text}",
            "remarks": f"{text}, {self.phone}: barks",
        }


SOMEBODY = Marks("欧阳朱雀", "Zhuquehua", "13904175286")
CONTROL = Marks("对照白虎", "Baihukong", "13704299115")
"""Planted in clear, to be found."""


def written(text: str) -> dict[str, bytes]:
    """A text in every form in which a server or a file may keep it; names of forms to bytes."""
    plain = text.encode()
    found = {
        "utf-8": plain,
        "utf-16-le": text.encode("utf-16-le"),
        "utf-16-be": text.encode("utf-16-be"),
        "gb18030": text.encode("gb18030"),
        "hex": plain.hex().encode(),
        "HEX": plain.hex().upper().encode(),
        "url": quote(plain).encode(),
        "url, small": quote(plain).lower().encode(),
        "json": json.dumps(text)[1:-1].encode(),
        "json, large": json.dumps(text)[1:-1].upper().replace("\\U", "\\u").encode(),
        "quoted-printable": encodestring(plain),
        "html": "".join(c if c.isascii() else f"&#{ord(c)};" for c in text).encode(),
        "reversed": text[::-1].encode(),
        "small letters": text.lower().encode(),
        "capitals": text.upper().encode(),
    }
    for shift in range(3):
        # Only the letters that no neighbour can change.
        first, last = (0, 2, 3)[shift], (None, -3, -2)[(shift + len(plain)) % 3]
        for name, encode in (("base64", b64encode), ("base64url", urlsafe_b64encode)):
            found[f"{name}, shifted by {shift}"] = encode(b"\0" * shift + plain)[first:last]
    return found


def needles(marks: Marks, *forms: str) -> dict[bytes, str]:
    """What to look for, in these forms or in all, and what it is called."""
    found: dict[bytes, str] = {}
    for field, text in marks._asdict().items():
        for form, needle in written(text).items():
            if not forms or form in forms:
                found.setdefault(needle, f"{field} in {form}")
    return found


def seen(data: bytes, wanted: Mapping[bytes, str]) -> list[str]:
    """Every mark in the data and in whatever is compressed in it, with what stands around it."""
    found: list[str] = []
    for part in (data, *_unpacked(data)):
        for needle, name in wanted.items():
            if (at := part.find(needle)) >= 0:
                found.append(f"{name}: {part[max(0, at - AROUND) : at + AROUND]!r}")
    return found


def _unpacked(data: bytes) -> Iterator[bytes]:
    at = -1
    while (at := data.find(b"\x1f\x8b\x08", at + 1)) >= 0:
        try:
            yield zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(data[at:])
        except zlib.error:
            continue


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def in_files(folder: Path, *several: Mapping[bytes, str]) -> list[dict[str, list[str]]]:
    """By file below the folder: what is seen of each of several. Of equal files, the first."""
    found: list[dict[str, list[str]]] = [{} for _ in several]
    known: set[bytes] = set()
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        name, data = str(path.relative_to(folder)), path.read_bytes()
        if (digest := sha256(data).digest()) in known:
            data = b""
        known.add(digest)
        for wanted, places in zip(several, found, strict=True):
            if told := seen(data, wanted) + seen(name.encode(), wanted):
                places[name] = told
    return found


async def in_tables(url: str, *several: Mapping[bytes, str]) -> list[dict[str, list[str]]]:
    """The same by table: every column of every table that there is."""
    found: list[dict[str, list[str]]] = [{} for _ in several]
    connection = await asyncpg.connect(url)
    try:
        for (table,) in await connection.fetch(_TABLES):
            rows = await connection.fetch(f"SELECT * FROM {table}")
            data = b"\n".join(_bytes(value) for row in rows for value in row.values())
            for wanted, places in zip(several, found, strict=True):
                if told := seen(data, wanted):
                    places[table] = told
    finally:
        await connection.close()
    return found


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
