"""Bits per base: one unit for models of any k and any masking, on masks frozen once for all.

Letters: B rows, L token positions ([CLS] is 0), T bases of a row, N masked tokens of a batch,
V vocabulary, W = 4**k k-mers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from transformers import BertForMaskedLM

from genomelm_utils.sequences.kmers import BASES
from genomelm_utils.tokenizers.kmer import MASK, N_SPECIAL, UNK, VOCAB_ORDER

#: digit of DNABERT's k-mer order (A, T, C, G) of each base code (A, C, G, T), and the inverse
_DIGIT_OF_CODE = [VOCAB_ORDER.index(base) for base in BASES]
_CODE_OF_DIGIT = [BASES.index(base) for base in VOCAB_ORDER]


class Corpus(Protocol):
    """Where rows come from: a pure function of (step, micro)."""

    def batch(self, step: int, micro: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids_BL, lengths_B): int64 token ids padded with 0, and ids per row."""
        ...


@dataclass(frozen=True)
class FrozenBatch:
    """Masked rows for validation, with the bases that only masked tokens cover."""

    input_ids_BL: torch.Tensor  # int64, [MASK] at every masked token
    attention_mask_BL: torch.Tensor | None  # int64; None where no row is padded
    positions_N: torch.Tensor  # int64, masked tokens in the flattened batch
    targets_N: torch.Tensor  # int64, their true ids
    codes_BT: torch.Tensor  # int64, base codes A0 C1 G2 T3; -1 where there is no known base
    hidden_BT: torch.Tensor  # bool


def pad_mask(lengths_B: torch.Tensor, n_positions: int) -> torch.Tensor | None:
    """int64[B, L] attention mask, 1 at a row's own ids; None where every row fills its width.

    Without a mask attention takes its fastest path.
    """
    if bool((lengths_B == n_positions).all()):
        return None
    return (torch.arange(n_positions) < lengths_B[:, None]).long()


def frozen_validation(
    corpus: Corpus,
    *,
    k: int,
    n_rows: int,
    rows_per_batch: int = 32,
    masked_share: float = 0.15,
    seed: int = 0,
) -> list[FrozenBatch]:
    """Validation rows with masks that every masking scheme is judged on.

    Random spans of 2k-1 tokens, each hiding k bases, all replaced by `[MASK]`: no scheme's own
    masks, no random or kept tokens, the same rows and masks at every evaluation. Rows are sorted by
    length so that little is padding. `[UNK]` is never masked.

    Args:
        corpus: take one of its own for validation: held-out sequence.
        masked_share: expected share of masked tokens; 0.15 as in BERT (arXiv:1810.04805).
    Raises: ValueError when nothing came out masked.
    """
    generator = torch.Generator().manual_seed(seed)
    ids_BL, lengths_B = corpus.batch(0, 0, n_rows)
    # a token escapes when none of the 2k-1 possible centres around it is drawn
    width = 2 * k - 1
    p = 1 - (1 - masked_share) ** (1 / width)
    centres_BL = (torch.rand(ids_BL.shape, generator=generator) < p).float()
    spans_BL = F.max_pool1d(centres_BL[:, None], width, stride=1, padding=k - 1)[:, 0] > 0
    masked_BL = spans_BL & (ids_BL >= N_SPECIAL)
    if not bool(masked_BL.any()):
        raise ValueError(
            f"no token of the {n_rows} validation rows is masked; take more rows (n_rows) or a "
            f"larger masked_share than {masked_share}"
        )
    order = torch.argsort(lengths_B, descending=True, stable=True)
    return [
        freeze(ids_BL[rows], lengths_B[rows], masked_BL[rows], k)
        for rows in order.split(rows_per_batch)
        if bool(masked_BL[rows].any())
    ]


def freeze(
    ids_BL: torch.Tensor, lengths_B: torch.Tensor, masked_BL: torch.Tensor, k: int
) -> FrozenBatch:
    """The validation batch of given masks: rows cut to the longest, hidden bases found."""
    width = int(lengths_B.max())
    ids_BL, masked_BL = ids_BL[:, :width], masked_BL[:, :width]
    codes_BT, hidden_BT = find_hidden(ids_BL, masked_BL, k)
    return FrozenBatch(
        input_ids_BL=ids_BL.masked_fill(masked_BL, MASK),
        attention_mask_BL=pad_mask(lengths_B, width),
        positions_N=masked_BL.flatten().nonzero()[:, 0],
        targets_N=ids_BL[masked_BL],
        codes_BT=codes_BT,
        hidden_BT=hidden_BT,
    )


