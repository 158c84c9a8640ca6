"""The page of attributions: self-contained, escaped, honest about labels; safe file names."""

import re

import numpy as np
import pytest
from explained_toys import random_classifier

from genomelm_utils.interpretation.attribution import attribute
from genomelm_utils.interpretation.attribution_html import (
    COLUMNS,
    MAX_ALPHA,
    base_table,
    file_names,
    html_page,
    predicted_labels,
    write_bedgraph,
    write_page,
)
from genomelm_utils.interpretation.explained_tokens import KmerClassifier
from genomelm_utils.sequences.alphabet import encode


@pytest.fixture(scope="module")
def explained():
    model = KmerClassifier(random_classifier(), ["no", "<yes>"])
    codes = [encode("ACGTTGCA"), encode("GGGTACC")]
    return codes, attribute(model, codes), predicted_labels(
        model.predict(codes), model.outputs, model.kind
    )  # fmt: skip


def test_the_page_shows_labels_score_and_every_token(explained):
    _, found, predicted = explained
    page = html_page(found, ["a/b", "<c>"], predicted, ["no", None])
    for heading in COLUMNS:
        assert f"<th>{heading}</th>" in page
    assert "<td>no</td>" in page and "<td>not known</td>" in page
    assert "&lt;c&gt;" in page and "<c>" not in page and "<yes>" not in page
    for s in range(2):
        assert f"{found.table['total'][s]:.3f}" in page
        assert f"({predicted['probability'][s]:.2f})" in page
    spans = re.findall(r'<span class="t (\w+)[^"]*" style="--a:([\d.]+)" title="([+-])', page)
    assert len(spans) == len(found.tokens) == 8 + 7
    assert all((way == "towards") == (sign == "+") for way, _, sign in spans)
    alphas = np.array([float(a) for _, a, _ in spans])
    assert alphas[:8].max() == alphas[8:].max() == MAX_ALPHA


def test_the_page_needs_nothing_else_and_has_both_themes(explained):
    _, found, predicted = explained
    page = html_page(found, ["a", "b"], predicted)
    assert not re.search(r"https?:|<script|<link|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page and "color-scheme: light dark" in page


def contrast(first, second):
    """WCAG 2 contrast of two colours."""

    def luminance(rgb):
        part = np.array(rgb) / 255
        linear = np.where(part <= 0.03928, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_can_be_read_on_the_strongest_token_in_both_themes(explained):
    _, found, predicted = explained
    page = html_page(found, ["a", "b"], predicted)
    grounds = [tuple(int(one[i : i + 2], 16) for i in (0, 2, 4))
               for one in re.findall(r"--ground: #(\w{6})", page)]  # fmt: skip
    texts = [tuple(int(one[i : i + 2], 16) for i in (0, 2, 4))
             for one in re.findall(r"--text: #(\w{6})", page)]  # fmt: skip
    inks = [tuple(map(int, one)) for one in re.findall(r"rgba\((\d+), (\d+), (\d+), var", page)]
    assert len(grounds) == len(texts) == len(inks) == 2
    for ground, text in zip(grounds, texts, strict=True):
        for ink in inks:
            mixed = MAX_ALPHA * np.array(ink) + (1 - MAX_ALPHA) * np.array(ground)
            assert contrast(mixed, text) > 4.5, (ground, ink)  # WCAG 2, AA


def test_file_names_are_safe_and_different():
    names = ["chr1/2", "chr1 2", "../..", "A", "a", "x" * 300, "chr1/2", "é"]
    found = file_names(names)
    assert len({one.lower() for one in found}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*\.html", one) for one in found)
    assert found[0] == "chr1_2.html" and found[1] == "chr1_2-2.html"
    assert max(map(len, found)) < 100


def test_scores_by_base_are_written(tmp_path, explained):
    codes, found, predicted = explained
    table = base_table(found, ["a", "b"], codes)
    assert "".join(table.loc[table["name"] == "b", "base"]) == "GGGTACC"
    assert table["score"].sum() == pytest.approx(found.table["total"].sum())
    write_bedgraph(tmp_path / "x.bedgraph", found, ["a", "b"])
    lines = (tmp_path / "x.bedgraph").read_text().splitlines()
    assert len(lines) == 16 and lines[1].startswith("a\t0\t1\t")
    path = write_page(tmp_path / "new" / "page.html", found, ["a", "b"], predicted)
    assert path.read_text() == html_page(found, ["a", "b"], predicted)


def test_numbers_that_do_not_belong_together_are_named(explained):
    _, found, predicted = explained
    with pytest.raises(ValueError, match="2 sequences, but 1 names"):
        html_page(found, ["a"], predicted)
