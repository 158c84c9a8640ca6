"""What a training of a classifier is watched by: settings, validation scores, and the guard.

Switch: `select`, `corrected` or `reference` (see `sequence_training`).

Shapes: S sequences, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from genomelm_utils.evaluation.class_scores import is_collapsed, score_classes
from genomelm_utils.tasks.id_windows import IdWindows
from genomelm_utils.tasks.sequence_models import predict_windows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from genomelm_utils.training.loop import FitResult

#: report(epoch, scores): called after every validation; it may raise to end the training.
Report = Callable[[int, dict[str, float]], None]

LOWER_IS_BETTER = ("loss",)
ON_COLLAPSE = ("restart", "stop", "keep")
CLASS_WEIGHTS = ("none", "balanced")


class Collapsed(RuntimeError):
    """All predictions are of one class although the labels are not."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a classifier is trained.

    epochs, batch_size (sequences), learning_rate (peak), weight_decay. warmup_share: of the
    updates. schedule: 'linear', 'cosine', 'constant'. class_weights: 'balanced' weighs the loss of
    a row by the rarity of its class. patience: epochs without a better `metric` before training
    stops, 0 never stops. metric: of validation. select: 'metric' or 'loss', see the module's head.
    pooling, long: see `models.sequence_classifier` and `tasks.id_windows`. on_collapse: 'restart'
    (up to `restarts` times), 'stop' (raises `Collapsed`) or 'keep' (says so).

    Source of the defaults: transformers' TrainingArguments where genomeNLP uses them (3 epochs,
    weight decay 0); learning rate and warm-up are ours.
    """

    epochs: int = 3
    batch_size: int = 16
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    warmup_share: float = 0.1
    schedule: str = "linear"
    class_weights: str = "none"
    patience: int = 0
    metric: str = "f1"
    select: str = "metric"
    pooling: str = "mean"
    long: str = "windows"
    on_collapse: str = "restart"
    restarts: int = 2

    @property
    def monitor(self) -> str:
        """The validation score that says which weights are the best."""
        return "loss" if self.select == "loss" else self.metric

    def check(self) -> None:
        """ValueError for values out of range."""
        for name, low in (("epochs", 1), ("batch_size", 1), ("patience", 0), ("restarts", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {low} or more")
        for name, choices in (
            ("class_weights", CLASS_WEIGHTS),
            ("select", ("metric", "loss")),
            ("on_collapse", ON_COLLAPSE),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, expected one of {', '.join(choices)}"
                )
        if not self.learning_rate > 0 or not 0 <= self.warmup_share < 1:
            raise ValueError(
                f"learning_rate {self.learning_rate} and warmup_share {self.warmup_share}, "
                "expected a rate above 0 and a share from 0 to below 1"
            )


#: What the released code does; Source: genomeNLP's `train` and `sweep`.
REFERENCE = {"pooling": "first", "select": "loss", "warmup_share": 0.0, "on_collapse": "keep"}


class Validation:
    """Called at the end of every epoch: scores, the best weights so far, the guard.

    begin: epochs that an interrupted training had finished.
    """

    def __init__(
        self,
        windows: IdWindows,
        labels_S: np.ndarray,
        settings: TrainingSettings,
        report: Report | None = None,
        begin: int = 0,
    ) -> None:
        self.windows, self.labels_S, self.settings = windows, labels_S, settings
        self.report = report
        self.epoch = begin - 1 if begin == 0 else begin
        self.n_collapsed = 0
        self.best: tuple[float, int] | None = None
        self.best_state: dict[str, torch.Tensor] = {}

    def __call__(self, task: nn.Module) -> dict[str, float]:
        """The scores of the validation rows. Raises `Collapsed` when the guard steps in."""
        self.epoch += 1
        scores = self._score(task.model)
        if self.settings.metric not in scores:
            raise ValueError(
                f"metric is {self.settings.metric!r}, expected one of {', '.join(scores)}"
            )
        if self.epoch == 0:  # before the first update
            return scores
        self.n_collapsed += is_collapsed(scores, self.labels_S)
        self._keep_best(task.model, scores)
        if self.report is not None:
            self.report(self.epoch, scores)
        late = self.epoch >= max(2, -(-self.settings.epochs // 2))
        if self.settings.on_collapse != "keep" and late and self.n_collapsed == self.epoch:
            raise Collapsed(
                f"in each of {self.epoch} epochs {scores['largest_share']:.0%} or more of the "
                "validation rows are predicted to be of one class"
            )
        return scores

    def restore(self, model: "PreTrainedModel", result: "FitResult", per_epoch: int) -> None:
        """Put the best weights into the model: kept in memory, or, after a resume, on disk."""
        best_epoch = (result.best_step or 0) // per_epoch
        if self.best is not None and (result.best_step is None or self.best[1] == best_epoch):
            model.load_state_dict(self.best_state)
        elif result.best_checkpoint is not None:
            from safetensors.torch import load_file

            model.load_state_dict(load_file(result.best_checkpoint / "model.safetensors"))

    def predicts_one_class(self, model: "PreTrainedModel") -> bool:
        """Whether nearly all validation rows are predicted to be of one class."""
        return is_collapsed(self._score(model), self.labels_S)

    def _score(self, model: "PreTrainedModel") -> dict[str, float]:
        probs_SC = predict_windows(model, self.windows, self.settings.pooling)
        return score_classes(probs_SC, self.labels_S)

    def _keep_best(self, model: "PreTrainedModel", scores: dict[str, float]) -> None:
        name = self.settings.monitor
        value = -scores[name] if name in LOWER_IS_BETTER else scores[name]
        if np.isfinite(value) and (self.best is None or value > self.best[0]):
            self.best = (value, self.epoch)
            self.best_state = {
                key: tensor.detach().cpu().clone() for key, tensor in model.state_dict().items()
            }
