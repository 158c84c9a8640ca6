"""How a tokenizer of k-mers is used on a genome: tokens per base, entropy, rank and frequency."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.genome import BaseStore
from genomelm_utils.tokenizers.kmer import N_SPECIAL, UNK, token_ids, vocab_size

RANKS_KEPT = 200  # points of a rank-frequency curve, evenly spaced on a log axis


def sample_text(store: BaseStore, n_bases: int) -> str:
    """The first `n_bases` definite bases of the longest run, as letters."""
    start, end = store.runs[np.argmax(store.runs[:, 1] - store.runs[:, 0])]
    return decode(np.asarray(store.codes[start : min(start + n_bases, end)]))


def count_tokens(store: BaseStore, k: int, n_bases: int) -> np.ndarray:
    """int64[V] uses of every token id in the first `n_bases` of a store; `[UNK]` at N.

    No token crosses the end of a record. Raises ValueError where all tokens are `[UNK]`.
    """
    ids = token_ids(np.asarray(store.codes[:n_bases]), k)
    ends = store.records["start"].to_numpy() + store.records["length"].to_numpy()
    across = (ends[:, None] - np.arange(1, k)).ravel()  # starts of the tokens over an end
    kept = np.ones(len(ids), dtype=bool)
    kept[across[(across >= 0) & (across < len(ids))]] = False
    counts = np.bincount(ids[kept], minlength=vocab_size(k))
    if not counts[N_SPECIAL:].any():
        raise ValueError(
            f"the first {n_bases:,} bases hold no {k}-mer without N; look at more bases"
        )
    return counts


def describe_vocabularies(store: BaseStore, ks: Sequence[int], n_bases: int) -> pd.DataFrame:
    """One row per k: vocabulary, tokens used, tokens per base, unknown share, entropy in bits."""
    rows = []
    for k in ks:
        counts = count_tokens(store, k, n_bases)
        known = counts[N_SPECIAL:]
        share = known[known > 0] / known.sum()
        rows.append(
            {
                "k": k,
                "vocabulary": vocab_size(k),
                "tokens_used": int((known > 0).sum()),
                "rarest_use": int(known.min()),
                "tokens_per_base": counts.sum() / min(n_bases, store.n_bases),
                "unknown_share": counts[UNK] / counts.sum(),
                "bits_per_token": float(-(share * np.log2(share)).sum()),
            }
        )
    return pd.DataFrame(rows)


def rank_frequencies(store: BaseStore, ks: Sequence[int], n_bases: int) -> pd.DataFrame:
    """Rank-frequency curves: k, rank (1 = most used), frequency (share of tokens), thinned."""
    parts = []
    for k in ks:
        known = np.sort(count_tokens(store, k, n_bases)[N_SPECIAL:])[::-1]
        rank = np.unique(np.geomspace(1, len(known), RANKS_KEPT).round().astype(int))
        parts.append(
            pd.DataFrame({"k": k, "rank": rank, "frequency": known[rank - 1] / known.sum()})
        )
    return pd.concat(parts, ignore_index=True)


def describe_usage(table: pd.DataFrame) -> str:
    """A sentence: how unevenly the largest vocabulary is used."""
    row = table.loc[table["k"].idxmax()]
    return (
        f"Overlapping {row['k']:.0f}-mers give {row['tokens_per_base']:.3f} tokens per base; "
        f"{row['tokens_used']:.0f} of the {row['vocabulary'] - N_SPECIAL:.0f} are used, with "
        f"{row['bits_per_token']:.2f} bits per token of {2 * row['k']:.0f} possible."
    )
