"""From a picture and the moving head to a video: Photo Preview, Load Demo Generator, Apply ExpPortrait, DiT Sampler."""

from __future__ import annotations

import comfy.sample
import comfy.samplers
import node_helpers
from comfy_api.latest import io

from .. import expportrait_core as core
from .running import NodeProgress, given_mask, stop_if_asked
from .sockets import HeadMotion, ModelPatch, declare, require_choice, unknown_choice

BACKGROUNDS = ["fill", "keep", "transparent"]  # the core's, as what follows; a test compares them
WINDOW, OVERLAP = 4, 1


class PhotoPreview(io.ComfyNode):
    """The photo itself, moved by the head."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitPhotoPreview",
            display_name="Photo Preview",
            category="ExpPortrait/generate",
            description="Moves the photo itself as the head moves: no generator, seconds instead of minutes.",
            search_aliases=["warp", "animate photo"],
            inputs=[
                io.Image.Input("picture", tooltip="The cropped portrait that the head was made from."),
                HeadMotion.Input("motion", tooltip="The head and what moves it."),
                io.Mask.Input("mask", optional=True, tooltip="Where the person is; found in the picture if not given."),
                io.Int.Input("width", default=512, min=64, max=4096, step=2, tooltip="Width of the video in pixels."),
                io.Int.Input("height", default=512, min=64, max=4096, step=2, tooltip="Height of the video in pixels."),
                io.Combo.Input(
                    "background",
                    options=BACKGROUNDS,
                    default="fill",
                    tooltip="Whether the background is filled in behind the person, bends along, or is left out.",
                ),
            ],
            outputs=[
                io.Image.Output("images", display_name="images"),
                io.Mask.Output("person", display_name="mask"),
            ],
        )

    @classmethod
    def execute(cls, picture, motion, width: int, height: int, background: str, mask=None) -> io.NodeOutput:
        photo, mask = _portrait_of(picture, motion, "picture"), _portrait_of(given_mask(mask), motion, "mask")
        _require_framing(photo[..., :3], motion)
        frames, alpha = core.photo_preview(
            photo[..., :3], motion, mask, (height, width), background, progress=NodeProgress()
        )
        return io.NodeOutput(frames, alpha)


def _portrait_of(batch, motion, what: str):
    """The one of a clip's pictures or masks that shows the portrait; a single one is it."""
    if batch is None or len(batch) == 1:
        return batch
    number = motion.portrait_frame
    if number >= len(batch):
        raise ValueError(
            f"There are {len(batch)} {what}s, and the head's portrait is number {number + 1} of its clip. Give that "
            f"{what} alone, or all of the clip."
        )
    return batch[number : number + 1]


def _require_framing(photo, motion) -> None:
    """Raise a sentence if the photo is not the one that the head was fitted to: it would move as a ghost."""
    from ..expportrait_core.fit import require_framing

    fit = motion.head.fit
    if fit.landmarks is None:
        return  # nothing tells where the face should be
    try:
        require_framing(photo, fit.frames([motion.portrait_frame]), "the picture")
    except ValueError as error:
        raise ValueError(f"{error} After Crop Portrait, connect its image here, not the whole photo.") from error


class LoadDemoGenerator(io.ComfyNode):
    """The demo generator on core's sockets."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitLoadDemoGenerator",
            display_name="Load Demo Generator",
            category="ExpPortrait/generate",
            description="A tiny video generator that ships with the pack, to show that everything works together. It "
            "makes pictures of about 64 pixels.",
            inputs=[],
            outputs=[
                io.Model.Output("model", display_name="model"),
                io.Vae.Output("vae", display_name="vae"),
                io.Conditioning.Output("positive", display_name="positive"),
                io.Conditioning.Output("negative", display_name="negative"),
                ModelPatch.Output("model_patch", display_name="model patch"),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        from ..expportrait_core.generator import load_demo
        from ..expportrait_core.generator.keymap import native_state_dict
        from ..expportrait_core.generator.native_host import InWindows
        from . import native

        demo = load_demo()
        model = native.demo_model(demo.config, native_state_dict(demo.transformer.state_dict()))
        model = native.with_windows(model, InWindows(WINDOW, OVERLAP, stop_if_asked))
        text = native.empty_text()
        patch = native.adapter_patcher(demo.adapter)
        return io.NodeOutput(model, native.DemoVAE(demo.config), text, native.empty_text(), patch)


class ApplyExpPortrait(io.ComfyNode):
    """The adapter in a native MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitApply",
            display_name="Apply ExpPortrait",
            category="ExpPortrait/generate",
            description="Lets a video model follow the normals. The model then works with any sampler node.",
            search_aliases=["adapter", "control", "pose"],
            inputs=[
                io.Model.Input("model", tooltip="The video model that is to follow the head."),
                ModelPatch.Input("model_patch", tooltip="The adapter that was trained for this model."),
                io.Image.Input("normals", tooltip="The driving normals, as many pictures as the video has."),
                io.Image.Input("reference_normals", tooltip="The normals of the portrait's own pose."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How strongly the video follows the normals; 0 leaves the model as it is.",
                ),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The share of the sampling after which the normals begin to act.",
                ),
                io.Float.Input(
                    "end",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The share of the sampling after which the normals act no more.",
                ),
                io.Boolean.Input(
                    "pose_on_negative",
                    default=False,
                    tooltip="Whether the negative branch sees the normals too, which makes guidance follow them less.",
                ),
            ],
            outputs=[io.Model.Output("patched_model", display_name="model")],
        )

    @classmethod
    def execute(
        cls, model, model_patch, normals, reference_normals, strength: float, start: float, end: float,
        pose_on_negative: bool,
    ) -> io.NodeOutput:  # fmt: skip
        from . import native

        return io.NodeOutput(
            native.apply_adapter(model, model_patch, normals, reference_normals, strength, start, end, pose_on_negative)
        )


