"""Training classifiers of token sequences: class weights, early stopping, and a guard against
collapse.

A network that predicts one class for everything has learned nothing, and scores well where that
class is frequent. The guard looks at every validation, names the collapse, and starts again with
another seed and a third of the learning rate, or stops.

Switches, each `corrected` or `reference` (the released code):

    pooling  reference 'first' (the head reads the first token), corrected 'mean' or 'cls'
    select   reference 'loss': the weights kept are those of the lowest validation loss, while the
             score reported is that of the last epoch; corrected: those of the best `metric`

Shapes: S sequences, W windows, B rows of a batch, C classes.
"""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from genomelm_utils.evaluation.class_scores import is_collapsed, score_classes
from genomelm_utils.models.sequence_classifier import (
    build_network,
    classify_tokens,
    load_network,
)
from genomelm_utils.tasks.id_windows import batch_rows, make_windows
from genomelm_utils.tasks.linear import check_labels
from genomelm_utils.tasks.sequence_models import (
    SequenceModel,
    Tokens,
    make_layout,
    predict_windows,
)
from genomelm_utils.tasks.sequence_validation import (
    LOWER_IS_BETTER,
    Collapsed,
    Report,
    TrainingSettings,
    Validation,
)
from genomelm_utils.tasks.windows import pool_windows
from genomelm_utils.training.checkpoint import list_checkpoints
from genomelm_utils.training.loop import fit

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)

Rows = Sequence[np.ndarray]  # token ids
Labelled = tuple[Rows, np.ndarray]
RESTART_FACTOR = 1 / 3  # on the learning rate
COLLAPSED = "collapsed.json"


def train_classifier(
    train: Labelled,
    network: "PretrainedConfig | Path | str",
    tokens: Tokens,
    class_names: Sequence[str],
    settings: TrainingSettings | None = None,
    *,
    valid: Labelled | None = None,
    seed: int = 1,
    folder: Path | None = None,
    report: Report | None = None,
    progress: bool = False,
) -> SequenceModel:
    """A classifier of rows of token ids, trained on one part and watched on another.

    train, valid: (rows, labels 0..C-1). network: a configuration (random weights) or the folder of
    a model to start from, which stays as it is. seed: weights, order of rows, dropout.
    folder: for `history.csv` and TensorBoard files of every attempt, in `attempt-0`, ...; a
    training that was interrupted goes on there. report: see `Report`.

    Without `valid` the last weights are kept and the guard looks at the training rows at the end.
    Rows longer than the network has positions for: see `settings.long`; rows without tokens are an
    error, as are labels of one class only.

    Raises: `Collapsed` when asked to stop, or when the last restart collapsed too; ValueError for
    what does not fit.
    """
    settings = settings or TrainingSettings()
    settings.check()
    labels_S, _ = check_labels(train[1], len(class_names), n_rows=len(train[0]))
    if len(np.unique(labels_S)) < 2:
        raise ValueError(
            f"all {len(labels_S)} training rows are of class {class_names[labels_S[0]]}, expected "
            "at least two classes"
        )
    attempts: list[dict[str, Any]] = []
    for attempt in range(settings.restarts + 1 if settings.on_collapse == "restart" else 1):
        now = replace(settings, learning_rate=settings.learning_rate * RESTART_FACTOR**attempt)
        facts = {"seed": seed + attempt, "learning_rate": now.learning_rate}
        place = folder / f"attempt-{attempt}" if folder else None
        if place and (place / COLLAPSED).is_file():
            attempts.append(json.loads((place / COLLAPSED).read_text()))
            continue
        one = _Attempt(train[0], labels_S, network, tokens, tuple(class_names), now, seed + attempt)
        try:
            trained = one.run(valid, place, report, progress)
        except (Collapsed, FloatingPointError) as error:
            attempts.append({**facts, "collapsed": str(error)})
            logger.warning("attempt %d: %s", attempt + 1, error)
            if place:
                place.mkdir(parents=True, exist_ok=True)
                (place / COLLAPSED).write_text(json.dumps(attempts[-1]) + "\n")
                shutil.rmtree(place / "checkpoints", ignore_errors=True)
            continue
        return replace(trained, attempts=(*attempts, facts), settings=asdict(settings))
    raise Collapsed(
        f"{len(attempts)} of {len(attempts)} attempts collapsed ({attempts[-1]['collapsed']}); "
        "lower learning_rate, train more epochs, or take a smaller network"
    )


