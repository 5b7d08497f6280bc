"""The operations on images that a conf can list, by Pillow, applied in the order of the list."""

import io
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from keyfold.core.section import OneOf, Section
from keyfold.imaging import pixels
from keyfold.imaging.pixels import UnusableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image as Picture

Side = Annotated[int, Field(ge=1, le=16_384)]
Factor = Annotated[float, Field(ge=0, le=100)]
BACKGROUND = Field(
    "white", pattern=r"^([a-z]+|#[0-9a-fA-F]{6})$", examples=["white", "#1f77b4"], description="Colour of the background."
)


class Resize(Section):
    """Resizes to `width` × `height`."""

    width: Side = Field(description="Width in pixels.")
    height: Side = Field(description="Height in pixels.")
    how: Literal["fit", "fill", "pad", "exact"] = Field(
        "fit",
        description="fit: the whole image fits inside; pad: as fit, with the background around it; fill: the image fills the size and is "
        "cropped; exact: the image is stretched.",
    )
    background: str = BACKGROUND

    def apply(self, image: "Picture") -> "Picture":
        """Resamples with Lanczos' filter."""
        import PIL.ImageOps
        from PIL.Image import Resampling

        size = self.width, self.height
        if self.how == "pad":
            return PIL.ImageOps.pad(image, size, Resampling.LANCZOS, self.background)
        if self.how == "exact":
            return image.resize(size, Resampling.LANCZOS)
        return (PIL.ImageOps.contain if self.how == "fit" else PIL.ImageOps.fit)(image, size, Resampling.LANCZOS)


class Crop(Section):
    """Cuts out a rectangle, in pixels from the upper left corner."""

    left: int = Field(0, ge=0, description="Left edge in pixels.")
    top: int = Field(0, ge=0, description="Upper edge in pixels.")
    width: Side = Field(description="Width in pixels.")
    height: Side = Field(description="Height in pixels.")

    def apply(self, image: "Picture") -> "Picture":
        """UnusableError if the rectangle exceeds the image."""
        right, bottom = self.left + self.width, self.top + self.height
        if right > image.width or bottom > image.height:
            raise UnusableError(f"the crop ends at {right} × {bottom}, and the image at {image.width} × {image.height}")
        return image.crop((self.left, self.top, right, bottom))


class Rotate(Section):
    """Rotates counter-clockwise; the image grows so that its corners stay inside."""

    degrees: float = Field(description="Angle in degrees, counter-clockwise.", examples=[90])
    background: str = BACKGROUND

    def apply(self, image: "Picture") -> "Picture":
        """Exact for multiples of 90 degrees, else bicubic."""
        from PIL import ImageColor
        from PIL.Image import Resampling

        fill = ImageColor.getcolor(self.background, image.mode)
        return image.rotate(self.degrees, Resampling.BICUBIC, expand=True, fillcolor=fill)


class Filter(Section):
    """Applies one of Pillow's filters."""

    kind: Literal["blur", "sharpen", "edge", "median"] = Field(description="Pillow's filter.")
    radius: int = Field(2, ge=1, le=50, description="Radius in pixels, of blur, sharpen and median.")

    def apply(self, image: "Picture") -> "Picture":
        """Gaussian blur, unsharp mask, edges, or the median of a square."""
        from PIL import ImageFilter

        if self.kind == "edge":
            return _without_alpha(image, lambda plain: plain.filter(ImageFilter.FIND_EDGES))
        if self.kind == "median":
            return image.filter(ImageFilter.MedianFilter(2 * self.radius + 1))
        return image.filter((ImageFilter.GaussianBlur if self.kind == "blur" else ImageFilter.UnsharpMask)(self.radius))


