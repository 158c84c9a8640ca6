"""Unigram tokens (SentencePiece's algorithm) of DNA, RNA or protein, in genomeNLP's layout.

`<s> </s> <unk> <pad> <mask>` are 0..4, then the learned tokens by falling weight (log-probability);
a text is prefixed with `▁`, so its first token usually begins with it. The Hugging Face tokenizer
has two ids more, `<sep>` and `<cls>` (V and V+1), and puts nothing around a text.

Source: genomeNLP (Chen et al. 2023, bioRxiv 10.1101/2023.05.31.542682), released code.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd

from genomelm_utils.sequences.fasta import is_gzip

SPECIAL_TOKENS = ("<s>", "</s>", "<unk>", "<pad>", "<mask>")
SPACE = "▁"  # of Metaspace: stands before every text


def read_layout(path: str | Path) -> dict[str, Any]:
    """The content of a tokenizer file (JSON, plain or gzipped), checked to be unigram.

    Raises: FileNotFoundError; ValueError for a damaged file, or a tokenizer of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected a unigram tokenizer (JSON)")
    try:
        raw = gzip.decompress(path.read_bytes()) if is_gzip(path) else path.read_bytes()
        layout = json.loads(raw)
        kind, vocab = layout["model"]["type"], layout["model"]["vocab"]
    except (ValueError, KeyError, TypeError, EOFError, OSError) as error:
        raise ValueError(f"{path} is damaged or no tokenizer ({error!r}); make it again") from error
    if kind != "Unigram":
        raise ValueError(f"{path} holds a {kind} tokenizer, expected Unigram")
    if not vocab or not all(len(entry) == 2 for entry in vocab):
        raise ValueError(f"{path}: model.vocab is no list of [token, weight]")
    return layout


def read_tokens(path: str | Path) -> pd.DataFrame:
    """Columns token, weight (log-probability; 0 for special tokens), in the order of the file.

    A pooled file of the released code lists special tokens twice; so does this table then.
    Raises: as `read_layout`.
    """
    vocab = read_layout(path)["model"]["vocab"]
    return pd.DataFrame(vocab, columns=["token", "weight"])


def count_token_lengths(tokens: pd.DataFrame) -> pd.DataFrame:
    """Columns length (letters without `▁`) and n_tokens; special tokens do not count.

    tokens: as `read_tokens` gives them. `▁` alone has length 0.
    """
    learned = tokens.loc[~tokens["token"].isin(SPECIAL_TOKENS), "token"].drop_duplicates()
    lengths = learned.str.lstrip(SPACE).str.len()
    return lengths.value_counts().sort_index().rename_axis("length").reset_index(name="n_tokens")
