"""Reading what trackers write: one file a tracker, all behind `load_fit`, which tells them apart by their content.

Facts about the files were read from the writers' source; each reader names the commit. A reader has two functions:
`recognise(source)` looks at keys and names, `read(source, options)` makes the fit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...printable import listed, log_of, printable
from ...reach import Allowed, only, require_reach
from ...types import Camera, HeadModel, SMPLXFit
from .. import fit_file
from ..refusal import Refusal, Unnamed, checks_of_types, sentences
from . import (
    arkit,
    beat2,
    delta,
    ehm,
    emica,
    exavatar,
    gvhmr,
    lhm,
    metrical,
    pixel3dmm,
    smplerx,
    smplifyx,
    vhap,
)
from .cameras import require_plausible
from .for_head import LEGACY, for_head
from .into_fit import Options, with_options
from .plausible import require_plausible_values
from .source import Source, open_source


class Reader(NamedTuple):
    """How one format is told from the others, and read."""

    name: str
    looks_like: str
    recognise: Callable[[Source], bool]
    read: Callable[[Source, Options], SMPLXFit]


_TRACKERS = (arkit, beat2, smplerx, exavatar, vhap, pixel3dmm, metrical, ehm, emica, smplifyx, delta, lhm, gvhmr)
READERS = (
    Reader("this package's own", "an .npz that save_fit wrote", fit_file.recognise, fit_file.read),
    *(Reader(module.NAME, module.LOOKS_LIKE, module.recognise, module.read) for module in _TRACKERS),
)

OF_SEVERAL = {module.NAME for module in (smplerx, smplifyx, emica)}  # people in one folder

log = log_of(__name__)


def load_fit(
    path: str | Path,
    head_model: HeadModel | None = None,
    person: int | None = None,
    *,
    camera: Camera | None = None,
    image_size: tuple[int, int] | None = None,
    fps: float | None = None,
    mirror: bool = False,
    legacy10: bool = False,
    body_model: HeadModel | Sequence[HeadModel] | None = None,
    allowed: Allowed | None = None,
    focal: float | None = None,
) -> SMPLXFit:
    """Read a fit: this package's own (`.npz`, or `.safetensors` from `SMPLXFit.save`), or a tracker's file or folder.

    The format is recognised from the content. Cameras become OpenCV's in pixels of the full picture wherever the file
    says enough, rotations axis-angle; expressions keep their numbers and say in `expression_space` which they are.

    Args:
        head_model: the head model that the fit is going to move; its expression space is checked at once.
        person: which one, where a file has several; None takes the one in most frames.
        camera: for files without one (BEAT2, ARKit), or instead of the file's: of every frame, or one for all.
        image_size: height and width of the full picture, where the file does not say it.
        fps: frames per second, where the file does not say it or is wrong.
        mirror: swap left and right of an ARKit recording.
        legacy10: ten expression values of SMPLer-X, SMPLify-X, DELTA or BEAT2 are those of SMPL-X's old 10 + 10 file.
        body_model: the user's own SMPL-X or FLAME model (`load_head_model` of that file), or both, for a fit that was
            made with it and a head that is another: expressions are converted, the head stays where it was in the
            picture, and what could not be kept is logged. ExAvatar and EHM-Tracker need both. A fit of the head itself
            needs none, and leaves it alone.
        allowed: whether a file or folder may be opened, asked of each, also of those that lie beside the given one;
            None lets all be opened.
        focal: focal length in pixels, where the file does not say it (SMPLify-X) or has no camera, or instead of the
            file's. The principal point stays where the file has it, or is the middle of the picture.

    Raises:
        ValueError: no such file, no known format, damaged, without frames, of another expression space than the head
            model, in need of a file that may not be opened, an option that is wrong or of no use for this file, or a
            body model without the head that the fit is for.
    """
    path = Path(path)
    if body_model and head_model is None:
        raise ValueError("`body_model` is given and no head model. Give the head that the fit is to be converted for.")
    options = Options(person, camera, image_size, fps, mirror, legacy10, focal)
    with only(allowed):
        fit, _ = _read(path, options)
    if head_model is None:
        return fit
    bodies = (body_model,) if isinstance(body_model, HeadModel) else tuple(body_model or ())
    return for_head(fit, head_model, bodies)


def load_fit_and_format(path: str | Path, options: Options = Options()) -> tuple[SMPLXFit, str]:
    """A fit as `load_fit` reads it, and whose format it was in. Raises as `load_fit`."""
    return _read(Path(path), options)


def _read(path: Path, options: Options) -> tuple[SMPLXFit, str]:
    # names say what a folder holds, also that of the folder around it, and "." and ".." have none
    path = Path(os.path.realpath(path)) if ".." in path.parts else path.absolute()  # `resolve` raises at some links
    with sentences(path.name or str(path)) as reading:
        require_reach(path)
        if path.suffix == ".safetensors" and path.is_file():
            reading.format_name = READERS[0].name
            with checks_of_types():
                fit = SMPLXFit.load(path)
        else:
            source = open_source(path)
            reader = _recognise(source)
            reading.format_name = reader.name
            log.info("%s: %s", path.name, reader.name)
            fit = reader.read(source, options)
        _require_use(options, fit, reading.format_name)
        fit = with_options(fit, options)
        require_plausible_values(fit)
        if options.camera is None:  # a program's own may be any
            require_plausible(fit.camera, fit.frame_ids.tolist())
        return fit, reading.format_name


def _require_use(options: Options, fit: SMPLXFit, format_name: str) -> None:
    """Refuse what a fit of this format has no use for: left out in silence, it would seem to be done."""
    if options.mirror and format_name != arkit.NAME:
        raise Unnamed(f"`mirror` is for ARKit recordings, and the format is {format_name}. Leave it out.")
    if options.legacy10 and fit.expression_space != LEGACY:
        raise Unnamed(
            f"`legacy10` is for the ten expressions of SMPL-X's old file, and these are {fit.expression.shape[1]} in "
            f"the space '{printable(fit.expression_space)}'. Leave it out."
        )
    if options.person and format_name not in OF_SEVERAL:
        raise Unnamed(
            f"`person` is {options.person}, and the format is {format_name}, which holds one person. Leave it out."
        )


def _recognise(source: Source) -> Reader:
    found = [reader for reader in READERS if reader.recognise(source)]
    if len(found) == 1:
        return found[0]
    name = source.path.name or str(source.path)
    if found:
        raise Refusal(
            f"{name} is mixed: it holds files of {' and of '.join(reader.name for reader in found)}. Give the folder "
            f"of one of them."
        )
    if source.kind == "folder":
        inside = [*source.files[:8], *(f"{folder}/" for folder in source.folders[:8])]
        holds = listed(inside, 16) or "nothing but pictures, or nothing at all"
    else:
        holds = listed(source.keys, 16)
    known = "; ".join(f"{reader.name} ({reader.looks_like})" for reader in READERS)
    raise Refusal(
        f"{name} cannot be read as a fit: it holds {holds}. Formats known: {known}. Track the clip here, or convert "
        f"the file to the arrays that fit/fit_file.py names."
    )
