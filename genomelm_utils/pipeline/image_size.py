"""How large an image wants to be shown, read from its first bytes."""

import io
import re

# CSS pixels per unit. Source: CSS Values and Units Module Level 3, section 5.2 (96 px per inch).
PX_PER = {"": 1.0, "px": 1.0, "pt": 96 / 72, "in": 96.0, "mm": 96 / 25.4, "cm": 96 / 2.54}
SVG_SIZE = re.compile(r'\b(width|height)="([\d.]+)(px|pt|in|mm|cm|)"')
SVG_BOX = re.compile(r'\bviewBox="[-\d.]+[ ,]+[-\d.]+[ ,]+([\d.]+)[ ,]+([\d.]+)"')


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height in CSS pixels of an SVG, a PNG, or what else Pillow reads.

    Errors: ValueError for a file that is no image, or for an SVG that states no size.
    """
    head = data[:4096].decode("utf-8", "replace")
    if "<svg" not in head:
        return _raster_size(data)
    head = head[head.find("<svg") :].split(">", 1)[0]
    sizes = {name: float(n) * PX_PER[unit] for name, n, unit in SVG_SIZE.findall(head)}
    if {"width", "height"} <= set(sizes):
        return round(sizes["width"]), round(sizes["height"])
    if box := SVG_BOX.search(head):
        return round(float(box[1])), round(float(box[2]))
    raise ValueError("expected an SVG with width and height or a viewBox, found neither")


def _raster_size(data: bytes) -> tuple[int, int]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size
    except UnidentifiedImageError as error:
        raise ValueError(f"expected an image, found {data[:12]!r}...") from error
