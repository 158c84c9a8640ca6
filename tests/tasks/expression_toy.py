"""Small promoters whose expression is known: a planted word raises it, in one tissue most."""

import numpy as np

from genomelm_utils.datasets.expression_set import ExpressionSet, make_genes
from genomelm_utils.models.florabert import flora_config
from genomelm_utils.tokenizers.byte_bpe import train_byte_bpe

TISSUES = ("root", "leaf", "ear")
WORD = "GATTACAT"


def random_promoters(rng, n: int, low: int = 40, high: int = 90) -> list[str]:
    lengths = rng.integers(low, high, n)
    return ["".join(rng.choice(list("ACGT"), size=one)) for one in lengths]


def expression_set(rng, n: int = 200, missing: float = 0.1) -> ExpressionSet:
    """Half of the promoters hold WORD 5 to 20 bp from the TSS: ln(TPM + 1) is 2 to 3 higher."""
    sequences = random_promoters(rng, n)
    has = np.arange(n) % 2 == 1
    for i in np.flatnonzero(has):
        at = len(sequences[i]) - int(rng.integers(5, 20)) - len(WORD)
        sequences[i] = sequences[i][:at] + WORD + sequences[i][at + len(WORD) :]
    y = 1.0 + has[:, None] * np.array([2.0, 2.5, 3.0]) + rng.normal(0, 0.3, (n, 3))
    tpm = np.expm1(np.maximum(y, 0)).astype(np.float32)
    tpm[rng.random(tpm.shape) < missing] = np.nan
    part = np.where(
        np.arange(n) % 10 < 6, "train", np.where(np.arange(n) % 10 < 8, "valid", "test")
    )
    genes = make_genes(
        [f"gene{i}" for i in range(n)], "B73", sequences, gap_bp=0, cluster=np.arange(n), part=part
    )
    return ExpressionSet(genes, TISSUES, tpm, "TPM")


def tokenizer(n_words: int = 60):
    texts = random_promoters(np.random.default_rng(5), 200)
    return train_byte_bpe(texts, n_words, alphabet="dna", max_tokens=64)


def config(**changes):
    """One layer, width 16; about 5,000 parameters."""
    fields = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    return flora_config("nano", vocab_size=60, max_tokens=64, **{**fields, **changes})
