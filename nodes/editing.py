"""Fits over time and by hand: Smooth Fit, Retime Fit, Edit Expression, Keyframes."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from . import fit_files
from .sockets import HeadModel, ModelFit, SmplxFit, declare

# The core's own lists: naming them here keeps the core's imports out of the server's start. A test compares them.
METHODS = ["one euro", "savitzky-golay", "gaussian"]
LOOPS = ["once", "repeat", "seamless", "back and forth"]
MODES = ["add", "replace"]
NO_PRESET = "none"
PRESETS = ["anger", "contempt", "determined", "disgust", "fear", "kiss", "laugh", "neutral", "puffed", "sadness", "shy",
           "skeptical", "sleepy", "smile", "surprise", "thinking", "wink", "yawn"]  # fmt: skip
MOTIONS = ["absolute", "relative"]
SLIDERS: dict[str, tuple[str, float, float]] = {
    "smile": ("How far the mouth smiles; below zero its corners go down.", -1, 1),
    "smile_left": ("How far the corner on the right of the picture smiles.", 0, 1),
    "smile_right": ("How far the corner on the left of the picture smiles.", 0, 1),
    "jaw_open": ("How far the mouth opens.", 0, 1),
    "jaw_side": ("How far the chin goes to the right of the picture.", -1, 1),
    "pucker": ("How far the lips are pushed out for a kiss.", 0, 1),
    "funnel": ("How far the lips are rounded as for O.", 0, 1),
    "press": ("How firmly the lips are pressed together.", 0, 1),
    "stretch": ("How far the mouth is stretched sideways.", 0, 1),
    "show_teeth": ("How far the lips part and show the teeth.", 0, 1),
    "puff": ("How far the cheeks are puffed.", 0, 1),
    "sneer": ("How far the nose is wrinkled.", 0, 1),
    "blink": ("How far both eyes are closed.", 0, 1),
    "blink_left": ("How far the eye on the right of the picture is closed.", 0, 1),
    "blink_right": ("How far the eye on the left of the picture is closed.", 0, 1),
    "squint": ("How far the eyes are narrowed.", 0, 1),
    "eyes_wide": ("How far the eyes are opened wide.", 0, 1),
    "brow_raise": ("How far the brows are raised.", 0, 1),
    "brow_inner": ("How far the inner ends of the brows are raised, as in worry.", 0, 1),
    "brow_lower": ("How far the brows are drawn down and together.", 0, 1),
    "gaze_x": ("How far the eyes look to the right of the picture; below zero to the left.", -1, 1),
    "gaze_y": ("How far the eyes look up; below zero down.", -1, 1),
    "head_turn": ("Degrees that the head turns to the right of the picture; below zero to the left.", -60, 60),
    "head_nod": ("Degrees that the head is lowered; below zero raised.", -45, 45),
    "head_tilt": ("Degrees that the head leans to the right of the picture; below zero to the left.", -45, 45),
}
"""Tooltip and range of each slider, by the core's name."""

EXAMPLE = """# time: what, what [how it gets there]
0:      neutral
0.6:    @smile, head_turn 8      [ease-out]
1.0:    blink 1 for 0.25
1.6:    @surprise 0.8, gaze_y 0.3
2.2:    @surprise 0.7, head_turn -6
2.5:    blink 1 for 0.25
3.0:    @laugh 0.8, head_tilt 5  [overshoot]
4.0:    neutral
"""


