"""Attributions as a page: true label, predicted label, score, and the tokens in colour.

The table is genomeNLP's (captum's word importance), as one file without anything from elsewhere:
no script, no font, no network. Colours are laid over the page's own background, so text keeps its
contrast in a dark and in a light theme; size and sign of each score are also in the token's title.

Shapes: S sequences.
"""

import hashlib
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.interpretation.attribution import Attribution
from genomelm_utils.interpretation.explained_tokens import SPACE_MARKS

MAX_ALPHA = 0.45  # of the strongest token: text keeps a contrast of 4.5 in both themes (WCAG 2 AA)
MAX_NAME = 80  # characters of a file name
_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]+")
# Source: Okabe & Ito (2008), Color Universal Design: blue and orange stay apart under
# colour-blindness, unlike the green and red of the released page.
_TOWARDS, _AWAY = "0, 114, 178", "230, 159, 0"
_STYLE = f"""
:root {{ color-scheme: light dark; --ground: #ffffff; --text: #1a1a1a; --line: #c8c8c8; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ground: #16181c; --text: #e8e8e8; --line: #44484f; }}
}}
body {{ background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, sans-serif;
  margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ border-top: 1px solid var(--line); padding: .4rem .6rem; text-align: left;
  vertical-align: top; }}
td.tokens {{ font-family: ui-monospace, monospace; overflow-wrap: anywhere; }}
.t {{ border-radius: 3px; display: inline-block; margin: 1px; padding: 0 3px; }}
.special {{ opacity: .6; }}
.towards {{ background: rgba({_TOWARDS}, var(--a)); }}
.away {{ background: rgba({_AWAY}, var(--a)); text-decoration: underline dotted; }}
"""
COLUMNS = ("Name", "True label", "Predicted label", "Explained", "Score", "Tokens")


def html_page(
    found: Attribution,
    names: Sequence[str],
    predicted: pd.DataFrame,
    true_labels: Sequence[str | None] | None = None,
    title: str = "Attributions",
) -> str:
    """The page of all sequences, as text.

    names: of the sequences. predicted: columns label and probability (NaN for values: not shown),
    one row per sequence, see `predicted_labels`. true_labels: None, or None for a sequence whose
    label is not known: the page then says so, and shows no made-up label.
    Raises: ValueError unless there is one of each per sequence.
    """
    rows = _rows(found, names, predicted, true_labels)
    how = f"{found.method.replace('_', ' ')} of the {found.scale.replace('_', ' ')}"
    about = (
        f"{escape(how)}, baseline: {escape(found.baseline)}. Blue speaks for the explained output, "
        "orange (underlined) against it; the strongest token of a sequence has the full colour."
    )
    head = "".join(f"<th>{one}</th>" for one in COLUMNS)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>"
        f"<h1>{escape(title)}</h1><p>{about}</p>\n<table><thead><tr>{head}</tr></thead><tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table></body></html>\n"
    )


def predicted_labels(outputs_SC: np.ndarray, outputs: Sequence[str], kind: str) -> pd.DataFrame:
    """label and probability of the predicted class (values: the largest output, NaN)."""
    best_S = outputs_SC.argmax(1)
    shifted = np.exp(outputs_SC - outputs_SC.max(1, keepdims=True))
    probability_S = 1 / shifted.sum(1) if kind == "classes" else np.full(len(best_S), np.nan)
    return pd.DataFrame({"label": [outputs[i] for i in best_S], "probability": probability_S})


def write_page(path: str | Path, *args, **options) -> Path:
    """`html_page` as a file; it appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(html_page(*args, **options), encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def file_names(names: Sequence[str], suffix: str = ".html") -> list[str]:
    """A safe file name for every name, all different.

    What is no plain letter, digit or one of _ . + - becomes one underscore; where that, or the
    length, would make two alike, a number is added. (The released command uses raw headers: a slash
    breaks it, equal names overwrite each other.)
    """
    used: set[str] = set()
    out = []
    for name in names:
        stem = _UNSAFE.sub("_", name).strip("._")[:MAX_NAME]
        if not stem:
            stem = hashlib.sha256(name.encode()).hexdigest()[:12]
        unique, i = stem, 1
        while unique.lower() in used:  # some file systems do not tell A from a
            i += 1
            unique = f"{stem}-{i}"
        used.add(unique.lower())
        out.append(unique + suffix)
    return out


def base_table(
    found: Attribution, names: Sequence[str], codes: Sequence[np.ndarray]
) -> pd.DataFrame:
    """Scores by base, one row each: name, start, end (0-based half-open), base, score."""
    from genomelm_utils.sequences.alphabet import decode

    parts = [
        pd.DataFrame(
            {
                "name": name,
                "start": np.arange(len(score)),
                "end": np.arange(len(score)) + 1,
                "base": list(decode(np.asarray(one))),
                "score": score,
            }
        )
        for name, one, score in zip(names, codes, found.base, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def write_bedgraph(path: str | Path, found: Attribution, names: Sequence[str]) -> None:
    """Scores by base in bedGraph: name, start, end, score; names are the sequences."""
    with Path(path).open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(f'track type=bedGraph name="{found.method}"\n')
        for name, score_L in zip(names, found.base, strict=True):
            for i, score in enumerate(score_L):
                stream.write(f"{name}\t{i}\t{i + 1}\t{score:.6g}\n")


def _rows(found, names, predicted, true_labels) -> list[str]:
    n = len(found.table)
    if (
        len(names) != n
        or len(predicted) != n
        or (true_labels is not None and len(true_labels) != n)
    ):
        raise ValueError(
            f"{n} sequences, but {len(names)} names, {len(predicted)} predictions and "
            f"{'no' if true_labels is None else len(true_labels)} true labels; expected one each"
        )
    tokens = dict(list(found.tokens.groupby("sequence", sort=False)))
    rows = []
    for s, (name, row) in enumerate(zip(names, found.table.itertuples(), strict=True)):
        true = None if true_labels is None else true_labels[s]
        label, probability = predicted["label"].iloc[s], predicted["probability"].iloc[s]
        shown = "" if np.isnan(probability) else f" ({probability:.2f})"
        cells = [
            escape(str(name)),
            "not known" if true is None else escape(str(true)),
            f"{escape(str(label))}{shown}",
            escape(str(row.output)),
            f"{row.total:.3f}",
        ]
        text = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr>{text}<td class="tokens">{_spans(tokens[s])}</td></tr>')
    return rows


def _spans(tokens: pd.DataFrame) -> str:
    """The tokens of a sequence, windows one after the other."""
    largest = float(tokens["score"].abs().max()) or 1.0
    out = []
    for row in tokens.itertuples():
        text = str(row.token).strip(SPACE_MARKS)
        special = row.start == row.end
        way = "towards" if row.score >= 0 else "away"
        kind = f"t {way}{' special' if special else ''}"
        alpha = MAX_ALPHA * abs(row.score) / largest
        title = f"{row.score:+.4g}" if special else f"{row.score:+.4g}, bases {row.start}-{row.end}"
        out.append(
            f'<span class="{kind}" style="--a:{alpha:.3f}" title="{title}">{escape(text)}</span>'
        )
    return "".join(out)