class Enhance(Section):
    """Changes contrast, brightness and colour by factors (1: unchanged); `auto_contrast` stretches the range to black and white."""

    contrast: Factor = Field(1, description="Factor of the contrast; 1 leaves it unchanged.")
    brightness: Factor = Field(1, description="Factor of the brightness; 1 leaves it unchanged.")
    colour: Factor = Field(1, description="Factor of the saturation; 1 leaves it unchanged.")
    auto_contrast: bool = Field(
        False, description="Whether to stretch the range, the darkest pixel to black and the lightest to white."
    )

    def apply(self, image: "Picture") -> "Picture":
        """Applies auto-contrast first, then the factors."""
        from PIL import ImageEnhance, ImageOps

        if self.auto_contrast:
            image = _without_alpha(image, ImageOps.autocontrast)
        for kind, factor in ((ImageEnhance.Contrast, self.contrast), (ImageEnhance.Brightness, self.brightness)):
            image = image if factor == 1 else kind(image).enhance(factor)
        return image if self.colour == 1 else ImageEnhance.Color(image).enhance(self.colour)


class Operation(OneOf):
    """One operation."""

    resize: Resize | None = Field(None, description="Changes the size.")
    crop: Crop | None = Field(None, description="Cuts out a part.")
    rotate: Rotate | None = Field(None, description="Rotates the image.")
    filter: Filter | None = Field(None, description="Applies a filter.")
    enhance: Enhance | None = Field(None, description="Changes contrast, brightness or colour.")
    convert: Literal["gray", "rgb", "rgba"] | None = Field(None, description="Converts the colour mode.")
    thumbnail: Side | None = Field(None, description="Shrinks the image until its longer side has this many pixels.")

    def apply(self, image: "Picture") -> "Picture":
        """The image after the operation."""
        if self.convert:
            return image.convert({"gray": "L", "rgb": "RGB", "rgba": "RGBA"}[self.convert])
        if self.thumbnail:
            image = image.copy()
            image.thumbnail((self.thumbnail, self.thumbnail))
            return image
        return getattr(self, self.choice).apply(image)  # type: ignore[no-any-return]


class Output(Section):
    """The format and the contents of the new file."""

    format: Literal["JPEG", "PNG", "WEBP", "GIF"] = Field("JPEG", description="File format.")
    quality: int = Field(85, ge=1, le=100, description="Quality of JPEG and WEBP.")
    metadata: Literal["strip", "keep"] = Field(
        "strip", description="Whether to keep EXIF metadata; the orientation is always applied and removed."
    )
    frames: Literal["first", "all"] = Field("first", description="Frames of an animation to keep.")
    background: str = BACKGROUND

    @model_validator(mode="after")
    def _moves(self) -> "Output":
        if self.frames == "all" and self.format == "JPEG":
            raise ValueError("frames: all needs an animated format: PNG, WEBP or GIF")
        return self

    @property
    def ending(self) -> str:
        """The suffix of the file's name."""
        return {"JPEG": "jpg"}.get(self.format, self.format.lower())

    def encoded(self, frames: "list[Picture]", source: "Picture") -> bytes:
        """The file's bytes; metadata and durations of frames come from `source`."""
        ready = [pixels.without_transparency(f, self.background) if self.format == "JPEG" else f for f in frames]
        more: dict[str, object] = {"quality": self.quality} if self.format in ("JPEG", "WEBP") else {}
        if self.metadata == "keep" and self.format != "GIF":
            tags = pixels.exif_tags(source)
            tags.pop(pixels.ORIENTATION, None)
            more["exif"] = tags.tobytes()
        if len(ready) > 1:
            more |= {"save_all": True, "append_images": ready[1:], "loop": 0, "duration": source.info.get("duration", 100)}
        file = io.BytesIO()
        ready[0].save(file, self.format, **more)
        return file.getvalue()


def _without_alpha(image: "Picture", change: "Callable[[Picture], Picture]") -> "Picture":
    if image.mode != "RGBA":
        return change(image)
    alpha = image.getchannel("A")
    image = change(image.convert("RGB"))
    image.putalpha(alpha)
    return image
