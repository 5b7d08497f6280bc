"""Opens text files as UTF-8: decompresses them by their names and converts them from their declared encoding."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol

import pyarrow as pa

from keyfold.errors import DataError

UNREADABLE = "cannot be read: it was removed, is truncated, or has another format than its name says"
_CHUNK = 1 << 20
COMPRESSED = (".gz", ".bz2", ".zst", ".xz")
ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
OTHERS = {
    "an Excel workbook; save its sheet as CSV": (".xlsx", ".xls", ".xlsm", ".xlsb"),
    "an OpenDocument sheet; save it as CSV": (".ods",),
    "an archive; unpack it and name its files": ARCHIVES,
}
# The first bytes of files that are not text, whatever their names.
MAGIC = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"7z\xbc\xaf": "an archive",
    b"Rar!\x1a": "an archive",
    b"\x1f\x8b": "compressed by gzip, without .gz in its name",
    b"\x28\xb5\x2f\xfd": "compressed by zstd, without .zst in its name",
    b"\xfd7zXZ": "compressed by xz, without .xz in its name",
    **{f"BZh{level}1AY&SY".encode(): "compressed by bzip2, without .bz2 in its name" for level in range(1, 10)},
    b"\x04\x22\x4d\x18": "compressed by lz4, which is not supported",
    b"PAR1\x15": "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"%PDF-": "a PDF file",
    b"SQLite format 3\0": "an SQLite database",
}


_TAR = slice(257, 262)


def kind_of(data: bytes) -> str | None:
    """The format of a file that begins with `data`; None for text."""
    if data[_TAR] == b"ustar":
        return "a tar archive"
    return next((kind for magic, kind in MAGIC.items() if data.startswith(magic)), None)


class ByteStream(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


def plain_name(path: str) -> str:
    """The path in lower case, without the ending of a compression."""
    name = path.rstrip("/").lower()
    return next((name.removesuffix(end) for end in COMPRESSED if name.endswith(end)), name)


def refuse_archives(path: str) -> None:
    """DataError if the file's name is that of an archive or a workbook."""
    for kind, endings in OTHERS.items():
        if path.lower().endswith(endings):
            raise DataError(f"data.source: `{path}` is {kind}")


def splittable(path: str, encoding: str) -> bool:
    """Whether byte ranges of the file are ranges of its text: UTF-8 and not compressed."""
    return encoding == "utf-8" and plain_name(path) == path.rstrip("/").lower()


@contextmanager
def open_text(path: str, encoding: str, content: bytes | None = None, start: int = 0) -> Iterator[ByteStream]:
    """Opens a file, or its `content`, at byte `start` of its text; DataError if it cannot be read."""
    with _as_data_error(path, encoding):
        raw = io.BytesIO(content) if content is not None else open(path, "rb")  # noqa: SIM115 - closed below
    with raw:
        stream = _Stream(path, encoding, raw)
        if splittable(path, encoding):
            raw.seek(start)
        elif len(stream.read(start)) < start:
            raise DataError(f"{path} {UNREADABLE}")
        yield stream


class _Stream:
    """The text of a file in UTF-8."""

    def __init__(self, path: str, encoding: str, raw: BinaryIO) -> None:
        self._path, self._encoding, self._stream = path, encoding, _converted(_unpacked(path, raw), encoding)

    def read(self, size: int, /) -> bytes:
        """Exactly `size` bytes; fewer only at the end."""
        chunks: list[bytes] = []
        with _as_data_error(self._path, self._encoding):
            while size > 0 and (more := self._stream.read(size)):
                chunks.append(more)
                size -= len(more)
        return b"".join(chunks)


@contextmanager
def _as_data_error(path: str, encoding: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:  # also of Arrow
        raise
    except (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
        raise DataError(f"{path} {UNREADABLE}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not {encoding}, or is truncated") from error
    except UnicodeError as error:  # utf-16 or utf-32 without a byte order mark
        either = f"set data.csv.encoding to {encoding}-le or {encoding}-be"
        raise DataError(f"{path} has no byte order mark; {either}") from error


def _unpacked(path: str, raw: BinaryIO) -> ByteStream:
    name = path.lower()
    if name.endswith(".gz"):
        return gzip.GzipFile(fileobj=raw)
    if name.endswith(".bz2"):
        return _Streams(raw, bz2.BZ2Decompressor)
    if name.endswith(".xz"):
        return _Streams(raw, lzma.LZMADecompressor, padding=True)
    if name.endswith(".zst"):
        return pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")  # type: ignore[no-any-return]
    return raw


class _Decompressor(Protocol):
    """A decompressor of one stream, as in bz2 and lzma."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        """At most `max_length` decompressed bytes."""


class _Streams:
    """Concatenated compressed streams. Python's own readers silently skip a broken one."""

    def __init__(self, raw: BinaryIO, new: Callable[[], _Decompressor], *, padding: bool = False) -> None:
        self._raw, self._new, self._padding = raw, new, padding
        self._stream, self._rest = new(), b""

    def read(self, size: int, /) -> bytes:
        while size:
            if self._stream.eof and not self._next():
                return b""
            more = self._rest or (self._raw.read(_CHUNK) if self._stream.needs_input else b"")
            self._rest = b""
            if not more and self._stream.needs_input:
                raise EOFError
            if text := self._stream.decompress(more, size):
                return text
        return b""

    def _next(self) -> bool:
        """Begins the next stream; False at the end."""
        rest = self._stream.unused_data
        while not (rest := rest.lstrip(b"\0") if self._padding else rest):
            if not (rest := self._raw.read(_CHUNK)):
                return False
        self._stream, self._rest = self._new(), rest
        return True


class _Converted:
    """Converts text to UTF-8. Bytes outside the encoding become invalid UTF-8, so that their lines are refused later."""

    def __init__(self, stream: ByteStream, encoding: str) -> None:
        errors = "surrogatepass" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
        self._stream, self._decoder = stream, codecs.getincrementaldecoder(encoding)(errors)
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        while len(self._rest) < size:
            more = self._stream.read(size)
            self._rest += self._decoder.decode(more, final=not more).encode("utf-8", "surrogatepass")
            if not more:
                break
        text, self._rest = self._rest[:size], self._rest[size:]
        return text


def _converted(stream: ByteStream, encoding: str) -> ByteStream:
    return stream if encoding == "utf-8" else _Converted(stream, encoding)
