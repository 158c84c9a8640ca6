"""Attributions as web pages that need nothing beside them: tokens coloured by what they say.

Blue speaks for the class that is explained, orange against it (colours that the colour-blind can
tell apart); the stronger, the darker.
"""

import hashlib
import html
import re
from collections.abc import Sequence
from pathlib import Path

from genomelm_utils.interpretation.attribution import SPACE, Attribution

FOR, AGAINST = (0, 114, 178), (213, 94, 0)  # Source: Okabe & Ito (2008), blue and vermilion
_MAX_NAME = 60
_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em; color: #111; background: #fff }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #ccc; padding: 6px 10px; text-align: left; vertical-align: top }
.tokens { font-family: ui-monospace, monospace; overflow-wrap: anywhere }
.tokens span { padding: 2px 1px; margin: 0 1px; border-radius: 3px; display: inline-block }
.legend span { padding: 2px 8px; margin-right: 8px; border-radius: 3px }
p { max-width: 60em }
"""


def render_page(found: Sequence[Attribution], title: str) -> str:
    """An HTML page with a table: true label, predicted label, explained label, score, tokens.

    The score is the sum over all tokens: how much more probable they make the explained class than
    a sequence of padding is. Everything that comes from files is escaped.
    """
    rows = "\n".join(_render_row(one) for one in found)
    blue, orange = (_colour(value) for value in (0.8, -0.8))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>{_STYLE}</style></head><body>
<h1>{html.escape(title)}</h1>
<p class="legend"><span style="{blue}">speaks for the explained label</span>
<span style="{orange}">speaks against it</span> hover over a token for its score</p>
<table><thead><tr><th scope="col">True label</th><th scope="col">Predicted label</th>
<th scope="col">Explained label</th><th scope="col">Attribution score</th>
<th scope="col">Tokens</th></tr></thead><tbody>
{rows}
</tbody></table>
<p>Integrated gradients on the token embeddings, from a baseline of padding. Scores of tokens sum to
the difference between the probability of the explained label for this sequence and for the
baseline.</p>
</body></html>
"""


def write_pages(found: Sequence[Attribution], folder: Path) -> list[Path]:
    """One page per sequence, named by it; names that are no file names, or come twice, are changed
    so that none takes the place of another. The files, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    used: set[str] = set()
    files = []
    for one in found:
        name = file_name(one.name, used)
        used.add(name.lower())
        path = folder / f"{name}.html"
        path.write_text(render_page([one], one.name), encoding="utf-8")
        files.append(path)
    return files


def file_name(name: str, used: set[str]) -> str:
    """A name without what file systems forbid, at most 60 letters, and not among `used`."""
    plain = re.sub(r"[^\w.-]+", "_", name).strip("._")[:_MAX_NAME] or "sequence"
    if plain != name:
        plain = f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    made, i = plain, 2
    while made.lower() in used:
        made, i = f"{plain}_{i}", i + 1
    return made


def _render_row(one: Attribution) -> str:
    names = [html.escape(str(name)) for name in one.class_names]
    true = "not known" if one.true is None else names[one.true]
    probability = one.probs_C[one.predicted]
    score = one.scores_T.sum()
    tokens = "".join(
        f'<span style="{_colour(shown)}" title="{value:+.4f}">{_text(token)}</span>'
        for token, shown, value in zip(one.tokens, one.shown_T, one.scores_T, strict=True)
    )
    return (
        f"<tr><td>{true}</td><td>{names[one.predicted]} ({probability:.3f})</td>"
        f"<td>{names[one.target]}</td><td>{score:+.3f}</td>"
        f'<td class="tokens">{tokens}</td></tr>'
    )


def _text(token: str) -> str:
    """The token's letters; the mark alone is shown as a thin space."""
    return html.escape(token.lstrip(SPACE)) or "&thinsp;"


def _colour(shown: float) -> str:
    """Background by score in -1..1, and a text colour that can be read on it."""
    strength = min(abs(float(shown)), 1.0) ** 0.7  # small scores stay visible
    red, green, blue = (
        round(255 + (value - 255) * strength) for value in (FOR if shown >= 0 else AGAINST)
    )
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    return (
        f"background:#{red:02x}{green:02x}{blue:02x};color:{'#fff' if luminance < 130 else '#111'}"
    )
