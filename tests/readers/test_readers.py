"""The readers of CSV and JSON lines: every line is a row, told with its reason, or blank; and it does not matter where a file is cut."""

import bz2
import codecs
import gzip
import lzma
import random

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import written
from keyfold.conf.csv import CsvOptions
from keyfold.errors import DataError
from keyfold.readers import blocks, ranges, records
from keyfold.readers.blocks import read_head, read_parts
from keyfold.readers.form import TextForm
from keyfold.readers.opening import splittable
from keyfold.readers.ranges import plan_ranges, read_range


def seen(path, form, content=None):
    """The rows, bad lines and blank lines of a file."""
    return gathered(read_parts(path, read_head(path, form, content, guess=False), content))


def gathered(some):
    rows, bad, blank = [], [], 0
    for part in some:
        rows += [(int(line), tuple(row.values())) for line, row in zip(part.lines, part.rows.to_pylist(), strict=True)]
        bad += part.bad
        blank += part.blank
    return rows, bad, blank


def faults_of(file, found):
    """In what the reading differs from the truth."""
    rows, bad, blank = found
    true_rows = [(line.line, line.values) for line in file.lines if line.values is not None]
    wrong = {line.line: line for line in file.lines if line.values is None}
    told = {line.line: line for line in bad}
    if file.spread:  # a fault in quoting may take rows after it along; none is kept that is not true, and no line is lost
        if any("open r" in (value or "") for _, row in rows for value in row):
            return []  # a later quote closes it by chance: that is a row
        return [row for row in rows if row not in true_rows] + [line for line in wrong if line not in told]
    if rows != true_rows:
        return [pair for pair in zip(rows, true_rows, strict=False) if pair[0] != pair[1]] or [len(rows), len(true_rows)]
    if blank != file.blank or told.keys() != wrong.keys():
        return [("blank", blank, file.blank), ("bad", told, wrong)]
    return [
        (told[n], line)
        for n, line in wrong.items()
        if told[n].raw != line.raw or not any(reason in told[n].reason for reason in line.reasons)
    ]


def written_file(kind, seed):
    draw = random.Random(f"{kind} {seed}")
    return written.objects(draw) if kind == "json" else written.csv(draw, multi=kind == "multi")


def wrong(kind, seeds):
    found = {}
    for seed in seeds:
        file = written_file(kind, seed)
        if faults := faults_of(file, seen(file.name, file.form, file.data)):
            found[seed] = faults
    return found


@pytest.mark.parametrize("kind", ["csv", "multi", "json"])
def test_every_line_is_what_was_written(kind):
    assert wrong(kind, range(200)) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("csv", 4000), ("multi", 3000), ("json", 3000)])
def test_every_line_of_ten_thousand_files_is_what_was_written(kind, count):
    assert wrong(kind, range(1000, 1000 + count)) == {}


class Dripping:
    """A stream of which the first reading gives so many bytes."""

    def __init__(self, data, first):
        self.data, self.first = data, first

    def read(self, size):
        size = self.first or size
        found, self.data, self.first = self.data[:size], self.data[size:], 0
        return found


@pytest.mark.parametrize(("kind", "look"), [("csv", 1 << 16), ("csv", 24), ("multi", 1 << 16), ("multi", 24), ("json", 24)])
def test_it_does_not_matter_where_a_file_is_cut(kind, look, tmp_path, monkeypatch):
    """In blocks that end at any byte; in ranges of any size: the same rows, lines and reasons."""
    for module in (records, blocks, ranges):
        monkeypatch.setattr(module, "LOOK", look)
    split = 0
    broken = b"a,b\n" + b'1,"x\ny"\n2,z\n3,"q\n4,z\n5,"u"\n' * 5
    form = TextForm("json", ("a",)) if kind == "json" else TextForm(multi_line=kind == "multi")
    for seed in range(30):
        file = written_file(kind, seed) if seed else written.Written("x.csv", broken, form, ("a", "b"), [], 0, spread=True)
        if not splittable(file.name, file.form.encoding) or len(file.data) > 2500:
            continue
        path = tmp_path / f"{seed}.{file.name}"
        path.write_bytes(file.data)
        head = read_head(str(path), file.form, guess=False)
        whole = gathered(read_parts(str(path), head))
        for first in range(1 + seed % 7, len(file.data) - head.start, 7):
            found = blocks.read_records(Dripping(file.data[head.start :], first), "", head.form, head.start, line=head.line)
            assert gathered(found) == whole, (seed, first)
        for size in (1, 10, 100):
            plan = plan_ranges(str(path), head, size, len(file.data))
            split += len(plan) > 1
            assert gathered(part for range_ in plan for part in read_range(range_)) == whole, (seed, size)
    assert split > 10


