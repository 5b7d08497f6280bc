"""Images: Pillow's pixels, upright and of one size; files that cannot be decoded are reported, and each costs one row."""

import re

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import images
from every_kind import few
from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD
from keyfold.errors import ConfError, DataError
from keyfold.features.fitting import FeatureStatistics
from keyfold.features.kinds import Feature
from keyfold.features.spec import FittedFeature, Spec
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep


def pixels(cells, **conf):
    """The feature's values of cells of bytes or of text."""
    kind = Feature.model_validate({"image": {"input_col": "photo", "size": [9, 5], **conf}}).kind
    family = "string" if isinstance(cells[0], str) else "binary"
    column = pa.array(cells, pa.string() if family == "string" else pa.binary())
    state = kind.fit("f", FeatureStatistics([{"family": family}], []))
    return Spec({"photo": family}, {"f": FittedFeature(kind, state)}).arrow(pa.table({"photo": column}))["f"]


def test_pixels_are_those_of_the_picture():
    result = pixels([images.FILES["png"], None])
    assert result.dtype == np.float32
    assert np.array_equal(result[0], images.TALL.reshape(-1) / np.float32(255))
    assert not result[1].any(), "NULL gives zeros"
    gray = pixels([images.FILES["png"]], mode="gray")
    assert gray.shape == (1, 45)
    assert (gray * 255 == np.asarray(Image.fromarray(images.TALL).convert("L")).reshape(1, -1)).all()


def test_exif_orientation_is_applied():
    turned = images.turned(Image.fromarray(images.TALL).transpose(Image.Transpose.ROTATE_90), 6)
    assert np.array_equal(pixels([turned]), pixels([images.FILES["png"]]))


def test_sixteen_bits_and_transparency():
    upper = pixels([images.FILES["16 bits"]], size=[6, 6], mode="gray")
    assert 0.3 < upper.mean() < 0.7, "not all white"
    clear = images.encoded(np.zeros((9, 5, 4), np.uint8))
    assert (pixels([clear]) == 1).all(), "what is transparent lies on white"


@pytest.mark.parametrize(
    ("cell", "conf", "message"),
    [
        (b"", {}, "it is not a JPEG or PNG or WEBP file"),
        (b"no picture at all", {}, "it is not a JPEG or PNG or WEBP file"),
        (images.FILES["jpeg"][:-40], {}, "truncated"),
        (images.FILES["png"], {"formats": ["JPEG"]}, "it is not a JPEG file"),
        (images.FILES["png"], {"max_pixels": 44}, "it has 5 × 9 pixels, and `max_pixels` is 44"),
        (images.header(60_000, 60_000), {}, "pixels, and `max_pixels` is 50,000,000"),
        ("/no/such.png", {}, "the file does not exist on the machine that decodes it"),
        ("s3://bucket/a.png", {}, "read files of other places into a binary column"),
    ],
)
def test_an_unusable_image_is_named_with_the_reason(cell, conf, message):
    with pytest.raises(DataError, match="column `photo`: the (image|file) .* cannot be used: .*" + re.escape(message)):
        pixels([cell], **conf)


def test_no_sql_and_no_hash_of_an_image():
    table = few([(1, images.FILES["png"])], "id bigint, photo binary")
    spec = Spec.fit(table, {"f": Feature.model_validate({"image": {"input_col": "photo", "size": [2, 2]}})})
    with pytest.raises(DataError, match=r"features.f has no SQL form, because its kind is `image`"):
        spec.to_sql("t")
    with pytest.raises((DataError, ConfError), match=r"features.h: column `photo`.*binary"):
        Spec.fit(table, {"h": Feature.model_validate({"hashed": {"input_col": "photo", "num_buckets": 9}})})


def test_a_damaged_image_costs_its_own_row_alone(engine, home):
    """From pictures to predictions: light ones are `y`; one file is cut short in the month that is scored."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(120):
        month = 1 + i % 3
        light = bool(rng.integers(2))
        shade = rng.integers(0, 100, (8, 8, 3), np.uint8) + np.uint8(150 * light)
        rows.append((i, f"2026-0{month}", light, images.encoded(shade, ["PNG", "JPEG"][i % 2])))
    damaged = next(i for i, row in enumerate(rows) if row[1] == "2026-03")
    rows[damaged] = (*rows[damaged][:3], rows[damaged][3][:-25])
    frame = engine.rows(rows, f"id bigint, {PERIOD} string, y boolean, photo binary")
    raw = {
        "name": "t",
        "label": "y",
        "data": {"key": ["id"], "time": PERIOD, "period": "month"},
        "features": {"shade": {"image": {"input_col": "photo", "size": [4, 4], "mode": "gray"}}},
        "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
    }
    run = Run(parse_conf(raw), engine, "2026-03")
    run.rows.replace(frame, PERIOD, {f"2026-0{m}": 40 for m in (1, 2, 3)})
    score(run, promote_or_keep(run, train(run)))
    result = {row["id"]: row for row in run.predictions.frame().rows()}
    assert result.keys() == {row[0] for row in rows if row[1] == "2026-03"}
    bad = result.pop(damaged)
    assert bad["status"] == "quarantined"
    assert "column `photo`: the image of" in bad["reason"]
    assert "truncated" in bad["reason"] or "cannot be used" in bad["reason"]
    assert {row["status"] for row in result.values()} == {"scored"}
    assert np.mean([row["prediction"] == rows[i][2] for i, row in result.items()]) == 1


def test_a_folder_of_pictures_is_a_table(spark, home, tmp_path):
    for folder, names in {"tall": ["a.png", "b c.PNG"], "wide": ["a.png", ".hidden.png"]}.items():
        (tmp_path / "all" / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / "all" / folder / name).write_bytes(images.FILES["png"] + name.encode())
    (tmp_path / "all" / "wide" / "labels.csv").write_text("no,picture\n")
    for source, expected in {"all": ["tall/a.png", "tall/b c.PNG", "wide/a.png"], "all/w*/*.png": ["wide/a.png"]}.items():
        run = Run(parse_conf({"name": f"n{len(expected)}", "data": {"source": f"{tmp_path}/{source}", "key": ["path"]}}), spark)
        ingest(run)
        rows = run.rows.read().orderBy("path").toArrow()
        assert rows["path"].to_pylist() == expected
        assert rows["folder"].to_pylist() == [path.partition("/")[0] for path in expected]
        assert rows["image"].to_pylist() == [(tmp_path / "all" / path).read_bytes() for path in expected]
    (tmp_path / "all" / "wide" / "new.png").write_bytes(images.FILES["png"])
    ingest(run)
    assert run.rows.read().count() == 2
