"""Sizes of the promoter networks by name, published and small ones, with their sources."""

from copy import deepcopy
from typing import Any

from genomelm_utils.models.motif_scan import P_VALUE

_AVSEC = "Avsec et al. 2021, Nat. Methods 18:1196"
_REDDY = "Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code"
_SMALL = "the same architecture, small enough to learn on a CPU"

_MTLUCIFER = {
    "channels": [256, 512, 1024],
    "k": 5,
    "residual": False,
    "n_layers": 5,
    "n_heads": 8,
    "dropout": 0.1,
}
_PURE_CNN = {
    "channels": [512, 768, 768, 1024],
    "pools": [5, 5],
    "k": 5,
    "dense": [2048, 1024],
    "dropout": 0.1,
}
_RESNET = {
    "channels": [512, 512, 512, 768, 768, 1024, 1024, 2048, 2048],
    "k": 5,
    "width": 1024,
}
_LEGNET = {
    "channels": [256, 128, 128, 64, 64, 64, 64],
    "k": 7,
    "resize_factor": 4,
    "filters_per_group": 2,
    "reduction": 4,
    "momentum": 0.1,
    "flatten": False,
}
_MOTIF_FCN = {"dense": [2048, 1024, 1024, 512], "p_value": P_VALUE}
_ENFORMER = {
    "dim": 1536,
    "depth": 11,
    "heads": 8,
    "output_heads": {"human": 5313, "mouse": 1643},
    "target_length": -1,
}

#: Backbone -> (sizes, where they come from).
SIZES: dict[str, tuple[dict[str, Any], str]] = {
    "MTLucifer": (_MTLUCIFER, _REDDY),
    "MTLuciferFirst": (
        {"channels": [256, 512, 768], "k": 5, "n_layers": 5, "n_heads": 8, "wide": 2048}
        | {"dropout": 0.1},
        "Reddy et al. 2023, first version of the preprint (February 2023), code",
    ),
    "MTLuciferWithResidualBlocks": ({**_MTLUCIFER, "residual": True, "k": 20}, _REDDY),
    "MTLuciferMini": (
        {**_MTLUCIFER, "channels": [64, 96, 128], "n_layers": 2, "n_heads": 4},
        _SMALL,
    ),
    "PureCNN": (_PURE_CNN, _REDDY),
    "PureCNNLarge": (
        {**_PURE_CNN, "channels": [512, 768, 768, 1024, 1024, 1024], "pools": [5, 3, 3]},
        _REDDY,
    ),
    "ResNet": (_RESNET, _REDDY),
    "ResNetMini": ({"channels": [64, 64, 128], "k": 5, "width": 64}, _SMALL),
    "MPRAnn": (
        {"channels": [250, 250, 250, 100], "ks": [7, 8, 3, 2], "dense": [300, 200]},
        "Agarwal et al. 2025, Nature 639:411, as in Reddy et al., code",
    ),
    "MotifBasedFCN": (_MOTIF_FCN, _REDDY),
    "MotifBasedFCNLarge": (
        {**_MOTIF_FCN, "dense": [2048, 4096, 4096, 2048, 1024, 1024]},
        _REDDY,
    ),
    "LegNet": (_LEGNET, "Penzar et al. 2023, Bioinformatics 39:btad457, as in Reddy et al., code"),
    "LegNetLarge": ({**_LEGNET, "channels": [4 * c for c in _LEGNET["channels"]]}, _REDDY),
    "LegNetOriginal": ({**_LEGNET, "flatten": True}, _REDDY),
    "LegNetMini": ({**_LEGNET, "channels": [64, 32, 32]}, _SMALL),
    "Malinois": (
        {
            "channels": [300, 200, 200],
            "ks": [19, 11, 7],
            "input_bp": 600,
            "width": 1000,
            "dropout": 0.1163,
            "flanks": "corrected",
            "upstream": "",
            "downstream": "",
        },
        "Gosai et al. 2024, Nature 634:1211; boda2 (MIT licence)",
    ),
    "DNABERT": ({"pooling": ""}, "of the checkpoint"),
    "DNABERTRandomInit": ({"preset": "dnabert6", "pooling": "pooler"}, "models.presets"),
    "Enformer": ({"enformer": _ENFORMER, "frozen": False}, _AVSEC),
    "EnformerRandomInit": (
        {"enformer": {**_ENFORMER, "output_heads": {}}, "frozen": False},
        _AVSEC,
    ),
    "EnformerFrozenBase": ({"enformer": _ENFORMER, "frozen": True}, _AVSEC),
    "EnformerFullFrozenBase": ({"enformer": _ENFORMER, "upstream": "", "downstream": ""}, _AVSEC),
}


def sizes_of(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of a backbone's sizes with changes; ValueError for a size that it does not have."""
    sizes = deepcopy(SIZES[name][0])
    unknown = sorted(set(changes) - set(sizes))
    if unknown:
        raise ValueError(f"{name} has no size {unknown[0]!r}, expected one of: {', '.join(sizes)}")
    return sizes | changes


def enformer_sizes(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an Enformer's config.json that say how to build it again, else as published."""
    return {name: fields.get(name, usual) for name, usual in _ENFORMER.items()} | {
        "target_length": -1
    }