class DiTSampler(io.ComfyNode):
    """Picture and normals to video in one box."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitDiTSampler",
            display_name="ExpPortrait DiT Sampler",
            category="ExpPortrait/generate",
            description="Makes the video from the picture and the normals, long clips in overlapping windows.",
            search_aliases=["KSampler", "generate video"],
            inputs=[
                io.Model.Input("model", tooltip="The model of Load Demo Generator."),
                io.Vae.Input("vae", tooltip="What turns pictures into the model's numbers and back."),
                io.Conditioning.Input("positive", tooltip="What the video should show."),
                io.Conditioning.Input("negative", tooltip="What the video should not show."),
                ModelPatch.Input(
                    "model_patch",
                    optional=True,
                    tooltip="The adapter, unless Apply ExpPortrait has applied it already.",
                ),
                io.Image.Input(
                    "picture", tooltip="The photo, or the frames of Photo Preview, which give the best picture."
                ),
                io.Image.Input("normals", tooltip="The driving normals, one picture for every frame of the video."),
                io.Image.Input("reference_normals", tooltip="The normals of the portrait's own pose."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="The number that the noise is made from.",
                ),
                io.Int.Input(
                    "steps", default=1, min=1, max=1000, tooltip="Steps of sampling; one is best for the demo."
                ),
                io.Float.Input(
                    "cfg",
                    default=1.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="How much the positive counts; 1 is fastest.",
                ),
                io.Combo.Input(
                    "sampler_name",
                    options=comfy.samplers.KSampler.SAMPLERS,
                    default="euler",
                    tooltip="The method of sampling.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=comfy.samplers.KSampler.SCHEDULERS,
                    default="simple",
                    tooltip="How the noise falls from step to step.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How much of the picture is made anew; below 1 the video starts from the picture given.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How strongly the video follows the normals.",
                ),
                io.Int.Input("window", default=WINDOW, min=1, max=1024, tooltip="Frames that the model sees at once."),
                io.Int.Input("overlap", default=OVERLAP, min=0, max=1023, tooltip="Frames that two windows share."),
            ],
            outputs=[
                io.Image.Output("images", display_name="images"),
                io.Latent.Output("latent", display_name="latent"),
            ],
        )

    @classmethod
    def validate_inputs(cls, sampler_name: str | None = None, scheduler: str | None = None) -> bool | str:
        wrong = unknown_choice("sampler", sampler_name, comfy.samplers.KSampler.SAMPLERS)
        return wrong or unknown_choice("scheduler", scheduler, comfy.samplers.KSampler.SCHEDULERS) or True

    @classmethod
    def execute(
        cls, model, vae, positive, negative, picture, normals, reference_normals, seed: int, steps: int, cfg: float,
        sampler_name: str, scheduler: str, denoise: float, strength: float, window: int, overlap: int, model_patch=None,
    ) -> io.NodeOutput:  # fmt: skip
        from ..expportrait_core.generator import require_pictures
        from ..expportrait_core.generator.demo_model import resize_pictures
        from ..expportrait_core.generator.generate import demo_size, to_pictures, windows
        from ..expportrait_core.generator.native_host import InWindows
        from . import native

        require_choice("sampler", sampler_name, comfy.samplers.KSampler.SAMPLERS)
        require_choice("scheduler", scheduler, comfy.samplers.KSampler.SCHEDULERS)
        if not isinstance(model.model, native.DemoWan):
            raise ValueError(
                "This sampler drives the model of Load Demo Generator. For another video model use Apply ExpPortrait, "
                "that model's own image-to-video node and KSampler."
            )
        require_pictures(len(picture), len(normals))
        windows(len(normals), window, overlap)  # refuses what does not fit before the work begins
        demo = model.model.demo
        height, width = demo_size(*normals.shape[1:3], demo)
        picture = vae.encode(resize_pictures(picture[..., :3], height, width))
        positive, negative = (
            node_helpers.conditioning_set_values(c, {"reference_latents": [picture]}) for c in (positive, negative)
        )
        if model_patch is not None:
            model = native.apply_adapter(model, model_patch, normals, reference_normals, strength)
        # the bar counts windows; with guidance core calls the model for both branches at once, or one after the other
        seen = InWindows(window, overlap, NodeProgress(), lambda latents: to_pictures(latents, demo.fold), steps)
        model = native.with_windows(model, seen)
        start = picture.expand(-1, -1, len(normals), -1, -1)
        noise = comfy.sample.prepare_noise(start, seed)
        latent = comfy.sample.sample(
            model, noise, steps, cfg, sampler_name, scheduler, positive, negative, start,
            denoise=denoise, disable_pbar=True, seed=seed,
        )  # fmt: skip
        return io.NodeOutput(vae.decode(latent).flatten(0, 1), {"samples": latent})
