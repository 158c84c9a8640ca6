"""Masked-language-model pretraining: batches, task, the run as a whole, and loading its result.

Letters: B rows, L token positions ([CLS] is 0), N masked tokens, V vocabulary.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from genomelm_utils.models.presets import build_masked_lm, k_of_vocab
from genomelm_utils.models.weights_files import read_weights, weights_file
from genomelm_utils.pretraining.bits import (
    Corpus,
    FrozenBatch,
    bits_per_base,
    pad_mask,
    predict_tokens,
)
from genomelm_utils.pretraining.masking import IGNORE, Masked, mask_tokens
from genomelm_utils.tokenizers.kmer import MAX_IDS, build_tokenizer
from genomelm_utils.training.checkpoint import hide_bars, write_folder
from genomelm_utils.training.distributed import open_accelerator
from genomelm_utils.training.loop import FitResult, fit
from genomelm_utils.training.prefetch import Batch

logger = logging.getLogger(__name__)


class MaskedLMTask(nn.Module):
    """Cross-entropy of the masked tokens, for `training.loop.fit`."""

    def __init__(self, model: BertForMaskedLM) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        targets: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, int]:
        """(sum of the cross-entropy in nats, number of masked tokens).

        input_ids: int64[B, L]. positions: int64[N], masked tokens in the flattened batch, known on
        the CPU so that a GPU need not wait to count them. targets: int64[N].
        """
        logits_NV = predict_tokens(self.model, input_ids, positions, attention_mask)
        loss = F.cross_entropy(logits_NV.float(), targets, reduction="sum")
        return loss, len(targets)


class MaskedBatches:
    """(step, micro) -> masked micro-batch, a pure function for `training.loop.fit`.

    The rows of a step are drawn and masked together, sorted by length, and cut into micro-batches,
    each as wide as its longest row: little of the work is padding, and the gradient of the step is
    the same in any order.

    Args:
        corpus: rows as a pure function of (step, micro), such as `pretraining.corpus.CropCorpus`.
        k, scheme, centre_prob, ranks_V, corrupt: as in `pretraining.masking.mask_tokens`.
        rows_per_step, micro_batches: rows of a step, and the pieces they are cut into.
        steps: updates of the whole training; `curriculum` needs to know how far it is.
        seed: of the masks.
        attend_pads: True repeats the reference, where padding is attended and rows are padded to
            the longest of an unsorted batch (defect B7); False masks it (corrected).
    Raises: ValueError when there are fewer rows than micro-batches.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        k: int,
        scheme: str,
        centre_prob: float,
        rows_per_step: int,
        micro_batches: int,
        steps: int,
        seed: int,
        ranks_V: torch.Tensor | None = None,
        corrupt: str = "span",
        attend_pads: bool = False,
    ) -> None:
        if rows_per_step < micro_batches:
            raise ValueError(
                f"rows_per_step is {rows_per_step}, expected at least one row for each of the "
                f"{micro_batches} micro-batches"
            )
        self.corpus, self.rows_per_step, self.micro_batches = corpus, rows_per_step, micro_batches
        self.steps, self.seed, self.attend_pads = steps, seed, attend_pads
        self.masking = {
            "k": k,
            "scheme": scheme,
            "centre_prob": centre_prob,
            "ranks_V": ranks_V,
            "corrupt": corrupt,
        }
        # the micro-batches of a step are asked for one after the other
        self.step_rows = lru_cache(maxsize=2)(self._step_rows)

    def _step_rows(self, step: int) -> tuple[Masked, torch.Tensor]:
        """All masked rows of a step, and the number of ids of each."""
        ids_BL, lengths_B = self.corpus.batch(step, 0, self.rows_per_step)
        state = np.random.SeedSequence([self.seed, step]).generate_state(1, np.uint64)
        masked = mask_tokens(
            ids_BL,
            lengths_B,
            generator=torch.Generator().manual_seed(int(state[0])),
            progress=min(1.0, step / self.steps),
            **self.masking,
        )
        return masked, lengths_B

    def __call__(self, step: int, micro: int) -> Batch:
        """The tensors for `MaskedLMTask`, with `n_targets` and `n_tokens` (padding not counted)."""
        masked, lengths_B = self.step_rows(step)
        order = torch.arange(len(lengths_B))
        if not self.attend_pads:
            order = torch.argsort(lengths_B, descending=True, stable=True)
        rows = order.tensor_split(self.micro_batches)[micro]
        lengths_B = lengths_B[rows]
        width = int(lengths_B.max())
        labels_BL = masked.labels_BL[rows, :width]
        positions_N = (labels_BL.flatten() != IGNORE).nonzero()[:, 0]
        batch = {
            "input_ids": masked.input_ids_BL[rows, :width].contiguous(),
            "positions": positions_N,
            "targets": labels_BL.flatten()[positions_N],
            "n_targets": len(positions_N),
            "n_tokens": int(lengths_B.sum()),
        }
        mask_BL = None if self.attend_pads else pad_mask(lengths_B, width)
        return batch if mask_BL is None else {**batch, "attention_mask": mask_BL}

    def measure_shares(self, n_steps: int = 4) -> dict[str, float]:
        """Shares over the first steps: tokens masked, bases hidden, hidden after kept tokens.

        `masked_per_hidden`: masked tokens spent per hidden base; nan when no base is hidden.
        """
        tokens = masked_tokens = bases = hidden = after_keep = 0
        for step in range(min(n_steps, self.steps)):
            masked, lengths_B = self.step_rows(step)
            tokens += int((lengths_B - 2).clamp(min=0).sum())
            masked_tokens += int(masked.masked_BL.sum())
            bases += int(masked.n_bases_B.sum())
            hidden += int(masked.hidden_bases_B.sum())
            after_keep += int(masked.hidden_after_keep_B.sum())
        return {
            "masked_token_share": masked_tokens / tokens,
            "hidden_base_share": hidden / bases,
            "hidden_base_share_after_keep": after_keep / bases,
            "masked_per_hidden": masked_tokens / hidden if hidden else float("nan"),
        }


