"""Few-shot classification: fine-tune a masked language model on labelled sequences, and predict.

Sequences are base codes; tokens are made from them directly, and sequences longer than the model's
positions are cut in overlapping windows whose logits are averaged (see `tasks.windows`).

Shapes: S sequences, W windows, B rows of a batch, C classes, D width.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional
from transformers import BertForSequenceClassification

from genomelm_utils.sequences.alphabet import reverse_complement
from genomelm_utils.tasks.encoder import (
    Source,
    build_classifier,
    classify_windows,
    mean_states,
    quiet_loading,
    source_config,
)
from genomelm_utils.tasks.linear import check_labels, logistic_probs, standardise
from genomelm_utils.tasks.windows import (
    Codes,
    TokenWindows,
    batch_by_length,
    build_windows,
    pool_windows,
)
from genomelm_utils.tokenizers.kmer import build_tokenizer
from genomelm_utils.training.checkpoint import write_folder
from genomelm_utils.training.device import (
    autocast,
    choose_device,
    choose_precision,
    matmul_precision,
)
from genomelm_utils.training.loop import fit

logger = logging.getLogger(__name__)

Labelled = tuple[Codes, np.ndarray]  # (base codes, labels 0..C-1)

SPECIAL_IDS = 2  # [CLS] and [SEP] of every window
WARMUP_SHARE = 0.1  # Source: GeneMask's fine-tuning script, --warmup_percent 0.1
N_SKIPPED = 10  # Source: the released script reads "-10" at the end of a model path as a step count
TOKENS_PER_BATCH = {
    "cpu": 2048,
    "cuda": 131_072,
    "mps": 16_384,
}  # prediction; on a CPU what stays in the cache


@dataclass(frozen=True)
class Settings:
    """Batch size (sequences), peak learning rate and epochs of a fine-tuning."""

    batch_size: int
    peak_lr: float
    epochs: int


# Source: GeneMask's fine-tuning script: "with FS" for 10, 50, 100 shots, "without FS" for 500, 1000
SETTINGS = {"few": Settings(5, 1e-4, 20), "many": Settings(15, 5e-5, 5)}
FEW_UP_TO_SHOTS = 100


class Steps(NamedTuple):
    """Updates in all, of them warm-up, and per epoch."""

    total: int
    warmup: int
    per_epoch: int


def settings_for(shots: int) -> str:
    """The name of the published setting for this number of shots: 'few' up to 100, else 'many'."""
    return "few" if shots <= FEW_UP_TO_SHOTS else "many"


def steps_for(n_rows: int, setting: str | Settings) -> Steps:
    """How long a fine-tuning on `n_rows` sequences is; an epoch may end in a smaller batch."""
    setting = get_settings(setting)
    per_epoch = -(-n_rows // setting.batch_size)
    total = per_epoch * setting.epochs
    return Steps(total, int(WARMUP_SHARE * total), per_epoch)


def get_settings(setting: str | Settings) -> Settings:
    """The settings of that name, or those given; ValueError names the choices."""
    if isinstance(setting, Settings):
        return setting
    if setting not in SETTINGS:
        raise ValueError(f"settings {setting!r} are unknown, expected one of {', '.join(SETTINGS)}")
    return SETTINGS[setting]


@dataclass(frozen=True)
class Classifier:
    """A fine-tuned model that predicts from base codes.

    `history`: one row per epoch of training (None after loading). `new_weights`: names of the
    weights that were not in the pretrained model. `collapsed`: one class was predicted for all
    training rows.
    """

    model: BertForSequenceClassification
    k: int
    history: pd.DataFrame | None = None
    new_weights: tuple[str, ...] = ()
    collapsed: bool = False

    def predict(self, codes: Codes, *, both_strands: bool = False) -> np.ndarray:
        """Class probabilities float64 [S, C]; no labels are needed.

        both_strands: mean of the probabilities of a sequence and its reverse complement. Right
        where the label does not depend on the strand given; for TSS- or splice-aligned windows it
        asks the model about sequences unlike those it was trained on.
        """
        probs_SC = self.predict_one_strand(codes)
        if not both_strands:
            return probs_SC
        other = [reverse_complement(np.asarray(one)) for one in codes]
        return (probs_SC + self.predict_one_strand(other)) / 2

    def predict_one_strand(self, codes: Codes) -> np.ndarray:
        """Class probabilities float64 [S, C] of the sequences as they are."""
        windows = build_windows(codes, self.k, window_tokens(self.model))
        logits_SC = run_windows(self.model, windows, classify_windows)
        return torch.softmax(logits_SC.double(), dim=1).numpy()

    def save(self, folder: Path | str) -> Path:
        """Write model, tokenizer, history and `classifier.json`; replaces `folder` as a whole."""
        with write_folder(Path(folder)) as partial:
            self.model.save_pretrained(partial)
            build_tokenizer(self.k).save_pretrained(partial)
            facts = {"k": self.k, "new_weights": self.new_weights, "collapsed": self.collapsed}
            (partial / "classifier.json").write_text(json.dumps(facts, indent=1) + "\n")
            if self.history is not None:
                self.history.to_csv(partial / "history.csv", index=False)
        return Path(folder)


def load_classifier(folder: Path | str) -> Classifier:
    """The classifier that `Classifier.save` wrote; predicts the same numbers."""
    source_config(folder)  # a clear error when there is no model
    file = Path(folder) / "classifier.json"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing, expected a folder written by Classifier.save")
    facts = json.loads(file.read_text())
    with quiet_loading():
        model = BertForSequenceClassification.from_pretrained(
            folder, attn_implementation="sdpa", dtype=torch.float32
        )
    table = Path(folder) / "history.csv"
    return Classifier(
        model.eval(),
        facts["k"],
        pd.read_csv(table) if table.is_file() else None,
        tuple(facts["new_weights"]),
        facts["collapsed"],
    )


def fine_tune(
    model: Source,
    train: Labelled,
    *,
    k: int,
    settings: str | Settings,
    seed: int,
    folder: Path | str | None = None,
    n_classes: int | None = None,
    reference_resume_bug: bool = False,
) -> Classifier:
    """A classifier trained on labelled sequences; the given model is left as it is.

    model: folder of a masked LM, BERT model in memory, or BertConfig ('from scratch'). train: codes
    (uint8 [S, L] or a list) and labels 0..C-1. settings: 'few', 'many' or `Settings`. seed: new
    weights, order of rows, dropout. folder: where to save the result, None does not. n_classes: by
    default the largest label + 1.
    reference_resume_bug: what the released script does to a model path that ends in "-10": the
    first 10 batches are skipped, so the last 10 updates of the schedule never happen and the
    learning rate does not reach 0 (10 shots: 70 instead of 80 updates).

    The last weights are kept: no validation rows, no early stopping, as in the published protocol.
    Nothing of an earlier optimiser is read. Warns when the result predicts one class for all rows.
    Few-shot trainings take seconds to minutes: they write no checkpoints and are not resumed.

    Source: GeneMask's fine-tuning script: AdamW (0.9, 0.999, 1e-8), weight decay 0.01, clip 1.0,
    10% linear warm-up then linear to 0, dropout 0.1, last checkpoint evaluated once.
    """
    codes, labels = train
    labels_S, n_classes = check_labels(labels, n_classes, n_rows=len(codes))
    setting = get_settings(settings)
    bert, new_weights = build_classifier(model, k, n_classes, seed)
    windows = build_windows(codes, k, window_tokens(bert))
    total, warmup, per_epoch = steps_for(len(labels_S), setting)
    n_skipped = N_SKIPPED if reference_resume_bug else 0
    result = fit(
        ClassificationTask(bert),
        make_batches(windows, labels_S, setting, seed, n_skipped),
        steps=total,
        warmup_steps=warmup,
        peak_lr=setting.peak_lr,
        seed=seed,
        log_every=per_epoch,
        progress=False,
    )
    trained = Classifier(bert.eval(), k, result.history, tuple(new_weights))
    trained = replace(trained, collapsed=warn_if_collapsed(trained, windows, labels_S))
    if folder is not None:
        trained.save(folder)
    return trained


class ClassificationTask(nn.Module):
    """Sum of the cross entropies of a batch of sequences, as `training.loop.fit` wants it."""

    def __init__(self, model: BertForSequenceClassification) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        row_W: torch.Tensor,
        labels_B: torch.Tensor,
    ) -> tuple[torch.Tensor, int]:
        """(loss summed over sequences, number of sequences); row_W: the row of each window."""
        logits_WC = classify_windows(self.model, input_ids, attention_mask)
        logits_BC = pool_windows(logits_WC.float(), row_W, len(labels_B))
        return functional.cross_entropy(logits_BC, labels_B, reduction="sum"), len(labels_B)


def make_batches(
    windows: TokenWindows, labels_S: np.ndarray, setting: Settings, seed: int, n_skipped: int = 0
) -> Callable[[int, int], dict[str, torch.Tensor | int]]:
    """(step, micro) -> batch, a pure function: every epoch is a permutation of all rows.

    n_skipped: batches left out at the start; as many steps at the end have no rows (no update).
    """
    total, _, per_epoch = steps_for(len(labels_S), setting)

    def batch(step: int, micro: int) -> dict[str, torch.Tensor | int]:
        if step + n_skipped >= total:
            return {"n_targets": 0}
        epoch, position = divmod(step + n_skipped, per_epoch)
        order_S = row_order(seed, epoch, len(labels_S))
        rows_B = order_S[position * setting.batch_size : (position + 1) * setting.batch_size]
        chosen_W, row_W = windows.select(rows_B)
        return {
            **windows.pad(chosen_W),
            "row_W": torch.from_numpy(row_W),
            "labels_B": torch.from_numpy(labels_S[rows_B]),
            "n_targets": len(rows_B),
        }

    return batch


def row_order(seed: int, epoch: int, n_rows: int) -> np.ndarray:
    """The order of training rows in an epoch: a permutation that depends on seed and epoch only."""
    return np.random.default_rng([seed, epoch]).permutation(n_rows)


def window_tokens(model: nn.Module) -> int:
    """The k-mers that fit in a window: the model's positions less [CLS] and [SEP]."""
    return model.config.max_position_embeddings - SPECIAL_IDS


