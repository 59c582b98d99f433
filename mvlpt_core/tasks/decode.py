"""From an image file's bytes to RGB, and what is worth telling of an image that was decoded.

Grey of 16 bits is scaled by the bits that its values use: 8, 10, 12, 14 or 16, the fewest that hold the
largest, unless the suite says how many (`grey_bits`). Instruments write 12 bits into files of 16: by the
file's own range such an image is nearly black. Of colour of 16 bits, PIL reads the upper 8: one that uses
few bits cannot be saved, and is noted as `flat`. Grey of other numbers (floating point, negative, above 16
bits) has no range of its own and is scaled from its least to its largest value. EXIF orientation is left
alone, as by open_clip's own preprocessing, unless the suite says `exif`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import held_in

# What a file holds counts, not its extension; formats that start other programs stay out.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
GREY_BITS = (8, 10, 12, 14, 16)
# Notes of an image, by what they are about.
TURNED, DEEP, CUT, FLAT = "exif", "deep", "cut", "flat"
_ORIENTATION = 0x0112  # of EXIF; 1 is upright
_LITTLE = 32  # an eighth of 256 levels
_NOTES = "mvlpt"  # where an image's notes stand in its `info`


class Decoding(NamedTuple):
    """How images are read: turned as EXIF says, or left alone; the bits that 16-bit grey uses, 0 where
    each image tells by its values."""

    turn: bool = False
    grey_bits: int = 0


AS_IT_IS = Decoding()


def decode_image(data: bytes, where: str, decoding: Decoding = AS_IT_IS) -> Image.Image:
    """Decode an image file's bytes to RGB; `InputError`, naming `where`, if that fails.

    Transparent parts become white; of several frames the first counts. `notes` tells what was met.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return to_rgb(image, decoding)
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise InputError(
            f"image {where} is too large to be decoded safely: expected at most {most:,} pixels"
        ) from None
    except Exception as error:  # broken files raise many types, from OSError to struct.error
        reason: object = error
        if isinstance(error, UnidentifiedImageError):
            reason = f"it holds {what}" if (what := held_in(data)) else "unknown format"
        raise InputError(
            f"image {where} does not decode ({reason}): expected a whole JPEG, PNG, WebP, BMP, GIF, TIFF "
            "or PPM file"
        ) from error


def to_rgb(image: Image.Image, decoding: Decoding = AS_IT_IS) -> Image.Image:
    """`image` of any mode as RGB, on white where it is transparent."""
    met = []
    grey = image.mode[0] in "IF"
    deep = grey or any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    if _is_turned(image):
        met.append(TURNED)
        if decoding.turn:
            image = ImageOps.exif_transpose(image)
    if grey:
        image, bits, cut = _grey_scaled(image, decoding.grey_bits)
        met += [f"{DEEP}{bits or ''}", *[CUT] * cut]
    elif "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    rgb = image.convert("RGB")
    if deep and all(high - low < _LITTLE for low, high in rgb.getextrema()):  # type: ignore[misc]
        met.append(FLAT)
    rgb.info[_NOTES] = tuple(met)
    return rgb


def _is_turned(image: Image.Image) -> bool:
    try:
        return image.getexif().get(_ORIENTATION, 1) != 1
    except Exception:  # a tag that is damaged in any way is none; the image may be whole
        return False


def _grey_scaled(image: Image.Image, bits: int) -> tuple[Image.Image, int, bool]:
    """Grey of more than 8 bits as grey of 8; the bits that it was scaled by, 0 where its values tell none;
    whether some values have more."""
    values = np.asarray(image, np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    if image.mode == "F" or low < 0 or high >= 1 << GREY_BITS[-1]:
        bits, most = 0, high
    else:
        bits = bits or _bits_in_use(high)
        low, most = 0.0, float((1 << bits) - 1)
    levels = 255 * np.clip((np.where(finite, values, low) - low) / (most - low or 1), 0, 1)
    levels[values == image.info.get("transparency")] = 255
    return Image.fromarray(levels.round().astype(np.uint8)), bits, bool(high > most)


def _bits_in_use(high: float) -> int:
    return next(bits for bits in GREY_BITS if high < 1 << bits)


def notes(image: Image.Image) -> tuple[str, ...]:
    """What was met in a decoded image: an EXIF orientation, grey scaled by so many bits (`deep12`), that some
    values have more (`cut`), that one of more than 8 bits uses less than an eighth of its range (`flat`)."""
    return tuple(image.info.get(_NOTES, ()))


def described(met: Mapping[str, int], decoding: Decoding) -> list[str]:
    """A sentence for each kind of note, from how many images have it."""
    lines = []
    if number := met.get(TURNED):
        done = "turned" if decoding.turn else "left alone (orientation: exif turns them)"
        lines.append(f"{counted(number)} with an EXIF orientation, {done}")
    by_bits = {bits: number for bits in range(1, 17) if (number := met.get(f"{DEEP}{bits}"))}
    if by_bits:
        how = "as the suite says" if decoding.grey_bits else "the fewest that hold their values"
        told = ", ".join(f"{number:,} by {bits} bits" for bits, number in by_bits.items())
        mixed = "; grey_bits in the suite scales all alike" if len(by_bits) > 1 else ""
        lines.append(f"grey images of 16 bits were scaled: {told} ({how}{mixed})")
    if number := met.get(CUT):
        lines.append(
            f"{counted(number)} with values above {decoding.grey_bits} bits, which were cut"
        )
    if number := met.get(DEEP):
        lines.append(
            f"{counted(number)} of floating point, negative or above 16 bits: scaled from each one's "
            "least to its largest value"
        )
    if number := met.get(FLAT):
        lines.append(
            f"{counted(number)} of 16 bits or more within an eighth of the range from black to white"
        )
    return lines


def counted(number: int) -> str:
    """A number of images, in words."""
    return f"{number:,} image{'' if number == 1 else 's'}"
