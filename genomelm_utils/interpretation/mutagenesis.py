"""In-silico mutagenesis: every base replaced by every other, and the prediction again.

Shapes: S sequences, L bases, N changed sequences, C outputs.
"""

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from genomelm_utils.interpretation.explained import Explained, score_table
from genomelm_utils.sequences.alphabet import CODE_N, N_BASES
from genomelm_utils.tasks.windows import Codes

logger = logging.getLogger(__name__)

BATCH_ROWS = 2048  # changed sequences in memory at a time


def saturate(model: Explained, codes: Codes, *, batch_rows: int = BATCH_ROWS) -> list[np.ndarray]:
    """Outputs float64 [L, 4, C] of each sequence with each base (A, C, G, T) at each place.

    The base that is there already gives the sequence's own output. At an ambiguous base all are NaN
    (no change of one base is defined there); how many is in the log. 3 L predictions a sequence.
    Raises: ValueError for no sequences, an empty one, or outputs that are not finite.
    """
    sequences = [np.asarray(one) for one in codes]
    lengths_S = np.array([len(one) for one in sequences], dtype=np.int64)
    if not len(sequences) or not lengths_S.min(initial=1):
        raise ValueError(f"{len(sequences)} sequences, an empty one among them or none at all")
    plain_SC = _finite(model.predict(sequences))
    tables = [np.full((length, N_BASES, plain_SC.shape[1]), np.nan) for length in lengths_S]
    n_ambiguous = 0
    places: list[tuple[int, int, int]] = []
    for s, sequence in enumerate(sequences):
        definite_M = np.flatnonzero(sequence < N_BASES)
        n_ambiguous += len(sequence) - len(definite_M)
        tables[s][definite_M, sequence[definite_M]] = plain_SC[s]
        places += [(s, i, b) for i in definite_M.tolist() for b in range(4) if b != sequence[i]]
    for begin in range(0, len(places), batch_rows):
        part = places[begin : begin + batch_rows]
        changed = [_with_base(sequences[s], i, b) for s, i, b in part]
        for (s, i, b), output_C in zip(part, _finite(model.predict(changed)), strict=True):
            tables[s][i, b] = output_C
    if n_ambiguous:
        logger.info("%d ambiguous bases were not mutated", n_ambiguous)
    return tables


def score_saturated(
    tables: Sequence[np.ndarray], target_S: np.ndarray, scale: str
) -> list[np.ndarray]:
    """What is explained, float64 [L, 4] of each sequence; NaN stays."""
    scored = []
    for table, target in zip(tables, target_S, strict=True):
        flat = table.reshape(-1, table.shape[-1])
        scored.append(score_table(flat, np.full(len(flat), target), scale).reshape(table.shape[:2]))
    return scored


def mutagenesis_scores(
    model: Explained, codes: Codes, target_S: np.ndarray, scale: str
) -> list[np.ndarray]:
    """float64 [L] of each sequence: the output less its mean with the three other bases there.

    Above 0: the base speaks for the explained output. 0 at ambiguous bases.
    """
    scores = []
    for codes_L, scored_L4 in zip(
        codes, score_saturated(saturate(model, codes), target_S, scale), strict=True
    ):
        own_L4 = np.asarray(codes_L)[:, None] == np.arange(N_BASES)
        own_L = np.where(own_L4, scored_L4, 0).sum(1)
        others_L = np.where(own_L4, 0, scored_L4).sum(1) / (N_BASES - 1)
        scores.append(np.nan_to_num(own_L - others_L))
    return scores


def occlude_bases(
    model: Explained, codes: Codes, target_S: np.ndarray, scale: str, window: int
) -> list[np.ndarray]:
    """float64 [L] of each sequence: what is lost when the `window` bases at a place become N.

    A base gets the mean over the windows that hold it. Raises: ValueError for a window < 1.
    """
    if window < 1:
        raise ValueError(f"window is {window}, expected at least 1 base")
    sequences = [np.asarray(one) for one in codes]
    values_S = score_table(model.predict(sequences), target_S, scale)
    lost = []
    for one, target, value in zip(sequences, target_S, values_S, strict=True):
        width = min(window, len(one))
        n_places = len(one) - width + 1
        outputs = np.concatenate(
            [model.predict(batch) for batch in _in_batches(_occluded(one, width), BATCH_ROWS)]
        )
        scored_P = value - score_table(outputs, np.full(n_places, target), scale)
        count_L = np.convolve(np.ones(n_places), np.ones(width))
        lost.append(np.convolve(scored_P, np.ones(width)) / count_L)
    return lost


def _occluded(codes: np.ndarray, width: int) -> Iterator[np.ndarray]:
    for begin in range(len(codes) - width + 1):
        changed = codes.copy()
        changed[begin : begin + width] = CODE_N
        yield changed


def _in_batches(items: Iterator[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    batch: list[np.ndarray] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _with_base(codes: np.ndarray, place: int, base: int) -> np.ndarray:
    changed = codes.copy()
    changed[place] = base
    return changed


def _finite(outputs: np.ndarray) -> np.ndarray:
    if not np.isfinite(outputs).all():
        raise ValueError("the model gives outputs that are not finite; effects have no meaning")
    return outputs
