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
from keyfold.imaging import decoder_process
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
def test_every_real_image_is_answered_by_key(engine, home, tmp_path, each, count):
    """All oddities, and each tenth photograph or all."""
    flowers, odd = (
        sorted(p for p in (DATA / f"images_{name}").rglob("*.*") if p.suffix != ".csv") for name in ("flowers", "odd")
    )
    files = [*flowers[::each], *odd]
    operations = [{"resize": {"width": 48, "height": 40, "how": "fill"}}, {"filter": {"kind": "blur", "radius": 1}}]
    lines = [(f"{file.parent.name}/{file.name}", file) for file in files]
    of = manifest(tmp_path / "m.csv", lines) | {"folder": str(tmp_path / "out"), "output": {"format": "PNG"}}
    run = Run(conf(operations=operations, **of), engine)
    make(run)
    table = run.images.frame().rows()
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
    again = Run(run.conf, engine)
    make(again)
    assert [job.status for job in again.jobs] == ["done before"] * 2


def test_engines_make_the_same_rows_and_find_those_of_each_other(spark_engine, embedded, home, tmp_path):
    cells = [*images.FILES.values(), images.header(10**6, 10**6), b"no image"]
    for number, cell in enumerate(cells):
        (tmp_path / f"{number}.x").write_bytes(cell)
    lines = [(f"/{number}", tmp_path / f"{number}.x") for number in range(len(cells) + 1)]
    of = manifest(tmp_path / "m.csv", [*lines, ("none", "")]) | {"operations": [{"thumbnail": 4}]}

    def made(engine, into):
        run = Run(conf(into=into, **of), engine)
        make(run)
        rows = run.images.frame().drop("run_id", "made_at").rows()
        return run.jobs[-1].status, sorted(rows, key=lambda row: row["name"])

    ours = made(embedded, "pictures.ours")
    assert ours[0] == "committed" and len(ours[1]) == len(lines) + 1
    assert {row["status"] for row in ours[1]} == {"made", "quarantined"}
    assert made(spark_engine, "pictures.ours") == ("done before", ours[1])
    assert made(spark_engine, "pictures.theirs") == ours
    assert made(embedded, "pictures.theirs")[0] == "done before"
    assert not decoder_process._idle, "no process is left"


def test_a_file_that_changes_is_made_again(engine, home, tmp_path):
    def made():
        run = Run(conf(operations=[{"thumbnail": 2}], **of), engine)
        make(run)
        return run.jobs[-1].status, {r["name"]: r["status"] for r in run.images.frame().rows()}

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


def test_files_in_the_table(engine, home):
    cells = [images.encoded(Image.new("RGB", (9, 4)))] * 42 + [b"no image", None]
    rows = pa.table({"name": [f"`{i}`" for i in range(len(cells))], "a.b": pa.array(cells, pa.binary())})

    def made(size, **more):
        run = Run(conf(input_col="a.b", operations=[{"thumbnail": size}], **more), engine)
        if not run.rows.exists():
            deltalake.write_deltalake(run.rows.path, rows)
        make(run)
        return run.jobs[-1].status

    def found():
        return {row["name"]: row for row in Run(conf(), engine).images.frame().rows()}

    assert made(2) == "committed"
    first = found()
    assert len(first) == len(cells)
    assert first["`42`"]["reason"].startswith("it is not a JPEG") and "NULL" in first["`43`"]["reason"]
    assert all(max(Image.open(io.BytesIO(first[f"`{i}`"]["image"])).size) == 2 for i in range(42))
    with pytest.raises(DataError, match=r"2 of 44 images cannot be made \(1 × .*That is 4.5%, and images.max_quarantine is 4.0%"):
        made(1, max_quarantine=0.04)
    assert found() == first, "the period is as it was"
    assert made(2, max_quarantine=0.05) == "done before"


def test_a_manifest_with_a_key_twice_is_refused_by_name(engine, home, tmp_path):
    lines = [("a", "/x.png"), ("b", "/y.png"), ("b", "/z.png")]
    with pytest.raises(
        DataError,
        match=r"2 rows of the manifest cannot be used: the key occurs more than once in the period: .*/y.png.*; .*/z.png",
    ):
        data = manifest(tmp_path / "m.csv", lines)["data"] | {"max_quarantine": 1}
        make(Run(conf(data=data), engine))
