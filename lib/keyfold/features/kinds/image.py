"""The pixels of an image, given as the bytes of its file or as the path of one: upright, of one size, as numbers in [0, 1].

Spark runs the Arrow form, which is Pillow's integer arithmetic and one division of float32 at the end. The first frame counts;
EXIF says what is up; what is transparent lies on white; 16 bits become their upper 8, colours those of sRGB; the sides are
stretched to `size`.
A path is opened where the features are computed, so each machine must see it; what it holds is no part of a run's identity.
"""

import hashlib
import io
import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from keyfold.core.types import ArrowValue
from keyfold.errors import DataError, RowsError
from keyfold.features.kind import Array, FeatureOutput, Kind, State
from keyfold.imaging import pixels
from keyfold.imaging.pixels import MAX_PIXELS

ImageSide = Annotated[int, Field(ge=1, le=1024)]


class Image(Kind):
    """float32 in [0, 1], height × width × channels: row by row, the channels of a pixel side by side. NULL gives zeros."""

    takes: ClassVar = ("binary", "string")
    pure: ClassVar = False

    input_col: str
    size: tuple[ImageSide, ImageSide] = Field(description="[height, width] in pixels", examples=[[32, 32]])
    mode: Literal["rgb", "gray"] = "rgb"
    max_pixels: int = Field(
        50_000_000, ge=1, le=MAX_PIXELS, description="a larger image is refused before it is decoded: three or four bytes a pixel"
    )
    formats: list[Literal["JPEG", "PNG", "WEBP", "GIF", "BMP"]] = Field(
        ["JPEG", "PNG", "WEBP"], min_length=1, description="no other decoder is tried, whatever the file's name says"
    )

    @property
    def _shape(self) -> tuple[int, ...]:
        return (*self.size, 3 if self.mode == "rgb" else 1)

    @property
    def _length(self) -> int:
        return math.prod(self._shape)

    def out(self, state: State) -> FeatureOutput:
        """A float for each channel of each pixel."""
        return FeatureOutput("float", length=self._length, shape=self._shape)

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """float32 of (rows, length), or of (rows) for one gray pixel (DataError for what is no image, or too large a one)"""
        (value,) = values
        found = np.zeros((len(value.array), self._length), np.uint8)
        faults: dict[int, DataError] = {}
        for number, (row, cell) in enumerate(zip(found, value.array, strict=True)):
            try:
                row[:] = self._pixels(cell.as_py()) if cell.is_valid else 0
            except DataError as error:
                faults[number] = error
        if faults:
            raise RowsError(str(next(iter(faults.values()))), np.isin(np.arange(len(found)), list(faults)))
        numbers = np.divide(found, np.float32(255), dtype=np.float32)
        return numbers[:, 0] if self._length == 1 else numbers

    def _pixels(self, cell: bytes | str) -> npt.NDArray[np.uint8]:
        """uint8 of (length), of a file's bytes or its path."""
        from PIL.Image import Resampling

        try:
            with pixels.open_image(cell, self.formats, self.max_pixels) as image:
                plain = pixels.without_transparency(pixels.normalised(image)).convert("RGB" if self.mode == "rgb" else "L")
                return np.asarray(plain.resize(self.size[::-1], Resampling.BILINEAR)).reshape(-1)
        except pixels.UnusableError as error:
            raise DataError(
                f"column `{self.input_col}`: {_named(cell)} cannot be used: {error}; repair it, or set it to NULL"
            ) from error

    def samples(self, family: str) -> Sequence[Any]:
        """A picture as a file of each format; no path, since another machine need not have the file."""
        import PIL.Image

        if family == "string":
            return []
        files = {name: io.BytesIO() for name in self.formats}
        for name, file in files.items():
            PIL.Image.radial_gradient("L").resize((37, 23)).convert("RGB").save(file, name)
        return [file.getvalue() for file in files.values()]

    def note(self, state: State) -> str:
        """The size and the mode."""
        return f"{self.size[0]} × {self.size[1]} pixels, {self.mode}; NULL: zeros"


def _named(cell: bytes | str) -> str:
    """What a person can find the row by: the path, or what sha2(column, 256) gives."""
    if isinstance(cell, str):
        return f"the file {cell!r:.300}"
    return f"the image of {len(cell):,} bytes with the SHA-256 {hashlib.sha256(cell).hexdigest()}"
