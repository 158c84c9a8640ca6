"""Which tokens speak for the predicted class? Integrated gradients on the token embeddings.

Scores of a sequence sum to the difference between what the model says of it and of a baseline of
padding (completeness): that is checked for every sequence, and steps are doubled until it holds.

Switch `layout`, `corrected` or `reference`: the released code puts `<cls>` and `<sep>` around the
sequence, which the network was never trained with, so that its probabilities differ from those of
the evaluation; corrected reads the rows as in training.

Shapes: S sequences, W windows of one, L ids, T tokens of one, D width, C classes.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from genomelm_utils.models.sequence_classifier import classify_tokens
from genomelm_utils.tasks.id_windows import IdWindows, make_windows
from genomelm_utils.tasks.sequence_models import SequenceModel, make_layout

logger = logging.getLogger(__name__)

N_STEPS = 50  # Source: captum's default, which the released code uses
MAX_STEPS = 800
TOLERANCE = 0.01  # of a probability: how far scores may be from completeness
BATCH_ROWS = 64  # windows x steps at a time
SPACE = "▁"
LAYOUTS = ("corrected", "reference")


@dataclass(frozen=True)
class Attribution:
    """Scores of one sequence.

    name, tokens (text): of it. scores_T: what each token adds to the probability of class `target`
    (sums to `value` - `baseline`, but for `delta`). probs_C: of the classes. predicted: the class
    with the largest. true: the class if it is known. n_steps: of the integration.
    """

    name: str
    tokens: tuple[str, ...]
    scores_T: np.ndarray
    probs_C: np.ndarray
    class_names: tuple[str, ...]
    target: int
    value: float
    baseline: float
    delta: float
    n_steps: int
    true: int | None = None

    @property
    def predicted(self) -> int:
        """The class with the largest probability."""
        return int(self.probs_C.argmax())

    @property
    def shown_T(self) -> np.ndarray:
        """Scores over their Euclidean norm, for colours; Source: transformers-interpret."""
        norm = float(np.linalg.norm(self.scores_T))
        return self.scores_T / norm if norm > 0 else self.scores_T


def attribute(
    model: SequenceModel,
    rows: Sequence[np.ndarray],
    names: Sequence[str],
    vocabulary: Sequence[str],
    *,
    true: Sequence[int] | None = None,
    target: int | None = None,
    layout: str = "corrected",
    n_steps: int = N_STEPS,
) -> list[Attribution]:
    """Attributions of rows of token ids, one by one.

    vocabulary: the tokens as text, by id. true: classes, where known. target: the class whose
    probability is explained, by default the predicted one. The baseline has `<pad>` in place of
    every token, with the same attention and positions. A row that is read in several windows gets
    the sum of what its windows say.

    Scores that miss completeness by more than 0.01 are computed again with twice the steps, up to
    800; what is left is in `delta` and in the log.
    Source: Sundararajan, Taly and Yan 2017 (ICML); captum's LayerIntegratedGradients.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}, expected one of {', '.join(LAYOUTS)}")
    if len(rows) != len(names) or (true is not None and len(true) != len(rows)):
        raise ValueError(f"{len(names)} names for {len(rows)} rows, expected one each")
    asked = model.pooling if layout == "corrected" else "cls"
    shape = make_layout(model.model, model.tokens, asked)
    home = model.model.training
    model.model.eval()
    found = []
    try:
        for i, row in enumerate(rows):
            windows = make_windows([row], shape, model.long)
            found.append(
                _attribute_row(
                    model, windows, names[i], vocabulary, target, n_steps,
                    None if true is None else int(true[i]),
                )
            )  # fmt: skip
    finally:
        model.model.train(home)
    return found


