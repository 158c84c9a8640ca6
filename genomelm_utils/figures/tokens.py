"""Figures of tokenizers."""

from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.style import OKABE_ITO

KMER_COLOURS = [
    OKABE_ITO[name] for name in ("sky", "green", "orange", "blue", "purple", "vermilion")
]
BPE_LOOKS = [
    {"color": "black", "ls": dashes, "marker": marker}
    for dashes, marker in (("-", "o"), ((0, (5, 1.5)), "s"), ((0, (5, 1, 1, 1)), "^"))
]


def plot_token_usage(table: pd.DataFrame, ax: Axes) -> Axes:
    """Rank-frequency curves of tokens, one per k and tokenizer; dotted is even use of each.

    `table` has `rank` (1 = most used), `frequency` (share of all tokens) and `k`, or `tokenizer`
    (its name) for byte-pair tokens: `usage.rank_frequencies` and `bpe_usage.rank_bpe_tokens` below
    each other. Byte-pair tokens are black; their last rank is the size of their vocabulary. Tokens
    that are never used have no place on the log axis.
    """
    for (k, part), colour in zip(
        table.groupby("k") if "k" in table else (), cycle(KMER_COLOURS), strict=False
    ):
        ax.loglog(part["rank"], part["frequency"], color=colour, label=f"{k:.0f}-mers")
        ax.axhline(1 / 4**k, color=colour, ls=":", lw=0.7)
    for (name, part), look in _by_tokenizer(table):
        ax.loglog(part["rank"], part["frequency"], label=name, **look | {"marker": ""})
        ax.axhline(1 / part["rank"].max(), color="black", ls=":", lw=0.7)
    ax.set(xlabel="rank of the token", ylabel="share of all tokens")
    ax.legend(loc="lower left")
    return ax


def plot_tokens_per_base(contigs: pd.DataFrame, ax: Axes) -> Axes:
    """Tokens per base by contig length; the shortest and longest with their number of tokens.

    `contigs` of `bpe_usage.describe_contigs`, with `tokenizer` where several stand in it. Dotted:
    overlapping k-mers, which are as many as there are bases.
    """
    ax.axhline(1, color=OKABE_ITO["grey"], ls=":", lw=0.8)
    ax.annotate(
        "overlapping k-mers", (contigs["length_bp"].min(), 1), (0, -8),
        textcoords="offset points", fontsize=6, color=OKABE_ITO["grey"],
    )  # fmt: skip
    for (name, part), look in _by_tokenizer(contigs):
        part = part.sort_values("length_bp")
        ax.plot(part["length_bp"], part["tokens_per_base"], label=name, **look)
        for at, side in ((0, "left"), (-1, "right")) if len(part) > 1 else ((0, "center"),):
            row = part.iloc[at]
            place = (row["length_bp"], row["tokens_per_base"])
            ax.annotate(
                f"{row['tokens_mean']:,.0f} tokens", place, (0, 3.5),
                textcoords="offset points", ha=side, fontsize=6,
            )  # fmt: skip
    ax.set(ylabel="tokens per base", ylim=(0, 1.1))
    _scale_length(contigs, ax)
    ax.legend(loc="center right")
    return ax


def plot_token_boundaries(contigs: pd.DataFrame, ax: Axes) -> Axes:
    """Share of the cuts between tokens that are found again on the other strand, by contig length.

    `contigs` of `bpe_usage.describe_contigs`, with `tokenizer` where several stand in it. Grey: as
    many cuts thrown at random. Far below 100 %, the two strands of a contig are different texts to
    the model.
    """
    grey = {"color": OKABE_ITO["grey"], "ls": ":"}
    for i, ((name, part), look) in enumerate(_by_tokenizer(contigs)):
        part = part.sort_values("length_bp")
        chance = "_again" if i else "at random"
        ax.plot(part["length_bp"], 100 * part["kept_chance"], label=chance, **look | grey)
        ax.plot(part["length_bp"], 100 * part["kept_reverse"], label=name, **look)
    ax.set(ylabel="cuts found on the other strand (%)", ylim=(0, 100))
    _scale_length(contigs, ax)
    ax.legend(loc="best")
    return ax


def plot_token_overlap(table: pd.DataFrame, ax: Axes) -> Axes:
    """Share of the tokens of an unbroken genome that its contigs give, too, by their length.

    `table` of `compare.compare_contig_lengths`, with `published` beside it or not. Blue: all
    tokens; green: the tenth of greatest weight; black: the published shares. These are counts of
    one genome each, so there is no interval.
    """
    cut = table[table["length_bp"] > 0].sort_values("length_bp")
    looks = {
        "shared": ("all tokens", {"color": OKABE_ITO["blue"], "marker": "o"}),
        "heavy_shared": ("of greatest weight", {"color": OKABE_ITO["green"], "marker": "^"}),
        "published": ("published", {"color": "black", "ls": "--", "marker": "s", "mfc": "none"}),
    }
    for column, (label, look) in looks.items():
        if column in cut and cut[column].notna().any():
            ax.plot(cut["length_bp"], 100 * cut[column], label=label, ms=4, **look)
    lengths = cut["length_bp"].tolist()
    ax.set_xscale("log", base=2)
    ax.set_xticks(lengths, [f"{length:,}" for length in lengths])
    ax.tick_params(axis="x", labelrotation=90 if len(lengths) > 6 else 0)
    ax.minorticks_off()
    ax.set(xlabel="length of the contigs (bp)", ylabel="tokens of the unbroken genome (%)")
    ax.legend(loc="lower right")
    return ax


def plot_token_lengths(table: pd.DataFrame, ax: Axes) -> Axes:
    """Tokens of a vocabulary by length in letters; `table` of `unigram.count_token_lengths`."""
    ax.bar(table["length"], table["n_tokens"], color=OKABE_ITO["blue"])
    ax.set(xlabel="letters of the token", ylabel="tokens")
    return ax


def plot_token_weights(tokens: pd.DataFrame, ax: Axes) -> Axes:
    """Boxes of the weights of every token over several vocabularies, outliers among tokens in red.

    `tokens` of `compare.compare_tokens`, its first row on top. Boxes are quartiles, whiskers reach
    1.5 interquartile ranges. The canvas should give a row some three millimetres.
    """
    weights = tokens.drop(columns=["token", "std", "is_outlier"]).to_numpy(dtype=float)
    colours = [OKABE_ITO["vermilion" if one else "sky"] for one in tokens["is_outlier"]]
    boxes = ax.boxplot(
        list(weights), orientation="horizontal", patch_artist=True, tick_labels=tokens["token"],
        flierprops={"marker": ".", "markersize": 3}, medianprops={"color": "black"},
    )  # fmt: skip
    for box, colour in zip(boxes["boxes"], colours, strict=True):
        box.set_facecolor(colour)
    ax.invert_yaxis()
    ax.set(xlabel="weight (log-probability)")
    return ax


def _by_tokenizer(table: pd.DataFrame) -> list:
    """((name, rows), look of the line) of each byte-pair tokenizer; without names there is one."""
    if "tokenizer" not in table:
        parts = [] if "k" in table else [("byte-pair tokens", table)]
    else:
        parts = list(table.groupby("tokenizer", sort=False))
    return list(zip(parts, cycle(BPE_LOOKS), strict=False))


def _scale_length(contigs: pd.DataFrame, ax: Axes) -> None:
    lengths = sorted(contigs["length_bp"].unique())
    ax.set_xscale("log")
    ax.set_xticks(lengths, [f"{length / 1000:g}" for length in lengths])
    ax.minorticks_off()
    ax.set(xlabel="length of the contig (kb)")
