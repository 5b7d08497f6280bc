"""The section `images`: what is made of the images of a table."""

from typing import Literal

from pydantic import Field

from keyfold.core.section import Section
from keyfold.imaging.decoder_process import DecoderOptions
from keyfold.imaging.operations import Operation, Output
from keyfold.imaging.pixels import MAX_PIXELS

FORMATS = Literal["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF", "ICO", "PPM"]


class Images(Section):
    """What is done to the images of a table that names them by key."""

    input_col: str = Field(description="text: paths, which every machine sees; binary: the files themselves")
    into: str | None = Field(None, pattern=r"^\w+(\.\w+){1,2}$", examples=["photos.small"], description="default: <name>.images")
    folder: str | None = Field(
        None, pattern="^/", examples=["/data/small"], description="of the files; without it bytes are in the table"
    )
    operations: list[Operation] = Field(default_factory=list, description="in this order, after EXIF's orientation")
    output: Output = Output()
    formats: list[FORMATS] = Field(
        ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"], min_length=1, description="no other decoder is tried"
    )
    max_pixels: int = Field(50_000_000, ge=1, le=MAX_PIXELS, description="a larger image is refused before it is decoded")
    max_quarantine: float = Field(1, ge=0, le=1, description="share of images that cannot be made, above which nothing changes")
    memory_mb: int = Field(1024, ge=64, description="that the decoder of one image may take")
    seconds: float = Field(30, gt=0, description="of processor time that one image may take")

    @property
    def opening(self) -> DecoderOptions:
        """What the decoder needs of it."""
        return DecoderOptions(**self.model_dump(include=set(DecoderOptions.model_fields)))