def run_windows(
    model: nn.Module, windows: TokenWindows, call: Callable[..., torch.Tensor]
) -> torch.Tensor:
    """float32 [S, X]: mean over the windows of each sequence of `call(model, ids, mask)` ([W, X]).

    Runs on the GPU when there is one (bf16 where it has it), in evaluation mode, windows sorted by
    length; the model comes back as it was.
    """
    device, _ = choose_device()
    precision, _ = choose_precision("auto", device)
    home, mode = next(model.parameters()).device, model.training
    batches = batch_by_length(windows.length_W, TOKENS_PER_BATCH[device.type])
    model.to(device).eval()
    try:
        with torch.inference_mode(), matmul_precision(precision), autocast(device, precision):
            parts = [call(model, **to_device(windows.pad(batch), device)) for batch in batches]
    finally:
        model.to(home).train(mode)
    sorted_WX = torch.cat([part.float().cpu() for part in parts])
    values_WX = torch.empty_like(sorted_WX)
    values_WX[torch.from_numpy(np.concatenate(batches))] = sorted_WX
    return pool_windows(values_WX, torch.from_numpy(windows.sequence_W), windows.n_sequences)


def to_device(batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """The batch under the argument names of the window functions, on `device`."""
    return {f"{name}_WL": tensor.to(device) for name, tensor in batch.items()}


def warn_if_collapsed(trained: Classifier, windows: TokenWindows, labels_S: np.ndarray) -> bool:
    """Whether one class is predicted for all training rows although they have several."""
    if len(np.unique(labels_S)) < 2:
        return False
    predicted_S = run_windows(trained.model, windows, classify_windows).argmax(1).numpy()
    collapsed = bool((predicted_S == predicted_S[0]).all())
    if collapsed:
        logger.warning(
            "collapsed: class %d is predicted for all %d training rows (labels %s); try another "
            "seed, a lower learning rate or more epochs",
            predicted_S[0],
            len(labels_S),
            np.bincount(labels_S).tolist(),
        )
    return collapsed


def embed(model: Source, codes: Codes, *, k: int) -> np.ndarray:
    """Mean-pooled last hidden states of the frozen encoder: float32 [S, D] (see `mean_states`)."""
    bert, _ = build_classifier(model, k, n_classes=2, seed=0)
    windows = build_windows(codes, k, window_tokens(bert))
    return run_windows(bert.bert, windows, mean_states).numpy()


def probe(
    model: Source,
    train: Labelled,
    test: Codes,
    k: int,
    *,
    C: float = 1.0,
    n_classes: int | None = None,
) -> np.ndarray:
    """Class probabilities float64 [S, C] of a logistic regression on frozen, mean-pooled features.

    Fast and without a seed, and steadier than fine-tuning at 10 shots: it shows what the
    pretraining alone has put into the encoder. Features are scaled on the training rows.
    """
    codes, labels = train
    features_SD, test_SD = standardise(embed(model, codes, k=k), embed(model, test, k=k))
    return logistic_probs(features_SD, labels, test_SD, C, n_classes)
