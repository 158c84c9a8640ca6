"""Masked-language-model pretraining on byte-pair tokens, as DNABERT-2's: windows to a saved model.

The bits it reports are those of `pretraining.token_bits`.

Letters: B rows, L positions, N masked tokens, V vocabulary, D width.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
    Windows,
    predict_masked,
    token_bits,
)
from genomelm_utils.pretraining.token_masking import mask_tokens_bert
from genomelm_utils.tokenizers.bpe import MASK, N_SPECIAL, pad_batch, token_bases, tokenize_codes
from genomelm_utils.training.checkpoint import hide_bars, write_folder
from genomelm_utils.training.distributed import open_accelerator
from genomelm_utils.training.loop import FitResult, fit
from genomelm_utils.training.prefetch import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class TokenMLMTask(nn.Module):
    """Cross-entropy of the masked tokens, for `training.loop.fit`."""

    def __init__(self, model: AlibiBertForMaskedLM) -> None:
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
        logits_NV = predict_masked(self.model, input_ids, attention_mask, positions)
        return F.cross_entropy(logits_NV.float(), targets, reduction="sum"), len(targets)


class TokenBatches:
    """(step, micro) -> masked micro-batch of windows, a pure function for `training.loop.fit`.

    A micro-batch holds the step's rows of its own number only, so that each of several processes
    cuts, tokenises and masks nothing but its share.

    Args:
        windows: where rows come from. N in them is `[UNK]`, which is never masked.
        rows_per_step, micro_batches: rows of a step, and the pieces they are cut into.
        max_tokens: ids of a row at most; longer windows are cut. seed: of the masks.
    Raises: ValueError when there are fewer rows than micro-batches.
    """

    def __init__(
        self,
        windows: Windows,
        tokenizer: "PreTrainedTokenizerFast",
        *,
        rows_per_step: int,
        micro_batches: int = 1,
        max_tokens: int = MAX_TOKENS,
        mask_share: float = MASKED_SHARE,
        seed: int = 0,
    ) -> None:
        if rows_per_step < micro_batches:
            raise ValueError(
                f"rows_per_step is {rows_per_step}, expected at least one row for each of the "
                f"{micro_batches} micro-batches"
            )
        self.windows, self.tokenizer, self.max_tokens = windows, tokenizer, max_tokens
        self.cuts = np.arange(micro_batches + 1) * rows_per_step // micro_batches
        self.mask_share, self.seed = mask_share, seed

    def __call__(self, step: int, micro: int) -> Batch:
        """The tensors for `TokenMLMTask`, with `n_targets` and `n_tokens` (padding not counted)."""
        rows = self.windows.pairs(step, int(self.cuts[micro]), int(self.cuts[micro + 1])).first
        ids_BL, mask_BL = pad_batch(
            tokenize_codes(self.tokenizer, rows, max_tokens=self.max_tokens)
        )
        state = np.random.SeedSequence([self.seed, step, micro]).generate_state(1, np.uint64)
        input_ids_BL, labels_BL = mask_tokens_bert(
            ids_BL,
            mask_BL,
            generator=torch.Generator().manual_seed(int(state[0])),
            mask_share=self.mask_share,
            mask_id=MASK,
            vocab_size=len(self.tokenizer),
            n_special=N_SPECIAL,
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


@dataclass(frozen=True)
class PretrainedTokens:
    """What a pretraining leaves: the model, its `fit`, and the folder `final` with both parts."""

    model: AlibiBertForMaskedLM
    fit: FitResult
    final: Path


def pretrain_alibi_mlm(
    windows: Windows,
    validation: Sequence[FrozenTokens],
    tokenizer: "PreTrainedTokenizerFast",
    *,
    folder: Path,
    preset: str = "dnabert-s",
    max_tokens: int = MAX_TOKENS,
    mask_share: float = MASKED_SHARE,
    steps: int = 500_000,
    rows_per_step: int = 4096,
    micro_batches: int = 1,
    peak_lr: float = 5e-4,
    warmup_steps: int = 30_000,
    weight_decay: float = 1e-5,
    betas: tuple[float, float] = (0.9, 0.98),
    eps: float = 1e-6,
    clip_norm: float = 1.0,
    eval_every: int = 5000,
    save_every: int = 5000,
    log_every: int = 10,
    keep: int = 2,
    seed: int = 42,
    precision: str = "auto",
    compile_model: bool = False,
    resume: bool = True,
    progress: bool = True,
) -> PretrainedTokens:
    """Pretrain a model from random weights; model and tokenizer lie in `folder/final`.

    `load_alibi(folder / "final", "encoder")` starts contrastive training from it. A killed run
    goes on from its newest checkpoint when called again with the same arguments.

    The defaults are DNABERT-2's: 4096 rows of 128 tokens for 500,000 steps, AdamW 0.9/0.98, eps
    1e-6, decay 1e-5, 30,000 steps up to 5e-4, then linearly to 0, 15 % masked. Source: Zhou et al.
    2023 (arXiv:2306.15006), section 3.3. Clipping at 1.0, how often to evaluate and save are ours.

    Args:
        windows: training rows, see `TokenBatches`. validation: of `freeze_tokens`.
        preset: of `models.alibi_bert.ALIBI_PRESETS`; the vocabulary's size is the tokenizer's.
    Raises: as `training.loop.fit`.
    """
    batches = TokenBatches(
        windows,
        tokenizer,
        rows_per_step=rows_per_step,
        micro_batches=micro_batches,
        max_tokens=max_tokens,
        mask_share=mask_share,
        seed=seed,
    )
    model = build_alibi_mlm(preset, len(tokenizer), seed)
    bases_V = token_bases(tokenizer)
    result = fit(
        TokenMLMTask(model),
        batches,
        steps=steps,
        micro_batches=micro_batches,
        peak_lr=peak_lr,
        warmup_steps=warmup_steps,
        weight_decay=weight_decay,
        betas=betas,
        eps=eps,
        clip_norm=clip_norm,
        folder=folder,
        evaluate=lambda task: token_bits(task.model, validation, bases_V),
        eval_every=eval_every,
        save_every=save_every,
        log_every=log_every,
        keep=keep,
        resume=resume,
        seed=seed,
        monitor="bits_per_base",
        precision=precision,
        compile_model=compile_model,
        settings={
            "preset": preset,
            "max_tokens": max_tokens,
            "mask_share": mask_share,
            "rows_per_step": rows_per_step,
            "tokenizer": _hash(repr(sorted(tokenizer.get_vocab().items())).encode()),
            "windows": _hash(np.concatenate(windows.pairs(0, 0, 1).first).tobytes()),
        },
        progress=progress,
    )
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


def _hash(content: bytes) -> str:
    """Another tokenizer or other windows are noticed on resuming."""
    return hashlib.sha256(content).hexdigest()[:16]
