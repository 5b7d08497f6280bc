"""Image files as bytes, made by Pillow: what tests of images begin with."""

import base64
import io
import struct
import zlib

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)
TALL = RNG.integers(0, 256, (9, 5, 3), np.uint8)
WIDE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (20, 40, 3), np.uint8))
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


# The profile of Display P3, in which (200, 100, 50) is (216, 93, 24) of sRGB.
P3 = zlib.decompress(
    base64.b85decode(
        "c-muNV0^#;1WXPL47qtFMM3UP3K5Y}3hb{K7=aKB5|fJy81RB`*C1*y>oSlII8#!KlY#UHAWldwC@NuKU<?4V1<FebK<oq{Tcil+C?LB8#7>8>J3#Ct2zw4#O-PV4ki7w<Hyy%00AeRW"
        "*cU)-s9hky9AL~qbx@L80dgZlUVdIGhz5lvdKe+Zn(s3(*zW)T|Nm};nAd&=hK=S73|u=AVj30<41(MY3@3Ibmll;ltzu*Xx}Ojq0A3C}AO"
    )
)


def header(width, height):
    """A PNG that claims a size, and has no pixels."""
    return _png((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""))


def deep(colours, transparent):
    """A PNG of one row of 16-bit colours, one of which is transparent."""
    row = b"\0" + np.array(colours, ">u2").tobytes()
    return _png(
        (b"IHDR", struct.pack(">IIBBBBB", len(colours), 1, 16, 2, 0, 0, 0)),
        (b"tRNS", np.array(transparent, ">u2").tobytes()),
        (b"IDAT", zlib.compress(row)),
        (b"IEND", b""),
    )


def _png(*parts):
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
