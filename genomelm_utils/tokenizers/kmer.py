"""DNABERT's overlapping k-mers: token ids straight from base codes, and the same ids from text.

Letters: S sequences, L bases of a sequence, B rows, T tokens, V vocabulary.

The vocabulary is `[PAD] [UNK] [CLS] [SEP] [MASK]` (0..4), then all 4**k k-mers in the order of the
letters A, T, C, G. Base codes count A, C, G, T, so a k-mer has two numbers: its *code* (A, C, G, T
order, as in `sequences.kmers`) and its *token id*; the tables between them are computed here.

Source: DNABERT (Ji et al., Bioinformatics 2021), the released vocabularies for k = 3..6.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from genomelm_utils.sequences.kmers import BASES, kmer_codes, kmer_strings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(len(SPECIAL_TOKENS))
N_SPECIAL = len(SPECIAL_TOKENS)
VOCAB_ORDER = "ATCG"  # Source: the line order of DNABERT's vocabulary files
MAX_IDS = 512  # positions of DNABERT's models, [CLS] and [SEP] included
MAX_K = 8  # the largest k whose tables stay small; DNABERT has 3..6


def vocab_size(k: int) -> int:
    """The number of token ids: 5 special tokens and 4**k k-mers."""
    return N_SPECIAL + 4 ** _checked_k(k)


@lru_cache(maxsize=MAX_K)
def token_of_code(k: int) -> np.ndarray:
    """int32[4**k]: the token id of every k-mer code (A, C, G, T order). Read-only."""
    digit = np.array([VOCAB_ORDER.index(base) for base in BASES], dtype=np.int32)
    tokens = np.zeros(1, dtype=np.int32)
    for _ in range(_checked_k(k)):
        tokens = (tokens[:, None] * 4 + digit[None, :]).ravel()
    return _read_only(tokens + N_SPECIAL)


@lru_cache(maxsize=MAX_K)
def code_of_token(k: int) -> np.ndarray:
    """int32[V]: the k-mer code (A, C, G, T order) of every token id, -1 for specials. Read-only."""
    codes = np.full(vocab_size(k), -1, dtype=np.int32)
    codes[token_of_code(k)] = np.arange(4**k, dtype=np.int32)
    return _read_only(codes)


@lru_cache(maxsize=MAX_K)
def vocabulary(k: int) -> dict[str, int]:
    """All tokens and their ids, in the order of ids. Shared between callers: do not change it."""
    kmers = np.array(kmer_strings(k))[code_of_token(k)[N_SPECIAL:]].tolist()
    return {token: index for index, token in enumerate([*SPECIAL_TOKENS, *kmers])}


def token_ids(codes: np.ndarray, k: int) -> np.ndarray:
    """int32[..., L-k+1]: the token ids of base codes, `[UNK]` where a window has an ambiguous base.

    No special tokens are added (see `encode_sequences`). Base codes have no case: soft-masked bases
    give the same ids as others, unlike lower-case text in the released tokenizer (`[UNK]`).

    codes: uint8[L] or uint8[S, L] base codes. L < k gives no tokens.
    """
    # the code -1 of an ambiguous window wraps around to the table's last entry
    return _token_table(k).take(kmer_codes(codes, k), mode="wrap")


def encode_sequences(
    codes: np.ndarray | Sequence[np.ndarray], k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, lengths): token ids with `[CLS]` and `[SEP]`, padded with `[PAD]`; and ids per row.

    ids is int64[B, T+2], as wide as the longest row; lengths is int64[B] and counts `[CLS]` and
    `[SEP]`. Nothing is cut: a row may be longer than a model's positions (`MAX_IDS`).

    codes: uint8[S, L] base codes, or a list of uint8[L] of any lengths; a row shorter than k bases
    becomes `[CLS] [SEP]`.
    """
    n_bases = np.array([len(row) for row in codes], dtype=np.int64)
    if isinstance(codes, np.ndarray) and codes.ndim == 2:
        block = codes
    else:
        block = np.zeros((n_bases.size, int(n_bases.max(initial=0))), dtype=np.uint8)
        filled = np.arange(block.shape[1]) < n_bases[:, None]
        if n_bases.size:
            block[filled] = np.concatenate([np.asarray(row, dtype=np.uint8) for row in codes])
    return wrap_tokens(token_ids(block, k), np.maximum(n_bases - k + 1, 0))


