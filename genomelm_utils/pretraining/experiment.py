"""A pretraining run from stores to tables: the pieces notebook 04 is put together from.

Letters: B rows, L positions, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import BertForMaskedLM

from genomelm_utils.evaluation.statistics import mean_interval
from genomelm_utils.pretraining.bits import (
    FrozenBatch,
    base_marginals,
    frozen_validation,
    markov_bits,
    order0_bits,
    predict_tokens,
)
from genomelm_utils.pretraining.corpus import BLOCK_BP, CropCorpus
from genomelm_utils.pretraining.masking import centre_prob_for_hidden, mask_tokens, ranks_by_token
from genomelm_utils.pretraining.mlm import Pretrained
from genomelm_utils.pretraining.pmi import rank_table
from genomelm_utils.sequences.genome import BaseStore
from genomelm_utils.sequences.kmers import BASES
from genomelm_utils.training.history import TIMING

MARKOV_ORDER = 5  # contexts as long as a 6-mer token without its last base
SHARE_BATCHES, SHARE_ROWS = 30, 64  # batches the shares of a scheme are measured on
SHOWN_BASES = 60
# Source: GeneMask's Script-A for its own scheme (and the controls made after it), DNABERT's README
GENEMASK_CENTRE_PROB = 0.0176
PUBLISHED_CENTRE_PROB = {"contiguous": 0.025}
MIN_BLOCKS = 40  # a tenth held out then means a few blocks, hardly ever none (0.9^40 = 1.5 %)


class HeldOut:
    """The held-out part of a corpus, as a corpus: rows are a function of their number only."""

    def __init__(self, corpus: CropCorpus) -> None:
        self.corpus = corpus

    def batch(self, step: int, micro: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids_BL, lengths_B) of the frozen validation subset of that size."""
        return self.corpus.validation_batches(rows, rows)[0]


