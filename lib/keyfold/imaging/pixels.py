"""Safe decoding of untrusted images: only allowed formats, a limit of pixels, upright, 8 bits, sRGB.

Any fault of a file is an `UnusableError` with a message.
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
    import PIL.Image
    from PIL.Image import Image as Picture

PIXELS_VERSION = 2  # to be increased when `normalised` changes the pixels of a file
MAX_PIXELS = 89_478_485  # above it Pillow warns of a decompression bomb


class UnusableError(ValueError):
    """An image cannot be used; the message says why."""


@contextmanager
def open_image(cell: bytes | str, formats: Sequence[str], max_pixels: int) -> "Iterator[Picture]":
    """Opens an image from bytes or a path, and checks its header. Any exception in the block becomes an UnusableError."""
    import PIL.Image

    try:
        file = io.BytesIO(cell) if isinstance(cell, bytes) else image_path(cell)
        with PIL.Image.open(file, formats=tuple(formats)) as image:
            _refuse_large(image, max_pixels)
            yield image
    except Exception as error:  # damaged files make Pillow raise any exception
        raise UnusableError(_why(error, formats, max_pixels)) from error


def _refuse_large(image: "Picture", most: int) -> None:
    width, height = image.size
    if width * height > most:
        raise UnusableError(f"it has {width:,} × {height:,} pixels, and `max_pixels` is {most:,}")


def _why(error: Exception, formats: Sequence[str], max_pixels: int) -> str:
    import PIL.Image

    if isinstance(error, PIL.UnidentifiedImageError):
        return f"it is not a {' or '.join(formats)} file (`formats`), or its header is damaged"
    if isinstance(error, PIL.Image.DecompressionBombError):
        return f"it has more than {2 * MAX_PIXELS:,} pixels, and `max_pixels` is {max_pixels:,}"
    if isinstance(error, MemoryError):
        return "it takes more memory than `memory_mb` allows"
    return str(error).partition("\n")[0] or type(error).__name__


_UPRIGHT = {  # by EXIF orientation, the transposition that undoes it
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip
ORIENTATION = 0x0112
DAMAGED = "keyfold_exif_damaged"


def normalised(image: "Picture") -> "Picture":
    """The picture upright, in sRGB, of mode L, RGB or RGBA; of 16 bits the upper 8 are kept."""
    import PIL.Image

    _make_key_transparent(image)
    image.load()
    if turn := _UPRIGHT.get(exif_tags(image).get(ORIENTATION, 1)):
        image = image.transpose(PIL.Image.Transpose[turn])
    if image.mode == "F":
        raise UnusableError("its pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):  # Pillow's own conversion clips 16 bits to white instead of scaling them
        image = _in_8_bits(image)
    if not image.has_transparency_data:
        return _in_srgb(image)
    whole = image.convert("RGBA")
    opaque = image.getchannel("L") if image.mode == "LA" else whole.convert("RGB")
    opaque.info |= {name: image.info[name] for name in ("icc_profile",) if name in image.info}
    image = _in_srgb(opaque).convert("RGBA")
    image.putalpha(whole.getchannel("A"))
    return image


def exif_tags(image: "Picture") -> "PIL.Image.Exif":
    """The EXIF tags of a loaded image; none if the block is damaged, which sets DAMAGED in `image.info`."""
    import PIL.Image

    if DAMAGED in image.info:
        return PIL.Image.Exif()
    try:
        PIL.Image.Exif().load(image.info.get("exif", b""))  # `getexif` itself fails once at most
        return image.getexif()
    except Exception:  # noqa: BLE001 - the pixels are sound; Pillow's parser raises any exception
        image.info[DAMAGED] = True
        return PIL.Image.Exif()


def _make_key_transparent(image: "Picture") -> None:
    """Applies the transparent colour of a PNG with 16-bit colours: Pillow keeps 8 bits of each, and all 16 must be compared."""
    import PIL.Image

    key, tiles = image.info.get("transparency"), getattr(image, "tile", None)
    if not tiles or tiles[0][3] != "RGB;16B" or not isinstance(key, tuple):
        return
    file: Any = image.fp  # type: ignore[attr-defined]
    at = file.tell()
    file.seek(0)
    with PIL.Image.open(io.BytesIO(file.read()), formats=("PNG",)) as lower:
        file.seek(at)
        lower.tile = [tile._replace(args="RGB;16L") for tile in lower.tile]  # the other byte of each colour
        wide = np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower)
    del image.info["transparency"]
    image.putalpha(PIL.Image.fromarray(np.where((wide == key).all(axis=-1), 0, 255).astype(np.uint8)))


def _in_8_bits(image: "Picture") -> "Picture":
    import PIL.Image

    wide: npt.NDArray[Any] = np.asarray(image)
    narrow = PIL.Image.fromarray(np.clip(wide >> 8, 0, 255).astype(np.uint8))
    narrow.info |= {name: image.info[name] for name in ("icc_profile",) if name in image.info}
    if isinstance(key := image.info.get("transparency"), int):
        narrow.putalpha(PIL.Image.fromarray(np.where(wide == key, 0, 255).astype(np.uint8)))
    return narrow


def _in_srgb(image: "Picture") -> "Picture":
    """The image in sRGB, of mode L or RGB, without transparency."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.mode == "LAB":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    elif profile is None:
        return image.convert(mode)
    else:
        profile = io.BytesIO(profile)
        image = image if image.mode == "CMYK" else image.convert(mode)
    try:
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    except ImageCms.PyCMSError:  # a damaged profile, or one for other pixels
        converted = image
    return converted.convert(mode)


def without_transparency(image: "Picture", background: str = "white") -> "Picture":
    """The image on a background, of mode RGB."""
    import PIL.Image

    if image.mode != "RGBA":
        return image
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, background), image).convert("RGB")


def image_path(text: str) -> Path:
    """The file of a path or a `file:` URI, percent-encoded or not: Spark writes both."""
    name = re.sub(r"^file:(//(localhost)?)?(?=/)", "", text)
    if not name.startswith("/"):
        raise UnusableError("a path must begin with / or file:/ (read files of other places into a binary column)")
    for path in (Path(name), *([Path(unquote(name))] if name != text else [])):
        if path.is_file():
            return path
    raise UnusableError("the file does not exist on the machine that decodes it")
