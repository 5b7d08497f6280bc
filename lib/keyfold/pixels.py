"""Images of strangers, opened with care: only allowed decoders, never too many pixels, upright, in 8 bits and sRGB.

Whatever is wrong with a file is an `UnusableError` with a sentence.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MOST = 89_478_485  # pixels, above which Pillow itself speaks of a bomb


class UnusableError(ValueError):
    """Why an image cannot be used."""


@contextmanager
def opened(cell: bytes | str, formats: Sequence[str], max_pixels: int) -> "Iterator[Picture]":
    """The image of a file's bytes or of its path, its header read and looked at; whatever goes wrong inside is an UnusableError."""
    import PIL.Image

    try:
        file = io.BytesIO(cell) if isinstance(cell, bytes) else path_of(cell)
        with PIL.Image.open(file, formats=tuple(formats)) as image:
            _refuse_large(image, max_pixels)
            yield image
    except Exception as error:  # damaged files make Pillow raise whatever its parsers stumble over
        raise UnusableError(_why(error, formats, max_pixels)) from error


def _refuse_large(image: "Picture", most: int) -> None:
    width, height = image.size
    if width * height > most:
        raise UnusableError(f"it has {width:,} × {height:,} pixels, and `max_pixels` is {most:,}")


def _why(error: Exception, formats: Sequence[str], max_pixels: int) -> str:
    import PIL.Image

    if isinstance(error, PIL.UnidentifiedImageError):
        return f"it is no {' or '.join(formats)} file (`formats`), or its header is damaged"
    if isinstance(error, PIL.Image.DecompressionBombError):
        return f"it has more than {2 * MOST:,} pixels, and `max_pixels` is {max_pixels:,}"
    if isinstance(error, MemoryError):
        return "it takes more memory than `memory_mb` allows"
    return str(error).partition("\n")[0] or type(error).__name__


def plain(image: "Picture") -> "Picture":
    """The same picture upright, of mode L, RGB or RGBA: 16 bits become their upper 8, colours those of sRGB."""
    import PIL.Image
    import PIL.ImageOps

    PIL.ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # Pillow's own conversion would make white of all but the darkest of 16 bits
        wide: npt.NDArray[Any] = np.asarray(image)
        return PIL.Image.fromarray(np.clip(wide >> 8, 0, 255).astype(np.uint8))
    if image.mode == "F":
        raise UnusableError("its pixels are floating-point numbers, which say nothing of what is white")
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in ("1", "L"):
        return image.convert("L")
    return _in_srgb(image)


def _in_srgb(image: "Picture") -> "Picture":
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if image.mode == "LAB":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    elif profile is None or image.mode not in ("RGB", "CMYK"):
        return image.convert("RGB")
    else:
        profile = io.BytesIO(profile)
    try:
        return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    except ImageCms.PyCMSError:  # a damaged profile, or one for other pixels
        return image.convert("RGB")


def on(image: "Picture", background: str = "white") -> "Picture":
    """Without transparency."""
    import PIL.Image

    if image.mode != "RGBA":
        return image
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, background), image).convert("RGB")


def path_of(text: str) -> Path:
    """The file that a path or a `file:` URI means; Spark writes such URIs both as they are and percent-encoded."""
    there = re.sub(r"^file:(//(localhost)?)?(?=/)", "", text)
    if not there.startswith("/"):
        raise UnusableError("a path must begin with / or file:/ (read files of other places into a binary column)")
    for path in (Path(there), *([Path(unquote(there))] if there != text else [])):
        if path.is_file():
            return path
    raise UnusableError("there is no such file where images are opened")
