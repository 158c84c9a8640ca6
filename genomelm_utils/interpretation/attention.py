"""How much the classification token looks at each base: attention scores of k-mer BERT classifiers.

The score of a base is the attention that [CLS] pays, summed over heads, to the tokens that read it
(their mean), normalised per sequence. Only row 0 of the attention is ever computed, batch by batch:
memory is that of the scores, sequences x length. Attention is not attribution: it says where a
layer looks, not what the output hangs on.

Source: DNABERT (Ji et al. 2021, Bioinformatics 37:2112), its visualisation scripts.

Shapes: S sequences, W windows, L ids of a padded row, H heads, E width of a head, D width.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from genomelm_utils.interpretation.explained import ready
from genomelm_utils.tasks.classification import (
    SPECIAL_IDS,
    TOKENS_PER_BATCH,
    Classifier,
    window_tokens,
)
from genomelm_utils.tasks.windows import Codes, batch_by_length, build_windows
from genomelm_utils.training.device import choose_device

RULES = ("corrected", "reference")
SUM = "sum"


def attention_scores(
    classifier: Classifier,
    codes: Codes,
    *,
    layers: Sequence[int] | None = None,
    rule: str = "corrected",
    max_ids: int | None = None,
) -> list[np.ndarray]:
    """Scores of every base, float32 [bases] per sequence, of Euclidean norm 1.

    layers: numbers from 0 whose attention is summed; None: the last one. Long sequences are read in
    overlapping windows, and a base gets the mean of those that hold it.

    rule 'corrected': the tokens of the sequence and no others count, any number of heads.
    'reference': rows are padded to `max_ids`; the first max_ids - k + 1 positions after [CLS]
    count, whatever stands there, and of those the first one before a zero is set to zero (meant for
    [SEP], which it misses in a row without padding); scores have length `max_ids`, not that of the
    sequence.

    Raises: ValueError for layers the model has not, or (reference) rows that do not fit `max_ids`.
    """
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, expected {' or '.join(RULES)}")
    k = classifier.k
    if rule == "reference":
        return _reference_scores(classifier, codes, layers, max_ids)
    windows = build_windows(codes, k, window_tokens(classifier.model))
    lengths_S = [len(one) for one in codes]
    before_S = np.cumsum(lengths_S) - lengths_S
    total = [np.zeros(length) for length in lengths_S]
    count = [np.zeros(length) for length in lengths_S]
    for chosen_B, attention_BL in iter_cls_attention(classifier, windows, layers):
        for window, attention_L in zip(chosen_B, attention_BL, strict=True):
            s, n_tokens = windows.sequence_W[window], windows.length_W[window]
            begin = windows.begin_W[window] - before_S[s]
            place = slice(begin, begin + n_tokens + k - 1)
            total[s][place] += mean_over_tokens(attention_L[1 : n_tokens + 1], k)
            count[s][place] += 1
    return [_normalise(one / np.maximum(n, 1)) for one, n in zip(total, count, strict=True)]


def iter_cls_attention(
    classifier: Classifier, windows, layers: Sequence[int] | None = None, width: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(window numbers, attention of [CLS] float32 [B, L] summed over heads and layers), by batch.

    width: ids to pad every row to, at least as many as it has.
    """
    model = classifier.model
    n_layers = model.config.num_hidden_layers
    chosen = [n_layers - 1] if layers is None else sorted({int(one) for one in layers})
    if not chosen or chosen[0] < 0 or chosen[-1] >= n_layers:
        raise ValueError(f"layers {layers} asked for, the model has layers 0 to {n_layers - 1}")
    place, _ = choose_device()
    with ready(model, place), torch.no_grad():
        for chosen_B in batch_by_length(windows.length_W, TOKENS_PER_BATCH[place.type]):
            padded = windows.pad(chosen_B)
            missing = max(width - padded["input_ids"].shape[1], 0)
            padded = {name: nn.functional.pad(one, (0, missing)) for name, one in padded.items()}
            found_BL = _cls_rows(
                model, padded["input_ids"].to(place), padded["attention_mask"].to(place), chosen
            )
            yield chosen_B, found_BL.float().cpu().numpy()


