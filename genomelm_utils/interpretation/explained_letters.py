"""Trained classifiers of token sequences of any alphabet as `Explained`: DNA, RNA and protein.

Where other models take base codes, this one takes letters as bytes (`as_letters`): proteins have no
base codes. Long rows are read in windows, as in use; what is explained is the mean of them.

Shapes: S sequences, R rows (windows), B rows of a batch, L ids of a padded row, T tokens.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
import torch

from genomelm_utils.interpretation.explained import Rows
from genomelm_utils.interpretation.explained_tokens import SPACE_MARKS, Batch, TokenNetwork
from genomelm_utils.models.sequence_classifier import classify_tokens
from genomelm_utils.tasks.classification import run_windows
from genomelm_utils.tasks.id_windows import IdWindows, make_windows
from genomelm_utils.tasks.sequence_models import SequenceModel, make_layout
from genomelm_utils.tasks.windows import Codes

SPECIALS = ("as_trained", "reference")


class Encoder(Protocol):
    """What cuts sequences into tokens: `tokenizers.seen_kmers.load_encoder` makes one."""

    tokens: Sequence[str]

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts end to end, and offsets."""


def as_letters(texts: Sequence[str]) -> list[np.ndarray]:
    """uint8 [L] of every text: its letters as bytes, as `LetterClassifier` takes them."""
    return [np.frombuffer(text.encode("ascii"), dtype=np.uint8) for text in texts]


class LetterClassifier(TokenNetwork):
    """A `SequenceModel` and the encoder its rows were made with.

    specials: 'as_trained', rows as in training; 'reference', as genomeNLP explains: `<cls>` and
    `<sep>` around every row, which a network with another pooling has never seen.
    """

    kind = "classes"

    def __init__(
        self, trained: SequenceModel, encoder: Encoder, *, specials: str = "as_trained"
    ) -> None:
        if specials not in SPECIALS:
            raise ValueError(f"specials is {specials!r}, expected one of {', '.join(SPECIALS)}")
        self.trained, self.encoder, self.module = trained, encoder, trained.model
        self.embedding = trained.model.get_input_embeddings()
        self.outputs, self.pad_id = trained.class_names, trained.tokens.pad_id
        mask = [i for i, token in enumerate(encoder.tokens) if token == "<mask>"]
        self.mask_id = mask[0] if mask else None
        asked = "cls" if specials == "reference" else trained.pooling
        self.layout = make_layout(trained.model, trained.tokens, asked)

    def predict(self, codes: Codes) -> np.ndarray:
        windows, _ = self._windows(codes)
        call = partial(classify_tokens, pooling=self.trained.pooling)
        return run_windows(self.module, windows, call).double().numpy()

    def rows(self, codes: Codes) -> Rows:
        windows, texts = self._windows(codes)
        tokens = [self.encoder.tokens[i] for i in windows.ids_T.tolist()]
        begins = windows.begin_W[windows.first_S[:-1]]
        ends = np.append(begins[1:], len(tokens))
        spans_T2 = np.concatenate(
            [token_spans(tokens[a:b], text) for a, b, text in zip(begins, ends, texts, strict=True)]
        )
        none = np.zeros((1, 2), dtype=np.int64)
        before, behind = windows.layout.before, windows.layout.behind
        spans, shown = [], []
        for begin, length in zip(windows.begin_W, windows.length_W, strict=True):
            inside = slice(begin, begin + length)
            parts = [none] * (before is not None) + [spans_T2[inside]]
            spans.append(np.concatenate(parts + [none] * (behind is not None)))
            head, tail = ["<cls>"] * (before is not None), ["<sep>"] * (behind is not None)
            shown.append([*head, *tokens[inside], *tail])
        length_R = windows.length_W + windows.layout.n_around
        lengths_S = np.array([len(text) for text in texts], dtype=np.int64)
        return Rows(windows.sequence_W, length_R, spans, shown, lengths_S, windows)

    def batch(self, rows: Rows, chosen_B: np.ndarray) -> Batch:
        made = rows.data.pad(np.asarray(chosen_B))
        zeros_B = np.zeros(len(chosen_B), dtype=np.int64)
        return Batch(made["input_ids"], made["attention_mask"], (), zeros_B)

    def call(
        self, ids_BL: torch.Tensor, mask_BL: torch.Tensor, *more: torch.Tensor
    ) -> torch.Tensor:
        return classify_tokens(self.module, ids_BL, mask_BL, self.trained.pooling)

    def _windows(self, codes: Codes) -> tuple[IdWindows, list[str]]:
        texts = [np.asarray(one, dtype=np.uint8).tobytes().decode("ascii") for one in codes]
        ids, offsets = self.encoder.encode(texts)
        rows = np.split(ids, offsets[1:-1])
        windows = make_windows(rows, self.layout, self.trained.long)
        if windows.n_cut:  # tokens behind the cut are in no window
            room = self.layout.max_ids - self.layout.n_around
            texts = [
                _cut_text(self.encoder.tokens, row, text, room)
                for row, text in zip(rows, texts, strict=True)
            ]
            rows = [row[:room] for row in rows]
            windows = replace(make_windows(rows, self.layout), n_cut=windows.n_cut)
        return windows, texts


def _cut_text(tokens: Sequence[str], row: np.ndarray, text: str, room: int) -> str:
    """The letters that the first `room` tokens read."""
    if len(row) <= room:
        return text
    spans = token_spans([tokens[i] for i in row.tolist()], text)
    return text[: int(spans[room - 1, 1])]


def token_spans(tokens: Sequence[str], sequence: str) -> np.ndarray:
    """Begin and end of every token in its sequence, int64 [T, 2], 0-based half-open.

    tokens: in order, end to end (unigram) or overlapping by all but one letter (k-mers); the mark
    of the first is no letter (alone it reads nothing). `<unk>` takes the letters up to the next
    known token.

    Raises: ValueError for tokens that are not of this sequence.
    """
    words = [token.lstrip(SPACE_MARKS) for token in tokens]
    size = len(words[0]) if words else 0
    marked = any(word != token for word, token in zip(words, tokens, strict=True))
    if not marked and len(words) > 1 and size > 1 and len(sequence) == len(words) + size - 1:
        spans = np.array([(i, i + size) for i in range(len(words))])
        if all(w in ("<unk>", sequence[a:b]) for w, (a, b) in zip(words, spans, strict=True)):
            return spans
    spans, at = [], 0
    for i, word in enumerate(words):
        if word == "<unk>":
            known = next((w for w in words[i + 1 :] if w and w != "<unk>"), None)
            end = len(sequence) if known is None else sequence.find(known, at)
        else:
            end = at + len(word) if sequence.startswith(word, at) else -1
        if end < at:
            raise ValueError(
                f"token {i} ({tokens[i]!r}) is not at letter {at} of the sequence "
                f"({sequence[at : at + 12]!r}...): tokens and sequence are of two rows"
            )
        spans.append((at, end))
        at = end
    if at != len(sequence):
        raise ValueError(f"tokens cover {at} of {len(sequence)} letters of the sequence")
    return np.array(spans, dtype=np.int64).reshape(-1, 2)
