"""A trained classifier of token sequences: it predicts, and is written to and read from a folder.

The folder is one of transformers (config, weights) with `sequence_model.json` beside it, which says
how rows become windows and what the head reads, and the tokenizer, if it was given.

Shapes: S sequences, W windows, L ids, C classes.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from genomelm_utils.models.sequence_classifier import (
    POOLINGS,
    classify_tokens,
    load_network,
    max_ids,
)
from genomelm_utils.tasks.classification import run_windows
from genomelm_utils.tasks.id_windows import IdWindows, Layout, make_windows
from genomelm_utils.training.checkpoint import hide_bars, write_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FILE, TOKENIZER = "sequence_model.json", "tokenizer.json"


class Tokens(NamedTuple):
    """What a network has to know of a tokenizer: how many ids there are, and the special ones.

    n_ids: with special tokens. cls_id, sep_id: None where the tokenizer has none.
    """

    n_ids: int
    pad_id: int
    cls_id: int | None = None
    sep_id: int | None = None


def unigram_tokens(n_tokens: int, pad_id: int = 3) -> Tokens:
    """Of a tokenizer with `n_tokens` entries in its file: `<sep>` and `<cls>` are the ids behind.

    Source: genomeNLP wraps its tokenizers so; `<pad>` is 3.
    """
    return Tokens(n_tokens + 2, pad_id, cls_id=n_tokens + 1, sep_id=n_tokens)


@dataclass(frozen=True)
class SequenceModel:
    """A trained classifier, with all that is needed to use it.

    pooling: what the head reads (`models.sequence_classifier`). long: what becomes of rows that are
    too long (`tasks.id_windows`). settings: of the training. history: one row per epoch (None for a
    folder without one). attempts: of the training, those that collapsed first.
    """

    model: "PreTrainedModel"
    tokens: Tokens
    class_names: tuple[str, ...]
    pooling: str = "mean"
    long: str = "windows"
    settings: dict[str, Any] | None = None
    history: pd.DataFrame | None = None
    attempts: tuple[dict[str, Any], ...] = ()
    collapsed: bool = False

    @property
    def layout(self) -> Layout:
        """How rows become windows."""
        return make_layout(self.model, self.tokens, self.pooling)

    def windows(self, rows: Sequence[np.ndarray]) -> IdWindows:
        """The windows of rows of token ids, as in training."""
        return make_windows(rows, self.layout, self.long)

    def predict(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """Class probabilities float64 [S, C] of rows of token ids; no labels are needed.

        What a row gets does not depend on its neighbours or their order, but for rounding.
        """
        return predict_windows(self.model, self.windows(rows), self.pooling)

    def save(self, folder: Path | str, tokenizer: Path | str | None = None) -> Path:
        """Write model, settings and history; replaces `folder` as a whole.

        tokenizer: the file the rows were made with, to go beside the model.
        """
        with write_folder(Path(folder)) as partial_folder, hide_bars():
            self.model.save_pretrained(partial_folder)
            facts = {
                "tokens": self.tokens._asdict(),
                "class_names": self.class_names,
                "pooling": self.pooling,
                "long": self.long,
                "settings": self.settings,
                "attempts": self.attempts,
                "collapsed": self.collapsed,
            }
            text = json.dumps(facts, indent=1) + "\n"
            (partial_folder / FILE).write_text(text, encoding="utf-8")
            if self.history is not None:
                self.history.to_csv(partial_folder / "history.csv", index=False)
            if tokenizer is not None:
                name = TOKENIZER + (".gz" if Path(tokenizer).suffix == ".gz" else "")
                shutil.copyfile(tokenizer, partial_folder / name)
        return Path(folder)


def load_sequence_model(folder: Path | str) -> SequenceModel:
    """The classifier that `SequenceModel.save` wrote; predicts the same numbers.

    Raises: FileNotFoundError or ValueError that names the file.
    """
    folder = Path(folder)
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing, expected a folder written by `train`, `sweep` or `cross_validate`"
        )
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        tokens, names = Tokens(**facts["tokens"]), tuple(facts["class_names"])
        pooling, long = facts["pooling"], facts["long"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}); train the model again") from error
    model, new = load_network(folder, tokens.n_ids, names, seed=0)
    if new:
        raise ValueError(f"{folder} lacks weights of the trained head, such as {new[0]}")
    table = folder / "history.csv"
    return SequenceModel(
        model.eval(),
        tokens,
        names,
        pooling,
        long,
        facts.get("settings"),
        pd.read_csv(table) if table.is_file() else None,
        tuple(facts.get("attempts", ())),
        bool(facts.get("collapsed", False)),
    )


def find_tokenizer(folder: Path | str) -> Path | None:
    """The tokenizer file in a model's folder, if there is one."""
    for name in (TOKENIZER, TOKENIZER + ".gz"):
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    return None


def make_layout(model: "PreTrainedModel", tokens: Tokens, pooling: str) -> Layout:
    """How rows become windows of this network; `<cls>` and `<sep>` go around with pooling 'cls'.

    Raises: ValueError for an unknown pooling, or 'cls' without such a token.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling is {pooling!r}, expected one of {', '.join(POOLINGS)}")
    if pooling != "cls":
        return Layout(tokens.pad_id, max_ids(model))
    if tokens.cls_id is None:
        raise ValueError("pooling is 'cls', but the tokenizer has no such token; take 'mean'")
    return Layout(tokens.pad_id, max_ids(model), tokens.cls_id, tokens.sep_id)


def predict_windows(model: "PreTrainedModel", windows: IdWindows, pooling: str) -> np.ndarray:
    """Class probabilities float64 [S, C]: softmax of the mean logits over a row's windows."""
    logits_SC = run_windows(model, windows, partial(classify_tokens, pooling=pooling))
    return torch.softmax(logits_SC.double(), dim=1).numpy()
