"""Image jobs: every key of real photographs and of real oddities has its image, as plain Pillow makes it, or a true reason."""

import hashlib
import io
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageOps

import images
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError, DataError
from keyfold.imaging.decoder_process import Decoder, DecoderOptions
from keyfold.imaging.operations import Operation, Output
from keyfold.jobs.images import image_file_name
from keyfold.jobs.images import make_images as make
from keyfold.runtime.run import Run

RNG = np.random.default_rng(1)
WIDE = Image.fromarray(RNG.integers(0, 256, (20, 40, 3), np.uint8))
DATA = Path(os.environ.get("KEYFOLD_TEST_DATA", "nowhere"))
# Why some of the real oddities have no image, in part: the decoder's words.
REFUSED = {
    "decompression_bomb.gif": "it has more than 178,956,970 pixels",
    "broken_data_stream.png": "unrecognized data stream",
    "ultrahdr.jpg": "truncated",
    "10ct_32bit_128.tiff": "floating-point",
    "truncated_image.png": "truncated",
    "hopper.avif": "no JPEG or PNG",
    "hopper_256x256.ico": "no JPEG or PNG",
    "test-card-lossless.jp2": "no JPEG or PNG",
    "16_bit_binary.pgm": "no JPEG or PNG",
}


def opening(**more):
    return DecoderOptions(
        **{"formats": ["JPEG", "PNG", "GIF", "WEBP"], "max_pixels": 10**6, "memory_mb": 256, "seconds": 20} | more
    )


def after(image, *operations):
    for operation in operations:
        image = Operation.model_validate(operation).apply(image)
    return image


# --- operations ---


def test_sizes():
    assert after(WIDE, {"resize": {"width": 10, "height": 10}}).size == (10, 5)
    assert after(WIDE, {"resize": {"width": 10, "height": 10, "how": "exact"}}).size == (10, 10)
    filled = after(WIDE, {"resize": {"width": 10, "height": 10, "how": "fill"}})
    assert np.array_equal(filled, WIDE.resize((10, 10), Image.Resampling.LANCZOS, (10, 0, 30, 20))), "the middle"
    padded = np.asarray(after(WIDE, {"resize": {"width": 10, "height": 10, "how": "pad", "background": "#ff0000"}}))
    assert (padded[0] == [255, 0, 0]).all() and (padded[-1] == [255, 0, 0]).all()
    assert after(WIDE, {"thumbnail": 20}).size == (20, 10)
    assert after(WIDE, {"thumbnail": 400}).size == (40, 20)
    assert np.array_equal(after(WIDE, {"rotate": {"degrees": 90}}), np.rot90(np.asarray(WIDE)))
    assert np.array_equal(after(WIDE, {"crop": {"left": 3, "top": 2, "width": 5, "height": 4}}), np.asarray(WIDE)[2:6, 3:8])


def test_colours():
    gray = np.asarray(WIDE.convert("L"))
    assert np.array_equal(after(WIDE, {"convert": "gray"}), gray)
    assert np.asarray(after(WIDE, {"enhance": {"contrast": 0}})).std() < 1
    assert not np.asarray(after(WIDE, {"enhance": {"brightness": 0}})).any()
    plain = np.asarray(after(WIDE, {"enhance": {"colour": 0}}))
    assert (plain[..., 0] == plain[..., 1]).all()
    dull = Image.fromarray((gray // 4 + 90).astype(np.uint8))
    assert (np.asarray(after(dull, {"enhance": {"auto_contrast": True}})).min(), np.asarray(dull).min() >= 90) == (0, True)


def test_filters_are_pillows_and_leave_transparency_alone():
    spots = np.full((9, 9, 4), 200, np.uint8)
    spots[4, 4] = 0
    one = Image.fromarray(spots)
    assert np.asarray(after(one, {"filter": {"kind": "median", "radius": 1}}))[4, 4].tolist() == [200] * 4
    assert 0 < np.asarray(after(one, {"filter": {"kind": "blur", "radius": 1}}))[4, 4, 0] < 200
    edges = np.asarray(after(one, {"filter": {"kind": "edge"}}))
    assert edges[4, 3, 0] and not edges[2, 2, :3].any() and (edges[..., 3] == spots[..., 3]).all()
    assert np.asarray(after(one, {"filter": {"kind": "sharpen", "radius": 1}}))[4, 3, 0] > 200


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ({"resize": {"width": 1, "height": 1}, "convert": "gray"}, "must name one of resize, crop"),
        ({}, "must name one of resize, crop"),
        ({"resize": {"width": 0, "height": 1}}, "images.operations.0.resize.width must be 1 or more (got 0)"),
        ({"convert": "grey"}, "images.operations.0.convert must be `gray`, `rgb` or `rgba` (got 'grey') (did you mean `gray`?)"),
    ],
)
def test_a_conf_that_cannot_be(of, said):
    conf = {"name": "x", "data": {"key": ["k"]}, "images": {"input_col": "p", "operations": [of]}}
    with pytest.raises(ConfError) as refused:
        parse_conf(conf)
    assert said in str(refused.value)


