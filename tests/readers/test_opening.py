"""Compressed files, encodings, and files that are not text."""

import pytest

from keyfold.errors import DataError
from keyfold.readers.csv_options import CsvOptions
from keyfold.readers.text_form import TextForm
from reading import packed, seen


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


# What no text in the encoding has.
STRANGE = {
    "ascii": "ü".encode(), "utf-8": b"\xfc", "cp1252": b"\x81", "cp1253": b"\xd2", "iso8859-7": b"\xae", "shift_jis": b"\xfd",
    "gb18030": b"\xff", "gbk": b"\xff", "big5": b"\xff", "euc_jp": b"\xff", "euc_kr": b"\xff", "cp932": b"\x810", "koi8-t": b"\x88",
    "utf-16-le": b"\x00\xdc", "utf-16-be": b"\xdc\x00", "utf-16": b"\x00\xdc", "utf-32-le": b"\x00\xdc\x00\x00",
}  # fmt: skip


@pytest.mark.parametrize("encoding", STRANGE)
def test_bytes_that_are_none_of_the_encoding_are_told_by_line(encoding):
    form = TextForm(csv=CsvOptions(encoding=encoding))
    before, after = (
        "a,b\n1,x\n2,y".encode(encoding),
        "z\n3,w\n".encode(encoding.removesuffix("-le") + "-le" if encoding == "utf-16" else encoding),
    )
    rows, bad, _ = seen("a.csv", form, before + STRANGE[encoding] + after)
    assert rows == [(2, ("1", "x")), (4, ("3", "w"))]
    assert [(line.line, "the line is not" in line.reason) for line in bad] == [(3, True)]


@pytest.mark.parametrize("encoding", ["shift_jis", "cp932", "gbk", "gb18030", "big5", "euc_jp", "euc_kr", "johab", "big5hkscs"])
def test_half_a_character_takes_no_line_end_with_it(encoding):
    rows, bad, _ = seen("a.csv", TextForm(csv=CsvOptions(encoding=encoding)), b"a,b\n1,x\n2,\xa1\n3,w\n4,\x94\r\n5,\xa1,\n6,\xa1")
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
            seen("a.csv", TextForm(csv=CsvOptions(encoding=encoding)), "a,b\n1,2\n".encode(f"{encoding}-le"))
        for order in ("", "-le", "-be"):
            content = "a,b\n1,ü\n".encode(encoding + order)
            assert seen("a.csv", TextForm(csv=CsvOptions(encoding=encoding + order)), content)[0] == [(2, ("1", "ü"))]
        with pytest.raises(DataError, match=f"a.csv is not {encoding}, or is truncated"):
            seen("a.csv", TextForm(csv=CsvOptions(encoding=encoding)), "a,b\n1,ü\n".encode(encoding) + b"x")
