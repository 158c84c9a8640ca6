"""Corpora of short sequences, such as promoters: read once, tokenised once, drawn in epochs.

Letters: S sequences, L ids of a row.
"""

import gzip
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genomelm_utils.sequences.alphabet import ENCODE_TABLE, INVALID, decode, explain_character
from genomelm_utils.sequences.fasta import is_gzip
from genomelm_utils.sequences.stream import iter_records
from genomelm_utils.tokenizers.byte_bpe import encode_texts
from genomelm_utils.training.checkpoint import write_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

_BLOCK = 8192  # sequences tokenised at a time
_IDS, _BOUNDS, _INFO = "ids.bin", "bounds.npy", "corpus.json"
_DTYPE = np.uint16  # two bytes per token: the vocabularies here have fewer than 65,536 ids


def read_texts(path: str | Path) -> Iterator[str]:
    """The sequences of a file, in order: plain text with one per line, or FASTA; gzipped or not.

    Case is kept in plain text, as the released corpora have it; FASTA comes in upper case. Empty
    lines are left out and counted in the log.

    Raises: FileNotFoundError; ValueError with file and line for a letter that is no nucleotide.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; expected a text file with one sequence per line, or FASTA"
        )
    opener = gzip.open if is_gzip(path) else open
    with opener(path, "rt", encoding="latin-1") as lines:
        first = lines.readline()
    if first.startswith(">"):
        for block in iter_records(path):
            yield from map(decode, block.codes)
        return
    n_empty = 0
    with opener(path, "rt", encoding="latin-1") as lines:
        for number, line in enumerate(lines, start=1):
            text = line.strip()
            if text:
                yield _checked(text, path, number)
            else:
                n_empty += 1
    if n_empty:
        logger.warning("%s: %d empty lines left out", path, n_empty)


def _checked(text: str, path: Path, number: int) -> str:
    data = np.frombuffer(text.encode("latin-1"), dtype=np.uint8)
    wrong = np.flatnonzero(ENCODE_TABLE[data] == INVALID)
    if len(wrong):
        raise ValueError(
            f"{path}, line {number}, character {wrong[0] + 1}: {explain_character(data[wrong[0]])}"
        )
    return text


def sample_texts(texts: Iterable[str], share: float, rng: np.random.Generator) -> list[str]:
    """Each text with chance `share`, on its own: what a tokenizer is trained on.

    Source: FloraBERT takes a tenth, released `06_transformer_preparation.py` (first version).
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, expected in (0, 1]; FloraBERT takes 0.1")
    return [text for text in texts if rng.random() < share]


def keep_tss_end(texts: Iterable[str], length_bp: int = 1000) -> list[str]:
    """The last `length_bp` bases of every sequence. Source: as `sample_texts`, 1000."""
    return [text[-length_bp:] for text in texts]


def planned_steps(
    n_rows: int, batch: int, epochs: float, accumulation: int = 1, devices: int = 1
) -> int:
    """Updates of a training: floor(n_rows / batch * epochs / accumulation / devices).

    batch: rows of one device at a time. Source: FloraBERT, released `training.py`.
    Raises: ValueError when there is none.
    """
    # the product first: a quotient of floats can fall just short of a whole number
    steps = int(n_rows * epochs // (batch * accumulation * devices))
    if steps < 1:
        raise ValueError(
            f"{n_rows} rows give no update of {batch * accumulation * devices} rows in {epochs} "
            "epochs; take more rows or epochs, or fewer rows per update"
        )
    return steps


@dataclass(frozen=True)
class TokenCorpus:
    """Rows of token ids, cut to the tokenizer's length, below each other in one array.

    `ids`: uint16, in memory or mapped from a file. `bounds_S`: int64[S + 1].
    """

    ids: np.ndarray
    bounds_S: np.ndarray
    vocab_size: int

    def __len__(self) -> int:
        return len(self.bounds_S) - 1

    def row(self, index: int) -> np.ndarray:
        """int32[L]: the ids of one sequence, `<s>` and `</s>` included."""
        return self.ids[self.bounds_S[index] : self.bounds_S[index + 1]].astype(np.int32)

    def counts(self) -> np.ndarray:
        """int64[V]: how often every id occurs."""
        total = np.zeros(self.vocab_size, dtype=np.int64)
        for start in range(0, len(self.ids), 1 << 24):
            total += np.bincount(self.ids[start : start + (1 << 24)], minlength=self.vocab_size)
        return total


class EpochRows:
    """(step, start, stop) -> rows of a corpus: every row once per epoch, in an order of its own.

    A pure function, for `tasks.token_mlm.RowBatches`; a step may end one epoch and begin the next.
    """

    def __init__(self, corpus: TokenCorpus, rows_per_step: int, seed: int = 0) -> None:
        if not len(corpus):
            raise ValueError("the corpus has no row, expected at least one sequence")
        self.corpus, self.rows_per_step, self.seed = corpus, rows_per_step, seed
        self._orders: dict[int, np.ndarray] = {}

    def __call__(self, step: int, start: int, stop: int) -> list[np.ndarray]:
        """Rows `start` to `stop` of the step's `rows_per_step`."""
        first = step * self.rows_per_step
        return [self.corpus.row(self._place(first + i)) for i in range(start, stop)]

    def _place(self, index: int) -> int:
        epoch, within = divmod(index, len(self.corpus))
        if epoch not in self._orders:
            # two at most: a step touches the end of one epoch and the start of the next
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}
            rng = np.random.default_rng([self.seed, epoch])
            self._orders[epoch] = rng.permutation(len(self.corpus))
        return int(self._orders[epoch][within])


