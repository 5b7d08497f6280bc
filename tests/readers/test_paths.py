"""The files of a source: hidden ones, links, and columns from the names of folders."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keyfold.core.names import FILE
from keyfold.errors import DataError
from keyfold.ingestion import sources
from keyfold.readers import paths
from source_rows import cells


def test_hidden_files_are_not_read(tmp_path):
    for name in ("a 1.csv", "b+%20.csv", ".ipynb_checkpoints/old.csv", "_archive/old.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("id\n1\n")
    assert [Path(f).name for f in paths.local_files(str(tmp_path))] == ["a 1.csv", "b+%20.csv"]
    assert paths.local_files(f"file://{tmp_path}") == paths.local_files(str(tmp_path))
    assert paths.local_files("s3a://bucket/x") is None
    assert [*map(paths.is_hidden, ["_a/b", "a/.b", "_a=1/b", "a_/b.c", "_SUCCESS"])] == [True, True, False, False, True]


def test_links_are_followed_once_around_and_one_to_nothing_is_told(embedded, tmp_path):
    source, other = tmp_path / "source", tmp_path / "other"
    (source / "deep").mkdir(parents=True)
    other.mkdir()
    (source / "a.csv").write_text("id\n1\n")
    (other / "b.csv").write_text("id\n2\n")
    (other / "_hidden.csv").write_text("id\n3\n")
    (source / "linked").symlink_to(other)
    (source / "c.csv").symlink_to(other / "_hidden.csv")
    (source / "deep" / "up").symlink_to(source)
    (other / "back").symlink_to(source)
    names = ["a.csv", "c.csv", "linked/b.csv"]
    assert [str(Path(file).relative_to(source)) for file in paths.local_files(str(source))] == names
    assert [*map(str, paths.local_files(f"{source}/link*"))] == [str(source / "linked" / "b.csv")] + [
        str(source / "linked" / "back" / name) for name in ("a.csv", "c.csv")
    ]
    pq.write_table(pa.table({"id": [1]}), tmp_path / "p.parquet")
    (tmp_path / "parquet").mkdir()
    (tmp_path / "parquet" / "x=1").symlink_to(other)
    for file in other.iterdir():
        file.unlink()
    (other / "p.parquet").symlink_to(tmp_path / "p.parquet")
    where = [*paths.local_files(str(tmp_path / "parquet"))]
    source_ = sources.read_source(embedded, str(tmp_path / "parquet"), {}, None, where)
    assert cells(source_, "id", "x", FILE, by="id") == [(1, "1", where[0])]
    (source / "c.csv").unlink()
    (source / "gone.csv").symlink_to(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"gone\.csv` is a link to `.*nothing`, which does not exist"):
        paths.local_files(str(source))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_escapes_in_the_names_of_folders_are_text_or_told(embedded, tmp_path, kind):
    folder = tmp_path / "ort=K%C3%B6ln%2F1 + %"
    folder.mkdir()
    if kind == "csv":
        (folder / "a.csv").write_text("id\n1\n")
    else:
        pq.write_table(pa.table({"id": [1]}), folder / "a.parquet")
    assert cells(sources.read_source(embedded, str(tmp_path), {}, None), "ort", by="ort") == [("Köln/1 + %",)]
    folder.rename(tmp_path / "ort=Köln%25 + ")
    assert cells(sources.read_source(embedded, str(tmp_path), {}, None), "ort", by="ort") == [("Köln% + ",)]
    with pytest.raises(DataError, match=r"`%FF` in a folder's name has escapes that are not UTF-8; rename the folder"):
        paths.partition_columns("/x", ["/x/ort=%FF/a.csv"])