class SmoothFit(io.ComfyNode):
    """Less trembling."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitSmoothFit",
            display_name="Smooth Fit",
            category="ExpPortrait/fit",
            description="Takes the trembling out of a tracked performance, without washing out blinks and fast motion.",
            search_aliases=["jitter", "filter", "stabilise"],
            inputs=[
                SmplxFit.Input("fit", tooltip="The performance to smooth."),
                io.Combo.Input(
                    "method",
                    options=METHODS,
                    default=METHODS[0],
                    tooltip="One euro calms what is still, savitzky-golay keeps peaks, gaussian simply blurs.",
                ),
                io.Float.Input(
                    "strength", default=0.5, min=0.0, max=2.0, step=0.05, tooltip="How much is smoothed; 0 is nothing."
                ),
                io.Boolean.Input(
                    "keep_blinks", default=True, tooltip="Whether blinks keep their full height and their moment."
                ),
                io.Boolean.Input(
                    "keep_fast",
                    default=True,
                    tooltip="Whether fast motion stays as it is: nothing moves further than the trembling explains.",
                ),
            ],
            outputs=[SmplxFit.Output("smoothed", display_name="fit")],
        )

    @classmethod
    def execute(cls, fit: ModelFit, method: str, strength: float, keep_blinks: bool, keep_fast: bool) -> io.NodeOutput:
        from ..expportrait_core.fit import smooth_fit

        return io.NodeOutput(ModelFit(smooth_fit(fit.fit, strength, method, keep_blinks, keep_fast), fit.model))


class RetimeFit(io.ComfyNode):
    """Another rate, a part, a loop, and what follows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitRetimeFit",
            display_name="Retime Fit",
            category="ExpPortrait/fit",
            description="Cuts, loops and joins performances, and brings them to another frame rate.",
            search_aliases=["loop", "trim", "frame rate", "fps", "concatenate"],
            inputs=[
                SmplxFit.Input("fit", tooltip="The performance to retime."),
                SmplxFit.Input("next_fit", optional=True, tooltip="A performance that follows it."),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=240.0,
                    step=0.01,
                    tooltip="Frames per second of the result at the same speed; 0 keeps them.",
                ),
                io.Int.Input(
                    "start", default=0, min=0, max=1000000, tooltip="The first frame that is kept, counted from 0."
                ),
                io.Int.Input(
                    "end", default=0, min=0, max=1000000, tooltip="The frame before which it ends; 0 keeps all."
                ),
                io.Combo.Input(
                    "loop",
                    options=LOOPS,
                    default=LOOPS[0],
                    tooltip="Whether the end is blended into the start so that it can go round without a jump.",
                ),
                io.Int.Input("times", default=1, min=1, max=1000, tooltip="How often a loop is seen."),
                io.Float.Input(
                    "blend",
                    default=0.4,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="Seconds over which a seamless loop, or the way to the next performance, is blended.",
                ),
                io.Boolean.Input(
                    "fill_gaps",
                    default=True,
                    tooltip="Whether frames that are missing or show no face are filled from their neighbours first.",
                ),
            ],
            outputs=[
                SmplxFit.Output("retimed", display_name="fit"),
                io.Int.Output("frame_count", display_name="frame count"),
                io.Float.Output("fps_out", display_name="fps"),
            ],
        )

    @classmethod
    def execute(
        cls, fit: ModelFit, fps: float, start: int, end: int, loop: str, times: int, blend: float, fill_gaps: bool,
        next_fit: ModelFit | None = None,
    ) -> io.NodeOutput:  # fmt: skip
        from ..expportrait_core import fit as step

        made = step.trim_fit(fit.fit, start, end or None)
        if fill_gaps:
            made = step.interpolate_gaps(made)
        if fps:
            made = step.resample_fit(made, fps)
        if next_fit is not None:
            following = step.insert_missing_frames(next_fit.fit)
            following = step.interpolate_gaps(following) if fill_gaps else following
            made = step.join_fits(made, following, blend, fit.model)
        made = step.loop_fit(made, times, loop, blend)
        return io.NodeOutput(ModelFit(made, fit.model), made.num_frames, made.fps)


