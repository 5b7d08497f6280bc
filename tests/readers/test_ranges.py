"""Byte ranges of a file: the rows, lines and reasons are those of the whole file, wherever it is cut."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import written
from keyfold.errors import DataError
from keyfold.readers import blocks, csv_records, ranges
from keyfold.readers.blocks import read_head, read_parts
from keyfold.readers.csv_options import CsvOptions
from keyfold.readers.opening import splittable
from keyfold.readers.ranges import plan_ranges, read_range
from keyfold.readers.text_form import TextForm
from reading import gathered


class Dripping:
    """A stream of which the first reading gives so many bytes."""

    def __init__(self, data, first):
        self.data, self.first = data, first

    def read(self, size):
        size = self.first or size
        found, self.data, self.first = self.data[:size], self.data[size:], 0
        return found


class Trickling(Dripping):
    """A stream that gives so many bytes a time."""

    def read(self, size):
        found, self.data = self.data[: self.first], self.data[self.first :]
        return found


@pytest.mark.parametrize(("kind", "look"), [("csv", 1 << 16), ("csv", 24), ("multi", 1 << 16), ("multi", 24), ("json", 24)])
def test_it_does_not_matter_where_a_file_is_cut(kind, look, tmp_path, monkeypatch):
    """In blocks that end at any byte; in ranges of any size: the same rows, lines and reasons."""
    for module in (csv_records, blocks, ranges):
        monkeypatch.setattr(module, "LOOK", look)
    split = 0
    broken = b"a,b\n" + b'1,"x\ny"\n2,z\n3,"q\n4,z\n5,"u"\n' * 5
    form = TextForm("json", ("a",)) if kind == "json" else TextForm(csv=CsvOptions(multi_line=kind == "multi"))
    for seed in range(30):
        file = written.drawn_file(kind, seed) if seed else written.Written("x.csv", broken, form, ("a", "b"), [], 0, spread=True)
        if not splittable(file.name, file.form.encoding) or len(file.data) > 2500:
            continue
        path = tmp_path / f"{seed}.{file.name}"
        path.write_bytes(file.data)
        head = read_head(str(path), file.form)
        whole = gathered(read_parts(str(path), head))
        for first in range(1 + seed % 7, len(file.data) - head.start, 23):
            found = blocks.read_records(Dripping(file.data[head.start :], first), "", head.form, head.start, line=head.line)
            assert gathered(found) == whole, (seed, first)
        for size in (1, 10, 100):
            plan = plan_ranges(str(path), head, size, len(file.data))
            split += len(plan) > 1
            assert gathered(part for range_ in plan for part in read_range(range_)) == whole, (seed, size)
    assert split > 10


RECORDS = [
    "1,x", '1,"x\ny"', '"p","q\r\n\n,r"', '1,"open', '1,"u"z', '1, "b"', 'é,"é"', "", " ", "1,2,3", "1", '1,"a ""b"', '5",x', '"', '1,"x\\"y\n"',
    '{"a":1}', '{"a":"é"}x', '{"a":[1,{"b":"\\n"}]}', "\0,1",
]  # fmt: skip
PIECES = st.one_of(st.sampled_from(RECORDS), st.lists(st.sampled_from('a1,"\n\r\\é'), max_size=4).map("".join))
FORMS = [
    TextForm(),
    TextForm(csv=CsvOptions(multi_line=True)),
    TextForm(csv=CsvOptions(multi_line=True, escape="\\")),
    TextForm("json", ("a",)),
]


@given(st.lists(PIECES, max_size=6), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(FORMS), st.sampled_from([6, 1 << 16]))
@example(['1,"x\ny"', "2,z"], "\n", TextForm(), 1 << 16)
@example(['1,"x\ny"', "2,z", '3,"q', "4,z", '5,"u"'], "\n", TextForm(csv=CsvOptions(multi_line=True)), 6)
@settings(max_examples=60, deadline=None)
def test_any_text_is_read_alike_however_it_is_cut(tmp_path_factory, pieces, end, form, look):
    """At every byte, in pieces of any size, in ranges of any size: the same rows, lines and reasons."""
    data = ("" if form.kind == "json" else "a,b\n").encode() + end.join(pieces).encode()
    path = tmp_path_factory.getbasetemp() / f"cut.{form.kind}"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        for module in (csv_records, blocks, ranges):
            patch.setattr(module, "LOOK", look)
        head = read_head(str(path), form)
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
