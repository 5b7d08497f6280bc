"""Reading options, headers and faults of files."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drafts import Draw, Write, frame, look, table
from keyfold.errors import ConfError
from keyfold.profiling.draft_conf import draft_conf
from keyfold.profiling.file_profile import profile_files


def test_missing_and_repeated_names_in_a_header_get_a_proposal(draw: Draw) -> None:
    text, conf = draw("id,size,size,,Y,y\n1,3,4,a,0,1\n2,5,4,b,1,2\n3,1,1,a,0,1\n", label="Y")
    assert "#   id,size,size_2,column_4,Y,y_2\n" in text and "It does not run yet" in text
    assert [*conf["data"]["columns"]] == ["id", "size", "size_2", "column_4", "Y", "y_2"]


def test_line_breaks_and_reserved_names_in_a_header_get_a_proposal(draw: Draw) -> None:
    text, conf = draw('id,"size\nof it",keyfold_period,content_key,y\n1,3,4,a,0\n2,5,4,b,1\n3,1,1,a,1\n')
    assert "#   id,size of it,former_keyfold_period,former_content_key,y\n" in text and "It does not run yet" in text
    assert [*conf["data"]["columns"]] == ["id", "size_of_it", "former_keyfold_period", "former_content_key", "y"]


def test_a_first_column_without_a_name_numbers_the_rows(draw: Draw) -> None:
    text, conf = draw(",id,v,y\n0,a,5,0\n1,b,7,1\n")
    assert [*conf["features"]] == ["v"] and "Warning" not in text
    assert '# "_c0" is left out: it has no name and numbers the rows.' in text


def test_hidden_files_and_folders_are_ignored(draw: Draw, tmp_path: Path) -> None:
    draw(frame(), "f/a.csv")
    for hidden in ("_old", ".git"):
        draw(frame(), f"f/{hidden}.csv")
    (tmp_path / "f" / "_archive").mkdir()
    draw(frame(), "f/_archive/b.csv")
    assert profile_files(str(tmp_path / "f")).files == [str(tmp_path / "f" / "a.csv")]


def test_bad_quotes_do_not_join_lines(draw: Draw) -> None:
    lines = [f"{i}\tfine thing {i}\t{i % 2}" for i in range(40)]
    lines[6], lines[8] = '6\t"Stopped working, not fun \t0', '8\t"It performs well. What is there?"\t1'
    text, conf = draw("id\ttext\ty\n" + "\n".join(lines), "m.tsv")
    assert conf["data"]["csv"] == {"delimiter": "\t"}
    assert "# Warning: 1 lines are not rows of these columns; they will be quarantined: 1 × a quote is not closed." in text


def test_backslashes_before_quotes_are_understood(write: Write) -> None:
    rows = "".join(f'{i},{i % 2},{i % 3},"said \\"yes\\", {i % 4}"\n' for i in range(40))
    text, conf = look(write("id,y,x,v\n" + rows))
    assert conf["data"]["csv"] == {"escape": "\\"}
    assert conf["data"]["columns"]["v"] == "string" and "Warning" not in text


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_and_byte_order_marks(write: Write, delimiter: str, start: str) -> None:
    _, conf = look(write(start + table(v=["a", "b"] * 10).replace(",", delimiter)))
    assert [*conf["data"]["columns"]] == ["id", "y", "x", "v"]
    assert conf["data"].get("csv", {}).get("delimiter", ",") == delimiter


def test_other_encodings_are_named_as_spark_names_them(write: Write) -> None:
    _, conf = look(write(table(v=["é", "ü"] * 10).encode("latin-1")), encoding="latin-1")
    assert conf["data"]["csv"] == {"encoding": "iso-8859-1"}


def test_json_lines_have_one_encoding(write: Write) -> None:
    with pytest.raises(ConfError, match="--encoding is for CSV files; JSON lines are UTF-8"):
        profile_files(write('{"id":1}\n', "mine.jsonl"), "latin-1")


def test_the_first_line_break_in_quotes_may_be_in_another_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    write(table(), "f/a.csv")
    write(table(v=["a\nb", "c"] * 10).replace(",v\n", ",x2\n"), "f/b.csv")
    profile = profile_files(str(tmp_path / "f"))
    assert (profile.csv.multi_line, profile.rows, profile.bad.total()) == (True, 40, 0)


def test_line_breaks_in_quotes_need_multi_line(write: Write) -> None:
    _, conf = look(write(table(v=["a\nb", "c"] * 10)))
    assert conf["data"]["csv"] == {"multi_line": True}


def test_gzip_is_unpacked(write: Write) -> None:
    assert look(write(gzip.compress(table().encode()), "mine.csv.gz"))[1]["features"] == look(write(table()))[1]["features"]


def test_json_lines_keep_their_types(write: Write) -> None:
    rows = [{"id": f"k{i}", "y": i % 2 == 0, "n": i % 5, "code": str(i % 5), "day": "2026-10-01"} for i in range(20)]
    rows[3] |= {"n": 2.5, "late": 2**70}
    text, conf = look(write("\n".join(map(json.dumps, rows)) + "\nbroken\n7\n", "mine.jsonl"))
    assert "# Warning: 2 lines are not rows" in text
    types = {"id": "string", "y": "boolean", "n": "double", "code": "string", "day": "date", "late": "string"}
    assert conf["data"]["columns"] == types
    assert conf["features"]["code"] == {"one_hot": {"input_col": "code"}}


def test_parquet_types_need_no_columns(tmp_path: Path) -> None:
    days = pa.array([20_000] * 20, pa.int32()).cast(pa.date32())
    nested = pa.array([[1]] * 20)
    columns = {"id": range(20), "y": [True, False] * 10, "x": [0.5, float("nan")] * 10, "code": ["1", "2"] * 10}
    columns |= {"day": days, "list": nested}
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), tmp_path / "t.parquet")
    text, conf = look(str(tmp_path / "t.parquet"))
    assert "columns" not in conf["data"] and conf["label"]["positive"] is True
    x = {"numeric": {"input_col": "x", "scale": "standard", "missing": "mean"}}
    assert conf["features"] == {"x": x, "code": {"one_hot": {"input_col": "code"}}}
    assert "# list is left out: it is nested or binary." in text


def test_only_the_first_bytes_of_long_files_are_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyfold.profiling.file_profile.LIMIT", 4_000_000)
    text, _ = look(write("id,y,x\n" + "".join(f"{i},{i % 2},{'n' * (i % 30)}\n" for i in range(800_000))))
    assert "# Only the first 4 MB were read" in text
    assert "800,000" not in text


def test_bad_lines_are_counted(write: Write) -> None:
    assert "# Warning: 2 lines are not rows" in look(write(table() + "a,b\n1,2,3,4,5\n"))[0]


def test_missing_files_are_refused(write: Write, tmp_path: Path) -> None:
    write(table(), "customers.csv")
    with pytest.raises(ConfError, match=r"no file `.*/custmers.csv` \(did you mean `customers.csv`\?\)"):
        draft_conf(str(tmp_path / "custmers.csv"), ["id"], "y")
    with pytest.raises(ConfError, match="there is no file"):
        draft_conf(str(tmp_path / "nowhere" / "a.csv"), ["id"], "y")
    (tmp_path / "empty" / "_hidden").mkdir(parents=True)
    (tmp_path / "empty" / "_hidden" / "a.csv").write_text(table())
    with pytest.raises(ConfError, match=r"the folder `.*/empty` has no files"):
        draft_conf(str(tmp_path / "empty"), ["id"], "y")