def _attribute_row(
    model: SequenceModel,
    windows: IdWindows,
    name: str,
    vocabulary: Sequence[str],
    target: int | None,
    n_steps: int,
    true: int | None,
) -> Attribution:
    batch = windows.pad(np.arange(len(windows.length_W)))
    ids_WL, mask_WL = batch["input_ids"], batch["attention_mask"]
    inside_WL, place_WL = _token_places(windows, ids_WL.shape[1])
    base_WL = ids_WL.masked_fill(torch.from_numpy(inside_WL), model.tokens.pad_id)
    device = next(model.model.parameters()).device
    ids_WL, base_WL, mask_WL = (t.to(device) for t in (ids_WL, base_WL, mask_WL))

    def probs(some_ids_WL: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[steps, C]: softmax of the mean logits over the windows of every step."""
        logits = classify_tokens(model.model, some_ids_WL, mask, model.pooling)
        return logits.unflatten(0, (-1, len(ids_WL))).mean(1).softmax(-1)

    with torch.no_grad():
        probs_C = probs(ids_WL, mask_WL)[0].double().cpu().numpy()
        chosen = int(probs_C.argmax()) if target is None else target
        if not 0 <= chosen < len(probs_C):
            raise ValueError(f"target is {target}, expected a class from 0 to {len(probs_C) - 1}")
        baseline = float(probs(base_WL, mask_WL)[0, chosen])
    value = float(probs_C[chosen])
    while True:
        scores_WL = _integrate(model, probs, ids_WL, base_WL, mask_WL, chosen, n_steps)
        scores_T = np.zeros(int(place_WL.max()) + 1)
        np.add.at(scores_T, place_WL[inside_WL], scores_WL[inside_WL])
        delta = float(scores_WL.sum() - (value - baseline))
        if abs(delta) <= TOLERANCE or 2 * n_steps > MAX_STEPS:
            break
        n_steps *= 2
    if abs(delta) > TOLERANCE:
        logger.warning("%s: scores miss completeness by %.3f after %d steps", name, delta, n_steps)
    tokens = tuple(vocabulary[i] for i in windows.ids_T[: len(scores_T)].tolist())
    return Attribution(
        name, tokens, scores_T, probs_C, model.class_names, chosen, value, baseline, delta,
        n_steps, true,
    )  # fmt: skip


def _integrate(model, probs, ids_WL, base_WL, mask_WL, target: int, n_steps: int) -> np.ndarray:
    """float64 [W, L]: gradients integrated from baseline to input, summed over the width."""
    from captum.attr import LayerIntegratedGradients

    def forward(some_ids_WL: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return probs(some_ids_WL, mask)[:, target]

    # captum repeats the windows step after step, so that each step holds them all
    explain = LayerIntegratedGradients(forward, model.model.get_input_embeddings())
    found_WLD = explain.attribute(
        ids_WL,
        baselines=base_WL,
        additional_forward_args=(mask_WL,),
        n_steps=n_steps,
        internal_batch_size=max(len(ids_WL), BATCH_ROWS),
    )
    return found_WLD.sum(-1).double().detach().cpu().numpy()


def _token_places(windows: IdWindows, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Which cells [W, L] are tokens of the sequence, and which token each of them is."""
    shift = int(windows.layout.before is not None)
    column_L = np.arange(width) - shift
    inside_WL = (column_L >= 0) & (column_L < windows.length_W[:, None])
    return inside_WL, np.where(inside_WL, windows.begin_W[:, None] + column_L, -1)


# --- tokens to letters -------------------------------------------------------------------------


def token_spans(tokens: Sequence[str], sequence: str) -> np.ndarray:
    """Begin and end of every token in its sequence, int64 [T, 2], 0-based half-open.

    tokens: in order, end to end (unigram) or overlapping by all but one letter (k-mers); the mark
    of the first is no letter. `<unk>` takes the letters up to the next known token.

    Raises: ValueError for tokens that are not of this sequence.
    """
    words = [token.lstrip(SPACE) for token in tokens]
    size = len(words[0]) if words else 0
    marked = any(token.startswith(SPACE) for token in tokens)
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


def letter_scores(scores_T: np.ndarray, spans_T2: np.ndarray, n_letters: int) -> np.ndarray:
    """Scores of letters, float64 [n_letters]: each token's score in equal parts; sums are kept.

    A token without letters (the mark `▁` alone) gives its score to the letter behind it.
    """
    begin_T = spans_T2[:, 0]
    end_T = np.minimum(np.maximum(spans_T2[:, 1], begin_T + 1), n_letters)
    part_T = scores_T / np.maximum(end_T - begin_T, 1)
    steps = np.zeros(n_letters + 1)
    np.add.at(steps, begin_T, part_T)
    np.add.at(steps, end_T, -part_T)
    return np.cumsum(steps)[:n_letters]


def token_table(found: Sequence[Attribution], sequences: Sequence[str]) -> pd.DataFrame:
    """A row per token: name, position, begin, end (0-based half-open), token, score, shown."""
    parts = []
    for one, sequence in zip(found, sequences, strict=True):
        spans = token_spans(one.tokens, sequence)
        parts.append(
            pd.DataFrame(
                {
                    "name": one.name,
                    "position": np.arange(len(one.tokens)),
                    "begin": spans[:, 0],
                    "end": spans[:, 1],
                    "token": one.tokens,
                    "score": one.scores_T,
                    "shown": one.shown_T,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def summarise_tokens(found: Sequence[Attribution], min_count: int = 1) -> pd.DataFrame:
    """Columns class, token, n, mean_score, sd: tokens by their mean score for the class explained.

    The strongest first; the mark of the first token is passed over.
    """
    rows = [
        (one.class_names[one.target], token.lstrip(SPACE), score)
        for one in found
        for token, score in zip(one.tokens, one.scores_T, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["class", "token", "score"])
    table = table.groupby(["class", "token"], as_index=False)["score"].agg(
        n="size", mean_score="mean", sd="std"
    )
    table = table[(table["n"] >= min_count) & (table["token"] != "")]
    return table.sort_values(
        ["class", "mean_score", "token"], ascending=[True, False, True], ignore_index=True
    )