def mlm_batches(corpus: Corpus, **settings: Any) -> MaskedBatches:
    """The batch function of a pretraining; the settings are those of `MaskedBatches`."""
    return MaskedBatches(corpus, **settings)


@dataclass(frozen=True)
class Pretrained:
    """What a pretraining leaves: the model, its `fit`, shares masked, and the folder `final`."""

    model: BertForMaskedLM
    fit: FitResult
    shares: dict[str, float]
    final: Path


#: GeneMask's, for `training.loop.fit`: 25 accumulated, 10,000 steps of which 500 warm up to 8e-4
#: and the rest fall linearly to 0, AdamW 0.9/0.98, eps 1e-6, decay 0.01, clip 1.0, seed 42,
#: evaluation every 500 steps, saving every 1,000. Source: Roy et al. 2023 (arXiv:2307.15933),
#: released pretraining script.
GENEMASK_FIT = {
    "steps": 10_000,
    "micro_batches": 25,
    "peak_lr": 8e-4,
    "warmup_steps": 500,
    "weight_decay": 0.01,
    "betas": (0.9, 0.98),
    "eps": 1e-6,
    "clip_norm": 1.0,
    "eval_every": 500,
    "save_every": 1000,
    "seed": 42,
    "resume": True,
}


def pretrain(
    corpus: Corpus,
    validation: Sequence[FrozenBatch],
    *,
    folder: Path,
    preset: str = "dnabert6",
    max_positions: int = MAX_IDS,
    k: int = 6,
    scheme: str = "genemask",
    centre_prob: float = 0.0176,
    ranks_V: torch.Tensor | None = None,
    corrupt: str = "span",
    attend_pads: bool = False,
    rows_per_step: int = 250,
    **options: Any,
) -> Pretrained:
    """Pretrain a model from random weights; the result lies in `folder/final`.

    `BertForMaskedLM.from_pretrained` and `AutoTokenizer.from_pretrained` load that folder. A killed
    run goes on from its newest checkpoint when called again with the same arguments, and ends with
    the same weights (on a CPU to the bit); a finished one is only read. Of several processes the
    main one writes, and all return when everything is written.

    The defaults are GeneMask's (Script-A): 250 rows per step, centre probability 0.0176, and
    `GENEMASK_FIT`; but evaluation is on the frozen `validation` rows instead of a tenth of the
    genome (defect B10).

    Args:
        corpus: training rows, see `MaskedBatches`, whose arguments these are in part.
        validation: of `bits.frozen_validation`, from held-out sequence.
        preset: of `models.presets.PRESETS`.
        max_positions: ids the network can take at once, `[CLS]` and `[SEP]` included. Classifiers
            cut longer sequences into windows of that many, so no position is used untrained.
        options: of `training.loop.fit`, in place of those of `GENEMASK_FIT`.
    Raises: as `training.loop.fit`.
    """
    options = {**GENEMASK_FIT, **options}
    batches = mlm_batches(
        corpus,
        k=k,
        scheme=scheme,
        centre_prob=centre_prob,
        ranks_V=ranks_V,
        corrupt=corrupt,
        attend_pads=attend_pads,
        rows_per_step=rows_per_step,
        **{name: options[name] for name in ("micro_batches", "steps", "seed")},
    )
    shares = batches.measure_shares()
    logger.info("masking %s: %s", scheme, shares)
    model = build_masked_lm(preset, k, options["seed"], max_position_embeddings=max_positions)
    result = fit(
        MaskedLMTask(model),
        batches,
        folder=folder,
        evaluate=lambda task: bits_per_base(task.model, validation, k),
        monitor="bits_per_base",
        settings={
            "preset": preset,
            "max_positions": max_positions,
            "k": k,
            "scheme": scheme,
            "centre_prob": centre_prob,
            "corrupt": corrupt,
            "attend_pads": attend_pads,
            "rows_per_step": rows_per_step,
            "ranks": _fingerprint(ranks_V),
            "corpus": _fingerprint(corpus.batch(0, 0, min(rows_per_step, 8))[0]),
        },
        **options,
    )
    final = Path(folder) / "final"
    accelerator = open_accelerator()
    if accelerator.is_main_process:
        save_pretrained(model, final)
    accelerator.wait_for_everyone()
    return Pretrained(model, result, shares, final)


