"""Pixels of an image, resized to one size.

There is no SQL form: Spark runs the Arrow form in Python workers. It is Pillow's integer arithmetic and one float32 division.
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
    """The pixels of an image, resized to one size.

    The column holds the bytes of image files, or paths. A path is opened where the features are computed, so every machine must
    see the file; its content is not part of a run's identity. EXIF orientation is applied, transparency becomes white, the first
    frame of an animation is taken, 16 bits become 8, colours become sRGB, and the sides are stretched to `size`.

    Output: numbers in [0, 1], row by row with the channels of a pixel together; float32 of shape (rows, height × width × channels).
    NULL: zeros.
    Errors: RowsError for an image that cannot be decoded or is too large; scoring quarantines its row.
    """

    takes: ClassVar = ("binary", "string")
    has_sql: ClassVar = False

    input_col: str = Field(description="name of a column with the bytes of image files, or with paths", examples=["image"])
    size: tuple[ImageSide, ImageSide] = Field(description="[height, width] in pixels", examples=[[32, 32]])
    mode: Literal["rgb", "gray"] = Field("rgb", description="three channels, or one")
    max_pixels: int = Field(
        50_000_000,
        ge=1,
        le=MAX_PIXELS,
        description="larger images are refused before decoding, which takes three or four bytes of memory per pixel",
    )
    formats: list[Literal["JPEG", "PNG", "WEBP", "GIF", "BMP"]] = Field(
        ["JPEG", "PNG", "WEBP"], min_length=1, description="accepted file formats, by content and not by file name"
    )

    @property
    def _shape(self) -> tuple[int, ...]:
        return (*self.size, 3 if self.mode == "rgb" else 1)

    @property
    def _length(self) -> int:
        return math.prod(self._shape)

    def output(self, state: State) -> FeatureOutput:
        """One number per channel and pixel."""
        return FeatureOutput("float", length=self._length, shape=self._shape)

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """float32 of shape (rows, length), or (rows,) for a single gray pixel"""
        (value,) = values
        cells = np.zeros((len(value.array), self._length), np.uint8)
        faults: dict[int, DataError] = {}
        for number, (row, cell) in enumerate(zip(cells, value.array, strict=True)):
            try:
                row[:] = self._pixels(cell.as_py()) if cell.is_valid else 0
            except DataError as error:
                faults[number] = error
        if faults:
            raise RowsError(str(next(iter(faults.values()))), np.isin(np.arange(len(cells)), list(faults)))
        numbers = np.divide(cells, np.float32(255), dtype=np.float32)
        return numbers[:, 0] if self._length == 1 else numbers

    def _pixels(self, cell: bytes | str) -> npt.NDArray[np.uint8]:
        """uint8 of shape (length,)"""
        from PIL.Image import Resampling

        try:
            with pixels.open_image(cell, self.formats, self.max_pixels) as image:
                plain = pixels.without_transparency(pixels.normalised(image)).convert("RGB" if self.mode == "rgb" else "L")
                return np.asarray(plain.resize(self.size[::-1], Resampling.BILINEAR)).reshape(-1)
        except pixels.UnusableError as error:
            raise DataError(
                f"column `{self.input_col}`: {_description(cell)} cannot be used: {error}; repair it, or set it to NULL"
            ) from error

    def certificate_values(self, family: str) -> Sequence[Any]:
        """One image file of each format. No paths, because another machine may not have the file."""
        import PIL.Image

        if family == "string":
            return []
        files = {name: io.BytesIO() for name in self.formats}
        for name, file in files.items():
            PIL.Image.radial_gradient("L").resize((37, 23)).convert("RGB").save(file, name)
        return [file.getvalue() for file in files.values()]

    def note(self, state: State) -> str:
        """Size and mode."""
        return f"{self.size[0]} × {self.size[1]} pixels, {self.mode}; NULL: zeros"


def _description(cell: bytes | str) -> str:
    """Path or SHA-256 of an image. `sha2(column, 256)` finds the row in Spark."""
    if isinstance(cell, str):
        return f"the file {cell!r:.300}"
    return f"the image of {len(cell):,} bytes with the SHA-256 {hashlib.sha256(cell).hexdigest()}"
