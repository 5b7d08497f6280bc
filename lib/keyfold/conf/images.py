"""The section `images`: transforms the images of a table."""

from typing import Literal

from pydantic import Field

from keyfold.core.section import Section, Share, TableName
from keyfold.imaging.decoder_process import DecoderOptions
from keyfold.imaging.operations import Operation, Output
from keyfold.imaging.pixels import MAX_PIXELS

FORMATS = Literal["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF", "ICO", "PPM"]


class Images(Section):
    """Transforms the images of a table, one image per key."""

    input_col: str = Field(
        examples=["path"],
        description="Column of the images. Text: absolute paths that every machine can read; binary: the files.",
    )
    into: TableName | None = Field(None, examples=["photos.small"], description="Table of the results. Default: `<name>.images`.")
    folder: str | None = Field(
        None,
        pattern="^/",
        examples=["/data/small"],
        description="Folder of the new files. Default: none; the table holds their bytes.",
    )
    operations: list[Operation] = Field(
        default_factory=list,
        examples=[[{"thumbnail": 256}]],
        description="Operations in their order, after EXIF orientation is applied.",
    )
    output: Output = Field(Output(), description="Format of the new files.")
    formats: list[FORMATS] = Field(
        ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"], min_length=1, description="Formats to decode; others are quarantined."
    )
    max_pixels: int = Field(
        50_000_000,
        ge=1,
        le=MAX_PIXELS,
        description="Largest image in pixels; larger ones are quarantined before they are decoded.",
    )
    max_quarantine: Share = Field(
        1,
        description="Largest share of images that may be quarantined; above it, the table is not changed and the job fails.",
    )
    memory_mb: int = Field(1024, ge=64, description="Memory in MiB that the decoder of one image may use.")
    seconds: float = Field(30, gt=0, description="Processor time in seconds that one image may take.")

    @property
    def decoder_options(self) -> DecoderOptions:
        """Options of the decoder process."""
        return DecoderOptions(**self.model_dump(include=set(DecoderOptions.model_fields)))