def mean_over_tokens(score_N: np.ndarray, k: int) -> np.ndarray:
    """float64 [N + k - 1]: for every base the mean of the scores of the k-mers that hold it."""
    ones_k = np.ones(k)
    total = np.convolve(np.asarray(score_N, dtype=np.float64), ones_k)
    return total / np.convolve(np.ones(len(score_N)), ones_k)


def heat_map(
    classifiers: Mapping[int, Classifier],
    codes: np.ndarray,
    *,
    layers: Sequence[int] | None = None,
) -> pd.DataFrame:
    """DNABERT's picture of one sequence: attention by base for each k, and their sum.

    classifiers: k -> model. Columns k (text; 'sum' last, where there are several), position (0-
    based), score (norm 1 for each k; the sum is not normalised again).
    """
    if not classifiers:
        raise ValueError("no classifier, expected one or more, such as {6: classifier}")
    rows = {}
    for k, classifier in sorted(classifiers.items()):
        if classifier.k != k:
            raise ValueError(f"the classifier under k = {k} is one of {classifier.k}-mers")
        rows[str(k)] = attention_scores(classifier, [codes], layers=layers)[0]
    if len(rows) > 1:
        rows[SUM] = np.sum(list(rows.values()), axis=0)
    parts = [
        pd.DataFrame({"k": k, "position": np.arange(len(score)), "score": score})
        for k, score in rows.items()
    ]
    return pd.concat(parts, ignore_index=True)


def reference_base_scores(row_M: np.ndarray, k: int) -> np.ndarray:
    """The released computation on one padded row of attention, float64 [M] (see above)."""
    used = np.array(row_M[1 : len(row_M) - k + 2], dtype=np.float64)
    before_zero = np.flatnonzero(used[1:] == 0)
    if len(before_zero):
        used[before_zero[0]] = 0
    return _normalise(mean_over_tokens(used, k))


def _reference_scores(
    classifier: Classifier, codes: Codes, layers: Sequence[int] | None, max_ids: int | None
) -> list[np.ndarray]:
    k, model = classifier.k, classifier.model
    max_ids = max_ids or model.config.max_position_embeddings
    longest = max(len(one) for one in codes) - k + 1 + SPECIAL_IDS
    if longest > min(max_ids, model.config.max_position_embeddings):
        raise ValueError(
            f"rule 'reference' reads rows of {max_ids} ids, found one of {longest}; use "
            "'corrected', which reads longer sequences in windows"
        )
    windows = build_windows(codes, k, window_tokens(model))
    scores: list[np.ndarray] = [np.empty(0)] * len(codes)
    for chosen_B, attention_BL in iter_cls_attention(classifier, windows, layers, width=max_ids):
        for window, row_M in zip(chosen_B, attention_BL, strict=True):
            scores[windows.sequence_W[window]] = reference_base_scores(row_M, k)
    return [one.astype(np.float32) for one in scores]


def _cls_rows(
    model: nn.Module, ids_BL: torch.Tensor, mask_BL: torch.Tensor, layers: list[int]
) -> torch.Tensor:
    """[B, L]: attention of [CLS] in these layers, summed over heads and layers; padding is 0."""
    bert = model.bert
    mask_B11L = mask_BL[:, None, None, :].bool()
    hidden_BLD = bert.embeddings(ids_BL)
    total_BL = torch.zeros(ids_BL.shape, dtype=hidden_BLD.dtype, device=ids_BL.device)
    for number, layer in enumerate(bert.encoder.layer):
        if number in layers:
            total_BL += _cls_row(layer.attention.self, hidden_BLD, mask_B11L)
        if number == layers[-1]:
            return total_BL
        hidden_BLD = layer(hidden_BLD, mask_B11L)
    return total_BL


def _cls_row(attention: nn.Module, hidden_BLD: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    shape = (attention.num_attention_heads, attention.attention_head_size)
    query_BH1E = attention.query(hidden_BLD[:, :1]).unflatten(-1, shape).transpose(1, 2)
    key_BHLE = attention.key(hidden_BLD).unflatten(-1, shape).transpose(1, 2)
    logits_BH1L = query_BH1E @ key_BHLE.transpose(-1, -2) * shape[1] ** -0.5
    share_BH1L = logits_BH1L.masked_fill(~mask, float("-inf")).softmax(-1)
    return share_BH1L.sum(1)[:, 0]


def _normalise(score_L: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(score_L)
    return (score_L / norm if norm > 0 else score_L).astype(np.float32)
