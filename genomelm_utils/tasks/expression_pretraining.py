"""Stage 07 before any label: tokens of promoters, and a masked language model of them.

Only training promoters are read: tokens and language model share the split of the regression, so
nothing is known of a promoter that is tested later, nor of its relatives.

Letters: S sequences.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genomelm_utils.datasets.expression_set import ExpressionSet
from genomelm_utils.models.florabert import FloraBertForMaskedLM
from genomelm_utils.pretraining.shared_masks import draw_hidden, freeze_shared
from genomelm_utils.pretraining.text_corpus import keep_tss_end, tokenize_corpus
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.clusters import COVERAGE, IDENTITY
from genomelm_utils.tasks.promoter_mlm import pretrain_promoters, tidy_stages
from genomelm_utils.tokenizers.byte_bpe import train_byte_bpe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

OTHERS, OWN = "other plants", "these promoters"  # stages of the pretraining, in order
MIN_BASES_PER_TOKEN = 2  # of a promoter as a whole: bounds what the validation may be cut to


@dataclass(frozen=True)
class PromoterLM:
    """What the pretraining left.

    final: folder of model and tokenizer. curves: step, train_loss, bits, ... per `stage`. bits: a
    row per stage and baseline: baseline, bits_per_hidden_base, hidden_bases (NaN for baselines).
    """

    final: Path
    model: FloraBertForMaskedLM
    curves: pd.DataFrame
    bits: pd.DataFrame


def select_others(
    promoters: ExpressionSet, others: Sequence[ExpressionSet]
) -> tuple[list[str], pd.DataFrame]:
    """(sequences of further sets to pretrain on, one row per set: n_promoters, n_related, n_used).

    Left out, and counted as related, is what is similar to a validation or test promoter of the
    set that is predicted later.
    """
    from genomelm_utils.sequences.similar import build_index, find_similar

    kept, rows = [], []
    held = promoters.genes.loc[promoters.genes["part"] != "train", "sequence"].unique()
    held_codes = [encode(text) for text in held]
    for other in others:
        texts = other.genes["sequence"].unique()
        index = build_index([*held_codes, *[encode(text) for text in texts]])
        blocked_S = np.arange(len(held) + len(texts)) < len(held)
        related_S = np.zeros(len(texts), dtype=bool)
        for row in range(len(held)):
            found, _, _ = find_similar(index, row, blocked_S, IDENTITY, COVERAGE)
            related_S[np.asarray(found) - len(held)] = True
        kept += texts[~related_S].tolist()
        name = ", ".join(other.genes["line"].unique()[:3])
        n_related = int(related_S.sum())
        rows.append((name, len(texts), n_related, len(texts) - n_related))
        logger.info("%s: %d of %d promoters left out, related", name, n_related, len(texts))
    return kept, pd.DataFrame(rows, columns=["set", "n_promoters", "n_related", "n_used"])


def train_tokens(
    promoters: ExpressionSet,
    others: Sequence[str],
    *,
    vocab_size: int,
    max_tokens: int,
    max_token_bases: int,
) -> "PreTrainedTokenizerFast":
    """Byte-pair tokens learned from training promoters (and `others`), of letters of DNA only.

    Rows are padded and cut on the left: the TSS stays. max_token_bases: the longest token.
    """
    texts = promoters.select("train").genes["sequence"].tolist() + list(others)
    return train_byte_bpe(
        dict.fromkeys(texts),
        vocab_size,
        alphabet="dna",
        max_tokens=max_tokens,
        max_token_bases=max_token_bases,
    )


def released_tokens(
    promoters: ExpressionSet, others: Sequence[str], *, vocab_size: int, max_tokens: int
) -> "PreTrainedTokenizerFast":
    """The same training with the released settings: all bytes, cut at the TSS, any length.

    Only to be compared with: `vocab_size` counts letters of DNA, so the merges are as many.
    """
    texts = promoters.select("train").genes["sequence"].tolist() + list(others)
    return train_byte_bpe(
        dict.fromkeys(texts), vocab_size + 251, truncate="reference", max_tokens=max_tokens
    )


def pretrain_language_model(
    promoters: ExpressionSet,
    others: Sequence[str],
    tokenizer: "PreTrainedTokenizerFast",
    *,
    folder: Path,
    preset: str,
    steps: int,
    rows_per_step: int,
    peak_lr: float,
    seed: int,
    valid_rows: int = 200,
) -> PromoterLM:
    """A masked language model of training promoters, judged on hidden bases of part `valid`.

    others: with them there are two stages of `steps` each, first these, then `promoters`. The
    validation promoters are the same for all, cut to what the tokenizer's rows hold.
    Source: FloraBERT (rs-1927200/v1), all plants first, then maize.
    """
    limit_bp = (tokenizer.model_max_length - 2) * MIN_BASES_PER_TOKEN
    texts = promoters.select("valid").genes["sequence"].unique()
    chosen = np.random.default_rng(seed).permutation(len(texts))[:valid_rows]
    valid = keep_tss_end(texts[np.sort(chosen)].tolist(), limit_bp)
    batches = freeze_shared(valid, draw_hidden(valid, seed=seed), tokenizer)
    own = tokenize_corpus(dict.fromkeys(promoters.select("train").genes["sequence"]), tokenizer)
    corpora = {OWN: own}
    if others:
        corpora = {OTHERS: tokenize_corpus(dict.fromkeys(others), tokenizer), OWN: own}
    stages, start = {}, None
    for number, (name, corpus) in enumerate(corpora.items(), start=1):
        stages[name] = pretrain_promoters(
            corpus,
            batches,
            tokenizer,
            folder=folder / f"stage{number}",
            preset=preset,
            start=start,
            steps=steps,
            rows_per_step=rows_per_step,
            micro_batches=1,
            peak_lr=peak_lr,
            warmup_steps=max(1, steps // 10),
            eval_every=max(1, steps // 6),
            save_every=max(1, steps // 6),
            log_every=max(1, steps // 12),
            clip_norm=1.0,
            seed=seed,
            progress=False,
        )
        start = stages[name].final
    curves, bits = tidy_stages(stages, own, batches, tokenizer)
    last = stages[OWN]
    return PromoterLM(last.final, last.model, curves, bits)


def describe_bits(bits: pd.DataFrame) -> str:
    """A sentence: bits per hidden base of the last stage, and of guessing without a network.

    What counts is the better of base composition and frequencies of tokens.
    """
    by_name = bits.set_index("baseline")["bits_per_hidden_base"]
    guesses = by_name[[name for name in by_name.index if name not in (OTHERS, OWN)]]
    told = ", ".join(f"{value:.3f} by {name}" for name, value in guesses.items())
    gain = guesses.min() - by_name[OWN]
    share = 100 * gain / guesses.min()
    verdict = (
        f"{share:.1f} % less than the better guess" if gain > 0 else "no better than that guess"
    )
    return (
        f"Hidden bases of unseen promoters cost {by_name[OWN]:.3f} bits each after pretraining; "
        f"guessing costs {told}: {verdict}."
    )


def describe_cut(tokens: pd.DataFrame) -> str:
    """A sentence: how many promoters lose distal bases by the last tokenizer of the table."""
    share = tokens["cut_share"].iloc[-1]
    return f"{100 * share:.1f} % of the promoters are longer than a row and lose their distal end."
