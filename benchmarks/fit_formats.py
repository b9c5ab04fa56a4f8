"""Seconds to read 10,000 frames of every format that has one file (or entry) a frame, on one thread.

    python benchmarks/fit_formats.py [--frames 10000]

The files are written as the trackers write them, with random values, into a temporary folder; each is read once, cold
in this process but warm in the operating system's cache. Prints a table, and one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from expportrait_core.fit import load_fit
from tests.fit.formats import tracker_files as files

ALLOWED_SECONDS = 20.0  # of 10,000 frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    count = parser.parse_args().frames
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # what the files lack is not the point here
    files.FRAMES = count
    writers: dict[str, Callable[[Path], object]] = {
        "SMPLer-X": lambda path: files.write_smplerx(path, {0: list(range(count))}),
        "ExAvatar": files.write_exavatar,
        "VHAP export": lambda path: files.write_vhap_export(path, tuple(range(count))),
        "Pixel3DMM": lambda path: files.write_frames(path, "pixel3dmm", tuple(range(count))),
        "metrical-tracker": lambda path: files.write_frames(path, "metrical", tuple(range(count))),
        "EHM-Tracker": files.write_ehm,
        "EMICA": files.write_emica,
        "SMPLify-X": files.write_smplifyx,
        "DELTA": files.write_delta,
        "LHM": files.write_lhm,
    }
    seconds = {}
    for name, write in writers.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "clip"
            write(root)
            start = time.perf_counter()
            fit = load_fit(root)
            seconds[name] = round((time.perf_counter() - start) * 10_000 / count, 2)
            assert fit.num_frames == count
        print(f"{name:<20}{seconds[name]:8.2f} s for 10,000 frames")
    slowest = max(seconds, key=seconds.__getitem__)
    print(json.dumps({"seconds_per_10000_frames": seconds, "slowest": slowest, "allowed": ALLOWED_SECONDS,
                      "frames_read": count, "within": seconds[slowest] < ALLOWED_SECONDS}))  # fmt: skip


if __name__ == "__main__":
    main()
