"""Trained weights made fit to ship: small, and with nothing in them about the machine that trained them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ultralytics.utils.torch_utils import strip_optimizer

#: What somebody who loads the weights needs to know of how they were trained; the service predicts at this ``imgsz``.
_KEPT_ARGUMENTS = ("task", "imgsz", "epochs", "batch", "optimizer", "lr0", "seed", "single_cls")
_KEPT_ENTRIES = ("model", "date", "version", "license", "docs", "epoch", "best_fitness", "ema", "updates", "optimizer")


def save_weights(trained: Path, out: Path, *, image_size: int | None = None) -> None:
    """Write ``trained``, a checkpoint of the library, to ``out``: the averaged model in half precision and no paths.

    ``image_size`` is what the service predicts at; by default the size of training.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    strip_optimizer(trained, out)
    checkpoint: dict[str, Any] = torch.load(out, map_location="cpu", weights_only=False)
    arguments = {key: checkpoint["train_args"][key] for key in _KEPT_ARGUMENTS}
    arguments["imgsz"] = image_size or arguments["imgsz"]
    checkpoint = {key: checkpoint[key] for key in _KEPT_ENTRIES if key in checkpoint}
    checkpoint["train_args"] = arguments
    model = checkpoint["model"]
    model.args = dict(arguments)
    model.yaml.pop("yaml_file", None)
    for leftover in ("pt_path", "ckpt_path"):
        model.__dict__.pop(leftover, None)
    torch.save(checkpoint, out)
