"""Image jobs: every key of real photographs and of real oddities has its image, as plain Pillow makes it, or a true reason."""

import hashlib
import io
import os
from pathlib import Path

import deltalake
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageOps

import images
from keyfold.conf.use_case import parse_conf
from keyfold.errors import DataError
from keyfold.imaging.operations import Output
from keyfold.jobs.images import image_file_name
from keyfold.jobs.images import make_images as make
from keyfold.runtime.run import Run

DATA = Path(os.environ.get("KEYFOLD_TEST_DATA", "nowhere"))
# Why some of the real oddities have no image, in part: the decoder's words.
REFUSED = {
    "decompression_bomb.gif": "it has more than 178,956,970 pixels",
    "broken_data_stream.png": "unrecognized data stream",
    "ultrahdr.jpg": "truncated",
    "10ct_32bit_128.tiff": "floating-point",
    "truncated_image.png": "truncated",
    "hopper.avif": "not a JPEG or PNG",
    "hopper_256x256.ico": "not a JPEG or PNG",
    "test-card-lossless.jp2": "not a JPEG or PNG",
    "16_bit_binary.pgm": "not a JPEG or PNG",
}


def test_names_of_files_tell_keys_and_stay_inside():
    keys = [
        ["../../etc/passwd"],
        ["a/b"],
        ["a", "b"],
        ["a b"],
        ["é"],
        ["e\u0301"],
        [""],
        ["x" * 999],
        ["..", "."],
        [2**63 - 1],
        ["A"],
        ["a"],
    ]
    names = [image_file_name(key, Output()) for key in keys]
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        folder, _, file = name.partition("/")
        assert len(folder) == 2 and "/" not in file and not file.startswith(".") and len(file) < 100 and file.endswith(".jpg")
    assert names[0].split("/")[1].startswith("etc_passwd-")


def conf(**of):
    data = {"table": "pictures.rows", "key": ["name"], "columns": {"name": "string", "path": "string"}} | of.pop("data", {})
    return parse_conf({"name": "pictures", "data": data, "images": {"input_col": "path"} | of})


def manifest(path, lines):
    path.write_text("name,path\n" + "".join(f"{name},{at}\n" for name, at in lines))
    return {"data": {"source": str(path)}}


