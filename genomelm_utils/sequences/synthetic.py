"""Synthetic negatives: for every sequence one of the same length and a like composition.

    frequency      words of `block` letters drawn from those of the sequence: words are as frequent,
                   but not what lies across two of them
    bootstrap      the sequence cut into blocks, which are put together in random order
    dinucleotide   exactly the same pairs of neighbours (so the same letters, too), else at random

Sources: the first two are genomeNLP's (Chen et al. 2023, bioRxiv 10.1101/2023.05.31.542682); the
third is Altschul & Erickson 1985, Mol. Biol. Evol. 2:526.
"""

import gzip
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from genomelm_utils.sequences.letters import LetterStream, reverse_complement_text

METHODS = {"frequency": "F", "bootstrap": "B", "dinucleotide": "D"}  # and its mark in a name
NAME = "NULL_{}_{}"
BLOCK = 2  # Source: genomeNLP
MODES = ("corrected", "reference")
_BASES = "ACGT"
_PSEUDO = 0.01  # added to every count. Source: the released code
_MAX_BLOCK = 8  # of the reference: 4 ** 8 words
_LINE = 80


class Written(NamedTuple):
    """What `write_synthetic` wrote. n_records: of negatives. skipped: columns name, reason."""

    n_records: int
    n_letters: int
    skipped: pd.DataFrame


def make_synthetic(
    text: str,
    method: str,
    rng: np.random.Generator,
    *,
    block: int = BLOCK,
    mode: str = "corrected",
) -> str:
    """A synthetic negative of one sequence of any letters, as long as it is.

    block: letters of a word or block; `dinucleotide` has none.
    mode: of `frequency`. "corrected" draws words by how often they occur at any place of the
        sequence, whatever its letters. "reference" counts as the released code does: words of A, C,
        G and T only, without overlaps, plus 0.01 each, so that a protein becomes random DNA.
    Raises: ValueError for an unknown method or mode, or a sequence shorter than a block.
    """
    _check(method, block, mode)
    if len(text) < block and method != "dinucleotide":
        raise ValueError(f"the sequence has {len(text)} letters, fewer than a block of {block}")
    if method == "bootstrap":
        return _shuffle_blocks(text, block, rng)
    if method == "dinucleotide":
        return _shuffle_pairs(text, rng)
    draw = _draw_words if mode == "corrected" else _draw_reference_words
    return draw(text, block, rng)


def _check(method: str, block: int, mode: str) -> None:
    for name, value, choices in (("method", method, METHODS), ("mode", mode, MODES)):
        if value not in choices:
            raise ValueError(f"{name} is {value!r}, expected one of: {', '.join(choices)}")
    most = _MAX_BLOCK if mode == "reference" and method == "frequency" else None
    if block < 1 or (most and block > most):
        raise ValueError(f"block is {block}, expected {f'1 to {most}' if most else '1 or more'}")


def _shuffle_blocks(text: str, block: int, rng: np.random.Generator) -> str:
    n_full = len(text) // block
    parts = [text[i * block : (i + 1) * block] for i in range(-(-len(text) // block))]
    order = rng.permutation(n_full + (len(parts) > n_full))
    return "".join(parts[i] for i in order.tolist())


def _draw_words(text: str, block: int, rng: np.random.Generator) -> str:
    letters = np.frombuffer(text.encode("ascii"), np.uint8)
    begins = rng.integers(0, len(letters) - block + 1, -(-len(letters) // block))
    words = letters[begins[:, None] + np.arange(block)]
    return words.tobytes()[: len(letters)].decode("ascii")


def _draw_reference_words(text: str, block: int, rng: np.random.Generator) -> str:
    words = ["".join(word) for word in product(_BASES, repeat=block)]
    weights = np.array([text.count(word) + _PSEUDO for word in words])
    drawn = rng.choice(len(words), -(-len(text) // block), p=weights / weights.sum())
    return "".join(words[i] for i in drawn.tolist())[: len(text)]


def _shuffle_pairs(text: str, rng: np.random.Generator) -> str:
    from genomelm_utils.sequences.letter_walks import shuffle_pairs

    if len(text) < 3:
        return text
    data = np.frombuffer(text.encode("ascii"), np.uint8)
    used = np.unique(data)
    out = np.empty(len(data), np.int64)
    shuffle_pairs(np.searchsorted(used, data), len(used), rng, out)
    return used[out].tobytes().decode("ascii")


def write_synthetic(
    path: str | Path,
    out: str | Path,
    method: str,
    *,
    seed: int,
    block: int = BLOCK,
    kind: str = "auto",
    reverse_complement: bool = False,
    mode: str = "corrected",
) -> Written:
    """Write one negative per record of a FASTA file, in its order, record by record.

    A record `h` gives `NULL_F_h`, `NULL_B_h` or `NULL_D_h` by method, in upper case and lines of 80
    letters; gzipped if `out` is named *.gz. Records shorter than a block are left out and named.
    The same file, arguments and seed give the same bytes.

    reverse_complement: the other strand of every negative, too, as `RC_NULL_F_h`. (The "reference"
        mode writes that of the record itself instead, as `RC_h`: positives among negatives.)
    Raises: as `make_synthetic` and `letters.LetterStream`; ValueError where `out` is the input, or
        for strands of protein.
    """
    path, out = Path(path), Path(out)
    _check(method, block, mode)
    if out.resolve() == path.resolve():
        raise ValueError(f"{out} is the input itself; give the negatives another name")
    records = LetterStream(path, kind=kind)
    if reverse_complement and not records.kind.has_strands:
        raise ValueError(
            f"{path} is protein ({records.kind.why}), which has no reverse complement: leave it out"
        )
    short: list[str] = []
    n_records = n_letters = 0
    rng = np.random.default_rng(seed)
    with _fasta_writer(out) as write:
        for record in records:
            if len(record.text) < block and method != "dinucleotide":
                short.append(record.header)
                continue
            made = make_synthetic(record.text, method, rng, block=block, mode=mode)
            name = NAME.format(METHODS[method], record.header)
            write(name, made)
            n_records, n_letters = n_records + 1, n_letters + len(made)
            if reverse_complement:
                is_null = mode == "corrected"
                text = reverse_complement_text(made if is_null else record.text, records.kind.name)
                write(f"RC_{name if is_null else record.header}", text)
        if not n_records:
            raise ValueError(f"{path}: all {len(short)} records are shorter than {block} letters")
    reason = f"shorter than a block of {block}"
    skipped = pd.DataFrame({"name": short, "reason": reason}, dtype=object)
    skipped = pd.concat([records.skipped, skipped], ignore_index=True)
    return Written(n_records, n_letters, skipped)


@contextmanager
def _fasta_writer(out: Path) -> Iterator[Callable[[str, str], None]]:
    """`write(name, text)` to a FASTA file that appears when all is written, gzipped if *.gz."""
    partial = out.with_name(out.name + ".partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as files:
            file = files.enter_context(partial.open("wb"))
            if out.suffix == ".gz":
                zipped = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
                file = files.enter_context(zipped)

            def write(name: str, text: str) -> None:
                lines = (text[begin : begin + _LINE] for begin in range(0, len(text), _LINE))
                file.write(f">{name}\n{chr(10).join(lines)}\n".encode())

            yield write
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
