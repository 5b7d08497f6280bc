"""Image files as bytes, made by Pillow: what tests of images begin with."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)
TALL = RNG.integers(0, 256, (9, 5, 3), np.uint8)
ORIENTATION = 0x0112


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def turned(image, orientation, kind="PNG"):
    """A file whose EXIF says how to turn it."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(image, kind, exif=exif)


def header(width, height):
    """A PNG that claims a size, and has no pixels."""
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""))
    chunks = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


_tall = Image.fromarray(TALL)
FILES = {
    "png": encoded(_tall),
    "jpeg": encoded(_tall, "JPEG"),
    "progressive": encoded(_tall, "JPEG", progressive=True),
    "webp": encoded(_tall, "WEBP"),
    "turned": turned(_tall, 6, "JPEG"),
    "gray": encoded(_tall.convert("L")),
    "gray jpeg": encoded(_tall.convert("L"), "JPEG"),
    "two colours": encoded(_tall.convert("1")),
    "palette": encoded(_tall.quantize(8)),
    "palette, one transparent": encoded(_tall.quantize(8), transparency=3),
    "palette, all half transparent": encoded(_tall.quantize(8), transparency=bytes([128] * 8)),
    "rgba": encoded(RNG.integers(0, 256, (4, 7, 4), np.uint8)),
    "gray with alpha": encoded(_tall.convert("LA")),
    "a transparent colour": encoded(_tall, transparency=tuple(TALL[0, 0].tolist())),
    "16 bits": encoded(RNG.integers(0, 2**16, (6, 6), np.uint16)),
    "cmyk": encoded(_tall.convert("CMYK"), "JPEG"),
    "one pixel": encoded(TALL[:1, :1]),
    "two pictures": encoded(_tall, "MPO", save_all=True, append_images=[_tall]),
}
