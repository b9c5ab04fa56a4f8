"""What a fit's values may be, whichever format it was in: generous bounds, within which nothing that comes
after overflows. Beyond them units are mixed up or the file is damaged, and no picture could show it."""

from __future__ import annotations

from ...printable import printable
from ...types import LAST_NUMBER, SMPLXFit
from ..refusal import Unnamed

MOST_TEXT = 1000  # characters of a name
# Bounds are our choice. Trackers leave shape, expressions and lids unbounded, and reach a tenth of these
BOUNDS: dict[str, tuple[float, float, str]] = {
    "betas": (-1e4, 1e4, ""),
    "expression": (-1e4, 1e4, ""),
    "poses": (-1000, 1000, " radians"),  # turns are not taken back by half circles in every tracker
    "translation": (-1e6, 1e6, " metres"),
    "eyelids": (-3, 5, ", of 0 for open and 1 for closed"),
    "landmarks": (-1e9, 1e9, " pixels"),
}


def require_plausible_values(fit: SMPLXFit) -> None:
    """Refuse values that no tracker writes.

    Raises:
        Refusal: the first such value, by its frame, and what was expected.
    """
    for name, (low, high, unit) in BOUNDS.items():
        values = getattr(fit, name)
        if values is None:
            continue
        if name == "landmarks":
            values = values.where(fit.valid[:, None, None] & (values[..., 2:] != 0), 0.0)  # the rest may be anything
        wrong = (values < low) | (values > high)
        if wrong.any():
            where = wrong.nonzero()[0]
            frame = "" if name == "betas" else f", in frame {int(fit.frame_ids[where[0]])}"
            raise Unnamed(
                f"{name} holds {float(values[tuple(where)]):g}{frame}, expected {low:,.0f} to {high:,.0f}{unit}. Check "
                f"its units; the file is damaged, or was not written by a tracker of heads."
            )
    away, most = fit.camera.world_to_camera[:, :3, 3].abs().amax(1), BOUNDS["translation"][1]
    if (away > most).any():
        row = int(away.argmax())
        raise Unnamed(
            f"The camera of frame {int(fit.frame_ids[row])} has a translation of {float(away[row]):g} metres, expected "
            f"at most {most:,.0f}. Check the units; track the clip again."
        )
    lowest, highest = int(fit.frame_ids.min()), int(fit.frame_ids.max())
    if lowest < 0 or highest > LAST_NUMBER:
        raise Unnamed(
            f"The frame numbers go from {lowest} to {highest}, expected 0 to {LAST_NUMBER}. The file is damaged; "
            f"track the clip again."
        )
    for name in ("model_id", "expression_space", "landmark_scheme"):
        text = getattr(fit, name)
        if not (isinstance(text, str) and len(text) <= MOST_TEXT or name == "landmark_scheme" and text is None):
            raise Unnamed(
                f"The {name} is {printable(text, 40)}, expected a name of at most {MOST_TEXT:,} characters. The file "
                f"is damaged."
            )