def open_corpora(
    stores: Sequence[BaseStore],
    *,
    k: int,
    seed: int,
    max_bases: int,
    valid_share: float,
    rule: str,
) -> tuple[CropCorpus, HeldOut]:
    """Training pieces and held-out pieces of the same stores; they share no base.

    Blocks of a genome below 2 Mbp are shorter than `BLOCK_BP`, so that there are `MIN_BLOCKS`.
    """
    n_bases = sum(store.n_bases for store in stores)
    corpus = CropCorpus(
        stores,
        k=k,
        seed=seed,
        max_bases=max_bases,
        valid_share=valid_share,
        rule=rule,
        block_bp=max(min(BLOCK_BP, n_bases // MIN_BLOCKS), max_bases),
    )
    return corpus, HeldOut(corpus)


def read_ranks(ranking: pd.DataFrame, k: int) -> torch.Tensor:
    """int64[V] rank of every token id from a ranking table of notebook 02; 1 = highest score."""
    return ranks_by_token(rank_table(ranking, k), k)


def choose_centre_prob(
    scheme: str,
    centre_prob: float,
    match_hidden: float,
    *,
    pieces: CropCorpus,
    k: int,
    ranks_V: torch.Tensor,
    corrupt: str,
) -> float:
    """The centre probability given, or the one at which the scheme hides `match_hidden` bases.

    Matched on rows of the corpus's own lengths: the share of some schemes depends on them.
    """
    if not match_hidden:
        return centre_prob
    lengths_B = torch.cat([pieces.batch(step, 0, 256)[1] for step in range(4)])
    return centre_prob_for_hidden(
        scheme, match_hidden, (lengths_B - 2).tolist(), k=k, ranks_V=ranks_V, corrupt=corrupt
    )


def measure_masking(
    pieces: CropCorpus, *, k: int, seed: int, scheme: str, **masks: Any
) -> pd.DataFrame:
    """One row: masked share of tokens, hidden share of bases, hidden after the kept tokens.

    Each with a 95 % interval (`_low`, `_high`) over batches of the corpus, all as fractions; and
    `masked_per_hidden`, tokens masked for every base hidden.
    """
    shares = np.array(
        [_shares(pieces, step, k, seed, scheme, masks) for step in range(SHARE_BATCHES)]
    )
    row: dict[str, Any] = {"scheme": scheme, "centre_prob": masks["centre_prob"]}
    for i, name in enumerate(("masked_share", "hidden_share", "hidden_after_keep_share")):
        share = mean_interval(shares[:, i])
        row |= {name: share.mean, f"{name}_low": share.low, f"{name}_high": share.high}
    row["masked_per_hidden"] = shares[:, 3].sum() / shares[:, 4].sum()
    return pd.DataFrame([row])


def compare_masking(
    pieces: CropCorpus, *, k: int, seed: int, scheme: str, **masks: Any
) -> pd.DataFrame:
    """`measure_masking` as `trained` here and as `published` (its own centre probability)."""
    published = masks | {"centre_prob": PUBLISHED_CENTRE_PROB.get(scheme, GENEMASK_CENTRE_PROB)}
    parts = [
        measure_masking(pieces, k=k, seed=seed, scheme=scheme, **options).assign(setting=setting)
        for setting, options in (("trained", masks), ("published", published))
    ]
    return pd.concat(parts, ignore_index=True)


def _shares(
    pieces: CropCorpus, step: int, k: int, seed: int, scheme: str, masks: dict[str, Any]
) -> tuple[float, ...]:
    ids_BL, lengths_B = pieces.batch(step, 0, SHARE_ROWS)
    generator = torch.Generator().manual_seed(seed * SHARE_BATCHES + step)
    progress = step / (SHARE_BATCHES - 1)
    masked = mask_tokens(
        ids_BL, lengths_B, scheme=scheme, k=k, generator=generator, progress=progress, **masks
    )
    n_masked, n_hidden = int(masked.masked_BL.sum()), int(masked.hidden_bases_B.sum())
    return (
        n_masked / int((lengths_B - 2).sum()),
        masked.hidden_share,
        masked.hidden_after_keep_share,
        n_masked,
        n_hidden,
    )


def draw_mask(pieces: CropCorpus, *, k: int, seed: int, **masks: Any) -> str:
    """Text: the start of one piece, `m` at masked tokens, `#` at bases no visible token covers."""
    ids_BL, lengths_B = pieces.batch(0, 0, 16)
    row = int(lengths_B.argmax())
    generator = torch.Generator().manual_seed(seed)
    masked_BL = mask_tokens(ids_BL, lengths_B, k=k, generator=generator, **masks).masked_BL
    batch = _freeze_row(ids_BL[row], int(lengths_B[row]), masked_BL[row], k)
    width = min(2 * SHOWN_BASES, batch.codes_BT.shape[1])
    # the last k-1 bases begin no token
    tokens = masked_BL[row, 1 : width + 1].tolist()
    lines = [
        "bases   " + _letters(batch.codes_BT[0, :width]),
        "masked  " + "".join("m" if m else "." for m in tokens).ljust(width, "."),
        "hidden  " + "".join("#" if h else "." for h in batch.hidden_BT[0, :width].tolist()),
    ]
    return "\n".join(lines)


def _freeze_row(ids_L: torch.Tensor, length: int, masked_L: torch.Tensor, k: int) -> FrozenBatch:
    from genomelm_utils.pretraining.bits import freeze

    return freeze(ids_L[None, :length], torch.tensor([length]), masked_L[None, :length], k)


def _letters(codes_T: torch.Tensor) -> str:
    return "".join(BASES[c] if c >= 0 else "N" for c in codes_T.tolist())


def freeze_validation(held_out: HeldOut, *, k: int, rows: int) -> list[FrozenBatch]:
    """Validation rows and masks, the same for every scheme that is trained on the same corpus."""
    return frozen_validation(held_out, k=k, n_rows=rows)


def measure_baselines(pieces: CropCorpus, validation: Sequence[FrozenBatch]) -> pd.DataFrame:
    """Bits per hidden base without a network: guessing, base composition, left-context Markov.

    Counted on the training part only, on the strands that rows are read from; the Markov chain is
    judged on the same hidden bases.
    """
    from genomelm_utils.pretraining.ngrams import count_ngrams

    n_max = MARKOV_ORDER + 1
    parts = [
        count_ngrams(codes, regions, n_max=n_max, strands=pieces.strands).counts
        for codes, regions in pieces.training_regions
    ]
    counts = {n: sum(part[n] for part in parts) for n in range(1, n_max + 1)}
    return pd.DataFrame(
        [
            {"name": "guessing", "bits_per_base": 2.0},
            {"name": "base composition", "bits_per_base": order0_bits(counts)},
            {
                "name": f"Markov chain, {MARKOV_ORDER} bases to the left",
                "bits_per_base": markov_bits(counts, MARKOV_ORDER, validation),
            },
        ]
    )


def tidy_history(history: pd.DataFrame, scheme: str) -> pd.DataFrame:
    """The training history without timings, the scheme in front, `bits_per_base` without `valid_`.

    Timings stay in `checkpoints/history.csv`: tables must be the same whenever they are made.
    """
    table = history.drop(columns=[name for name in TIMING if name in history])
    table = table.rename(columns={"valid_bits_per_base": "bits_per_base"})
    table.insert(0, "scheme", scheme)
    return table


def summarise_training(
    trained: Pretrained, history: pd.DataFrame, baselines: pd.DataFrame, shares: pd.DataFrame
) -> pd.DataFrame:
    """One row: what was trained, what was hidden, and bits per base first, last, best, baseline."""
    bits = history.dropna(subset="bits_per_base")
    row = {
        "scheme": history["scheme"].iloc[0],
        "parameters": trained.model.num_parameters(),
        "steps": trained.fit.step,
        "masked_share": shares["masked_share"].iloc[0],
        "hidden_share": shares["hidden_share"].iloc[0],
        "bits_first": bits["bits_per_base"].iloc[0],
        "bits_last": bits["bits_per_base"].iloc[-1],
        "bits_best": bits["bits_per_base"].min(),
        "bits_composition": baselines["bits_per_base"].iloc[1],
        "bits_markov": baselines["bits_per_base"].iloc[2],
    }
    return pd.DataFrame([row])


def describe_training(history: pd.DataFrame, baselines: pd.DataFrame) -> str:
    """A sentence: bits per base before and after, and against the best baseline."""
    bits = history.dropna(subset="bits_per_base")
    first, last = bits["bits_per_base"].iloc[0], bits["bits_per_base"].iloc[-1]
    best = baselines.loc[baselines["bits_per_base"].idxmin()]
    word = "better than" if last < best["bits_per_base"] else "not better than"
    return (
        f"{bits['scheme'].iloc[0]}: {first:.3f} bits per hidden base before training, "
        f"{last:.3f} after {int(bits['step'].iloc[-1]):,} steps; {word} {best['name']} "
        f"({best['bits_per_base']:.3f})."
    )


def show_predictions(model: BertForMaskedLM, validation: Sequence[FrozenBatch], k: int) -> str:
    """Text: a held-out piece and the model's best bases where hidden, `|` where they agree.

    model: on the CPU, in evaluation mode (as `load_masked_lm` gives it).
    """
    batch = validation[0]
    row = int(batch.hidden_BT[:, :SHOWN_BASES].sum(dim=1).argmax())
    here_L = batch.input_ids_BL[row : row + 1]
    n_positions = here_L.shape[1]
    mine_N = (batch.positions_N // n_positions) == row
    positions_N = batch.positions_N[mine_N] % n_positions
    mask_BL = batch.attention_mask_BL
    mask_1L = None if mask_BL is None else mask_BL[row : row + 1]
    with torch.no_grad():
        marginals_Nk4 = base_marginals(predict_tokens(model, here_L, positions_N, mask_1L), k)
    total_T4 = torch.zeros(batch.codes_BT.shape[1], 4)
    index_Nk = positions_N[:, None] - 1 + torch.arange(k)
    total_T4.index_add_(0, index_Nk.flatten(), marginals_Nk4.flatten(0, 1))
    hidden = batch.hidden_BT[row, :SHOWN_BASES].tolist()
    true = _letters(batch.codes_BT[row, :SHOWN_BASES])
    guess = _letters(total_T4[:SHOWN_BASES].argmax(dim=1))
    return "\n".join(
        [
            "true    " + true,
            "agrees  "
            + "".join(
                "|" if h and t == g else " " for h, t, g in zip(hidden, true, guess, strict=True)
            ),
            "model   " + "".join(g if h else "." for h, g in zip(hidden, guess, strict=True)),
        ]
    )
