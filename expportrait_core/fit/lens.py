"""The focal length that a user gives, of a clip that is tracked or of a file that is read: one rule for both."""

from __future__ import annotations

import math

# Of the pictures' longer side. Lenses have 0.2 (10 mm on film) to 83 (the longest zooms); a photo's landmarks are met
# within 3.4 % of the eyes' distance at 0.2 and 1.1 % at 100, and at 0.15 and 300 no longer. Our choice
LEAST_SIDES, MOST_SIDES = 0.2, 100
FILM = 36  # millimetres, the longer side of the film that "35 mm equivalent" speaks of


def require_lens(
    focal: float,  # pixels, above 0
    image_size: tuple[int, int],  # height, width
    name: str = "The focal length",  # as whoever gave it knows it
) -> None:
    """Refuse a focal length that pictures of this size are not taken with: most often millimetres, which nothing else
    tells from pixels.

    Raises:
        ValueError: there is no such lens.
    """
    height, width = (int(side) for side in image_size)
    side = max(height, width)
    if LEAST_SIDES * side <= focal <= MOST_SIDES * side:
        return
    angle = math.degrees(2 * math.atan(side / 2 / focal))
    raise ValueError(
        f"{name} is {focal:g} pixels, which is an angle of view of {angle:.3g}° across {side} pixels, expected "
        f"{LEAST_SIDES * side:g} to {MOST_SIDES * side:,.0f} pixels for pictures of {width}×{height} (width×height). "
        f"Focal lengths are in pixels: multiply the millimetres of a 35 mm equivalent by {side} / {FILM}, so that 35 "
        f"mm are {35 * side / FILM:.0f} pixels."
    )