class _Attempt:
    """One training from the start; the parts that its methods share."""

    def __init__(self, rows, labels_S, network, tokens, class_names, settings, seed) -> None:
        self.settings, self.seed = settings, seed
        self.tokens, self.class_names, self.labels_S = tokens, class_names, labels_S
        if isinstance(network, str | Path):
            self.model, self.new = load_network(network, tokens.n_ids, class_names, seed)
        else:
            if network.vocab_size < tokens.n_ids:
                raise ValueError(
                    f"the network knows {network.vocab_size} token ids, the tokenizer has "
                    f"{tokens.n_ids}"
                )
            self.model, self.new = build_network(network, seed), []
        self.layout = make_layout(self.model, tokens, settings.pooling)
        self.windows = make_windows(rows, self.layout, settings.long)
        self.per_epoch = -(-len(labels_S) // settings.batch_size)

    def run(self, valid, folder, report, progress) -> SequenceModel:
        settings = self.settings
        steps = settings.epochs * self.per_epoch
        watch = None
        if valid is not None:
            watch = Validation(
                make_windows(valid[0], self.layout, settings.long),
                check_labels(valid[1], len(self.class_names), n_rows=len(valid[0]))[0],
                settings,
                report,
                begin=max(list_checkpoints(folder), default=0) // self.per_epoch if folder else 0,
            )
        weights_C = _class_weights(self.labels_S, len(self.class_names), settings.class_weights)
        result = fit(
            SequenceTask(self.model, settings.pooling, weights_C),
            batch_rows(self.windows, self.labels_S, settings.batch_size, self.seed),
            steps=steps,
            peak_lr=settings.learning_rate,
            schedule=settings.schedule,
            warmup_steps=int(settings.warmup_share * steps),
            weight_decay=settings.weight_decay,
            folder=folder,
            evaluate=watch,
            eval_every=self.per_epoch,
            log_every=self.per_epoch,
            keep=1,
            resume=folder is not None,
            seed=self.seed,
            monitor=settings.monitor if watch else None,
            higher_is_better=settings.monitor not in LOWER_IS_BETTER,
            patience=(settings.patience or None) if watch else None,
            settings={key: str(value) for key, value in asdict(settings).items()},
            progress=progress,
        )
        self.model.eval()
        if watch is not None:
            watch.restore(self.model, result, self.per_epoch)
            collapsed = watch.predicts_one_class(self.model)
        else:
            probs_SC = predict_windows(self.model, self.windows, settings.pooling)
            collapsed = is_collapsed(score_classes(probs_SC, self.labels_S), self.labels_S)
        if collapsed:
            self._judge_collapse(f"after {settings.epochs} epochs one class is predicted for all")
        if folder is not None:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return SequenceModel(
            self.model,
            self.tokens,
            self.class_names,
            settings.pooling,
            settings.long,
            history=self._name_epochs(result.history),
            collapsed=collapsed,
        )

    def _judge_collapse(self, what: str) -> None:
        if self.settings.on_collapse != "keep":
            raise Collapsed(what)
        logger.warning("collapsed: %s", what)

    def _name_epochs(self, history: pd.DataFrame) -> pd.DataFrame:
        """Rows of the history with the epoch; only numbers that do not depend on the machine."""
        from genomelm_utils.training.history import TIMING

        kept = history.drop(columns=[name for name in TIMING if name in history.columns])
        kept.insert(0, "epoch", kept["step"] / self.per_epoch)
        return kept


class SequenceTask(nn.Module):
    """Weighted sum of the cross entropies of a batch, as `training.loop.fit` wants it."""

    def __init__(
        self, model: "PreTrainedModel", pooling: str, weights_C: torch.Tensor | None
    ) -> None:
        super().__init__()
        self.model, self.pooling = model, pooling
        self.register_buffer("weights_C", weights_C, persistent=False)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        row_W: torch.Tensor,
        labels_B: torch.Tensor,
    ) -> tuple[torch.Tensor, int]:
        """(loss summed over sequences, number of sequences); row_W: the row of each window."""
        logits_WC = classify_tokens(self.model, input_ids, attention_mask, self.pooling)
        logits_BC = pool_windows(logits_WC.float(), row_W, len(labels_B))
        loss = functional.cross_entropy(logits_BC, labels_B, weight=self.weights_C, reduction="sum")
        return loss, len(labels_B)


def _class_weights(labels_S: np.ndarray, n_classes: int, how: str) -> torch.Tensor | None:
    """Weights float32 [C] whose mean over the training rows is 1; a class without rows weighs 0."""
    if how == "none":
        return None
    count_C = np.bincount(labels_S, minlength=n_classes)
    present = count_C > 0
    weights_C = np.where(present, len(labels_S) / (present.sum() * np.maximum(count_C, 1)), 0.0)
    return torch.from_numpy(weights_C.astype(np.float32))