# --- one image, in a process of its own ---


def test_the_same_bytes_each_time_and_no_metadata_unless_asked():
    source = images.turned(WIDE, 6, "JPEG")
    made = []
    for output in ({}, {}, {"metadata": "keep"}):
        at = Decoder(opening(output=Output(quality=90, **output)))
        made.append(at.made(source).file)
        at.close()
    assert made[0] == made[1]
    turned, kept = (Image.open(io.BytesIO(file)) for file in made[1:])
    assert turned.size == (20, 40) and not turned.getexif()
    assert kept.size == (20, 40) and images.ORIENTATION not in kept.getexif()


def test_all_frames_of_an_animation_or_the_first():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    file = images.encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=70)
    for kind, wanted in (("all", 3), ("first", 1)):
        at = Decoder(opening(output=Output(format="WEBP", frames=kind), operations=[Operation(thumbnail=4)]))
        made = Image.open(io.BytesIO(at.made(file).file))
        at.close()
        assert (made.n_frames, made.size) == (wanted, (4, 4))
    at = Decoder(opening(max_pixels=100, output=Output(format="WEBP", frames="all")))
    assert "its 3 frames have more pixels" in at.made(file).facts["reason"]
    at.close()


def test_an_image_that_ends_the_decoder_costs_itself_alone():
    at, good = Decoder(opening()), images.FILES["png"]
    wanted = at.made(good)
    assert wanted.facts["width"] == 5
    os.kill(at._child.pid, signal.SIGKILL)
    assert at.made(good).facts == {"reason": "the decoder ended over it (SIGKILL)"}
    assert at.made(good) == wanted
    os.kill(at._child.pid, signal.SIGSTOP)
    patience, at.patience = at.patience, 0.1
    assert at.made(good).facts == {"reason": "the decoder gave no answer within 0.1 seconds"}
    at.patience = patience
    assert at.made(good) == wanted
    at.close()
    at = Decoder(opening(memory_mb=64, max_pixels=8 * 10**7))
    large = images.encoded(Image.new("L", (8000, 8000)))
    assert "memory" in at.made(large).facts["reason"] or "ended over it" in at.made(large).facts["reason"]
    assert at.made(good) == wanted
    at.close()


def test_time_is_that_of_the_processor_over_one_image_however_long_the_process_lives():
    """A large image takes ten times what it may; small ones that come together take longer than that, and are made."""
    slow = [Operation.model_validate({"filter": {"kind": "median", "radius": 9}})] * 3
    large, small = (images.encoded(Image.fromarray(RNG.integers(0, 256, (n, n, 3), np.uint8))) for n in (900, 9))
    at = Decoder(opening(seconds=0.3, operations=slow))
    assert at.made(large).facts == {"reason": "it takes more than 0.3 seconds of processor time"}
    assert "sha256" in at.made(small).facts
    child = at._child
    while Path("/proc/self/stat").exists() and _ticks(child.pid) < 0.8 * os.sysconf("SC_CLK_TCK"):
        assert "sha256" in at.made(small).facts
    assert at._child is child
    at.close()


def _ticks(pid):
    """Of processor time that a process has used."""
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))


def test_colours_are_those_of_srgb_in_every_mode():
    colour = (200, 100, 50)
    pictures = {
        "rgb": (Image.new("RGB", (4, 4), colour), {}),
        "rgba": (Image.new("RGBA", (4, 4), (*colour, 128)), {}),
        "palette": (Image.new("RGB", (4, 4), colour).quantize(2), {}),
        "palette, transparent": (Image.new("RGB", (4, 4), colour).quantize(2), {"transparency": bytes([128] * 2)}),
        "one colour transparent": (Image.new("RGB", (4, 4), colour), {"transparency": colour}),
    }
    alpha = {"rgba": 128, "palette, transparent": 128, "one colour transparent": 0}
    at = Decoder(opening(output=Output(format="PNG")))
    for name, (picture, more) in pictures.items():
        file = images.encoded(picture, icc_profile=images.P3, **more)
        made = Image.open(io.BytesIO(at.made(file).file))
        assert made.getpixel((1, 1)) == ((216, 93, 24, alpha[name]) if name in alpha else (216, 93, 24)), name
    gray = Image.new("L", (4, 4), 77)
    assert Image.open(io.BytesIO(at.made(images.encoded(gray, icc_profile=images.P3)).file)).getpixel((1, 1)) == 77
    at.close()


