"""Content that stands within the page's own text: pictures as addresses, data for the script deflated."""

import base64
import io
import json
import zlib
from typing import Any

import numpy as np
from PIL import Image

from benchmark.report.data.effects import Array


def picture_uri(picture: Image.Image) -> str:
    """Return a picture as an address that needs no network: WebP without loss, two thirds of a PNG."""
    content = io.BytesIO()
    picture.convert("RGB").save(content, "WEBP", lossless=True, method=4)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def packed(content: Any) -> str:
    """Return what JSON can hold as deflated text; `inflated` in the page's script reads it."""
    text = json.dumps(content, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def hundredths(values: Array) -> list[int | None]:
    """Return the values, one after the other, as whole hundredths; None for nan."""
    return [None if np.isnan(value) else round(100 * value) for value in values.ravel().tolist()]