def save_pretrained(model: BertForMaskedLM, folder: Path) -> None:
    """Model and k-mer tokenizer in Hugging Face format, complete or not at all."""
    with write_folder(Path(folder)) as partial, hide_bars():
        model.save_pretrained(partial)
        build_tokenizer(k_of_vocab(model.config.vocab_size)).save_pretrained(partial)


def _fingerprint(tensor: torch.Tensor | None) -> str | None:
    """A short hash of a tensor's content: another corpus or ranking is noticed on resuming."""
    if tensor is None:
        return None
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()[:16]


#: What a BERT checkpoint may hold that a masked language model has no use for: the pooler and the
#: next-sentence head, and a buffer that older transformers saved.
_UNUSED_PREFIXES = ("bert.pooler.", "cls.seq_relationship.", "bert.embeddings.position_ids")
#: Shared with another parameter, so often not saved: (name, the parameter it equals).
_TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def load_masked_lm(folder: Path) -> BertForMaskedLM:
    """A masked language model on the CPU in evaluation mode: one of ours, or a published DNABERT.

    Reads `model.safetensors`, or `pytorch_model.bin` without running its pickled code. The pooler
    and next-sentence head of published checkpoints are left out, and named in the log. The
    tokenizer follows from the vocabulary's size (`models.presets.k_of_vocab`).

    Raises: FileNotFoundError without config or weights; ValueError for a vocabulary that is none of
        k-mers, or weights that are missing, unexpected, of another shape, or a decoder not tied.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{folder / 'config.json'} does not exist; expected a folder with config.json and "
            "model.safetensors or pytorch_model.bin"
        )
    config = BertConfig.from_pretrained(folder, attn_implementation="sdpa")
    k_of_vocab(config.vocab_size)
    with torch.random.fork_rng(devices=[]):
        model = BertForMaskedLM(config)
    weights = read_weights(weights_file(folder))
    unused = sorted(name for name in weights if name.startswith(_UNUSED_PREFIXES))
    if unused:
        logger.info("%s: not needed here: %s", folder, ", ".join(unused))
    weights = {name: value for name, value in weights.items() if name not in unused}
    for name, source in _TIED.items():
        if name in weights and source in weights and not weights[name].equal(weights[source]):
            raise ValueError(f"{folder}: {name} differs from {source}, expected them to be tied")
        if source in weights:
            weights.setdefault(name, weights[source])
    _check_weights(folder, weights, model.state_dict())
    model.load_state_dict(weights)
    return model.eval()


def _check_weights(
    folder: Path, found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]
) -> None:
    """Nothing if names and shapes agree; otherwise ValueError with every difference."""
    shapes = [
        f"{name} is {tuple(found[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in sorted(set(found) & set(expected))
        if found[name].shape != expected[name].shape
    ]
    missing = sorted(set(expected) - set(found))
    unexpected = sorted(set(found) - set(expected))
    problems = [
        f"{title}: {', '.join(names)}"
        for title, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
        )
        if names
    ]
    if problems:
        raise ValueError(
            f"{folder} does not hold a BERT masked language model of its config.json: "
            f"{'; '.join(problems)}; is it another architecture, or a fine-tuned model?"
        )