def test_transparency_of_sixteen_bits():
    """All 16 bits of a colour are compared, of which 8 stay."""
    colours = [(0x1234, 0x8000, 0xFFFF), (0x1235, 0x8000, 0xFFFF), (0, 511, 0xFEFF)]
    at = Decoder(opening(output=Output(format="PNG")))
    made = Image.open(io.BytesIO(at.made(images.deep(colours, colours[0])).file))
    assert [made.getpixel((x, 0)) for x in range(3)] == [(18, 128, 255, 0), (18, 128, 255, 255), (0, 1, 254, 255)]
    gray = images.encoded(np.array([[0x1234, 0x1235]], np.uint16), transparency=0x1234)
    made = Image.open(io.BytesIO(at.made(gray).file))
    assert [made.getpixel((x, 0)) for x in range(2)] == [(18, 18, 18, 0), (18, 18, 18, 255)]
    at.close()


def test_a_damaged_exif_block_does_not_lose_a_sound_picture():
    broken = b"Exif\0\0\0\x08\0\x02\x01\x12\0\x03"
    for kind in ("PNG", "JPEG", "WEBP"):
        file, sound = (images.encoded(WIDE, kind, exif=exif) for exif in (broken, b""))
        for output in ({}, {"metadata": "keep"}):
            at = Decoder(opening(output=Output(**output)))
            facts = [at.made(some).facts for some in (file, sound)]
            assert facts[0].pop("note") == "its EXIF block is damaged, so it is taken as upright"
            assert facts[0] == facts[1]
            cut = at.made(file[: len(file) // 2]).facts
            assert "reason" in cut and "note" not in cut
            at.close()


def test_colours_of_printers_and_of_sixteen_bits():
    """Against LittleCMS and NumPy, called directly."""
    from PIL import ImageCms

    wide = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    at = Decoder(opening(formats=["TIFF", "PNG"], output=Output(format="PNG")))
    lab = WIDE.convert("RGB")
    lab = ImageCms.profileToProfile(lab, ImageCms.createProfile("sRGB"), wide, outputMode="LAB")
    back = np.asarray(Image.open(io.BytesIO(at.made(images.encoded(lab, "TIFF")).file)), int)
    assert np.abs(back - np.asarray(WIDE)).mean() < 4
    deep = RNG.integers(0, 2**16, (6, 6), np.uint16)
    assert np.array_equal(Image.open(io.BytesIO(at.made(images.encoded(deep)).file)), deep >> 8)
    at.close()


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


# --- the job ---


def conf(**of):
    data = {"table": "pictures.rows", "key": ["name"], "columns": {"name": "string", "path": "string"}} | of.pop("data", {})
    return parse_conf({"name": "pictures", "data": data, "images": {"input_col": "path"} | of})


def manifest(path, lines):
    path.write_text("name,path\n" + "".join(f"{name},{at}\n" for name, at in lines))
    return {"data": {"source": str(path)}}


@pytest.mark.skipif(not DATA.exists(), reason="KEYFOLD_TEST_DATA does not name real data")
def test_every_real_image_is_answered_by_key(spark, home, tmp_path):
    flowers, odd = (sorted((DATA / f"images_{name}").rglob("*.*")) for name in ("flowers", "odd"))
    files = [file for file in [*flowers, *odd] if file.suffix != ".csv"]
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
    assert len(files) == len(table) == len(found) == 1860
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
    assert made() == ("committed", {"a": "made", "b": "quarantined"} | quarantined)
    assert made()[0] == "done before"
    Image.new("RGB", (9, 9)).save(lines[2][1])
    assert made()[1]["c"] == "made"


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
    spark.createDataFrame(rows).write.format("delta").save(str(run.rows.path))
    balanced = []
    balance = job._balance_tasks
    monkeypatch.setattr(job, "_balance_tasks", lambda *arguments: balanced.append(balance(*arguments)) or balanced[0])
    make(run)
    found = {row["name"]: row for row in run.table("pictures.images").read().toArrow().to_pylist()}
    assert len(found) == len(cells)
    assert found["`42`"]["reason"].startswith("it is no JPEG") and "NULL" in found["`43`"]["reason"]
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
        match=r"2 rows of the manifest cannot be used: the key stands more than once in the period: .*/y.png.*; .*/z.png",
    ):
        data = manifest(tmp_path / "m.csv", lines)["data"] | {"max_quarantine": 1}
        make(Run(conf(data=data), spark))
