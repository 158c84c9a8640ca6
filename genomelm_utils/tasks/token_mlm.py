"""Masked-language-model pretraining on tokens that do not overlap: rows of ids to a saved model.

`pretrain_alibi_mlm` is DNABERT-2's; FloraBERT's is in `tasks.promoter_mlm`.

The bits it reports are those of `pretraining.token_bits`.

Letters: B rows, L positions, N masked tokens, V vocabulary, D width.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from genomelm_utils.models.alibi_bert import AlibiBertForMaskedLM, alibi_config
from genomelm_utils.pretraining.masking import IGNORE
from genomelm_utils.pretraining.token_bits import (
    MASKED_SHARE,
    MAX_TOKENS,
    FrozenTokens,
    MaskedModel,
    Windows,
    token_bits,
)
from genomelm_utils.pretraining.token_masking import mask_tokens_bert
from genomelm_utils.tokenizers.bpe import MASK, N_SPECIAL, pad_batch, token_bases, tokenize_codes
from genomelm_utils.training.checkpoint import hide_bars, write_folder
from genomelm_utils.training.distributed import open_accelerator
from genomelm_utils.training.loop import FitResult, fit
from genomelm_utils.training.prefetch import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SELECTED = ("best", "last")
#: Rows `start` to `stop` of a step: int32 ids each. A pure function.
RowFunction = Callable[[int, int, int], list[np.ndarray]]
#: Rows of ids -> (ids_BL, mask_BL), such as `bpe.pad_batch` and `byte_bpe.pad_left`.
PadFunction = Callable[[list[np.ndarray]], tuple[torch.Tensor, torch.Tensor]]


class TokenMLMTask(nn.Module):
    """Cross-entropy of the masked tokens, for `training.loop.fit`."""

    def __init__(self, model: MaskedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        positions: torch.Tensor,
        targets: torch.Tensor,
    ) -> tuple[torch.Tensor, int]:
        """(sum of the cross-entropy in nats, number of masked tokens).

        input_ids: int64[B, L]. attention_mask: bool[B, L]. positions: int64[N], masked tokens in
        the flattened batch. targets: int64[N], their true ids.
        """
        logits_NV = self.model.predict_at(input_ids, attention_mask, positions)
        return F.cross_entropy(logits_NV.float(), targets, reduction="sum"), len(targets)


class RowBatches:
    """(step, micro) -> masked micro-batch of rows, a pure function for `training.loop.fit`.

    A micro-batch holds the step's rows of its own number only, so that each of several processes
    cuts, tokenises and masks nothing but its share.

    Args:
        rows: where rows come from. pad: how they become a batch.
        rows_per_step, micro_batches: rows of a step, and the pieces they are cut into.
        vocab_size: of the tokenizer, whose special tokens are 0..4, `MASK` 4 among them.
        random_ids_R: as in `mask_tokens_bert`. seed: of the masks.
    Raises: ValueError when there are fewer rows than micro-batches.
    """

    def __init__(
        self,
        rows: RowFunction,
        pad: PadFunction,
        *,
        vocab_size: int,
        rows_per_step: int,
        micro_batches: int = 1,
        mask_share: float = MASKED_SHARE,
        random_ids_R: torch.Tensor | None = None,
        seed: int = 0,
    ) -> None:
        if rows_per_step < micro_batches:
            raise ValueError(
                f"rows_per_step is {rows_per_step}, expected at least one row for each of the "
                f"{micro_batches} micro-batches"
            )
        self.rows, self.pad, self.seed = rows, pad, seed
        self.cuts = np.arange(micro_batches + 1) * rows_per_step // micro_batches
        self.masking = {
            "mask_share": mask_share,
            "mask_id": MASK,
            "vocab_size": vocab_size,
            "n_special": N_SPECIAL,
            "random_ids_R": random_ids_R,
        }

    def __call__(self, step: int, micro: int) -> Batch:
        """The tensors for `TokenMLMTask`, with `n_targets` and `n_tokens` (padding not counted)."""
        ids_BL, mask_BL = self.pad(
            self.rows(step, int(self.cuts[micro]), int(self.cuts[micro + 1]))
        )
        state = np.random.SeedSequence([self.seed, step, micro]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]))
        input_ids_BL, labels_BL = mask_tokens_bert(
            ids_BL, mask_BL, generator=generator, **self.masking
        )
        positions_N = (labels_BL.flatten() != IGNORE).nonzero()[:, 0]
        return {
            "input_ids": input_ids_BL,
            "attention_mask": mask_BL,
            "positions": positions_N,
            "targets": labels_BL.flatten()[positions_N],
            "n_targets": len(positions_N),
            "n_tokens": int(mask_BL.sum()),
        }


class TokenBatches(RowBatches):
    """`RowBatches` of windows cut into DNABERT-2's tokens; N in them is `[UNK]`, never masked.

    windows: where rows come from. max_tokens: ids of a row at most; longer windows are cut.
    options: as in `RowBatches`.
    """

    def __init__(
        self,
        windows: Windows,
        tokenizer: "PreTrainedTokenizerFast",
        *,
        max_tokens: int = MAX_TOKENS,
        **options: Any,
    ) -> None:
        def rows(step: int, start: int, stop: int) -> list[np.ndarray]:
            codes = windows.pairs(step, start, stop).first
            return tokenize_codes(tokenizer, codes, max_tokens=max_tokens)

        super().__init__(rows, pad_batch, vocab_size=len(tokenizer), **options)


@dataclass(frozen=True)
class PretrainedTokens:
    """What a pretraining leaves: the model, its `fit`, and the folder `final` with both parts."""

    model: "PreTrainedModel"
    fit: FitResult
    final: Path


#: DNABERT-2's, for `training.loop.fit`: 500,000 steps, AdamW 0.9/0.98, eps 1e-6, decay 1e-5, 30,000
#: steps up to 5e-4, then linearly to 0. Source: Zhou et al. 2023 (arXiv:2306.15006), section 3.3.
#: Clipping at 1.0, how often to evaluate and save, and the seed are ours.
DNABERT2_FIT = {
    "steps": 500_000,
    "micro_batches": 1,
    "peak_lr": 5e-4,
    "warmup_steps": 30_000,
    "weight_decay": 1e-5,
    "betas": (0.9, 0.98),
    "eps": 1e-6,
    "clip_norm": 1.0,
    "eval_every": 5000,
    "save_every": 5000,
    "seed": 42,
    "resume": True,
}


def pretrain_alibi_mlm(
    windows: Windows,
    validation: Sequence[FrozenTokens],
    tokenizer: "PreTrainedTokenizerFast",
    *,
    folder: Path,
    preset: str = "dnabert-s",
    max_tokens: int = MAX_TOKENS,
    mask_share: float = MASKED_SHARE,
    rows_per_step: int = 4096,
    **options: Any,
) -> PretrainedTokens:
    """Pretrain a model from random weights; model and tokenizer lie in `folder/final`.

    `load_alibi(folder / "final", "encoder")` starts contrastive training from it. A killed run
    goes on from its newest checkpoint when called again with the same arguments.

    The defaults are DNABERT-2's: 4096 rows of 128 tokens, 15 % masked, and `DNABERT2_FIT`.

    Args:
        windows: training rows, see `TokenBatches`. validation: of `freeze_tokens`.
        preset: of `models.alibi_bert.ALIBI_PRESETS`; the vocabulary's size is the tokenizer's.
        options: of `training.loop.fit`, in place of those of `DNABERT2_FIT`.
    Raises: as `training.loop.fit`.
    """
    options = {**DNABERT2_FIT, **options}
    batches = TokenBatches(
        windows,
        tokenizer,
        rows_per_step=rows_per_step,
        micro_batches=options["micro_batches"],
        max_tokens=max_tokens,
        mask_share=mask_share,
        seed=options["seed"],
    )
    model = build_alibi_mlm(preset, len(tokenizer), options["seed"])
    bases_V = token_bases(tokenizer)
    return fit_tokens(
        model,
        batches,
        tokenizer,
        folder=folder,
        evaluate=lambda task: token_bits(task.model, validation, bases_V),
        monitor="bits_per_base",
        settings={
            "preset": preset,
            "max_tokens": max_tokens,
            "mask_share": mask_share,
            "rows_per_step": rows_per_step,
            "windows": hash_content(np.concatenate(windows.pairs(0, 0, 1).first).tobytes()),
        },
        **options,
    )


def fit_tokens(
    model: "PreTrainedModel",
    batches: RowBatches,
    tokenizer: "PreTrainedTokenizerFast",
    *,
    folder: Path,
    settings: dict[str, Any],
    select: str = "last",
    **options: Any,
) -> PretrainedTokens:
    """Train a masked language model of tokens; model and tokenizer lie in `folder/final`.

    model: has `predict_at` (`token_bits.MaskedModel`). settings: of the caller, which a resume has
        to share; the tokenizer's words are added. options: of `training.loop.fit`.
    select: 'last' keeps the weights after the last step, 'best' those of the best checkpoint (which
        needs `monitor`).
    Raises: ValueError for another `select`; as `training.loop.fit`.
    """
    if select not in SELECTED:
        raise ValueError(f"select is {select!r}, expected one of: {', '.join(SELECTED)}")
    words = hash_content(repr(sorted(tokenizer.get_vocab().items())).encode())
    result = fit(
        TokenMLMTask(model),
        batches,
        folder=folder,
        settings={**settings, "tokenizer": words},
        **options,
    )
    if select == "best" and result.best_checkpoint:
        with hide_bars():
            best = type(model).from_pretrained(result.best_checkpoint)
        model.load_state_dict(best.state_dict())
    final = Path(folder) / "final"
    accelerator = open_accelerator()
    if accelerator.is_main_process:
        with write_folder(final) as partial, hide_bars():
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
    accelerator.wait_for_everyone()
    return PretrainedTokens(model, result, final)


def build_alibi_mlm(preset: str, vocab_size: int, seed: int) -> AlibiBertForMaskedLM:
    """A randomly initialised model on the CPU, the same for the same seed.

    torch's own random state is left as it was found.
    """
    config = alibi_config(preset, vocab_size=vocab_size)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return AlibiBertForMaskedLM(config)


def hash_content(content: bytes) -> str:
    """A short hash: another tokenizer or other rows are noticed on resuming."""
    return hashlib.sha256(content).hexdigest()[:16]