def find_hidden(
    ids_BL: torch.Tensor, masked_BL: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(base codes, hidden): int64[B, T] and bool[B, T], T = L-2+k-1.

    The token at position t covers bases t-1 .. t+k-2. A base is hidden when masked tokens cover it
    and no visible one does; `[UNK]` counts as visible.
    """
    inner_BL, masked_BL = ids_BL[:, 1:-1], masked_BL[:, 1:-1]
    n_rows, n_tokens = inner_BL.shape
    kmer_BL = inner_BL >= N_SPECIAL
    # [UNK] (1) may stand between [CLS] and [SEP]; [SEP] and [PAD] of shorter rows cover no base
    visible_BL = ~masked_BL & (kmer_BL | (inner_BL == UNK))
    codes_BT = inner_BL.new_full((n_rows, n_tokens + k - 1), -1)
    seen_BT = torch.zeros_like(codes_BT, dtype=torch.bool)
    code_of_digit = torch.tensor(_CODE_OF_DIGIT)
    for j in range(k):
        here = slice(j, j + n_tokens)
        digits_BL = (inner_BL - N_SPECIAL).clamp(min=0) // 4 ** (k - 1 - j) % 4
        codes_BT[:, here] = torch.where(kmer_BL, code_of_digit[digits_BL], codes_BT[:, here])
        seen_BT[:, here] |= visible_BL
    return codes_BT, ~seen_BT & (codes_BT >= 0)


def predict_tokens(
    model: BertForMaskedLM,
    input_ids_BL: torch.Tensor,
    positions_N: torch.Tensor,
    attention_mask_BL: torch.Tensor | None = None,
) -> torch.Tensor:
    """float[N, V] logits at the masked tokens only.

    The decoder is as wide as the vocabulary; at 15 % masked tokens this saves 85 % of it.
    """
    states_BLD = model.bert(
        input_ids=input_ids_BL, attention_mask=attention_mask_BL
    ).last_hidden_state
    return model.cls(states_BLD.flatten(0, 1).index_select(0, positions_N))


def base_marginals(logits_NV: torch.Tensor, k: int) -> torch.Tensor:
    """float[N, k, 4]: each token's distribution over k-mers, marginalised to each of its bases.

    Special tokens are left out; the last axis is in base code order A, C, G, T.
    """
    probs_NW = logits_NV[:, N_SPECIAL:].float().softmax(dim=1)
    marginals = [
        probs_NW.view(len(probs_NW), 4**j, 4, 4 ** (k - 1 - j)).sum(dim=(1, 3)) for j in range(k)
    ]
    return torch.stack(marginals, dim=1)[:, :, _DIGIT_OF_CODE]


def bits_per_base(
    model: BertForMaskedLM, batches: Sequence[FrozenBatch], k: int
) -> dict[str, float]:
    """How well the model tells hidden bases: 2 bits per base is guessing evenly, 0 is certainty.

    Every masked token that covers a hidden base gives a distribution over its four letters; their
    mean is the prediction, and its -log2 at the true base is averaged over all hidden bases. Bases
    that a visible token shows do not count: tokens at the edge of a span are mostly copying, which
    flatters the token loss and differs with k.

    The model's mode is put back; gradients are off. Batches go to the model's device.

    Returns: `bits_per_base`; of the masked tokens `loss` (cross-entropy in nats), `perplexity`
    (exp of it), `accuracy`; `hidden_bases` and `masked_tokens`, the numbers averaged over.
    """
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    try:
        with torch.no_grad():
            sums = torch.stack([_score(model, batch, k, device) for batch in batches])
    finally:
        model.train(was_training)
    bits, n_hidden, nats, n_right, n_tokens = sums.sum(dim=0).tolist()
    loss = nats / n_tokens
    return {
        "bits_per_base": bits / n_hidden if n_hidden else float("nan"),
        "loss": loss,
        "perplexity": float(np.exp(loss)),
        "accuracy": n_right / n_tokens,
        "hidden_bases": n_hidden,
        "masked_tokens": n_tokens,
    }


def _score(
    model: BertForMaskedLM, batch: FrozenBatch, k: int, device: torch.device
) -> torch.Tensor:
    """Sums over a batch: bits, hidden bases, nats, right tokens, masked tokens."""
    mask_BL = batch.attention_mask_BL
    positions_N, targets_N = batch.positions_N.to(device), batch.targets_N.to(device)
    logits_NV = predict_tokens(
        model,
        batch.input_ids_BL.to(device),
        positions_N,
        None if mask_BL is None else mask_BL.to(device),
    ).float()
    nats = F.cross_entropy(logits_NV, targets_N, reduction="sum")
    n_right = (logits_NV.argmax(dim=1) == targets_N).sum()
    mean_BT4 = _average_marginals(base_marginals(logits_NV, k), positions_N, batch)
    hidden_BT = batch.hidden_BT.to(device)
    true_H = batch.codes_BT.to(device)[hidden_BT]
    bits = -mean_BT4[hidden_BT].gather(1, true_H[:, None]).double().log2().sum()
    values = (bits, hidden_BT.sum(), nats, n_right, torch.tensor(len(targets_N)))
    return torch.stack([value.detach().cpu().double() for value in values])


def _average_marginals(
    marginals_Nk4: torch.Tensor, positions_N: torch.Tensor, batch: FrozenBatch
) -> torch.Tensor:
    """float[B, T, 4]: mean over the masked tokens that cover each base."""
    (n_rows, n_positions), n_bases = batch.input_ids_BL.shape, batch.codes_BT.shape[1]
    k = marginals_Nk4.shape[1]
    first_N = positions_N // n_positions * n_bases + positions_N % n_positions - 1
    index_Nk = first_N[:, None] + torch.arange(k, device=first_N.device)
    total = marginals_Nk4.new_zeros(n_rows * n_bases, 4)
    count = marginals_Nk4.new_zeros(n_rows * n_bases)
    total.index_add_(0, index_Nk.flatten(), marginals_Nk4.flatten(0, 1))
    count.index_add_(0, index_Nk.flatten(), torch.ones_like(index_Nk.flatten(), dtype=count.dtype))
    return (total / count.clamp(min=1)[:, None]).view(n_rows, n_bases, 4)


def order0_bits(counts: Mapping[int, np.ndarray]) -> float:
    """Entropy of the base composition, bits per base: what needs no model at all.

    counts: `counts[1]` int64[4], base counts in A, C, G, T order.
    """
    share = counts[1][counts[1] > 0] / counts[1].sum()
    return float(-(share * np.log2(share)).sum())


def markov_bits(
    counts: Mapping[int, np.ndarray], order: int, batches: Sequence[FrozenBatch]
) -> float:
    """Bits per hidden base of a Markov chain that sees the visible bases on the left only.

    The baseline for `bits_per_base`, on the same hidden bases and with the same knowledge: a base
    deep in a span is predicted over all possible hidden bases before it, not from the true ones.
    Where fewer than `order` visible bases stand before the span, a chain of that lower order
    answers. Add-one smoothing.

    Args:
        counts: n -> int64[4**n] n-gram counts for n = 1..order+1, A, C, G, T order, of the
            training sequence.
        order: bases of context, 0 upwards; memory grows with 4**order.
    Raises: ValueError when a count table is missing.
    """
    if missing := [n for n in range(1, order + 2) if n not in counts]:
        raise ValueError(
            f"a Markov chain of order {order} needs n-gram counts for n = 1..{order + 1}, "
            f"missing: {missing}; count with n_max={order + 1}"
        )
    parts = [_left_context(batch, order) for batch in batches]
    known, context, distance, base = (np.concatenate([part[i] for part in parts]) for i in range(4))
    bits = np.empty(len(base))
    for n in range(order + 1):
        step = (counts[n + 1].reshape(-1, 4) + 1.0) / (counts[n + 1].reshape(-1, 4) + 1.0).sum(
            axis=1, keepdims=True
        )
        here = np.flatnonzero(known == n)
        bits[here] = _chain_bits(step, context[here] % 4**n, distance[here], base[here])
    return float(bits.mean())


def _left_context(batch: FrozenBatch, order: int) -> tuple[np.ndarray, ...]:
    """Of each hidden base: known bases before its span, their code, distance to them, true base."""
    codes_BT, hidden_BT = batch.codes_BT.numpy(), batch.hidden_BT.numpy()
    visible_BT = ~hidden_BT & (codes_BT >= 0)
    at_T = np.arange(codes_BT.shape[1])
    last_seen_BT = np.maximum.accumulate(np.where(visible_BT, at_T, -1), axis=1)
    last_gap_BT = np.maximum.accumulate(np.where(visible_BT, -1, at_T), axis=1)
    row, column = np.nonzero(hidden_BT)
    seen = last_seen_BT[row, column]
    gap = np.where(seen >= 0, last_gap_BT[row, seen], -1)
    known = np.minimum(order, seen - gap)
    context = np.zeros(len(row), dtype=np.int64)
    for back in range(order):
        digit = codes_BT[row, np.maximum(seen - back, 0)]
        context += np.where(back < known, digit, 0) * 4**back
    return known, context, column - seen, codes_BT[row, column]


def _chain_bits(
    step: np.ndarray, context: np.ndarray, distance: np.ndarray, base: np.ndarray
) -> np.ndarray:
    """-log2 p(base | context `distance` bases before it) of a chain with transitions `step`."""
    n_contexts = len(step)
    following = (np.arange(n_contexts)[:, None] * 4 + np.arange(4)) % n_contexts
    ahead, bits = step, np.empty(len(base))
    for d in range(1, int(distance.max(initial=0)) + 1):
        here = distance == d
        bits[here] = -np.log2(ahead[context[here], base[here]])
        ahead = (step[:, :, None] * ahead[following]).sum(axis=1)
    return bits
