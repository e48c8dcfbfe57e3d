"""What the two OpenAI protocols share in showing results and images to a model."""

from __future__ import annotations

import base64

from perdure.kernel.errors import PerdureError
from perdure.kernel.events import Image, Part, Text, ToolResult
from perdure.kernel.prompt import ImageSource


def data_url(image: Image, images: ImageSource | None) -> str | None:
    """The image inline; None where its bytes cannot be had any more."""
    if images is None:
        return None
    try:
        data = images.read_image(image)
    except (OSError, PerdureError):
        return None
    return f"data:{image.media_type};base64,{base64.b64encode(data).decode()}"


def missing(image: Image) -> str:
    return f"[an image ({image.media_type}) stood here and can no longer be read]"


def result_text(result: ToolResult) -> str:
    """The text of a result. These protocols have no flag for an error, so it says so itself, and
    some servers refuse an empty one."""
    text = result.text
    if result.status != "ok":
        return f"[{result.status}] {text}".rstrip()
    return text or ("" if _images(result.parts) else "(no output)")


def _images(parts: tuple[Part, ...]) -> bool:
    return any(isinstance(part, Image) for part in parts)


def only_text(parts: tuple[Part, ...]) -> str | None:
    """The parts as one string, where no image is among them."""
    texts = [part.text for part in parts if isinstance(part, Text)]
    return "\n\n".join(texts) if len(texts) == len(parts) else None
