"""Fine-tuning on expression: an encoder and a head learn labels of many tissues at once.

Promoters are tokenised once, batches hold rows of similar length, labels that were not measured
are masked, and the weights of the lowest validation loss are kept. All training goes through
`training.loop.fit`.

Shapes: S sequences, B rows of a batch, L ids, T tissues.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from genomelm_utils.datasets.expression_set import ExpressionSet
from genomelm_utils.models.expression_heads import ExpressionModel
from genomelm_utils.tasks.embedding import TOKEN_BUDGET
from genomelm_utils.tasks.expression_rows import TokenRows, epoch_batches
from genomelm_utils.tasks.frozen_features import FrozenRows, freeze_rows
from genomelm_utils.tasks.label_transform import LabelTransform
from genomelm_utils.tasks.regression_inputs import (
    Prepared,
    RegressionSettings,
    Source,
    build_model,
    prepare,
)
from genomelm_utils.tasks.regression_modes import Mode
from genomelm_utils.tasks.regressor import Regressor, to_device, write_beside
from genomelm_utils.tasks.windows import batch_by_length
from genomelm_utils.training import checkpoint as ckpt
from genomelm_utils.training.loop import FitResult, fit
from genomelm_utils.training.unfreezing import (
    freeze_parameters,
    layerwise_scales,
    plan_unfreezing,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

__all__ = ["RegressionSettings", "fine_tune", "fine_tune_seeds", "prepare", "train"]

State = dict[str, torch.Tensor]


def fine_tune(
    source: Source,
    expression: ExpressionSet,
    *,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    settings: RegressionSettings | None = None,
    transform: LabelTransform | None = None,
    seed: int = 0,
    folder: Path | str | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Regressor:
    """A regressor trained on the part 'train', chosen on the part 'valid'; 'test' is not touched.

    Args:
        source: folder of an encoder with its tokenizer, a model in memory (left as it is), or a
            configuration: the network that was not pretrained.
        tokenizer: needed unless `source` is a folder.
        transform: of the labels; by default ln(x + 1).
        seed: new weights, order of rows, dropout.
        folder: for checkpoints and history; None writes nothing. resume: go on from there.
    Raises: ValueError for a set without training rows, without any label, or settings that do not
        fit. Without part 'valid' the last weights are kept, with a warning.
    """
    settings = settings or RegressionSettings()
    prepared = prepare(source, expression, tokenizer, settings, transform)
    return train(prepared, settings, seed=seed, folder=folder, resume=resume, progress=progress)


def fine_tune_seeds(
    source: Source,
    expression: ExpressionSet,
    seeds: Sequence[int],
    *,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    settings: RegressionSettings | None = None,
    transform: LabelTransform | None = None,
    folder: Path | str | None = None,
    progress: bool = False,
) -> dict[int, Regressor]:
    """One regressor per seed; promoters are tokenised once. folder: gets `seed-0`, `seed-1`, ..."""
    settings = settings or RegressionSettings()
    prepared = prepare(source, expression, tokenizer, settings, transform)
    return {
        seed: train(
            prepared,
            settings,
            seed=seed,
            folder=None if folder is None else Path(folder) / f"seed-{seed}",
            progress=progress,
        )
        for seed in seeds
    }


def train(
    prepared: Prepared,
    settings: RegressionSettings,
    *,
    seed: int,
    folder: Path | str | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Regressor:
    """One training with a seed on what `prepare` made."""
    mode, transform = settings.mode, prepared.transform
    model = build_model(prepared.encoder, prepared.tokenizer, settings, transform.tissues, seed)
    if settings.start_at_mean:
        start_at_mean(model, mode, prepared.train_targets_ST, transform)
    regressor = Regressor(
        model.eval(), prepared.tokenizer, transform, mode, prepared.max_ids, settings.truncate,
        {**asdict(settings), "seed": seed},
    )  # fmt: skip
    task = RegressionTask(regressor, frozen=settings.freeze == "encoder")
    rates, start = learning_rates(task, settings), copy_state(model)
    train_rows, valid_rows = prepared.train_rows, prepared.valid_rows
    if task.frozen:  # the encoder gives the same in every epoch
        train_rows = freeze_rows(model, train_rows)
        valid_rows = None if valid_rows is None else freeze_rows(model, valid_rows)
    n_batches = -(-len(prepared.train_rows) // settings.batch_size)
    steps = planned_steps(
        len(prepared.train_rows), settings.batch_size, settings.epochs, settings.accumulate
    )
    validation = None
    if valid_rows is not None:
        validation = Validation(valid_rows, prepared.valid_targets_ST)
    else:
        logger.warning("the set has no part 'valid': the last weights are kept, not the best")
    result = fit(
        task,
        epoch_batches(
            train_rows,
            prepared.train_targets_ST,
            settings.batch_size,
            settings.accumulate,
            seed,
        ),
        steps=steps,
        micro_batches=settings.accumulate,
        peak_lr=settings.peak_lr,
        optimizer=settings.optimizer,
        schedule=settings.schedule,
        warmup_steps=steps // 10 if settings.warmup_steps is None else settings.warmup_steps,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        ema_decay=settings.ema_decay,
        **rates,
        folder=None if folder is None else Path(folder),
        evaluate=validation,
        eval_every=max(1, n_batches // settings.accumulate),
        log_every=max(1, n_batches // settings.accumulate // 4),
        seed=seed,
        resume=resume,
        monitor=None if validation is None else "loss",
        patience=settings.patience,
        precision=settings.precision,
        settings={"regression": regressor.settings, "transform": transform.as_dict()},
        progress=progress,
    )
    restore_best(task, start, result, validation)
    return replace(regressor, history=result.history)


def learning_rates(task: "RegressionTask", settings: RegressionSettings) -> dict[str, Any]:
    """`lr_scales` and `lr_delays` for `fit`; parameters that are never trained lose their gradient.

    Layer-wise decay or progressive unfreezing, or neither: everything learns at one rate.
    """
    if settings.unfreeze_groups:
        plan = plan_unfreezing(
            task,
            n_groups=settings.unfreeze_groups,
            delay_steps=settings.unfreeze_delay,
            groups=settings.unfreeze_rule,
        )
        freeze_parameters(task, plan.frozen)
        return {"lr_scales": plan.lr_scales, "lr_delays": plan.lr_delays}
    if settings.layer_decay != 1:
        return {"lr_scales": layerwise_scales(task, settings.layer_decay)}
    return {}


def planned_steps(n_rows: int, batch_size: int, epochs: int, accumulate: int) -> int:
    """Updates in all: floor(n / batch size * epochs / accumulated batches), at least 1.

    Source: released `training.py`: 500,000 rows, 64, 3 epochs, 10 batches per update give 2343.
    """
    return max(1, n_rows * epochs // (batch_size * accumulate))


class RegressionTask(nn.Module):
    """Sum of the losses of a batch's measured labels, as `training.loop.fit` wants it.

    frozen: the encoder gets no gradient and stays in evaluation mode: its features are those of
    use, without dropout.
    """

    def __init__(self, regressor: Regressor, *, frozen: bool = False) -> None:
        super().__init__()
        self.model = regressor.model
        self.mode, self.frozen, self.regressor = regressor.mode, frozen, regressor
        if frozen:
            self.model.encoder.requires_grad_(False)
        threshold_T = torch.from_numpy(self.mode.threshold_labels(regressor.transform))
        self.register_buffer("threshold_T", threshold_T, persistent=False)

    def train(self, mode: bool = True) -> "RegressionTask":
        """As any module, but a frozen encoder stays as it is in use."""
        super().train(mode)
        if self.frozen:
            self.model.encoder.eval()
        return self

    def forward(
        self,
        target_BT: torch.Tensor,
        pooled_BD: torch.Tensor | None = None,
        **rows: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss summed over measured labels, their number).

        rows: of `TokenRows.pad` or `FrozenRows.pad`; with pooled_BD the head alone is asked.
        """
        output = self.model(**rows) if pooled_BD is None else self.model.head(pooled_BD)
        loss_BT = self.mode.losses(output, target_BT, self.threshold_T)
        return loss_BT.sum(), (~torch.isnan(target_BT)).sum()

    def save_beside(self, folder: Path) -> None:
        """What a checkpoint needs to be used by itself."""
        write_beside(folder, self.regressor)


