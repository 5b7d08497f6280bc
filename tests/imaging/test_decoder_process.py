"""One image in a process of its own: its colours, its metadata, and what happens to an image that ends the process."""

import io
import os
import signal
from pathlib import Path

import numpy as np
from PIL import Image

import images
from images import WIDE
from keyfold.imaging.decoder_process import Decoder, DecoderOptions
from keyfold.imaging.operations import Operation, Output

RNG = np.random.default_rng(1)


def opening(**more):
    return DecoderOptions(
        **{"formats": ["JPEG", "PNG", "GIF", "WEBP"], "max_pixels": 10**6, "memory_mb": 256, "seconds": 20} | more
    )


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
    assert at.made(good).facts == {"reason": "the decoder crashed on it (SIGKILL)"}
    assert at.made(good) == wanted
    os.kill(at._child.pid, signal.SIGSTOP)
    patience, at.patience = at.patience, 0.1
    assert at.made(good).facts == {"reason": "the decoder gave no answer within 0.1 seconds"}
    at.patience = patience
    assert at.made(good) == wanted
    at.close()
    at = Decoder(opening(memory_mb=64, max_pixels=8 * 10**7))
    large = images.encoded(Image.new("L", (8000, 8000)))
    assert "memory" in at.made(large).facts["reason"] or "crashed on it" in at.made(large).facts["reason"]
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
            assert facts[0].pop("note") == "its EXIF block is damaged, so the image is treated as upright"
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
