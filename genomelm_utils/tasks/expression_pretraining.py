"""Stage 07 before any label: tokens of promoters, and a masked language model of them.

Unless the released rule is asked for, only training promoters are read: tokens and language model
share the split of the regression, so nothing is known of a promoter that is tested later, nor of
its relatives.

Letters: S sequences.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from genomelm_utils.datasets.cluster_splits import CORPUS_TEST_SHARE
from genomelm_utils.datasets.expression_join import read_promoters
from genomelm_utils.datasets.expression_set import ExpressionSet
from genomelm_utils.models.florabert import FloraBertForMaskedLM
from genomelm_utils.pretraining.shared_masks import draw_hidden, freeze_shared
from genomelm_utils.pretraining.text_corpus import (
    keep_tss_end,
    planned_steps,
    sample_texts,
    tokenize_corpus,
)
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.clusters import COVERAGE, IDENTITY
from genomelm_utils.tasks.promoter_mlm import pretrain_promoters, tidy_stages
from genomelm_utils.tokenizers.byte_bpe import DNA, N_BYTES, train_byte_bpe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from genomelm_utils.pipeline.context import Run

logger = logging.getLogger(__name__)

OTHERS, OWN = "other plants", "these promoters"  # stages of the pretraining, in order
RELEASED = "as released"
ALPHABETS = {"dna": "letters of DNA", "bytes": "all bytes"}  # of tokens: what they are called
RULES = ("corrected", "reference")
AUTOMATIC = -1  # of warmup_steps: a tenth of the steps
_FASTA = re.compile(r"\.(fa|fna|fasta|fas)(\.gz)?$")
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


@dataclass(frozen=True)
class PromoterTexts:
    """What tokens and language model are learned from.

    own: promoters of the set whose expression is predicted, and of the same species. others: of
    further plants. sets: one row per further set: set, n_promoters, n_related, n_used.
    """

    own: list[str]
    others: list[str]
    sets: pd.DataFrame


# --- texts ---------------------------------------------------------------------------------


def read_others(run: "Run") -> dict[str, list[str]]:
    """Name -> different promoters of the sets in `plants` and the FASTA files in `plant_files`."""
    found = {}
    for parent in run.parents("plants"):
        genes = ExpressionSet.load(parent.path("expression")).genes
        found[parent.run] = genes["sequence"].unique().tolist()
    return found | read_files(run, "plant_files")


def read_files(run: "Run", parameter: str) -> dict[str, list[str]]:
    """Name -> different promoters of the FASTA files that a `data` parameter names.

    Of a folder all FASTA files below it; records are read as `expression_join.read_promoters` does:
    the TSS is at their right end, empty ones are skipped.
    """
    found = {}
    for name in run.params[parameter]:
        path = run.data(name)
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        files = [file for file in files if _FASTA.search(file.name)]
        if not files:
            raise FileNotFoundError(f"{path} holds no FASTA file (.fa, .fna, .fasta, also .gz)")
        for file in files:
            table, _ = read_promoters(file)
            found[file.name] = table["sequence"].unique().tolist()
    return found


def select_texts(
    promoters: ExpressionSet,
    others: Mapping[str, Sequence[str]],
    relatives: Mapping[str, Sequence[str]] | None = None,
    *,
    rule: str = "corrected",
    seed: int = 0,
) -> PromoterTexts:
    """What may be learned from without labels.

    relatives: further promoters of the species of `promoters`, such as genes without expression.
    rule: 'corrected' takes training promoters, and of further sets what is not similar to a
    validation or test promoter (the others are counted as related). 'reference' deals rows one by
    one, four of five to training, whatever their relatives and whatever they are tested for later.
    Source: FloraBERT, released `06_transformer_preparation.py` (first version); further plants are
    dealt the same way there.
    """
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, expected {' or '.join(RULES)}")
    relatives = relatives or {}
    further = {**others, **relatives}
    held = promoters.genes.loc[promoters.genes["part"] != "train", "sequence"].unique()
    rng = np.random.default_rng(seed)
    if rule == "reference":
        own = sample_texts(promoters.genes["sequence"].unique(), 1 - CORPUS_TEST_SHARE, rng)
        kept = {name: sample_texts(t, 1 - CORPUS_TEST_SHARE, rng) for name, t in further.items()}
    else:
        own = promoters.select("train").genes["sequence"].unique().tolist()
        kept = {name: _unrelated(name, texts, held) for name, texts in further.items()}
    rows = [(name, len(further[name]), len(texts)) for name, texts in kept.items()]
    sets = pd.DataFrame(rows, columns=["set", "n_promoters", "n_used"])
    # by the released rule what is left out is left out by chance, not because it is related
    left_out = sets["n_promoters"] - sets["n_used"]
    sets.insert(2, "n_related", left_out if rule == "corrected" else 0)
    for name in relatives:
        own += kept[name]
    return PromoterTexts(own, [text for name in others for text in kept[name]], sets)


def _unrelated(name: str, texts: Sequence[str], held: Sequence[str]) -> list[str]:
    """Of `texts` those that are similar to none of `held`; the others are counted in the log."""
    from genomelm_utils.sequences.similar import build_index, find_similar

    index = build_index([encode(text) for text in [*held, *texts]])
    blocked_S = np.arange(len(held) + len(texts)) < len(held)
    related_S = np.zeros(len(texts), dtype=bool)
    for row in range(len(held)):
        found, _, _ = find_similar(index, row, blocked_S, IDENTITY, COVERAGE)
        related_S[np.asarray(found) - len(held)] = True
    logger.info("%s: %d of %d promoters left out, related", name, related_S.sum(), len(texts))
    return [text for text, related in zip(texts, related_S, strict=True) if not related]


# --- tokens --------------------------------------------------------------------------------


def train_tokens(
    texts: PromoterTexts,
    *,
    vocab_size: int,
    max_tokens: int,
    max_token_bases: int,
    alphabet: str = "dna",
    truncate: str = "corrected",
    share: float = 1.0,
    seed: int = 0,
) -> dict[str, "PreTrainedTokenizerFast"]:
    """Byte-pair tokens learned from `texts`, by name: as released for comparison, then the chosen.

    Rows are padded on the left. alphabet, truncate: of `train_byte_bpe`. max_token_bases: the
    longest token, 0: any. share: of the texts that are learned from (released: a tenth). The
    released tokenizer numbers all bytes, is cut at the TSS, and has as many merges as the chosen.
    """
    chosen = dict.fromkeys([*texts.own, *texts.others])
    if share < 1:
        chosen = sample_texts(chosen, share, np.random.default_rng(seed))
    n_bytes = vocab_size if alphabet == "bytes" else vocab_size + N_BYTES - len(DNA)
    released = {"truncate": "reference", "max_tokens": max_tokens}
    found = {RELEASED: train_byte_bpe(chosen, n_bytes, **released)}
    found[ALPHABETS[alphabet]] = train_byte_bpe(
        chosen,
        vocab_size,
        alphabet=alphabet,
        truncate=truncate,
        max_tokens=max_tokens,
        max_token_bases=max_token_bases or None,
    )
    return found


# --- language model ------------------------------------------------------------------------


def read_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `pretrain_language_model` that a run's parameters hold: `pretrain_lr` is peak_lr,
    every other `pretrain_x` is x, and what has the same name is the same."""
    same = ("preset", "positions", "random_tokens", "rows_per_step", "seed")
    start = "pretrain_"
    found = {name: params[name] for name in same}
    found |= {k.removeprefix(start): v for k, v in params.items() if k.startswith(start)}
    found["peak_lr"] = found.pop("lr")
    return found