class Validation:
    """The mean loss of all measured validation labels, and the weights where it was lowest."""

    def __init__(self, rows: TokenRows | FrozenRows, targets_ST: np.ndarray) -> None:
        if np.isnan(targets_ST).all():
            raise ValueError("no validation promoter has a label, expected at least one")
        self.rows, self.targets_ST = rows, targets_ST
        self.best: tuple[float, State] | None = None

    def __call__(self, task: RegressionTask) -> dict[str, float]:
        """`loss`; runs in evaluation mode without gradients, batch by batch."""
        place = task.threshold_T.device
        total, count = 0.0, 0
        for rows_B in batch_by_length(self.rows.length_S, TOKEN_BUDGET[place.type]):
            target_BT = torch.from_numpy(self.targets_ST[rows_B])
            batch = to_device({**self.rows.pad(rows_B), "target_BT": target_BT}, place)
            loss, n = task(**batch)
            total, count = total + float(loss), count + int(n)
        loss = total / count
        if np.isfinite(loss) and (self.best is None or loss < self.best[0]):
            self.best = loss, copy_state(task.model)
        return {"loss": loss}


def restore_best(
    task: RegressionTask, start: State, result: FitResult, validation: Validation | None
) -> None:
    """Put the weights of the lowest validation loss into the model: of the start, of this run, or
    of a checkpoint that a run before the interruption wrote."""
    if validation is None:
        return
    history = result.history
    start_loss = history.loc[history["step"] == 0, "valid_loss"].min()
    if result.best_step is None or start_loss <= result.best_value:
        logger.warning("no update lowered the validation loss of %.4g: nothing learned", start_loss)
        task.model.load_state_dict(start)
    elif validation.best is not None and validation.best[0] == result.best_value:
        task.model.load_state_dict(validation.best[1])
    elif result.best_checkpoint is not None:
        path = result.best_checkpoint
        ckpt.load_weights(path, task, ckpt.read_state(path))


def copy_state(model: nn.Module) -> State:
    """All weights and buffers on the CPU, as they are now."""
    return {k: v.detach().to("cpu", copy=True) for k, v in model.state_dict().items()}


def start_at_mean(
    model: ExpressionModel, mode: Mode, targets_ST: np.ndarray, transform: LabelTransform
) -> None:
    """Set the biases of the last layer to the constants that fit the training targets best."""
    with torch.no_grad():
        model.head.output.bias.copy_(torch.from_numpy(mode.start_values(targets_ST, transform)))