class Trickling(Dripping):
    """A stream that gives so many bytes a time."""

    def read(self, size):
        found, self.data = self.data[: self.first], self.data[self.first :]
        return found


RECORDS = [
    "1,x", '1,"x\ny"', '"p","q\r\n\n,r"', '1,"open', '1,"u"z', '1, "b"', 'é,"é"', "", " ", "1,2,3", "1", '1,"a ""b"', '5",x', '"', '1,"x\\"y\n"',
    '{"a":1}', '{"a":"é"}x', '{"a":[1,{"b":"\\n"}]}', "\0,1",
]  # fmt: skip
PIECES = st.one_of(st.sampled_from(RECORDS), st.lists(st.sampled_from('a1,"\n\r\\é'), max_size=4).map("".join))
FORMS = [TextForm(), TextForm(multi_line=True), TextForm(multi_line=True, escape="\\"), TextForm("json", ("a",))]


@given(st.lists(PIECES, max_size=6), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(FORMS), st.sampled_from([6, 1 << 16]))
@example(['1,"x\ny"', "2,z"], "\n", TextForm(), 1 << 16)
@example(['1,"x\ny"', "2,z", '3,"q', "4,z", '5,"u"'], "\n", TextForm(multi_line=True), 6)
@settings(max_examples=60, deadline=None)
def test_any_text_is_read_alike_however_it_is_cut(tmp_path_factory, pieces, end, form, look):
    """At every byte, in pieces of any size, in ranges of any size: the same rows, lines and reasons."""
    data = ("" if form.kind == "json" else "a,b\n").encode() + end.join(pieces).encode()
    path = tmp_path_factory.getbasetemp() / f"cut.{form.kind}"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        for module in (records, blocks, ranges):
            patch.setattr(module, "LOOK", look)
        head = read_head(str(path), form, guess=False)
        body = data[head.start :]
        whole = gathered(read_parts(str(path), head))
        cuts = [Dripping(body, first) for first in range(1, len(body))] + [Trickling(body, size) for size in (1, 2, 5)]
        for stream in cuts:
            found = blocks.read_records(stream, "", head.form, head.start, line=head.line)
            assert gathered(found) == whole, stream.first
        for size in (1, 2, 7):
            plan = plan_ranges(str(path), head, size, len(data))
            assert gathered(part for range_ in plan for part in read_range(range_)) == whole, plan


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    first = plan_ranges(str(path), read_head(str(path), TextForm()), 1, 12)[0]
    path.write_text("a,b\n1,2222\n3,4\n")
    with pytest.raises(DataError, match=r"a\.csv changed while it was read; run again"):
        list(read_range(first))


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst"])
def test_of_compressed_streams_one_behind_the_other_all_are_read_or_the_file_is_refused(kind, tmp_path):
    first, second = packed(kind, b"a,b\n1,2\n"), packed(kind, b"3,4\n" * 500)
    path = tmp_path / f"a.csv.{kind}"

    def read(content):
        path.write_bytes(content)
        return len(seen(str(path), TextForm())[0])

    assert read(first + second) == 501
    assert read(packed(kind, b"a") + packed(kind, b",b") + packed(kind, b"") + packed(kind, b"\n1,2\n") + second) == 501
    if kind == "xz":
        assert read(first + bytes(8) + second + bytes(4)) == 501
    flipped = bytes([second[-1] ^ 0xFF])
    for odd in (
        second[:-3],
        second[:3],
        b"words",
        second[: len(second) // 2] + b"words",
        second[:2] + b"x" + second[3:],
        flipped,
    ):
        with pytest.raises(DataError, match=r"a\.csv\.\w+ cannot be read: it was removed, is truncated, or has another format"):
            read(first + odd)


def packed(kind, content):
    if kind == "zst":
        to = pa.BufferOutputStream()
        with pa.CompressedOutputStream(to, "zstd") as stream:
            stream.write(content)
        return to.getvalue().to_pybytes()
    return {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind](content)


# What no text in the encoding has.
STRANGE = {
    "ascii": "ü".encode(), "utf-8": b"\xfc", "cp1252": b"\x81", "cp1253": b"\xd2", "iso8859-7": b"\xae", "shift_jis": b"\xfd",
    "gb18030": b"\xff", "gbk": b"\xff", "big5": b"\xff", "euc_jp": b"\xff", "euc_kr": b"\xff", "cp932": b"\x810", "koi8-t": b"\x88",
    "utf-16-le": b"\x00\xdc", "utf-16-be": b"\xdc\x00", "utf-16": b"\x00\xdc", "utf-32-le": b"\x00\xdc\x00\x00",
}  # fmt: skip


@pytest.mark.parametrize("encoding", STRANGE)
def test_bytes_that_are_none_of_the_encoding_are_told_by_line(encoding):
    form = TextForm(
        encoding=CsvOptions(encoding=encoding).encoding and codecs.lookup(CsvOptions(encoding=encoding).encoding).name
    )
    before, after = (
        "a,b\n1,x\n2,y".encode(encoding),
        "z\n3,w\n".encode(encoding.removesuffix("-le") + "-le" if encoding == "utf-16" else encoding),
    )
    rows, bad, _ = seen("a.csv", form, before + STRANGE[encoding] + after)
    assert rows == [(2, ("1", "x")), (4, ("3", "w"))]
    assert [(line.line, "the line is not" in line.reason) for line in bad] == [(3, True)]


@pytest.mark.parametrize("encoding", ["shift_jis", "cp932", "gbk", "gb18030", "big5", "euc_jp", "euc_kr", "johab", "big5hkscs"])
def test_half_a_character_takes_no_line_end_with_it(encoding):
    rows, bad, _ = seen("a.csv", TextForm(encoding=encoding), b"a,b\n1,x\n2,\xa1\n3,w\n4,\x94\r\n5,\xa1,\n6,\xa1")
    assert {line for line, _ in rows} | {line.line for line in bad} == {2, 3, 4, 5, 6, 7}
    assert (4, ("3", "w")) in rows
    assert 5 in {line.line for line in bad}


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst", "tar"])
def test_what_is_no_text_is_told_whatever_its_name(kind):
    content = bytes(257) + b"ustar\0" if kind == "tar" else packed(kind, b"a,b\n1,2\n")
    with pytest.raises(DataError, match=rf"a\.csv is (compressed by .*, without \.{kind} in its name|a tar archive), not text"):
        seen("a.csv", TextForm(), content)
    packed_tar = packed("xz", content)
    with pytest.raises(DataError, match=r"a\.csv\.xz is .*, not text"):
        seen("a.csv.xz", TextForm(), packed_tar)


def test_utf_16_and_utf_32_begin_with_a_byte_order_mark_or_say_which_they_are():
    for encoding in ("utf-16", "utf-32"):
        with pytest.raises(DataError, match=f"has no byte order mark; set data.csv.encoding to {encoding}-le or {encoding}-be"):
            seen("a.csv", TextForm(encoding=encoding), "a,b\n1,2\n".encode(f"{encoding}-le"))
        for order in ("", "-le", "-be"):
            content = "a,b\n1,ü\n".encode(encoding + order)
            assert seen("a.csv", TextForm(encoding=encoding + order), content)[0] == [(2, ("1", "ü"))]
        with pytest.raises(DataError, match=f"a.csv is not {encoding}, or is truncated"):
            seen("a.csv", TextForm(encoding=encoding), "a,b\n1,ü\n".encode(encoding) + b"x")
