"""Rows of token ids of two classes that a tiny network tells apart in seconds."""

import numpy as np

from genomelm_utils.models.sequence_classifier import build_config
from genomelm_utils.tasks.sequence_models import Tokens, unigram_tokens

TOKENS: Tokens = unigram_tokens(26)  # ids 0..4 special, 5..25 words, 26 <sep>, 27 <cls>
CLASSES = ("no", "yes")


def toy_rows(n: int, seed: int = 0, low: int = 4, high: int = 12) -> tuple[list, np.ndarray]:
    """n rows of low..high words; class 1 holds words 20..25 twice as often as chance."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    rows = []
    for label in labels:
        row = rng.integers(5, 20, rng.integers(low, high))
        hit = rng.random(len(row)) < (0.5 if label else 0.05)
        rows.append(np.where(hit, rng.integers(20, 26, len(row)), row).astype(np.int32))
    return rows, labels


def tiny_config(kind: str = "distilbert", **changes):
    """A network of one layer, width 16."""
    sizes = {"layers": 1, "width": 16, "heads": 2, "dropout": 0.0}
    if kind == "longformer":
        sizes["window"] = 4
    return build_config(
        kind, TOKENS.n_ids, CLASSES, pad_id=TOKENS.pad_id, positions=16, **sizes | changes
    )
