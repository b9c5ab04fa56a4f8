"""The driver's performance on the person's head: Transfer Expression."""

from __future__ import annotations

from comfy_api.latest import io

from .running import rest_device, work_device
from .sockets import HeadMotion, ModelFit, PersonalizedHead, SmplxFit, TransferModel, declare

# the core's choices; a test compares them
HEAD_POSES = ["driver", "portrait", "relative"]
CAMERAS = ["portrait", "driver"]
EXPRESSIONS = ["absolute", "relative"]


def _gain(id: str, tooltip: str) -> io.Float.Input:
    return io.Float.Input(id, default=1.0, min=0.0, max=2.0, step=0.05, tooltip=tooltip)


class TransferExpression(io.ComfyNode):
    """Expression and wrinkles of a performance, made to suit another face."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitTransferExpression",
            display_name="Transfer Expression",
            category="ExpPortrait/transfer",
            description="Lets the head do what the driver does, with wrinkles that suit its own face.",
            search_aliases=["retarget", "drive", "reenact"],
            inputs=[
                PersonalizedHead.Input("head", tooltip="The head that is to move."),
                SmplxFit.Input("driver", tooltip="The performance that moves it."),
                SmplxFit.Input(
                    "portrait_fit",
                    optional=True,
                    tooltip="The fit of the picture to animate, if it is not the one that the head was made from.",
                ),
                TransferModel.Input(
                    "transfer_model",
                    optional=True,
                    tooltip="The network that makes the wrinkles, if not the built-in one.",
                ),
                io.Combo.Input(
                    "head_pose",
                    options=HEAD_POSES,
                    default="driver",
                    tooltip="Whether the head looks where the driver looks, stays still, or turns from its own pose as "
                    "the driver turns.",
                ),
                io.Combo.Input(
                    "camera",
                    options=CAMERAS,
                    default="portrait",
                    tooltip="Whose camera and place in the picture are used.",
                ),
                io.Combo.Input(
                    "expression",
                    options=EXPRESSIONS,
                    default="absolute",
                    tooltip="Whether the driver's expression is taken as it is, or added to the portrait's own.",
                ),
                io.Int.Input(
                    "neutral_frame",
                    default=0,
                    min=0,
                    max=1000000,
                    tooltip="The driver's frame that the relative choices start from.",
                ),
                _gain("mouth_gain", "How much the mouth and jaw move."),
                _gain("eyes_gain", "How much the eyes and lids move."),
                _gain("brows_gain", "How much the brows move."),
                _gain("pose_gain", "How much the head turns."),
                _gain("wrinkles_gain", "How deep the wrinkles are."),
            ],
            outputs=[HeadMotion.Output("motion", display_name="motion")],
        )

    @classmethod
    def execute(
        cls, head, driver: ModelFit, head_pose: str, camera: str, expression: str, neutral_frame: int,
        mouth_gain: float, eyes_gain: float, brows_gain: float, pose_gain: float, wrinkles_gain: float,
        portrait_fit: ModelFit | None = None, transfer_model=None,
    ) -> io.NodeOutput:  # fmt: skip
        from ..expportrait_core.head import with_portrait
        from ..expportrait_core.transfer import Gains, transfer

        if portrait_fit is not None:
            head = with_portrait(head, portrait_fit.fit)
        gains = Gains(mouth=mouth_gain, eyes=eyes_gain, brows=brows_gain, pose=pose_gain, wrinkles=wrinkles_gain)
        motion = transfer(
            head.to(work_device()), driver.fit, transfer_model, head_pose, camera, expression, neutral_frame, gains
        )
        return io.NodeOutput(motion.to(rest_device()))
