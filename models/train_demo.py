"""Train the bundled demo weights: QR codes and barcodes in photos, one tiny YOLO per task.

    pip install -r models/requirements-train.txt
    python models/train_demo.py detect --out models/demo-detect.pt
    python models/train_demo.py segment --out models/demo-segment.pt --start models/demo-detect.pt

The scenes are drawn first (see ``scenes/``), then the model is trained on the CPU, in one stage or several. Everything is
seeded.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_OFFLINE", "true")
# Threads that wait asleep, not spinning: other work on the machine would stop them for long otherwise.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import ultralytics
import yaml
from ultralytics import YOLO
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.nn.modules import Conv
from ultralytics.nn.tasks import PoseModel
from ultralytics.utils.torch_utils import initialize_weights
from weights import save_weights

from scenes.datasets import TASKS, data_of, write_datasets

#: The n scale of YOLO11 has width 0.25 and 2.6 M parameters; half of that width does for two classes.
WIDTH = 0.125
SUFFIX = {"detect": "", "segment": "-seg", "pose": "-pose", "obb": "-obb", "classify": "-cls"}
SEED = 20
SCENES = 1800
TURNED_SEED = 40
TURNED_SCENES = 2400
#: Every batch is a step (``nbs`` below): the library would gather 64 images for one, too few steps for a short training.
BATCH = 16
POINT_CHANNELS = 64


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One run of training; a task's later stages go on from the one before."""

    epochs: int
    #: How much of the scenes it sees.
    fraction: float = 1.0
    image_size: int = 320
    learning_rate: float = 0.002
    mosaic: float = 0.5
    # A mirrored code is no code, and a mirrored list of corners is in no order: pose sees none.
    mirror: float = 0.5
    # Which corner is the first can only be learnt from codes that lie any way.
    turned: bool = False
    # Rotated boxes of squares overlap well at any angle: only this weight makes the angle right.
    angle_weight: float = 1.0


RECIPES = {
    "detect": (
        Stage(epochs=8),
        Stage(epochs=6),
        Stage(epochs=5, learning_rate=0.0015),
        # Small codes in large photos want more pixels, and so the model should have seen large codes large.
        Stage(epochs=3, learning_rate=0.001, image_size=480, fraction=0.45),
    ),
    "segment": (Stage(epochs=4, fraction=0.6),),
    "pose": (
        Stage(epochs=12, mirror=0.0, mosaic=0.0, turned=True),
        # Small codes could lie any way, and are more often upright than not.
        Stage(epochs=6, mirror=0.0, mosaic=0.0, learning_rate=0.001, image_size=416),
        Stage(epochs=8, mirror=0.0, mosaic=0.0, learning_rate=0.001, image_size=416, turned=True),
    ),
    "obb": (Stage(epochs=4, fraction=0.6), Stage(epochs=6, angle_weight=5.0)),
    "classify": (Stage(epochs=12, image_size=224),),
}
#: What the service is to predict at: more than most training was at, which measures better on small codes.
PREDICTION_SIZE = {"detect": 416, "segment": 416, "pose": 480, "obb": 416, "classify": 224}


def model_description(task: str, folder: Path) -> Path:
    """The library's YOLO11 of this task at our width, as a YAML file in ``folder``; its name says scale n."""
    name = f"yolo11{SUFFIX[task]}.yaml"
    source = Path(ultralytics.__file__).parent / "cfg" / "models" / "11" / name
    description = yaml.safe_load(source.read_text(encoding="utf-8"))
    description["scales"]["n"][1] = WIDTH
    target = folder / name.replace("yolo11", "yolo11n")
    target.write_text(yaml.safe_dump(description, sort_keys=False), encoding="utf-8")
    return target


def use_all_cores(_trainer: object) -> None:
    """The library leaves one core to itself; on a small machine that is half of it."""
    torch.set_num_threads(os.cpu_count() or 1)


def use_fast_layout(trainer: BaseTrainer) -> None:
    """Channels last: the convolutions of so narrow a model are a fifth faster on a CPU."""
    trainer.model.to(memory_format=torch.channels_last)