def pretrain_language_model(
    promoters: ExpressionSet,
    texts: PromoterTexts,
    tokenizer: "PreTrainedTokenizerFast",
    *,
    folder: Path,
    preset: str,
    steps: int,
    epochs: float = 0.0,
    rows_per_step: int,
    peak_lr: float,
    warmup_steps: int = AUTOMATIC,
    micro_batches: int = 1,
    seed: int,
    valid_rows: int = 200,
    **options: Any,
) -> PromoterLM:
    """A masked language model of `texts`, judged on hidden bases of the part `valid`.

    With other plants there are two stages, first these, then `promoters`. The validation promoters
    are the same for all, cut to what the tokenizer's rows hold.
    Source: FloraBERT (rs-1927200/v1), all plants first, then maize.

    steps: of each stage; with epochs, as many as so many passes over its texts take instead.
    warmup_steps: below 0, a tenth of the steps. options: of `promoter_mlm.pretrain_promoters`.
    """
    limit_bp = (tokenizer.model_max_length - 2) * MIN_BASES_PER_TOKEN
    held = promoters.select("valid").genes["sequence"].unique()
    chosen = np.random.default_rng(seed).permutation(len(held))[:valid_rows]
    valid = keep_tss_end(held[np.sort(chosen)].tolist(), limit_bp)
    batches = freeze_shared(valid, draw_hidden(valid, seed=seed), tokenizer)
    own = tokenize_corpus(dict.fromkeys(texts.own), tokenizer)
    corpora = {OWN: own}
    if texts.others:
        corpora = {OTHERS: tokenize_corpus(dict.fromkeys(texts.others), tokenizer), OWN: own}
    stages, start = {}, None
    for number, (name, corpus) in enumerate(corpora.items(), start=1):
        if epochs:
            steps = planned_steps(len(corpus), rows_per_step, epochs)
        stages[name] = pretrain_promoters(
            corpus,
            batches,
            tokenizer,
            folder=folder / f"stage{number}",
            preset=preset,
            start=start,
            steps=steps,
            rows_per_step=rows_per_step,
            micro_batches=micro_batches,
            peak_lr=peak_lr,
            warmup_steps=max(1, steps // 10) if warmup_steps < 0 else warmup_steps,
            eval_every=max(1, steps // 6),
            save_every=max(1, steps // 6),
            log_every=max(1, steps // 12),
            seed=seed,
            progress=False,
            **options,
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