def tokenize_corpus(
    texts: Iterable[str], tokenizer: "PreTrainedTokenizerFast", folder: Path | None = None
) -> TokenCorpus:
    """The corpus of an iterable of sequences, block by block: memory holds ids, never the text.

    folder: where to keep it as files, so that nine million promoters (3.5 GB) are mapped and not
        loaded; None keeps it in memory. An older corpus there is replaced when all is written.
    Raises: ValueError for a vocabulary of more than 65,536 ids.
    """
    if len(tokenizer) > np.iinfo(_DTYPE).max + 1:
        raise ValueError(f"the vocabulary has {len(tokenizer)} ids, expected at most 65,536")
    lengths: list[np.ndarray] = []
    if folder is None:
        blocks = list(_encode_blocks(texts, tokenizer, lengths))
        ids = np.concatenate([np.empty(0, dtype=_DTYPE), *blocks])
        return TokenCorpus(ids, _bounds(lengths), len(tokenizer))
    with write_folder(Path(folder)) as partial:
        with (partial / _IDS).open("wb") as file:
            for block in _encode_blocks(texts, tokenizer, lengths):
                file.write(block.tobytes())
        np.save(partial / _BOUNDS, _bounds(lengths))
        (partial / _INFO).write_text(json.dumps({"vocab_size": len(tokenizer)}) + "\n")
    return open_corpus(folder)


def open_corpus(folder: str | Path) -> TokenCorpus:
    """The corpus that `tokenize_corpus` wrote, its ids mapped from the file.

    Raises: FileNotFoundError without it; ValueError when the files disagree.
    """
    folder = Path(folder)
    if not (folder / _INFO).is_file():
        raise FileNotFoundError(f"{folder / _INFO} does not exist; expected a tokenised corpus")
    bounds = np.load(folder / _BOUNDS)
    size = (folder / _IDS).stat().st_size
    if size != bounds[-1] * np.dtype(_DTYPE).itemsize:
        raise ValueError(
            f"{folder / _IDS} has {size} bytes, expected {bounds[-1] * np.dtype(_DTYPE).itemsize} "
            f"as {_BOUNDS} says; tokenise the corpus again"
        )
    # an empty file cannot be mapped
    ids = np.memmap(folder / _IDS, dtype=_DTYPE, mode="r") if size else np.empty(0, dtype=_DTYPE)
    return TokenCorpus(ids, bounds, json.loads((folder / _INFO).read_text())["vocab_size"])


def _encode_blocks(
    texts: Iterable[str], tokenizer: "PreTrainedTokenizerFast", lengths: list[np.ndarray]
) -> Iterator[np.ndarray]:
    """Ids of one block of texts after the other; the rows' lengths are added to `lengths`."""
    texts = iter(texts)
    while block := list(islice(texts, _BLOCK)):
        rows = encode_texts(tokenizer, block)
        lengths.append(np.array([len(row) for row in rows], dtype=np.int64))
        yield np.concatenate(rows).astype(_DTYPE)


def _bounds(lengths: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.concatenate([np.empty(0, np.int64), *lengths]))])