class EditExpression(io.ComfyNode):
    """Sliders for a face."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitEditExpression",
            display_name="Edit Expression",
            category="ExpPortrait/fit",
            description="Changes what a face does, by sliders or a preset: on top of a performance, or on its own.",
            search_aliases=["expression editor", "blendshapes", "ARKit", "gaze", "smile"],
            inputs=[
                HeadModel.Input("head_model", tooltip="The head model that the expression is for."),
                SmplxFit.Input(
                    "fit", optional=True, tooltip="The performance to change; without it a resting face is changed."
                ),
                io.Combo.Input(
                    "preset",
                    options=[NO_PRESET, *PRESETS, *sorted(_own_presets())],
                    default=NO_PRESET,
                    tooltip="An expression to begin with, one that ships or one of your own; sliders come on top.",
                ),
                _slider("preset_amount", "How much of the preset is used.", 0, 1.5, 1.0),
                *(_slider(name, tooltip, low, high) for name, (tooltip, low, high) in SLIDERS.items()),
                io.Combo.Input(
                    "mode",
                    options=MODES,
                    default=MODES[0],
                    tooltip="Whether values are added to what the face does, or set in its place; with a preset the "
                    "whole face is set, and what neither it nor a slider names is at rest.",
                ),
                io.Int.Input("start", default=0, min=0, max=1000000, tooltip="The first frame that is changed."),
                io.Int.Input(
                    "end", default=0, min=0, max=1000000, tooltip="The frame before which it ends; 0 changes all."
                ),
                io.Float.Input(
                    "fade",
                    default=0.2,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="Seconds over which a change in the middle of a performance comes and goes.",
                ),
                _slider("mouth_gain", "How much of the performance's mouth and jaw motion is kept.", 0, 3, 1.0),
                _slider("eyes_gain", "How much of its motion of eyes and lids is kept.", 0, 3, 1.0),
                _slider("brows_gain", "How much of its motion of the brows is kept.", 0, 3, 1.0),
                _slider("pose_gain", "How much of its turning of the head and the body under it is kept.", 0, 3, 1.0),
                io.Combo.Input(
                    "motion",
                    options=MOTIONS,
                    default=MOTIONS[0],
                    tooltip="Whether the face is taken as it is, or as its change since the neutral frame.",
                ),
                io.Int.Input(
                    "neutral_frame",
                    default=0,
                    min=0,
                    max=1000000,
                    tooltip="The frame in which the face is at rest, for relative motion.",
                ),
                io.Int.Input(
                    "frames", default=1, min=1, max=100000, tooltip="How many frames there are without a performance."
                ),
                io.String.Input(
                    "save_preset_as",
                    default="",
                    tooltip="A name under which preset and sliders are kept as a preset of your own; empty keeps none.",
                ),
            ],
            outputs=[
                SmplxFit.Output("edited", display_name="fit"),
                io.Image.Output("preview", display_name="preview"),
            ],
        )

    @classmethod
    def validate_inputs(cls, preset: str | None = None, save_preset_as: str | None = None) -> bool | str:
        """What comes by a link is None here; `execute` looks at it."""
        try:
            _preset_source(preset or NO_PRESET)
            _own_name(save_preset_as or "")
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, preset: str | None = None, **_: object) -> str:
        if preset in (NO_PRESET, *PRESETS):
            return ""
        own = _own_presets()
        return fit_files.presets_fingerprint({preset: own[preset]} if preset in own else own)

    @classmethod
    def execute(
        cls, head_model, preset: str, preset_amount: float, mode: str, start: int, end: int, fade: float,
        mouth_gain: float, eyes_gain: float, brows_gain: float, pose_gain: float, motion: str, neutral_frame: int,
        frames: int, save_preset_as: str, fit: ModelFit | None = None, **sliders: float,
    ) -> io.NodeOutput:  # fmt: skip
        from ..expportrait_core import fit as step
        from ..expportrait_core.shaded import shaded_heads

        name = _own_name(save_preset_as)
        values = {slider: value for slider, value in sliders.items() if value}
        if (source := _preset_source(preset)) is not None:
            values = step.preset_with(step.load_preset(source), preset_amount, values)
        given = step.neutral_fit(head_model, frames) if fit is None else fit.fit
        neutral = neutral_frame if motion == "relative" else None
        scaled = step.scale_motion(given, head_model, mouth_gain, eyes_gain, brows_gain, pose_gain, neutral)
        whole = mode == "replace" and source is not None  # a preset speaks of every control, as in Keyframes
        edited = step.edit_fit(scaled, head_model, values, mode, start, end or None, fade, whole)
        if name:
            step.save_preset(step.Preset(name, values), fit_files.new_preset_file(name))
        shown = step.most_changed(given, edited)
        picture = shaded_heads(edited.frames([shown]), head_model, 512)
        return io.NodeOutput(ModelFit(edited, head_model), picture)


class Keyframes(io.ComfyNode):
    """A performance from a text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitKeyframes",
            display_name="Keyframes",
            category="ExpPortrait/fit",
            description="Makes a performance without a driving video, from lines that say what the face does when.",
            search_aliases=["animation", "timeline", "script", "performance"],
            inputs=[
                HeadModel.Input("head_model", tooltip="The head model that the performance is for."),
                io.String.Input(
                    "keyframes",
                    default=EXAMPLE,
                    multiline=True,
                    tooltip="One moment a line: a time, a colon, then controls with values or presets with an @.",
                ),
                io.Float.Input(
                    "fps", default=25.0, min=1.0, max=240.0, step=0.01, tooltip="Frames per second of the performance."
                ),
                io.Float.Input(
                    "seconds",
                    default=0.0,
                    min=0.0,
                    max=3600.0,
                    step=0.04,
                    tooltip="How long it is; 0 ends with the last line.",
                ),
            ],
            outputs=[
                SmplxFit.Output("fit", display_name="fit"),
                io.Int.Output("frame_count", display_name="frame count"),
                io.Float.Output("fps_out", display_name="fps"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> str:
        """A preset that the text names may have changed; a text that comes by a link is not known yet."""
        return fit_files.presets_fingerprint(_own_presets())

    @classmethod
    def execute(cls, head_model, keyframes: str, fps: float, seconds: float) -> io.NodeOutput:
        from ..expportrait_core import fit as step

        keys = step.parse_keyframes(keyframes, fps, _own_presets())
        fit = step.keyframe_fit(head_model, keys, fps, seconds or None)
        return io.NodeOutput(ModelFit(fit, head_model), fit.num_frames, fit.fps)


def _slider(id: str, tooltip: str, low: float, high: float, default: float = 0.0) -> io.Float.Input:
    step = 0.5 if high > 3 else 0.05
    return io.Float.Input(
        id, default=default, min=low, max=high, step=step, display_mode=io.NumberDisplay.slider, tooltip=tooltip
    )


def _own_presets() -> dict[str, Path]:
    """Files by the names that nodes call them: what a shared workflow names is always the preset that ships."""
    shipped = set(PRESETS)
    return {f"{name} (own)" if name in shipped else name: path for name, path in fit_files.preset_files().items()}


def _preset_source(name: str) -> str | Path | None:
    """What the core loads for a choice.

    Raises:
        ValueError: there is no such preset.
    """
    if name == NO_PRESET:
        return None
    source = name if name in PRESETS else _own_presets().get(name)
    if source is None:
        raise ValueError(f"There is no preset {name}. Choose another one, or press R to refresh the lists.")
    return source


def _own_name(name: str) -> str:
    """The name to keep a preset under, or nothing."""
    if not name.strip():
        return ""
    from ..expportrait_core.fit import require_preset_name

    return require_preset_name(name)