class CornerLoss(torch.nn.Module):
    """How far the corners are off, on average, as a fraction of the object's size.

    The library's loss goes with the square of a small distance, so that a model in doubt which corner is the first puts all
    of them in the middle; and it does not mind a hand's width, for it was made for body joints.
    """

    def forward(
        self, predicted: torch.Tensor, truth: torch.Tensor, visible: torch.Tensor, area: torch.Tensor
    ) -> torch.Tensor:
        """Take (objects, corners, 2 or more) twice, then ``visible`` (objects, corners) and ``area`` (objects, 1)."""
        off = (predicted[..., :2] - truth[..., :2]).square().sum(-1).add(1e-9).sqrt()
        return (off / area.clamp(min=1e-9).sqrt() * visible).mean()


def use_corner_loss(trainer: BaseTrainer) -> None:
    """Give the model our loss for its points before it makes its own."""
    criterion = trainer.model.init_criterion()
    criterion.keypoint_loss = CornerLoss()
    trainer.model.criterion = criterion


class CornerTrainer(PoseTrainer):
    """A pose model whose point branch is as wide as its box branch: the library's rule leaves it 8 channels here."""

    def get_model(
        self,
        cfg: str | Path | dict[str, Any] | None = None,
        weights: torch.nn.Module | None = None,
        verbose: bool = True,
    ) -> PoseModel:
        model = super().get_model(cfg, None, verbose)
        head = model.model[-1]
        channels = [branch[0].conv.in_channels for branch in head.cv4]
        head.cv4 = torch.nn.ModuleList(
            torch.nn.Sequential(
                Conv(channel, POINT_CHANNELS, 3),
                Conv(POINT_CHANNELS, POINT_CHANNELS, 3),
                torch.nn.Conv2d(POINT_CHANNELS, head.nk, 1),
            )
            for channel in channels
        )
        # The library sets these on every batch norm when it builds a model.
        initialize_weights(head.cv4)
        if weights is not None:
            model.load(weights)
        return model


def train(task: str, out: Path, *, start: Path | None, work: Path) -> None:
    """Draw the scenes, train, and write the weights to ``out``; ``start`` gives the layers that fit."""
    for stage in RECIPES[task]:
        checkpoint = run(task, stage, start=start, work=work)
        save_weights(checkpoint, out, image_size=PREDICTION_SIZE[task])
        start = out
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


def draw_data(work: Path, *, turned: bool) -> Path:
    """The folder of the training scenes, drawn unless they are there already."""
    data = work / ("turned" if turned else "data")
    if not (data / "complete").exists():
        if turned:
            write_datasets(data, seed=TURNED_SEED, train=TURNED_SCENES, held_out=60, turned=1.0)
        else:
            write_datasets(data, seed=SEED, train=SCENES, held_out=60)
        (data / "complete").touch()
    return data


def run(task: str, stage: Stage, *, start: Path | None, work: Path) -> Path:
    """Train one stage; returns the library's last checkpoint."""
    model = YOLO(model_description(task, work), task=task)
    if start is not None:
        model.load(start)
    model.add_callback("on_train_start", use_fast_layout)
    model.add_callback("on_train_epoch_start", use_all_cores)
    if task == "pose":
        model.add_callback("on_train_start", use_corner_loss)
    model.train(
        trainer=CornerTrainer if task == "pose" else None,
        data=str(data_of(draw_data(work, turned=stage.turned), task)),
        fraction=stage.fraction,
        epochs=stage.epochs,
        imgsz=stage.image_size,
        batch=BATCH,
        nbs=BATCH,
        optimizer="AdamW",
        lr0=stage.learning_rate,
        cos_lr=True,
        warmup_epochs=1,
        mosaic=0.0 if task == "classify" else stage.mosaic,
        close_mosaic=3,
        scale=0.5,
        fliplr=stage.mirror,
        angle=stage.angle_weight,
        device="cpu",
        amp=False,
        workers=2,
        cache=task != "classify" and "ram",
        val=False,
        plots=False,
        seed=SEED,
        deterministic=True,
        project=str(work / "runs"),
        name=task,
        exist_ok=True,
    )
    return work / "runs" / task / "weights" / "last.pt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--out", type=Path, required=True, help="where the weights go")
    parser.add_argument("--start", type=Path, help="weights to start from, such as the detector's")
    parser.add_argument("--work", type=Path, help="keep the drawn scenes and the runs here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        train(arguments.task, arguments.out, start=arguments.start, work=work)


if __name__ == "__main__":
    main()
