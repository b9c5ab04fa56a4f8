"""Every number of the personalisation, in one place. The paper gives the terms but no weights: all are our choice.

Distances in the objective are millimetres, so that terms of one millimetre, one percent of the face or a few degrees
are of comparable size, and weights are small plain numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

DEPTH_ALIGNMENTS = ("metric", "scale", "scale_shift")


@dataclass(frozen=True)
class PersonalizeSettings:
    """Weights, steps and learning rates. `STANDARD`, `DRAFT` and `FINE` are the presets.

    Raises:
        ValueError: a value outside its range, on construction.
    """

    # Length of the optimisation
    steps: int = 300  # of Adam
    passes: int = 30  # a clip gets more steps if any frame would be visited fewer times than this
    frames_per_step: int = 4  # frames of a clip drawn for each step
    offsets_after: float = 0.3  # share of the steps in which betas, expression and pose explain what they can, alone
    seed: int = 0  # of the order of the frames

    # The two offset fields
    facial_leak: float = 0.2  # Δg keeps this much on the face, or a nose beyond the betas has no home (0.15 to 0.3)
    paper_strict: bool = False  # True: Δg is zero on the face, as in the paper
    refine_fit: bool = True  # betas, expression, head pose and translation move with the offsets
    static_spacings: tuple[float, ...] = (0.045, 0.015)  # metres between the bumps that steer Δg
    dynamic_spacings: tuple[float, ...] = (0.015,)
    static_rates: tuple[float, ...] = (3e-4, 1.5e-4, 5e-5, 2e-5)  # metres a step: the bumps, coarse, fine vertices
    dynamic_rates: tuple[float, ...] = (1e-4, 5e-5, 3e-5)

    # Learning rates of what the tracker found; they fall to zero along a cosine, as all rates do
    betas_rate: float = 0.02  # standard deviations a step
    expression_rate: float = 0.006
    rotation_rate: float = 0.002  # radians
    translation_rate: float = 4e-4  # metres

    # Data terms of the paper
    landmarks_weight: float = 0.01  # L_ldmk, squared percents of the outer-eye-corner distance
    landmarks_alone_weight: float = 0.05  # the same where neither normals nor depth are given
    normals_weight: float = 1.0  # L_normal, L1
    high_pass_weight: float = 1.0  # the same L1 on normals minus their blur: wrinkles live there
    high_pass_millimetres: float = 4.0  # standard deviation of that blur on the face
    depth_weight: float = 0.05  # L_depth, L1, millimetres
    depth_alignment: str = "metric"  # or "scale", "scale_shift": fitted per frame where the given depth is relative
    outline_weight: float = 0.005  # mesh outside the given mask, millimetres
    outline_fill: float = 0.1  # share of that weight for mask that the mesh does not reach: hair is no skull
    outline_reach: float = 30.0  # millimetres; what is farther from the outline does not pull

    # Regularisers of the paper
    expression_weight: float = 2e-4  # |ψ|²
    static_magnitude_weight: float = 0.02  # mean |Δg|² up to 2 mm, then |Δg|; before the facial weight, so that
    dynamic_magnitude_weight: float = 0.2  # moving the face is dearer; the same of Δf
    static_laplacian_weight: float = 15.0  # mean |LΔg|², how much the offset bends the surface
    dynamic_laplacian_weight: float = 5.0
    temporal_weight: float = 0.1  # mean |Δf(i) - Δf(i-1)|², square millimetres
    zero_mean_weight: float = 5.0  # |mean over the clip of Δf|², square millimetres; not used for a single frame

    # Regularisers of ours
    rigid_weight: float = 0.5  # deviation of the ears' offsets from their common one, square millimetres
    stay_weight: float = 1e-3  # squared distance from the tracker's fit; what counts as far there:
    betas_scale: float = 1.0  # standard deviations
    pose_scale: float = 0.1  # radians
    translation_scale: float = 0.005  # metres
    expression_scale: float = 0.5  # of the standard deviation that the tracker expects of each column

    # Pictures
    dense_size: int = 256  # samples of the square around the head at which a step compares the maps, at most
    erosion: int = 2  # samples that dense terms stay away from outlines, where visibility has no gradient
    grazing: tuple[float, float] = (0.1, 0.4)  # cosines to the viewer: below not compared, above fully
    preview_every: int = 25  # steps between two preview pictures
    preview_size: int = 256

    def __post_init__(self) -> None:
        if self.steps < 0 or self.frames_per_step < 1 or self.dense_size < 16:
            raise ValueError(
                f"Found steps {self.steps}, frames_per_step {self.frames_per_step} and dense_size {self.dense_size}, "
                f"expected at least 0, 1 and 16."
            )
        if not 0 <= self.facial_leak <= 1:
            raise ValueError(f"facial_leak is {self.facial_leak}, expected 0 (the paper) to 1 (Δg everywhere).")
        if self.depth_alignment not in DEPTH_ALIGNMENTS:
            raise ValueError(
                f"depth_alignment is '{self.depth_alignment}', expected one of {', '.join(DEPTH_ALIGNMENTS)}."
            )


STANDARD = PersonalizeSettings()
DRAFT = PersonalizeSettings(steps=100, passes=15, dense_size=192)
FINE = PersonalizeSettings(steps=600, passes=60, dense_size=512)
QUALITIES = {"draft": DRAFT, "standard": STANDARD, "fine": FINE}
"""By the names that people choose them by."""
