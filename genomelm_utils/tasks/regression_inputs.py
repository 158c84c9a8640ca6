"""What a fine-tuning on expression is made from: settings, encoder, rows of tokens, targets.

Shapes: S sequences, T tissues.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from transformers import PretrainedConfig, PreTrainedModel

from genomelm_utils.datasets.expression_set import ExpressionSet
from genomelm_utils.models.expression_heads import (
    HEAD_DROPOUT,
    RULES,
    ExpressionModel,
    build_expression_model,
)
from genomelm_utils.tasks.embedding_models import load_encoder
from genomelm_utils.tasks.expression_rows import TokenRows, pooled_ids, tokenise_rows
from genomelm_utils.tasks.label_transform import LabelTransform
from genomelm_utils.tasks.regression_modes import Mode
from genomelm_utils.tasks.regressor import longest_row, padding_side
from genomelm_utils.training.unfreezing import DELAY_STEPS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

FREEZE = ("none", "encoder")

Source = str | Path | PreTrainedModel | PretrainedConfig
FLORA_SPECIAL = {"<s>": 0, "</s>": 1, "<pad>": 2}  # Source: released tokenizer of FloraBERT


@dataclass(frozen=True)
class RegressionSettings:
    """All that decides a fine-tuning besides data, encoder and seed. Defaults are corrected.

    mode: what is learned, see `Mode`. pooling, head_dropout, dropout_rule, batch_norm, mask_rule:
    see `build_expression_model`. max_ids, truncate: see `tokenise_rows`. missing: 'reference' drops
    every row with a missing label instead of masking the label. start_at_mean: biases of the last
    layer start at the training means (released: at 0).
    epochs, batch_size (rows), accumulate (batches per update). optimizer, schedule, clip_norm, ...:
    those of `training.loop.fit`. warmup_steps: None = a tenth. layer_decay: factor on the learning
    rate from layer to layer. unfreeze_groups: progressive unfreezing in so many groups of layers,
    each `unfreeze_delay` updates after the one above it, with schedule 'constant'; 0 = all learn
    from the start. unfreeze_rule: 'reference' trains the first tensor of the head alone and no
    embeddings. Both: `training.unfreezing`. freeze: 'encoder' trains pooling and head alone (a
    probe), with the encoder as in use, without its dropout. patience: stop after so many epochs in
    a row without a lower validation loss. ema_decay: of a moving average of the weights, which is
    then what is judged and kept; 0: none.
    precision: of `training.loop.fit`; 'fp16' is what the released code trains with.
    """

    mode: Mode = field(default_factory=Mode)
    pooling: str = "mean"
    head_dropout: float = HEAD_DROPOUT
    dropout_rule: str = "corrected"
    batch_norm: bool = False
    mask_rule: str = "corrected"
    max_ids: int | None = None
    truncate: str = "corrected"
    missing: str = "corrected"
    start_at_mean: bool = True
    epochs: int = 3
    batch_size: int = 64
    accumulate: int = 1
    peak_lr: float = 1e-3
    optimizer: str = "adamw"
    schedule: str = "linear"
    warmup_steps: int | None = None
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    layer_decay: float = 1.0
    unfreeze_groups: int = 0
    unfreeze_delay: int = DELAY_STEPS
    unfreeze_rule: str = "corrected"
    freeze: str = "none"
    patience: int | None = None
    ema_decay: float = 0.0
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.missing not in RULES:
            raise ValueError(f"missing is {self.missing!r}, expected {' or '.join(RULES)}")
        if self.freeze not in FREEZE:
            raise ValueError(f"freeze is {self.freeze!r}, expected {' or '.join(FREEZE)}")
        chosen = {
            "freeze 'encoder'": self.freeze == "encoder",
            "layer_decay below 1": self.layer_decay != 1,
            "unfreeze_groups above 0": self.unfreeze_groups > 0,
        }
        if sum(chosen.values()) > 1:
            names = " and ".join(name for name, is_chosen in chosen.items() if is_chosen)
            raise ValueError(f"{names} contradict each other, expected one of them")
        if self.unfreeze_groups and self.schedule != "constant":
            raise ValueError(
                f"unfreeze_groups needs schedule 'constant', found {self.schedule!r}: groups that "
                "start late would have little left of a falling rate"
            )
        for name in ("epochs", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


_REFERENCE = {
    "dropout_rule": "reference",
    "mask_rule": "reference",
    "truncate": "reference",
    "missing": "reference",
    "start_at_mean": False,
    "optimizer": "lamb",
    "schedule": "constant",
    "warmup_steps": 200,
    "weight_decay": 0.0,
    "clip_norm": 10.0,
}
#: Fine-tuning as published. Source: 'repository' released config.yaml and `finetune.py`; 'preprint'
#: Levy et al. 2022 (rs-1927200/v1), whose "5^-5" is read as 5e-5.
PUBLISHED = {
    "repository": RegressionSettings(
        epochs=3, batch_size=64, accumulate=10, peak_lr=1e-3, **_REFERENCE
    ),
    "preprint": RegressionSettings(
        epochs=25, batch_size=64, accumulate=10, peak_lr=5e-5, **_REFERENCE
    ),
}


@dataclass(frozen=True)
class Prepared:
    """An expression set as a model reads it: rows of tokens and targets of two parts.

    valid_*: None where the set has no part 'valid'. n_unlabelled, n_dropped: training rows without
    any label, and those that `missing='reference'` left out.
    """

    encoder: PreTrainedModel | PretrainedConfig
    tokenizer: "PreTrainedTokenizerBase"
    transform: LabelTransform
    max_ids: int | None
    train_rows: TokenRows
    train_targets_ST: np.ndarray
    valid_rows: TokenRows | None
    valid_targets_ST: np.ndarray | None
    n_unlabelled: int
    n_dropped: int


def prepare(
    source: Source,
    expression: ExpressionSet,
    tokenizer: "PreTrainedTokenizerBase | None",
    settings: RegressionSettings,
    transform: LabelTransform | None = None,
) -> Prepared:
    """Encoder, rows and targets, ready for `train` with any seed."""
    encoder, tokenizer = load_source(source, tokenizer)
    train_set = expression.select("train")
    transform = transform or LabelTransform(expression.tissues)
    if transform.tissues != expression.tissues:
        raise ValueError(
            f"the label transform is of {', '.join(transform.tissues)}, the set of "
            f"{', '.join(expression.tissues)}; fit it on this set's training rows"
        )
    labelled_S = ~np.isnan(train_set.tpm_ST).all(1)
    complete_S = ~np.isnan(train_set.tpm_ST).any(1)
    kept_S = complete_S if settings.missing == "reference" else labelled_S
    n_unlabelled = int((~labelled_S).sum())
    n_dropped = int((labelled_S & ~kept_S).sum())
    if n_unlabelled or n_dropped:
        logger.warning(
            "of %d training promoters %d have no label at all and are left out, %d more because "
            "a label is missing (missing = %r)",
            len(train_set), n_unlabelled, n_dropped, settings.missing,
        )  # fmt: skip
    if not kept_S.any():
        raise ValueError(
            f"none of {len(train_set)} training promoters is left: {n_unlabelled} have no label, "
            f"{n_dropped} lack one; use missing = 'corrected', or fewer tissues"
        )
    built = build_model(encoder, tokenizer, settings, expression.tissues, seed=0)
    limit = longest_row(built.encoder, tokenizer, settings.max_ids)
    rows, targets = {}, {}
    has_valid = (expression.genes["part"] == "valid").any()
    parts = {"train": train_set.take(kept_S)}
    parts |= {"valid": expression.select("valid")} if has_valid else {}
    for part, chosen in parts.items():
        rows[part] = tokenise_rows(
            tokenizer,
            chosen.genes["sequence"].tolist(),
            max_ids=limit,
            gap_bp=chosen.genes["gap_bp"].tolist(),
            truncate=settings.truncate,
            side=padding_side(built.encoder),
        )
        targets[part] = settings.mode.targets(chosen.tpm_ST, transform)
    return Prepared(
        encoder, tokenizer, transform, limit, rows["train"], targets["train"], rows.get("valid"),
        targets.get("valid"), n_unlabelled, n_dropped,
    )  # fmt: skip


def load_source(
    source: Source, tokenizer: "PreTrainedTokenizerBase | None"
) -> tuple[PreTrainedModel | PretrainedConfig, "PreTrainedTokenizerBase"]:
    """(encoder or configuration, tokenizer); a folder is read, everything else passes through.

    A RoBERTa with FloraBERT's tokenizer that says nothing about its positions is a released one:
    they are counted as the released code does.
    """
    if isinstance(source, str | Path):
        encoder, own = load_encoder(source)
        tokenizer = tokenizer or own
    else:
        encoder = source
    if tokenizer is None:
        raise ValueError(
            "tokenizer is missing: give the one the encoder was trained with, or a folder that "
            "holds both"
        )
    config = encoder if isinstance(encoder, PretrainedConfig) else encoder.config
    vocabulary = tokenizer.get_vocab()
    flora = all(vocabulary.get(token) == i for token, i in FLORA_SPECIAL.items())
    if config.model_type == "roberta" and flora and not getattr(config, "tss_positions", None):
        logger.info("a released FloraBERT: positions 'reference'")
        config.tss_positions = "reference"
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens, the encoder {config.vocab_size}; they "
            "must belong together"
        )
    return encoder, tokenizer


def build_model(
    encoder: PreTrainedModel | PretrainedConfig,
    tokenizer: "PreTrainedTokenizerBase",
    settings: RegressionSettings,
    tissues: tuple[str, ...],
    seed: int,
) -> ExpressionModel:
    pad_id = tokenizer.pad_token_id
    return build_expression_model(
        encoder,
        tissues,
        special_ids=pooled_ids(tokenizer),
        pad_id=0 if pad_id is None else pad_id,
        pooling=settings.pooling,
        output=settings.mode.output,
        head_dropout=settings.head_dropout,
        dropout_rule=settings.dropout_rule,
        batch_norm=settings.batch_norm,
        mask_rule=settings.mask_rule,
        seed=seed,
    )
