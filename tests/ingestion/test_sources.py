"""Sources: columns from folders, formats of numbers and dates, reserved names, and pictures."""

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keyfold.conf.columns import RenamedColumn
from keyfold.conf.data import Data
from keyfold.core.names import FILE, LINE, RAW, REASON
from keyfold.errors import DataError
from keyfold.ingestion import sources
from source_rows import cells, table


def test_the_names_of_folders_are_columns_of_text(engine, tmp_path):
    for site, lines in {"01": ["1,1.5", "2,oops"], "1": ["3,3.5", '4,"open', "5,5.5"], "%20": ["6,1"]}.items():
        (tmp_path / f"site={site}").mkdir()
        (tmp_path / f"site={site}" / "a.csv").write_text("\n".join(["id,v", *lines]))
    columns = {"id": "bigint", "v": "double"}
    found = table(sources.read_source(engine, str(tmp_path), columns, None), "site", "id")
    rows = {(site, i, reason, line) for site, i, reason, _, line in found}
    assert rows == {
        ("01", 1, None, 2), ("01", 2, "`v` is not double", 3), ("1", 3, None, 2), (None, None, "a quote is not closed", 3),
        ("1", 5, None, 4), (" ", 6, None, 2),
    }  # fmt: skip
    found = table(sources.read_source(engine, str(tmp_path), columns | {"site": "bigint"}, None), "site")
    assert {row[0] for row in found} == {1, None}
    (tmp_path / "site=1" / "b.csv").write_text("id,v,site\n1,2,3\n")
    with pytest.raises(DataError, match=r"b\.csv has a column `site`, and so do the names of its folders; rename one"):
        sources.read_source(engine, str(tmp_path), columns, None)
    (tmp_path / "b.csv").write_text("id,v\n1,2\n")
    with pytest.raises(DataError, match=r"is below folders of .*no such folder"):
        sources.read_source(engine, str(tmp_path), columns, None)


def test_numbers_dates_and_names_as_people_write_them(engine, tmp_path):
    lines = [
        "sep=;", "Kunden-Nr;Größe (m²);Umsatz €;Datum;Zeit", "000;54,72;2.361,15;16.08.2026;01.07.2026 12:00", "001;186;1.234.567;01.07.2026;",
        "002;1.5;1,5;1.07.2026;", "003;1;12.34,5;30.02.2026;", "004;1;1;01.07.2026;29.03.2026 02:30", "005;1,5,1;1;01.07.2026;01.07.2026",
    ]  # fmt: skip
    path = tmp_path / "a.csv"
    path.write_bytes("\r\n".join(lines).encode("cp1252"))
    columns = {
        "customer": {"from": "Kunden-Nr", "type": "string"}, "Größe (m²)": "double", "sales": {"from": "Umsatz €", "type": "decimal(12,2)"},
        "day": {"from": "Datum", "type": "date(dd.MM.yyyy)"}, "Zeit": "timestamp(dd.MM.yyyy HH:mm)",
    }  # fmt: skip
    csv = {"decimal": ",", "thousands": ".", "encoding": "windows-1252"}
    data = Data.model_validate(
        {"source": str(path), "key": ["customer"], "columns": columns, "csv": csv, "zone": "Europe/Berlin"}
    )
    source = sources.read_source(engine, str(path), data.columns, data.csv, zone=data.zone)
    assert source.notes == [f"{path}: the line `sep=;` was skipped"]
    rows = cells(source, "customer", "Größe (m²)", "sales", "day", "Zeit", REASON, LINE, "keyfold_skipped")
    at = dt.datetime(2026, 7, 1, 10, tzinfo=dt.UTC)
    assert rows[:2] == [
        ("000", 54.72, Decimal("2361.15"), dt.date(2026, 8, 16), at, None, 3, 0),
        ("001", 186.0, Decimal("1234567.00"), dt.date(2026, 7, 1), None, None, 4, 0),
    ]
    assert [row[5] for row in rows[2:]] == [
        "`Größe (m²)` is not double", "`sales` is not decimal(12,2)", None, "`Größe (m²)` is not double",
    ]  # fmt: skip
    assert (rows[4][-1], rows[2][3]) == (1, None)
    columns = {"Zeit": {"from": "Datum", "type": "string"}}
    with pytest.raises(
        DataError, match=r"data.columns.Zeit is from `Datum`, but .*a\.csv also has a column `Zeit`; choose another name"
    ):
        sources.read_source(engine, str(path), Data.model_validate({"key": ["at"], "columns": columns}).columns, data.csv)


@pytest.mark.parametrize("kind", ["csv", "json", "parquet", "folder"])
def test_names_that_are_keyfolds_own_are_refused_unless_the_conf_gives_another(embedded, tmp_path, kind):
    names = ("keyfold_run", "keyfold_file", "Keyfold_Raw")
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        path.write_text(f"id,{','.join(names)}\n1,x,y,z\n")
    elif kind == "json":
        path.write_text('{"id":1,"keyfold_run":"x","keyfold_file":"y","Keyfold_Raw":"z"}\n')
    elif kind == "parquet":
        pq.write_table(pa.table({"id": [1]} | dict(zip(names, [["x"], ["y"], ["z"]], strict=True))), path)
    else:
        folder = path / "keyfold_run=x" / "keyfold_file=y" / "Keyfold_Raw=z"
        folder.mkdir(parents=True)
        (folder / "a.csv").write_text("id\n1\n")
    some = {f"new{i}": RenamedColumn.model_validate({"from": name, "type": "string"}) for i, name in enumerate(names)}
    given = sources.read_source(embedded, str(path), {"id": "bigint"} | some, None)
    ((*values, file, raw, reason),) = cells(given, "id", *some, FILE, RAW, REASON, by=FILE)
    assert (values, reason) == ([1, "x", "y", "z"], None)
    assert file.startswith(str(path))
    assert all(f'"{name}"' in raw for name in names)
    if kind != "json":
        told = r"the column name `keyfold_run` is reserved for keyfold; rename it: data.columns: {<name>: {from: keyfold_run, "
        with pytest.raises(DataError, match=told):
            sources.read_source(embedded, str(path), {"id": "bigint"}, None)
    with pytest.raises(ValueError, match=r"the name `keyfold_run` is reserved for keyfold; write {<name>: {from: keyfold_run, "):
        Data.model_validate({"key": ["id"], "columns": {"keyfold_run": "string"}})


@pytest.mark.both_engines
def test_files_that_are_no_pictures_are_told(engine, tmp_path):
    for name in ("a.png", "b.PNG", "c.tiff", "labels.csv"):
        (tmp_path / name).write_bytes(b"x")
    source = sources.read_source(engine, str(tmp_path), {}, None)
    assert source.notes == [f"{tmp_path}: 2 files have no suffix of an image, such as {tmp_path}/c.tiff; they are left out"]
    images = [
        (f"{tmp_path.name}/{name}", tmp_path.name, b"x", f'{{"path":"{tmp_path.name}/{name}"}}') for name in ("a.png", "b.PNG")
    ]
    assert cells(source, "path", "folder", "image", RAW, by="path") == images
