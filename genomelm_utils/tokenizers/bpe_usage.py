"""How byte-pair tokens are used on a genome, beside k-mers; and what they do to contigs.

Letters: V vocabulary, S contigs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import reverse_complement
from genomelm_utils.sequences.genome import BaseStore
from genomelm_utils.tokenizers.bpe import (
    CLS,
    N_SPECIAL,
    SEP,
    UNK,
    cut_runs,
    load_bpe,
    token_bases,
    tokenize_codes,
    train_bpe_on_store,
)
from genomelm_utils.tokenizers.usage import (
    RANKS_KEPT,
    describe_vocabularies,
    rank_frequencies,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LENGTHS_BP = (500, 1000, 2000, 5000, 10_000)
_PIECE_BP = 10_000  # records are tokenised in pieces, as contigs of that length would be
_BEFORE_BP = 100  # longer than any token: what stands before a contig in a longer one


def make_tokenizers(
    store: BaseStore,
    published: Path | None = None,
    *,
    vocab_size: int,
    n_bases: int,
    seed: int,
) -> dict[str, "PreTrainedTokenizerFast"]:
    """The byte-pair tokenizer to look at, by the name it has in tables and figures.

    published: the folder of one to read; without it one of `vocab_size` tokens is trained on about
    `n_bases` of the store, and none for a `vocab_size` of 0.
    Raises: as `load_bpe` and `train_bpe_on_store`.
    """
    if published is not None:
        return {
            f"published BPE, {len(tokenizer)}": tokenizer for tokenizer in [load_bpe(published)]
        }
    if not vocab_size:
        return {}
    return {f"BPE, {vocab_size}": train_bpe_on_store(store, vocab_size, n_bases, seed)}


def cut_text(tokenizer: "PreTrainedTokenizerFast", text: str) -> str:
    """The tokens of a text, joined by spaces: to look at."""
    return " ".join(tokenizer.tokenize(text))


def count_bpe_tokens(
    store: BaseStore, tokenizer: "PreTrainedTokenizerFast", n_bases: int
) -> np.ndarray:
    """int64[V] uses of every token in the first `n_bases` of a store; `[UNK]` at each N.

    No token crosses the end of a record, nor of a piece of 10,000 bases.
    """
    starts = store.records["start"].to_numpy()
    records = np.stack([starts, starts + store.records["length"].to_numpy()], axis=1)
    pieces = np.minimum(cut_runs(records, _PIECE_BP), n_bases)
    rows = tokenize_codes(
        tokenizer, [np.asarray(store.codes[start:end]) for start, end in pieces if end > start]
    )
    counts = np.bincount(np.concatenate(rows), minlength=len(tokenizer))
    counts[[CLS, SEP]] = 0
    return counts


def compare_vocabularies(
    store: BaseStore,
    tokenizers: dict[str, "PreTrainedTokenizerFast"],
    ks: Sequence[int],
    n_bases: int,
) -> pd.DataFrame:
    """One row per tokenizer, k-mers first: vocabulary, use, tokens per base, entropy in bits.

    `k`: of k-mers, missing for byte-pair tokens. `bits_per_token`: entropy of the token
    frequencies. `evenness`: that over log2 of the number of tokens, 1 where all are used alike.
    `bases_per_token`: mean length; k for k-mers, which overlap.

    tokenizers: name -> byte-pair tokenizer.
    """
    kmers = describe_vocabularies(store, ks, n_bases)
    kmers.insert(0, "tokenizer", [f"{k}-mers" for k in ks])
    kmers["bases_per_token"] = [float(k) for k in ks]
    if len(kmers):
        kmers["k"] = kmers["k"].astype("Int64")  # which can be missing
    rows = [
        {"tokenizer": name, **_describe_use(count_bpe_tokens(store, t, n_bases), token_bases(t))}
        for name, t in tokenizers.items()
    ]
    parts = [kmers, pd.DataFrame(rows)]
    table = pd.concat([part for part in parts if len(part)], ignore_index=True)
    table["evenness"] = table["bits_per_token"] / np.log2(table["vocabulary"] - N_SPECIAL)
    return table


def _describe_use(counts_V: np.ndarray, bases_V: np.ndarray) -> dict[str, float]:
    known = counts_V[N_SPECIAL:]
    if not known.any():
        raise ValueError("the bases looked at hold no token without N; look at more bases")
    share = known[known > 0] / known.sum()
    n_covered = int(counts_V @ bases_V)
    return {
        "vocabulary": len(counts_V),
        "tokens_used": int((known > 0).sum()),
        "rarest_use": int(known.min()),
        "tokens_per_base": counts_V.sum() / (n_covered + counts_V[UNK]),
        "unknown_share": counts_V[UNK] / counts_V.sum(),
        "bits_per_token": float(-(share * np.log2(share)).sum()),
        "bases_per_token": n_covered / known.sum(),
    }


def rank_bpe_tokens(counts_V: np.ndarray) -> pd.DataFrame:
    """Rank-frequency curve: rank (1 = most used), frequency (share of known tokens), thinned."""
    known = np.sort(counts_V[N_SPECIAL:])[::-1]
    rank = np.unique(np.geomspace(1, len(known), RANKS_KEPT).round().astype(int))
    return pd.DataFrame({"rank": rank, "frequency": known[rank - 1] / known.sum()})


def compare_ranks(
    store: BaseStore,
    tokenizers: dict[str, "PreTrainedTokenizerFast"],
    ks: Sequence[int],
    n_bases: int,
) -> pd.DataFrame:
    """The rank-frequency curves of k-mers and byte-pair tokens below each other.

    `k` is missing for byte-pair tokens, `tokenizer` (their name) for k-mers.
    """
    pairs = [
        rank_bpe_tokens(count_bpe_tokens(store, t, n_bases)).assign(tokenizer=name)
        for name, t in tokenizers.items()
    ]
    table = pd.concat([rank_frequencies(store, ks, n_bases), *pairs], ignore_index=True)
    return table.astype({"k": "Int64"})


def count_lengths(counts_V: np.ndarray, bases_V: np.ndarray) -> pd.DataFrame:
    """One row per token length: bases, tokens in the vocabulary, share of all uses."""
    known = bases_V > 0
    n_tokens = np.bincount(bases_V[known])
    uses = np.bincount(bases_V[known], counts_V[known])
    at = np.flatnonzero(n_tokens)
    return pd.DataFrame({"bases": at, "n_tokens": n_tokens[at], "use_share": uses[at] / uses.sum()})


def describe_contigs(
    store: BaseStore,
    tokenizer: "PreTrainedTokenizerFast",
    *,
    lengths_bp: Sequence[int] = LENGTHS_BP,
    n_contigs: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per contig length: how many tokens, and how far the cuts depend on the reading.

    `tokens_mean`, `tokens_max`: ids of a contig, `[CLS]` and `[SEP]` included: what max_tokens has
    to be. `tokens_per_base`. `kept_reverse`: share of the boundaries between tokens that are found
    again when the other strand is read; `kept_chance`: the same for boundaries thrown at random.
    `resync_bp`: mean bases after a contig's start until a boundary is one of the longer sequence
    it was cut from too; nan where none is. Lengths that no run has room for are left out.

    Raises: ValueError when the store has room for none of the lengths.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for length_bp in lengths_bp:
        starts = store.windows(length_bp + _BEFORE_BP, max(1, length_bp // 2))
        if len(starts):
            taken = rng.choice(starts, min(n_contigs, len(starts)), replace=False)
            long = [np.asarray(store.codes[s : s + length_bp + _BEFORE_BP]) for s in taken]
            rows.append({"length_bp": length_bp, **_describe_cuts(long, tokenizer)})
    if not rows:
        raise ValueError(
            f"{store.folder}: no run of definite bases holds {min(lengths_bp) + _BEFORE_BP} bases; "
            "give shorter lengths_bp"
        )
    return pd.DataFrame(rows)


def _describe_cuts(
    long: list[np.ndarray], tokenizer: "PreTrainedTokenizerFast"
) -> dict[str, float]:
    """`long`: contigs with `_BEFORE_BP` bases before them."""
    contigs = [codes[_BEFORE_BP:] for codes in long]
    n_bases = len(contigs[0])
    turned = [reverse_complement(codes) for codes in contigs]
    bases_V = token_bases(tokenizer)
    n_ids = [len(row) for row in tokenize_codes(tokenizer, contigs)]
    here = _boundaries(tokenizer, contigs, bases_V)
    there = [n_bases - cuts for cuts in _boundaries(tokenizer, turned, bases_V)]
    around = [cuts - _BEFORE_BP for cuts in _boundaries(tokenizer, long, bases_V)]
    n_cuts = sum(map(len, here))
    kept = sum(len(np.intersect1d(a, b)) for a, b in zip(here, there, strict=True))
    # each boundary meets one of the other reading's, thrown on the places between bases
    chance = sum(len(a) * len(b) for a, b in zip(here, there, strict=True)) / (n_bases - 1)
    shared = [np.intersect1d(a, b) for a, b in zip(here, around, strict=True)]
    first = [cuts[0] for cuts in shared if len(cuts)]
    return {
        "n_contigs": len(contigs),
        "tokens_mean": float(np.mean(n_ids)),
        "tokens_max": max(n_ids),
        "tokens_per_base": (sum(n_ids) - 2 * len(n_ids)) / (n_bases * len(n_ids)),
        "kept_reverse": kept / max(n_cuts, 1),
        "kept_chance": chance / max(n_cuts, 1),
        "resync_bp": float(np.mean(first)) if first else float("nan"),
    }


def _boundaries(
    tokenizer: "PreTrainedTokenizerFast", contigs: list[np.ndarray], bases_V: np.ndarray
) -> list[np.ndarray]:
    """Of each contig of definite bases the places between two tokens, as bases from its start."""
    return [np.cumsum(bases_V[row[1:-1]])[:-1] for row in tokenize_codes(tokenizer, contigs)]


def describe_bpe_usage(table: pd.DataFrame, contigs: pd.DataFrame) -> str:
    """A sentence: tokens per base of the last tokenizer of `compare_vocabularies`, and of a contig.

    contigs: of `describe_contigs`.
    """
    row, longest = table.iloc[-1], contigs.loc[contigs["length_bp"].idxmax()]
    return (
        f"{row['tokenizer']} gives {row['tokens_per_base']:.3f} tokens per base "
        f"({row['bases_per_token']:.2f} bases per token) and uses {row['tokens_used']:.0f} of "
        f"{row['vocabulary'] - N_SPECIAL:.0f} tokens; a contig of {longest['length_bp']:,.0f} bp "
        f"is {longest['tokens_mean']:.0f} tokens."
    )


def describe_boundaries(contigs: pd.DataFrame) -> str:
    """Sentences: how far the cuts of `describe_contigs` depend on the strand and on the start."""
    longest = contigs.loc[contigs["length_bp"].idxmax()]
    return (
        f"Read from the other strand, a contig of {longest['length_bp']:,.0f} bp keeps "
        f"{100 * longest['kept_reverse']:.0f} % of its token boundaries "
        f"({100 * longest['kept_chance']:.0f} % by chance). Cut out of a longer sequence, it has a "
        f"boundary of that again {longest['resync_bp']:.0f} bases after its start, on average."
    )
