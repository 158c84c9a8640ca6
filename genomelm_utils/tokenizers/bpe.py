"""Byte-pair tokens of DNA: DNABERT-2's and DNABERT-S's published layout, read, trained and applied.

A token is a word of 1 to a few dozen bases; the tokens of a sequence do not overlap. The layout:
`[UNK] [CLS] [SEP] [PAD] [MASK]` are 0..4 and A, C, G, T 5..8 (ids other than those of the k-mer
vocabularies: padding is 3, and 0 is `[UNK]`); text is split at white space and punctuation, every
character without a token is one `[UNK]`, and a text is wrapped as `[CLS] A [SEP]`.

Source: tokenizer.json of DNABERT-2 (Zhou et al. 2023, arXiv:2306.15006), which DNABERT-S keeps.

Letters: B rows, L positions, V vocabulary, R runs.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from genomelm_utils.sequences.alphabet import DECODE_TABLE, N_BASES, reverse_complement
from genomelm_utils.sequences.genome import BaseStore
from genomelm_utils.sequences.kmers import BASES

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
UNK, CLS, SEP, PAD, MASK = range(len(SPECIAL_TOKENS))
N_SPECIAL = len(SPECIAL_TOKENS)
VOCAB_SIZE = 4096  # Source: DNABERT-2
MIN_VOCAB = N_SPECIAL + N_BASES
AMBIGUOUS = ("unk", "skip")
#: Bases of a training text. No token crosses the end of one, which costs one merge in hundreds of
#: bases; memory and time grow with it (10,000 bp take twice the time of 1,000 for the same genome).
CHUNK_BP = 1000
TRAIN_BASES = 10_000_000  # a vocabulary of 4096 hardly changes beyond; the trainer holds all of it
MIN_PAIR_COUNT = 2  # a pair seen once is no statistics

_FILE = "tokenizer.json"
_NOT_DEFINITE = re.compile(f"[^{BASES}]+")
_SPACE = ord(" ")
# base code -> letter; in the second table what is no definite base splits, and gives no token
_LETTER_TABLES = {
    "unk": DECODE_TABLE,
    "skip": np.where(np.arange(len(DECODE_TABLE)) < N_BASES, DECODE_TABLE, _SPACE).astype(np.uint8),
}


def train_bpe(texts: Iterable[str], vocab_size: int = VOCAB_SIZE) -> "PreTrainedTokenizerFast":
    """A byte-pair tokenizer of exactly `vocab_size` tokens, learned from texts of DNA.

    Merges the most frequent neighbouring pair again and again; equal counts go to the pair of
    lower ids, so the same texts give the same vocabulary. Lower case is read as upper case, U as
    T, and texts are split at anything but A, C, G, T. No token crosses a text's end: give pieces
    of hundreds to thousands of bases, as whole chromosomes take much time and memory.

    vocab_size: with the 5 special tokens and the 4 bases.
    Raises: ValueError for a vocabulary below 9, or texts with too few different words to fill it.
    """
    from tokenizers import trainers

    if vocab_size < MIN_VOCAB:
        raise ValueError(
            f"vocab_size is {vocab_size}, expected at least {MIN_VOCAB}: {N_SPECIAL} special "
            f"tokens and the {N_BASES} bases"
        )
    backend = _blank()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_PAIR_COUNT,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=list(BASES),
        limit_alphabet=N_BASES,
        show_progress=False,
    )
    backend.train_from_iterator(map(_normalise, texts), trainer)
    if backend.get_vocab_size() != vocab_size:
        raise ValueError(
            f"the texts gave {backend.get_vocab_size()} tokens, expected {vocab_size}: no other "
            f"pair occurs {MIN_PAIR_COUNT} times; give more bases or a smaller vocab_size"
        )
    return _wrap(backend, "the trained tokenizer")


def _normalise(text: str) -> str:
    return _NOT_DEFINITE.sub(" ", text.upper().replace("U", "T"))


def train_bpe_on_store(
    store: BaseStore,
    vocab_size: int = VOCAB_SIZE,
    n_bases: int = TRAIN_BASES,
    seed: int = 0,
    *,
    runs: np.ndarray | None = None,
) -> "PreTrainedTokenizerFast":
    """A byte-pair tokenizer of a genome, or of many; the same arguments give the same one.

    Runs of definite bases are cut into pieces of `CHUNK_BP` bases; about `n_bases` of them are
    drawn without replacement, each read from a random strand: contigs have no strand of their own,
    so words and their reverse complements should be equally likely. (DNABERT-2's own pieces are
    not published.)

    runs: int64[R, 2], where to learn from (global coordinates, definite bases), such as those of
    the training species; by default the whole store.
    Raises: as `train_bpe`.
    """
    rng = np.random.default_rng(seed)
    pieces = cut_runs(store.runs if runs is None else np.asarray(runs), CHUNK_BP)
    pieces = rng.permutation(pieces)
    n_pieces = int(np.searchsorted(np.cumsum(pieces[:, 1] - pieces[:, 0]), n_bases)) + 1
    return train_bpe(_read_pieces(store, pieces[:n_pieces], rng), vocab_size)


def cut_runs(runs: np.ndarray, width: int) -> np.ndarray:
    """int64[P, 2]: the runs in pieces of `width` bases, the last of each as long as it is."""
    n_pieces = -(-(runs[:, 1] - runs[:, 0]) // width)
    within = np.arange(n_pieces.sum()) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    begins = np.repeat(runs[:, 0], n_pieces) + within * width
    return np.stack([begins, np.minimum(begins + width, np.repeat(runs[:, 1], n_pieces))], axis=1)


def _read_pieces(store: BaseStore, pieces: np.ndarray, rng: np.random.Generator) -> Iterator[str]:
    reverse = rng.random(len(pieces)) < 0.5
    for (start, end), turn in zip(pieces.tolist(), reverse.tolist(), strict=True):
        codes = np.asarray(store.codes[start:end])
        yield _to_text(reverse_complement(codes) if turn else codes, DECODE_TABLE)


def load_bpe(folder: str | Path) -> "PreTrainedTokenizerFast":
    """The byte-pair tokenizer in a folder: a published one, or ours saved with `save_pretrained`.

    Padding and truncation written into the file are taken out: some copies of the published file
    pad everything to 2000 tokens. Nothing is downloaded.

    Raises: FileNotFoundError without tokenizer.json; ValueError when it is damaged, no byte-pair
        tokenizer, or numbers its tokens otherwise than the published one.
    """
    from tokenizers import Tokenizer

    path = Path(folder) / _FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; expected the byte-pair tokenizer of DNABERT-2, of DNABERT-S "
            "or one trained here (the whole folder of a model holds it)"
        )
    try:
        text = path.read_text(encoding="utf-8")
        kind = json.loads(text)["model"]["type"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged or no tokenizer ({error}); copy it again") from error
    if kind != "BPE":
        raise ValueError(f"{path} holds a {kind} tokenizer, expected BPE (byte-pair tokens of DNA)")
    try:
        backend = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing more special
        raise ValueError(f"{path} is no tokenizer that can be read: {error}") from error
    return _wrap(backend, str(path))


def tokenize_codes(
    tokenizer: "PreTrainedTokenizerFast",
    codes: Sequence[np.ndarray],
    *,
    ambiguous: str = "unk",
    max_tokens: int | None = None,
) -> list[np.ndarray]:
    """The token ids of every sequence, int32[L] with `[CLS]` first and `[SEP]` last.

    All sequences at once, in as many threads as there are cores (environment variable
    `TOKENIZERS_PARALLELISM=false` takes one; `RAYON_NUM_THREADS` sets the number). Base codes have
    no case, so soft-masked bases are bases, unlike in the released code, where each is `[UNK]`. A
    sequence without bases is `[CLS] [SEP]`. Other padding or truncation of `tokenizer` is undone.

    Args:
        codes: uint8[n] base codes each, of any lengths.
        ambiguous: what N and the other ambiguity codes give: "unk", one `[UNK]` each (as
            published, for N: a long gap fills the whole row), or "skip", no token at all. No token
            crosses them either way.
        max_tokens: longer rows keep their first `max_tokens - 1` ids and end in `[SEP]`.
    Raises: ValueError for another policy, or max_tokens below 2.
    """
    if ambiguous not in AMBIGUOUS:
        raise ValueError(f"ambiguous is {ambiguous!r}, expected one of: {', '.join(AMBIGUOUS)}")
    if max_tokens is not None and max_tokens < 2:
        raise ValueError(f"max_tokens is {max_tokens}, expected at least 2 ([CLS] and [SEP])")
    backend = _bare(tokenizer.backend_tokenizer)
    texts = [_to_text(row, _LETTER_TABLES[ambiguous]) for row in codes]
    rows = [np.array(row.ids, dtype=np.int32) for row in backend.encode_batch_fast(texts)]
    return rows if max_tokens is None else [_shorten(row, max_tokens) for row in rows]


def _to_text(codes: np.ndarray, letters: np.ndarray) -> str:
    return letters[codes].tobytes().decode("ascii")


def _shorten(ids_L: np.ndarray, max_tokens: int) -> np.ndarray:
    if len(ids_L) <= max_tokens:
        return ids_L
    return np.append(ids_L[: max_tokens - 1], np.int32(SEP))


def pad_batch(
    ids_list: Sequence[np.ndarray], pad_id: int = PAD
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, mask): int64[B, L] as wide as the longest row, and bool[B, L], True at a row's own ids.

    Always hand the mask on: the published configuration's `pad_token_id` is 0, which is `[UNK]`,
    so a mask made from it attends to padding and hides unknown bases.
    """
    lengths_B = np.array([len(row) for row in ids_list], dtype=np.int64)
    width = int(lengths_B.max(initial=0))
    mask_BL = np.arange(width) < lengths_B[:, None]
    ids_BL = np.full((len(ids_list), width), pad_id, dtype=np.int64)
    if len(ids_list):
        ids_BL[mask_BL] = np.concatenate(ids_list)
    return torch.from_numpy(ids_BL), torch.from_numpy(mask_BL)