def wrap_tokens(tokens: np.ndarray, n_tokens: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, lengths): rows of token ids wrapped in `[CLS]` and `[SEP]` and padded to the longest.

    tokens: int[B, T]; what lies beyond a row's own count is ignored.
    n_tokens: int64[B], how many of a row's tokens are its own, 0..T.
    """
    width = int(n_tokens.max(initial=0))
    ids = np.full((len(tokens), width + 2), PAD, dtype=np.int64)
    ids[:, 0] = CLS
    ids[:, 1:-1] = tokens[:, :width]
    column = np.arange(width + 2)
    ids[column > n_tokens[:, None]] = PAD
    ids[np.arange(len(tokens)), n_tokens + 1] = SEP
    return torch.from_numpy(ids), torch.from_numpy(n_tokens + 2)


def ids_from_text(text: str, k: int, keep_quotes: bool = False) -> list[int]:
    """The token ids of space-separated k-mers, without `[CLS]` and `[SEP]`.

    Lower-case k-mers, k-mers with N and words of another length give `[UNK]`, as in the released
    tokenizer. The published training files wrap each sequence in double quotes and the released
    reader keeps them: each quote becomes a token of its own, `[UNK]`, and shifts all positions by
    one, in training only.

    keep_quotes: True repeats that (reference); False drops the quotes (corrected).
    """
    words = vocabulary(k)
    text = text.replace('"', ' " ' if keep_quotes else " ")
    return [words.get(word, UNK) for word in text.split()]


def seq2kmer(sequence: str, k: int) -> str:
    """The overlapping k-mers of a sequence, joined by spaces: all L-k+1 of them."""
    return " ".join(sequence[i : i + k] for i in range(len(sequence) - _checked_k(k) + 1))


def kmer2seq(kmers: str) -> str:
    """The sequence whose overlapping k-mers are given: the inverse of `seq2kmer`.

    Raises ValueError when neighbours do not overlap by k-1 bases: such text is no single sequence.
    """
    words = kmers.split()
    for i, (left, right) in enumerate(pairwise(words)):
        if left[1:] != right[:-1]:
            raise ValueError(
                f"k-mers {i} and {i + 1} are {left!r} and {right!r}, expected overlapping k-mers "
                "(each one base further than the last); give the raw sequence instead"
            )
    return "".join([words[0], *(word[-1] for word in words[1:])]) if words else ""


def build_tokenizer(k: int) -> "PreTrainedTokenizerFast":
    """A Hugging Face fast tokenizer for space-separated k-mer text with DNABERT's ids.

    `tokenizer(text)` gives `[CLS] ... [SEP]`. Saved with `save_pretrained(folder)`, it is what
    `AutoTokenizer.from_pretrained(folder)` loads, also beside a BERT model. Text is split at spaces
    and punctuation stands alone, so a quote is `[UNK]` as in the released tokenizer; nothing is
    upper-cased.

    Source: DNABERT's tokenizer settings: `do_lower_case` false, 512 ids at most.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = vocabulary(k)
    backend = Tokenizer(models.WordLevel(words, unk_token=SPECIAL_TOKENS[UNK]))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = SPECIAL_TOKENS[CLS], SPECIAL_TOKENS[SEP]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(cls, CLS), (sep, SEP)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=MAX_IDS,
        clean_up_tokenization_spaces=False,
        **{f"{name.strip('[]').lower()}_token": name for name in SPECIAL_TOKENS},
    )


@lru_cache(maxsize=MAX_K)
def _token_table(k: int) -> np.ndarray:
    """Token id of every k-mer code, and of code -1 (the last entry): `[UNK]`."""
    return _read_only(np.append(token_of_code(k), np.int32(UNK)))


def _read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def _checked_k(k: int) -> int:
    if not 1 <= k <= MAX_K:
        raise ValueError(f"k is {k}, expected 1..{MAX_K} (DNABERT's vocabularies have k = 3..6)")
    return k
