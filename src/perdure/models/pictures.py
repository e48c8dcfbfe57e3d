"""Images of a prompt, as the wire wants them."""

from __future__ import annotations

import base64
from collections.abc import Container

from perdure.kernel.errors import PerdureError
from perdure.kernel.events import Image
from perdure.kernel.prompt import ImageSource


def base64_of(image: Image, images: ImageSource | None, types: Container[str]) -> str | None:
    """The image's bytes in base64; None where its type is not among `types`, or it is gone."""
    if images is None or image.media_type not in types:
        return None
    try:
        return base64.b64encode(images.read_image(image)).decode("ascii")
    except (OSError, PerdureError):
        return None


def unshown(image: Image) -> str:
    """What a model reads in its place."""
    return f"[an image of type {image.media_type} stood here and cannot be shown]"
