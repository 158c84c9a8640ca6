"""CornBERT's n-mers: words of n letters of A, T, C, G, N, side by side or overlapping.

`<SOS> <EOS> <PAD> <UNK> <MASK>` are 0..4, then all 5**n words in the order of the letters A, T, C,
G, N. DNABERT's own k-mers (no N, other special tokens) are in `tokenizers.kmer`.

Source: FloraBERT's released `nlp.py`.

Letters: L bases, T tokens, V vocabulary.
"""

from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<SOS>", "<EOS>", "<PAD>", "<UNK>", "<MASK>")
SOS, EOS, PAD, UNK, MASK = range(len(SPECIAL_TOKENS))
N_SPECIAL = len(SPECIAL_TOKENS)
LETTERS = "ATCGN"  # Source: released `nlp.py`
MAX_N = 8  # the vocabulary stays below half a million
CASES = ("corrected", "reference")

_OTHER, _LOWER = 128, 8  # flags in the table of bytes


def nmer_vocab_size(n: int) -> int:
    """5 special tokens and 5**n words."""
    return N_SPECIAL + len(LETTERS) ** _checked_n(n)


@lru_cache(maxsize=MAX_N)
def nmer_vocabulary(n: int) -> dict[str, int]:
    """All tokens and their ids, in the order of ids. Shared between callers: do not change it."""
    words = ("".join(word) for word in product(LETTERS, repeat=_checked_n(n)))
    return {token: index for index, token in enumerate([*SPECIAL_TOKENS, *words])}


def nmer_ids(
    text: str, n: int, *, step: int | None = None, offset: int = 0, case: str = "corrected"
) -> np.ndarray:
    """int32[T]: ids of the words at offset, offset + step, ... that lie in the text as a whole.

    No special tokens are added; bases left over at the end give none. A word with another letter
    than A, T, C, G, N is `<UNK>`.

    Args:
        step: n by default (side by side); 1 overlaps.
        case: 'corrected' reads lower case as upper case; 'reference' too, but not in a word of
            both, which is `<UNK>`.
    Raises: ValueError for n, step, offset or case out of range.
    """
    step = _checked_n(n) if step is None else step
    if step < 1 or offset < 0:
        raise ValueError(f"step is {step} and offset {offset}, expected at least 1 and 0")
    if case not in CASES:
        raise ValueError(f"case is {case!r}, expected one of: {', '.join(CASES)}")
    marks_L = _table()[np.frombuffer(text.encode("latin-1", "replace"), dtype=np.uint8)]
    starts_T = np.arange(offset, len(text) - n + 1, step)
    ids_T = np.zeros(len(starts_T), dtype=np.int32)
    odd_T = np.zeros(len(starts_T), dtype=bool)
    n_lower_T = np.zeros(len(starts_T), dtype=np.int32)
    for j in range(n):
        mark_T = marks_L[starts_T + j]
        odd_T |= mark_T == _OTHER
        n_lower_T += (mark_T & _LOWER) > 0
        ids_T = ids_T * len(LETTERS) + (mark_T & (_LOWER - 1))
    if case == "reference":
        odd_T |= (n_lower_T > 0) & (n_lower_T < n)
    return np.where(odd_T, UNK, ids_T + N_SPECIAL).astype(np.int32)


def build_nmer_tokenizer(
    n: int, *, overlapping: bool = False, max_tokens: int = 512
) -> "PreTrainedTokenizerFast":
    """A Hugging Face fast tokenizer with these ids: `<SOS> ... <EOS>`, padded and cut on the left.

    Text is read as upper case. Side by side (the default) raw sequences are cut into words; with
    `overlapping` the text is words joined by blanks (`tokenizers.kmer.seq2kmer`), as for DNABERT.

    max_tokens: ids of a row, special tokens included. Source: 512 as in DNABERT.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel(nmer_vocabulary(n), unk_token=SPECIAL_TOKENS[UNK]))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Replace(letter.lower(), letter) for letter in LETTERS]
    )
    backend.pre_tokenizer = (
        pre_tokenizers.WhitespaceSplit()
        if overlapping
        else pre_tokenizers.Split(Regex(f".{{{n}}}"), behavior="removed", invert=True)
    )
    sos, eos, pad, unk, mask = SPECIAL_TOKENS
    backend.post_processor = processors.TemplateProcessing(
        single=f"{sos} $A {eos}",
        pair=f"{sos} $A {eos} $B:1 {eos}:1",
        special_tokens=[(sos, SOS), (eos, EOS)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_tokens,
        padding_side="left",
        truncation_side="left",
        clean_up_tokenization_spaces=False,
        bos_token=sos,
        cls_token=sos,
        eos_token=eos,
        sep_token=eos,
        pad_token=pad,
        unk_token=unk,
        mask_token=mask,
    )


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    """uint8[256]: place of a letter in `LETTERS`, with a flag where it is lower case or none."""
    table = np.full(256, _OTHER, dtype=np.uint8)
    for place, letter in enumerate(LETTERS):
        table[ord(letter)] = place
        table[ord(letter.lower())] = place | _LOWER
    return table


def _checked_n(n: int) -> int:
    if not 1 <= n <= MAX_N:
        raise ValueError(f"n is {n}, expected 1..{MAX_N}")
    return n