def token_bases(tokenizer: "PreTrainedTokenizerFast") -> np.ndarray:
    """int64[V]: bases in each token, 0 for special tokens (though each `[UNK]` stands for one)."""
    bases = np.zeros(len(tokenizer), dtype=np.int64)
    for token, index in tokenizer.get_vocab().items():
        if index >= N_SPECIAL:
            bases[index] = len(token)
    return bases


def _blank() -> "Tokenizer":
    """The published layout without a vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    backend = Tokenizer(models.BPE(unk_token=SPECIAL_TOKENS[UNK], fuse_unk=False))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return backend


def _wrap(backend: "Tokenizer", where: str) -> "PreTrainedTokenizerFast":
    """The Hugging Face tokenizer around a checked backend; the post-processor is set anew."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    _check_layout(backend, where)
    cls, sep = SPECIAL_TOKENS[CLS], SPECIAL_TOKENS[SEP]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(cls, CLS), (sep, SEP)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=_bare(backend),
        clean_up_tokenization_spaces=False,
        **{f"{name.strip('[]').lower()}_token": name for name in SPECIAL_TOKENS},
    )


def _check_layout(backend: "Tokenizer", where: str) -> None:
    """ValueError unless ids and unknown characters are as published."""
    names = [*SPECIAL_TOKENS, *BASES]
    wrong = [
        f"{name} is {backend.token_to_id(name)} instead of {index}"
        for index, name in enumerate(names)
        if backend.token_to_id(name) != index
    ]
    if wrong:
        raise ValueError(
            f"{where} numbers its tokens otherwise than the published one: {'; '.join(wrong)}; is "
            "this the tokenizer of another model?"
        )
    found = _bare(backend).encode("NN ACGT-a", add_special_tokens=False).ids
    if found[:2] != [UNK, UNK] or found[-2:] != [UNK, UNK] or UNK in found[2:-2]:
        raise ValueError(
            f"{where} splits text otherwise than the published one: 'NN ACGT-a' gave {found}, "
            f"expected one {UNK} ({SPECIAL_TOKENS[UNK]}) for each N, '-' and lower-case letter"
        )


def _bare(backend: "Tokenizer") -> "Tokenizer":
    """The same object without padding and truncation, whatever a file or an earlier call set."""
    if backend.padding is not None:
        backend.no_padding()
    if backend.truncation is not None:
        backend.no_truncation()
    return backend
