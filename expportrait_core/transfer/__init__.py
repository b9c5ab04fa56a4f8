"""Identity-adaptive expression transfer: encoder E, vertex decoder G, and their training on a made-up population."""

from .model import TransferConfig, TransferModel, load_transfer_model
from .motion import Gains, copy_offsets, transfer
from .train import TrainSettings, train_transfer

__all__ = [
    "Gains", "TrainSettings", "TransferConfig", "TransferModel", "copy_offsets", "load_transfer_model",
    "train_transfer", "transfer",
]  # fmt: skip
