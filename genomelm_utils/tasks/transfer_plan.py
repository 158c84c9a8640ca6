"""Strategies of transfer for one network and one target: what is trained, and from which start.

    single        a new network on the target alone
    joint         a new network on the target and other tasks together
    pretrain      a new network on other tasks; one for all that start from it
    probing       a pretrained backbone, frozen; a new head on its embeddings, which are kept
    finetune      a pretrained backbone and a new head, all of it trained
    simple        a frozen backbone (pretrained or new), one Lasso per output on its embeddings

Source: Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code. Switch `probing`: 'reference' leaves
what the released code leaves trainable (the CLS token of MTLucifer, dense layers of PureCNN, all of
other backbones) and keeps dropout and batch norm in training mode.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genomelm_utils.datasets.activity_task import ActivitySet, check_mode

STRATEGIES = ("single", "joint", "pretrain", "probing", "finetune", "simple")
FROM_PRETRAINED = ("probing", "finetune")
#: Options that are files, of which the content counts: motifs of a motif network, weights.
MOTIF_FILE, CHECKPOINT = "motif_file", "checkpoint"
FORMAT = 1  # to be raised when the same plan gives other numbers


@dataclass(frozen=True)
class FitSettings:
    """How one training goes; defaults are those of the released commands.

    epochs: at most. patience: evaluations (one per epoch) without a better `monitor`. monitor: a
    name that `ActivityValidation` gives, '' = the target's mean headline score, of pretraining
    'overall_loss'; direction: 'max' or 'min', '' = that of the default. single, losses: see
    `MultiTask`. schedule, optimizer: of `training.optim`; 'one_cycle_by_epoch' gets the updates of
    an epoch. beta1, beta2: of the optimizer's running means.
    """

    lr: float = 1e-5
    weight_decay: float = 1e-4
    batch_size: int = 96
    epochs: int = 50
    patience: int = 5
    schedule: str = "constant"
    train_mode: str = "min_size"
    clip_norm: float = 1.0
    monitor: str = ""
    direction: str = ""
    single: str = "corrected"
    losses: str = "default"
    optimizer: str = "adamw"
    beta1: float = 0.9
    beta2: float = 0.999


@dataclass(frozen=True)
class Plan:
    """One run. target: a task; others: of 'joint', or what a backbone is pretrained on.

    options: further arguments of `build_promoter_net` (sizes, checkpoint ...), or `motif_file`
    (MEME and other formats) for its motifs.
    """

    strategy: str
    backbone: str
    target: str = ""
    others: tuple[str, ...] = ()
    settings: FitSettings = field(default_factory=FitSettings)
    pretrain_settings: FitSettings = field(default_factory=FitSettings)
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    probing: str = "corrected"

    def __post_init__(self) -> None:
        check_mode("probing", self.probing)
        if self.strategy not in STRATEGIES:
            raise ValueError(
                f"strategy is {self.strategy!r}, expected one of {', '.join(STRATEGIES)}"
            )
        if (self.strategy != "pretrain") != bool(self.target):
            raise ValueError(
                f"{self.strategy} with target {self.target!r}: only 'pretrain' has none"
            )
        needs = self.strategy in ("joint", "pretrain", *FROM_PRETRAINED)
        if needs and not self.others:
            raise ValueError(f"{self.strategy} needs other tasks, found none")
        if self.strategy == "single" and self.others:
            raise ValueError("single takes the target alone; use joint, probing or finetune")
        if self.target in self.others:
            raise ValueError(f"{self.target} is both the target and one of the other tasks")

    @property
    def pretraining(self) -> "Plan | None":
        """The run whose backbone this one starts from; the same for all its seeds and targets."""
        starts = self.strategy in FROM_PRETRAINED or (self.strategy == "simple" and self.others)
        if not starts:
            return None
        return Plan(
            strategy="pretrain",
            backbone=self.backbone,
            others=tuple(sorted(self.others)),
            settings=self.pretrain_settings,
            options=self.options,
        )

    @property
    def tasks(self) -> list[str]:
        """Tasks trained on in this run itself, by name: their order does not count."""
        if self.strategy in ("joint", "pretrain"):
            return sorted({*self.others, *([self.target] if self.target else [])})
        return [self.target]


def plan_key(plan: Plan, sets: Mapping[str, ActivitySet]) -> str:
    """SHA-256 of the whole configuration: plan, data of every task it uses, and its pretraining's.

    Two plans that differ in a learning rate, a number of epochs or a row of data never share it.
    """
    parts: dict[str, Any] = {"format": FORMAT, "plan": asdict(plan)}
    parts["plan"]["others"] = sorted(plan.others)
    parts["data"] = {name: sets[name].key for name in sorted({*plan.tasks})}
    if plan.pretraining:
        parts["pretraining"] = plan_key(plan.pretraining, sets)
    else:
        parts["plan"].pop("pretrain_settings")
    parts["files"] = {
        name: _hash_content(Path(plan.options[name]))
        for name in (MOTIF_FILE, CHECKPOINT)
        if name in plan.options
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _hash_content(path: Path) -> str:
    """SHA-256 of a file, or of all files below a folder."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder, expected weights or motifs")
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
