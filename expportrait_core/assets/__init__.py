"""What ships: the default head, small networks, the demo's photo and performance. NOTICE names the sources."""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).parent
PHOTO = ASSETS / "astronaut.png"
PERFORMANCE = ASSETS / "demo_performance.npz"
CLIP = ASSETS / "demo_clip.mp4"
