"""The readers of CSV and JSON lines: every line is a row, told with its reason, or blank; and it does not matter where a file is cut."""

import random

import pytest
import written

from keyfold.errors import DataError
from keyfold.readers import Form, blocks, head_of, parts, planned, ranges, read_range, records
from keyfold.readers.opening import splittable


def seen(path, form, content=None):
    """The rows, bad lines and blank lines of a file."""
    return gathered(parts(path, head_of(path, form, content, guess=False), content))


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
    form = Form("json", ("a",)) if kind == "json" else Form(multi_line=kind == "multi")
    for seed in range(30):
        file = written_file(kind, seed) if seed else written.Written("x.csv", broken, form, ("a", "b"), [], 0, spread=True)
        if not splittable(file.name, file.form.encoding) or len(file.data) > 2500:
            continue
        path = tmp_path / f"{seed}.{file.name}"
        path.write_bytes(file.data)
        head = head_of(str(path), file.form, guess=False)
        whole = gathered(parts(str(path), head))
        for first in range(1 + seed % 7, len(file.data) - head.start, 7):
            found = blocks.read(Dripping(file.data[head.start :], first), "", head.form, head.start, line=head.line)
            assert gathered(found) == whole, (seed, first)
        for size in (1, 10, 100):
            plan = planned(str(path), head, size, len(file.data))
            split += len(plan) > 1
            assert gathered(part for range_ in plan for part in read_range(range_)) == whole, (seed, size)
    assert split > 10


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    first = planned(str(path), head_of(str(path), Form()), 1, 12)[0]
    path.write_text("a,b\n1,2222\n3,4\n")
    with pytest.raises(DataError, match=r"a\.csv has changed while it was read; run again"):
        list(read_range(first))
