"""Bits per base of byte-pair models: the masked tokens of frozen rows.

What is reported is the cross-entropy of the masked tokens in bits, divided by their bases:

`bits_per_base`: -log2 of the probability of the true token, summed over the masked tokens, over
the sum of their lengths in bases. The model is not told how long a masked token is, so this holds
the price of guessing where it ends.
`bits_per_base_length_known`: the same when the model is told, that is with the probability among
the tokens of the true one's length. Never more than the first.

Models of one tokenizer compare with each other on the same frozen rows, and with the baselines of
`token_baselines`. Neither number is `pretraining.bits.bits_per_base` of k-mer models, and the two
must not stand in one ranking: there 2 bits is guessing, here a vocabulary holds few of the possible
words of a length (a fraction of the 7-mers), so that guessing among them costs less than 2, or more
where the length is unknown; there each hidden base is judged alone, here the bases of a token
together; there spans are hidden, here single tokens, whose visible neighbours tell that they did
not merge with them. Across tokenizers compare gains over the `frequencies` baseline, or judge the
same hidden bases: `pretraining.shared_masks`.

Letters: B rows, L positions, N masked tokens, V vocabulary, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from genomelm_utils.pretraining.token_masking import choose_tokens
from genomelm_utils.tokenizers.bpe import MASK, N_SPECIAL, pad_batch, tokenize_codes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MAX_TOKENS = 128  # Source: DNABERT-2 (arXiv:2306.15006, section 3.3)
MASKED_SHARE = 0.15  # Source: the same
_ROWS_PER_BATCH = 32  # of validation


class Windows(Protocol):
    """Rows `start` to `stop` of a step have `first`: uint8 base codes each.

    A pure function of its arguments, such as `datasets.species_pairs.PairSampler`.
    """

    def pairs(self, step: int, start: int, stop: int) -> "HasFirst": ...


class HasFirst(Protocol):
    """A batch of pairs, of which only the first windows are read here."""

    first: list[np.ndarray]


@dataclass(frozen=True)
class FrozenTokens:
    """Masked rows for validation; every masked token is `[MASK]`."""

    input_ids_BL: torch.Tensor  # int64
    mask_BL: torch.Tensor  # bool
    positions_N: torch.Tensor  # int64, masked tokens in the flattened batch
    targets_N: torch.Tensor  # int64, their true ids


def freeze_tokens(
    windows: Windows,
    tokenizer: "PreTrainedTokenizerFast",
    *,
    n_rows: int,
    max_tokens: int = MAX_TOKENS,
    mask_share: float = MASKED_SHARE,
    seed: int = 0,
) -> list[FrozenTokens]:
    """Validation rows with masks frozen once: the rows of step 0, the longest first.

    windows: of held-out sequence, such as a `PairSampler` of part `valid` or `test`.
    Raises: ValueError when nothing came out masked.
    """
    rows = tokenize_codes(tokenizer, windows.pairs(0, 0, n_rows).first, max_tokens=max_tokens)
    rows = sorted(rows, key=len, reverse=True)
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for start in range(0, n_rows, _ROWS_PER_BATCH):
        ids_BL, mask_BL = pad_batch(rows[start : start + _ROWS_PER_BATCH])
        chosen_BL = choose_tokens(
            ids_BL, mask_BL, generator=generator, mask_share=mask_share, n_special=N_SPECIAL
        )
        if bool(chosen_BL.any()):
            hidden_BL = ids_BL.masked_fill(chosen_BL, MASK)
            positions_N = chosen_BL.flatten().nonzero()[:, 0]
            batches.append(FrozenTokens(hidden_BL, mask_BL, positions_N, ids_BL[chosen_BL]))
    if not batches:
        raise ValueError(
            f"no token of the {n_rows} validation rows is masked; take more or longer rows, or a "
            f"larger mask_share than {mask_share}"
        )
    return batches


class MaskedModel(Protocol):
    """A masked language model of tokens, such as ALiBi BERT or FloraBERT: a torch module."""

    def predict_at(
        self, ids_BL: torch.Tensor, mask_BL: torch.Tensor, positions_N: torch.Tensor
    ) -> torch.Tensor:
        """float[N, V] logits at places of the flattened batch."""
        ...


def token_bits(
    model: MaskedModel, batches: Sequence[FrozenTokens], bases_V: np.ndarray
) -> dict[str, float]:
    """How well the model tells masked tokens; see the module's head for what is comparable.

    The model's mode is put back; gradients are off. Batches go to the model's device.

    bases_V: of `tokenizers.bpe.token_bases`.
    Returns: `bits_per_base`, `bits_per_base_length_known`; of the masked tokens `loss`
        (cross-entropy in nats), `perplexity`, `accuracy`; `masked_tokens` and `masked_bases`.
    """
    lengths_V = torch.as_tensor(bases_V)

    def score(batch: FrozenTokens, logits_NV: torch.Tensor) -> torch.Tensor:
        device = logits_NV.device
        return sum_scores(logits_NV, batch.targets_N.to(device), lengths_V.to(device))

    return summarise(torch.stack(score_batches(model, batches, score)))


def score_batches(
    model: MaskedModel,
    batches: Sequence[FrozenTokens],
    score: Callable[[FrozenTokens, torch.Tensor], torch.Tensor],
) -> list[torch.Tensor]:
    """`score(batch, logits at its masked tokens)` of every batch, in evaluation mode.

    The model's mode is put back; gradients are off. Inputs go to the model's device.
    """
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    try:
        with torch.no_grad():
            return [
                score(
                    batch,
                    model.predict_at(
                        batch.input_ids_BL.to(device),
                        batch.mask_BL.to(device),
                        batch.positions_N.to(device),
                    ),
                )
                for batch in batches
            ]
    finally:
        model.train(was_training)


def token_baselines(
    counts_V: np.ndarray, batches: Sequence[FrozenTokens], bases_V: np.ndarray
) -> pd.DataFrame:
    """What needs no network, on the same masked tokens: one row per baseline, columns as above.

    `uniform`: all tokens alike. `frequencies`: by their use in training (`counts_V`, one added).

    counts_V: int64[V] uses of every token, such as of `tokenizers.bpe_usage.count_bpe_tokens`.
    """
    targets_N = torch.cat([batch.targets_N for batch in batches])
    lengths_V = torch.as_tensor(bases_V)
    rows = []
    for name, weights_V in (("uniform", np.ones(len(counts_V))), ("frequencies", counts_V + 1.0)):
        logits_V = torch.as_tensor(weights_V).log().masked_fill(lengths_V == 0, -torch.inf)
        logits_NV = logits_V.expand(len(targets_N), -1)
        scores = summarise(sum_scores(logits_NV, targets_N, lengths_V)[None])
        rows.append({"baseline": name, **scores})
    return pd.DataFrame(rows)


def sum_scores(
    logits_NV: torch.Tensor, targets_N: torch.Tensor, lengths_V: torch.Tensor
) -> torch.Tensor:
    """float64[5] sums: nats, nats with the length known, right tokens, tokens, bases.

    lengths_V: bases of each token, on the device of the logits.
    """
    logits_NV = logits_NV.float()
    lengths_N = lengths_V[targets_N]
    nats = F.cross_entropy(logits_NV, targets_N, reduction="sum")
    n_right = (logits_NV.argmax(dim=1) == targets_N).sum()
    other_NV = lengths_V != lengths_N[:, None]
    fitting_NV = logits_NV.masked_fill(other_NV, -torch.inf)
    nats_known = F.cross_entropy(fitting_NV, targets_N, reduction="sum")
    values = (nats, nats_known, n_right, torch.tensor(len(targets_N)), lengths_N.sum())
    return torch.stack([value.detach().cpu().double() for value in values])


def summarise(sums: torch.Tensor) -> dict[str, float]:
    """The values of `token_bits` from rows of `sum_scores`, float64[batches, 5]."""
    nats, nats_known, n_right, n_tokens, n_bases = sums.sum(dim=0).tolist()
    loss = nats / n_tokens
    return {
        "bits_per_base": float(nats / np.log(2) / n_bases),
        "bits_per_base_length_known": float(nats_known / np.log(2) / n_bases),
        "loss": loss,
        "perplexity": float(np.exp(loss)),
        "accuracy": n_right / n_tokens,
        "masked_tokens": n_tokens,
        "masked_bases": n_bases,
    }
