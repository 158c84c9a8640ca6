"""Name, colour and marker of masking schemes and baselines, the same in every figure."""

from genomelm_utils.figures.style import OKABE_ITO

#: Name, colour and marker of each masking scheme, the same in every figure.
SCHEMES = {
    "contiguous": ("contiguous (DNABERT)", OKABE_ITO["blue"], "o"),
    "span11": ("random 11-token spans", OKABE_ITO["green"], "s"),
    "genemask": ("GeneMask, by content", OKABE_ITO["vermilion"], "D"),
    "genemask_reference": ("GeneMask, as released", OKABE_ITO["orange"], "^"),
    "genemask_worst": ("GeneMask, worst ranks", OKABE_ITO["purple"], "v"),
    "curriculum": ("PMI curriculum", OKABE_ITO["sky"], "P"),
}
#: Line style of each baseline: grey, so that models stand out against them.
BASELINES = {
    "kmer4": ("4-mer logistic regression", (0, (1, 1))),
    "kmer6": ("6-mer logistic regression", (0, (3, 1, 1, 1))),
    "onehot": ("one-hot logistic regression", (0, (4, 2))),
    "gc": ("GC content", (0, (6, 2))),
    "scratch": ("same network, not pretrained", (0, (5, 1, 1, 1, 1, 1))),
}


def scheme_style(model: str) -> tuple[str, str, str]:
    """Label, colour and marker of a model named after its masking scheme.

    A scheme in a longer name (`logo-genemask`) gives colour and marker, and the name is the label.
    """
    if model in SCHEMES:
        return SCHEMES[model]
    named = [part for part in model.split("-") if part in SCHEMES]
    return (model, *(SCHEMES[named[0]][1:] if named else (OKABE_ITO["black"], "x")))