@pytest.mark.skipif(not DATA.exists(), reason="KEYFOLD_TEST_DATA does not name real data")
@pytest.mark.parametrize(("each", "count"), [(10, 240), pytest.param(1, 1860, marks=pytest.mark.slow)])
def test_every_real_image_is_answered_by_key(spark, home, tmp_path, each, count):
    """All oddities, and each tenth photograph or all."""
    flowers, odd = (
        sorted(p for p in (DATA / f"images_{name}").rglob("*.*") if p.suffix != ".csv") for name in ("flowers", "odd")
    )
    files = [*flowers[::each], *odd]
    operations = [{"resize": {"width": 48, "height": 40, "how": "fill"}}, {"filter": {"kind": "blur", "radius": 1}}]
    lines = [(f"{file.parent.name}/{file.name}", file) for file in files]
    run = Run(
        conf(
            **manifest(tmp_path / "m.csv", lines), folder=str(tmp_path / "out"), operations=operations, output={"format": "PNG"}
        ),
        spark,
    )
    make(run)
    table = run.table("pictures.images").read().toArrow().to_pylist()
    found = {row["name"]: row for row in table}
    assert len(files) == len(table) == len(found) == count
    for file in files:
        row = found[f"{file.parent.name}/{file.name}"]
        if file.name in REFUSED:
            assert REFUSED[file.name] in row["reason"] and row["status"] == "quarantined" and row["path"] is None
            continue
        assert row["status"] == "made", (file.name, row["reason"])
        data = Path(row["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"] and len(data) == row["bytes"]
        assert Image.open(io.BytesIO(data)).size == (row["width"], row["height"]) == (48, 40)
        if file.parent.parent.name == "images_flowers":
            assert np.array_equal(Image.open(io.BytesIO(data)), by_pillow(file)), file.name
    assert len(list((tmp_path / "out").rglob("*.png"))) == len(files) - len(REFUSED)
    again = Run(run.conf, spark)
    make(again)
    assert [job.status for job in again.jobs] == ["done before"] * 2


def test_a_file_that_changes_is_made_again(spark, home, tmp_path):
    def made():
        run = Run(conf(operations=[{"thumbnail": 2}], **of), spark)
        make(run)
        return run.jobs[-1].status, {r["name"]: r["status"] for r in run.images.read().toArrow().to_pylist()}

    lines = [(name, tmp_path / f"{name}.png") for name in "abc"]
    of = manifest(tmp_path / "m.csv", [*lines, ("d", "")])
    for _, path in lines[:2]:
        Image.new("RGB", (9, 9)).save(path)
    quarantined = {"c": "quarantined", "d": "quarantined"}
    assert made() == ("committed", {"a": "made", "b": "made"} | quarantined)
    assert made()[0] == "done before"
    lines[1][1].write_bytes(b"no image")
    Image.new("RGB", (9, 9)).save(lines[2][1])
    assert made() == ("committed", {"a": "made", "b": "quarantined", "c": "made", "d": "quarantined"})


def by_pillow(file):
    from PIL import ImageFilter

    image = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    return ImageOps.fit(image, (48, 40), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(1))


def test_files_in_the_table_and_tasks_of_as_many_pixels(spark, home, monkeypatch):
    from keyfold.jobs import images as job

    sizes = [(4, 4)] * 30 + [(400, 400)] * 8 + [(900, 30)] * 4
    cells = [images.encoded(Image.new("RGB", size)) for size in sizes] + [b"no image", None]
    rows = pa.table({"name": [f"`{i}`" for i in range(len(cells))], "a.b": pa.array(cells, pa.binary())})
    run = Run(conf(input_col="a.b", operations=[{"thumbnail": 2}]), spark)
    deltalake.write_deltalake(run.rows.path, rows)
    balanced = []
    balance = job._balance_tasks
    monkeypatch.setattr(job, "_balance_tasks", lambda *arguments: balanced.append(balance(*arguments)) or balanced[0])
    make(run)
    found = {row["name"]: row for row in run.table("pictures.images").read().toArrow().to_pylist()}
    assert len(found) == len(cells)
    assert found["`42`"]["reason"].startswith("it is not a JPEG") and "NULL" in found["`43`"]["reason"]
    assert all(max(Image.open(io.BytesIO(found[f"`{i}`"]["image"])).size) == 2 for i in range(42))
    with pytest.raises(DataError, match=r"2 of 44 images cannot be made \(1 × .*That is 4.5%, and images.max_quarantine is 4.0%"):
        make(Run(conf(input_col="a.b", operations=[{"thumbnail": 1}], max_quarantine=0.04), spark))
    again = run.table("pictures.images").read().toArrow().to_pylist()
    assert {row["name"]: row for row in again} == found, "the period is as it was"
    limit = Run(conf(input_col="a.b", operations=[{"thumbnail": 2}], max_quarantine=0.05), spark)
    make(limit)
    assert limit.jobs[-1].status == "done before"
    from pyspark.sql import functions as F

    tasks = balanced[0].select(F.spark_partition_id().alias("task"), "name").collect()
    large = [
        [int(row.name.strip("`")) for row in tasks if row.task == task and 30 <= int(row.name.strip("`")) < 38]
        for task in {t.task for t in tasks}
    ]
    assert {len(names) for names in large} == {1}, "one large image in each of eight tasks"


def test_a_manifest_with_a_key_twice_is_refused_by_name(spark, home, tmp_path):
    lines = [("a", "/x.png"), ("b", "/y.png"), ("b", "/z.png")]
    with pytest.raises(
        DataError,
        match=r"2 rows of the manifest cannot be used: the key occurs more than once in the period: .*/y.png.*; .*/z.png",
    ):
        data = manifest(tmp_path / "m.csv", lines)["data"] | {"max_quarantine": 1}
        make(Run(conf(data=data), spark))
