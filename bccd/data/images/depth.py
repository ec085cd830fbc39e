"""From images of any depth to 8 bits, so that one image gives the same pixels everywhere."""

import logging

import numpy as np

from bccd.data.images.image_source import UnreadableImageError

# Cameras write 10, 12 or 14 bits into 16, and few files say which. TIFF's MaxSampleValue is the
# brightest value of the image; PNG's sBIT is for values that already fill the 16 bits.
_DEPTHS = (8, 10, 12, 14, 16, 24, 32)

logger = logging.getLogger(__name__)
_assumed = set()


def to_8_bits(values: np.ndarray, stated_bits: int | None = None) -> np.ndarray:
    """Scale brightness by the full scale of its depth; 8-bit values are returned as they are.

    The depth is the stated one, or else the smallest of 8, 10, 12, 14, 16, 24 and 32 bits that
    holds the brightest value of all channels: a dim image stays dim, and the channels keep their
    ratios. (The brightest value itself as full scale would change every image by another factor.)
    The lower bits are cut off, as libpng and Pillow do it, so that 8 bits that were written as 12
    or 16 come back unchanged. Fractions up to 1 are taken as shares of full scale.

    Args:
        values: array of any shape and of a real number's type.
        stated_bits: what the file says of its depth, where it does.

    Returns:
        uint8 array of the same shape.

    Raises:
        UnreadableImageError: negative values, or values that are not finite.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if not np.isfinite(values).all() or values.min(initial=0) < 0:
        raise UnreadableImageError(
            "holds negative or not finite values, which are no brightness; save it with 8 or 16 "
            "bits without a sign"
        )
    brightest = values.max(initial=0)
    if values.dtype.kind == "f":
        if brightest <= 1:
            return np.rint(values * 255).astype(np.uint8)
        values = np.rint(values).astype(np.uint64)
    needed = int(brightest).bit_length()
    bits = max(stated_bits or 0, next((depth for depth in _DEPTHS if depth >= needed), 64))
    if not stated_bits:
        _say_once(values.dtype, bits)
    return (values >> (bits - 8)).astype(np.uint8)


def _say_once(dtype, bits):
    """Say which depth was assumed: two messages in a run of one camera's images are a warning."""
    if (dtype, bits) not in _assumed:
        _assumed.add((dtype, bits))
        logger.info(f"Images of {dtype} values that do not state their depth: read as {bits} bits")


def over_white(rgba: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) of an RGBA image (H, W, 4), both uint8, laid over white."""
    alpha = rgba[..., 3:].astype(np.uint16)
    # The same rounding as Pillow's, exact where alpha is 0 or 255.
    mixed = rgba[..., :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)
