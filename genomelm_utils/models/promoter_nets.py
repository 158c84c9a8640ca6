"""Networks of promoter activity by name: one registry, one model class, named outputs.

A `PromoterNet` is a backbone (base codes to an embedding) and a head for each task (embedding to
its named outputs). It is saved and loaded as any Hugging Face model; weights that are missing or
unknown are an error, and heads come and go only when asked for (`load_promoter_net`).

Shapes: B sequences, L bases, D width of the embedding, C outputs of a task.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from genomelm_utils.models import promoter_cnns, promoter_frozen, promoter_sizes
from genomelm_utils.models.motif_scan import NamedMotif, motif_matrices
from genomelm_utils.models.presets import bert_config
from genomelm_utils.models.promoter_blocks import AMBIGUOUS, Lengths, find_lengths
from genomelm_utils.models.promoter_heads import HEADS
from genomelm_utils.models.promoter_legnet import LegNet
from genomelm_utils.models.promoter_mtlucifer import FirstMTLucifer, MTLucifer

logger = logging.getLogger(__name__)

PADDINGS = ("corrected", "reference")
#: Backbones that are read from a folder.
FROM_CHECKPOINT = ("DNABERT", "Enformer", "EnformerFrozenBase", "EnformerFullFrozenBase")


class PromoterConfig(PretrainedConfig):
    """What a `PromoterNet` is made of.

    backbone: a name of `BACKBONES`. sizes: its sizes (`promoter_sizes`). heads: task -> names of
    its outputs. head: 'linear'; 'mlp' (norm and three layers for each output); 'branched'
    (Malinois). length_bp: of backbones for one length. ambiguous: what a base that is not definite
    reads as ('zeros', 'shares'). padding: 'reference' lets padding count like bases, as in the
    released code, so that a prediction depends on the batch.
    """

    model_type = "promoter_net"

    backbone: str = "MTLucifer"
    sizes: dict[str, Any] | None = None
    heads: dict[str, list[str]] | None = None
    head: str = "linear"
    length_bp: int | None = None
    ambiguous: str = "zeros"
    padding: str = "corrected"


@dataclass(frozen=True)
class Backbone:
    """How a backbone is built from a configuration, and what it can be asked for.

    one_length: it flattens places, so it takes sequences of `length_bp` only. masks: it can be told
    where sequences end, or (padding 'reference') not.
    """

    build: Callable[[PromoterConfig], nn.Module]
    one_length: bool = False
    masks: bool = False
    head: str = "linear"


def _sized(make: Callable[..., nn.Module]) -> Callable[[PromoterConfig], nn.Module]:
    return lambda config: make(config.sizes, config.ambiguous)


def _of_one_length(make: Callable[..., nn.Module]) -> Callable[[PromoterConfig], nn.Module]:
    return lambda config: make(config.sizes, config.ambiguous, config.length_bp)


_MTLUCIFER = Backbone(_sized(MTLucifer), masks=True)
_PURE_CNN = Backbone(_of_one_length(promoter_cnns.PureCNN), one_length=True)
_LEGNET = Backbone(_of_one_length(LegNet), masks=True)
_MOTIF_FCN = Backbone(lambda config: promoter_frozen.MotifFCN(config.sizes))
_DNABERT = Backbone(lambda config: promoter_frozen.DnaBert(config.sizes))
_ENFORMER = Backbone(lambda config: promoter_frozen.EnformerFeatures(config.sizes))
#: Name -> backbone; sizes and their sources are in `promoter_sizes.SIZES` under the same names.
BACKBONES: dict[str, Backbone] = {
    "MTLucifer": _MTLUCIFER,
    "MTLuciferFirst": Backbone(_sized(FirstMTLucifer), masks=True),
    "MTLuciferWithResidualBlocks": _MTLUCIFER,
    "MTLuciferMini": _MTLUCIFER,
    "PureCNN": _PURE_CNN,
    "PureCNNLarge": _PURE_CNN,
    "ResNet": Backbone(_sized(promoter_cnns.ResNet), masks=True),
    "ResNetMini": Backbone(_sized(promoter_cnns.ResNet), masks=True),
    "MPRAnn": Backbone(_of_one_length(promoter_cnns.MPRAnn), one_length=True),
    "MotifBasedFCN": _MOTIF_FCN,
    "MotifBasedFCNLarge": _MOTIF_FCN,
    "LegNet": _LEGNET,
    "LegNetLarge": _LEGNET,
    "LegNetOriginal": Backbone(_of_one_length(LegNet), one_length=True),
    "LegNetMini": _LEGNET,
    "Malinois": Backbone(_sized(promoter_cnns.Malinois), head="branched"),
    "DNABERT": _DNABERT,
    "DNABERTRandomInit": _DNABERT,
    "Enformer": _ENFORMER,
    "EnformerRandomInit": _ENFORMER,
    "EnformerFrozenBase": _ENFORMER,
    "EnformerFullFrozenBase": Backbone(
        lambda config: promoter_frozen.EnformerTracks(config.sizes, config.length_bp),
        one_length=True,
    ),
}


@dataclass
class PromoterOutput(ModelOutput):
    """logits [B, C] (the values themselves in a regression), embedding [B, D]."""

    logits: torch.Tensor | None = None
    embedding: torch.Tensor | None = None


class PromoterNet(PreTrainedModel):
    """A backbone and a head for each task (see `PromoterConfig`)."""

    config_class = PromoterConfig
    base_model_prefix = "backbone"
    _supports_sdpa = True

    def __init__(self, config: PromoterConfig) -> None:
        super().__init__(config)
        check_config(config)
        self.backbone = BACKBONES[config.backbone].build(config)
        make = HEADS[config.head]
        width = self.backbone.width
        self.heads = nn.ModuleDict(
            {task: make(width, len(outputs)) for task, outputs in config.heads.items()}
        )
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """torch's own start of linear layers and convolutions, as in the released code."""
        if isinstance(module, nn.Linear | nn.Conv1d):
            module.reset_parameters()
        elif hasattr(module, "init_parameters"):
            module.init_parameters()
        else:
            super()._init_weights(module)

    def embed(self, codes_BL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        """[B, D] of base codes, one byte each, filled up with `PAD_CODE` (see `stack_codes`).

        lengths_B: bases of each row, found from the codes by default. Raises: ValueError for rows
            that are too short, too long, or not of the backbone's one length.
        """
        if lengths_B is None:
            lengths_B = find_lengths(codes_BL)
        self._check_lengths(codes_BL, lengths_B)
        if self.config.padding == "reference":
            lengths_B = None
        return self.backbone(codes_BL, lengths_B)

    def forward(
        self, codes_BL: torch.Tensor, lengths_B: Lengths = None, task: str | None = None
    ) -> PromoterOutput:
        """Outputs of one task's head; `task` may be left out where there is one. See `embed`."""
        head = self.heads[self.pick_task(task)]
        embedding_BD = self.embed(codes_BL, lengths_B)
        return PromoterOutput(head(embedding_BD), embedding_BD)

    def pick_task(self, task: str | None = None) -> str:
        """The name of the task; ValueError for an unknown one, or none where there are several."""
        names = list(self.config.heads)
        if task is None and len(names) == 1:
            return names[0]
        if task not in names:
            raise ValueError(f"task is {task!r}, expected one of: {', '.join(names)}")
        return task

    def outputs(self, task: str | None = None) -> list[str]:
        """Names of a task's outputs."""
        return list(self.config.heads[self.pick_task(task)])

    def _check_lengths(self, codes_BL: torch.Tensor, lengths_B: Lengths) -> None:
        name, only = self.config.backbone, self.config.length_bp
        longest = codes_BL.shape[1]
        shortest = longest if lengths_B is None else int(lengths_B.min())
        if BACKBONES[name].one_length and (longest != only or shortest != only):
            raise ValueError(
                f"{name} flattens places, so this one takes sequences of {only} bases only, found "
                f"{shortest} to {longest}; cut them to one length, or take a network for any "
                "length: MTLucifer, LegNet, ResNet"
            )
        least = getattr(self.backbone, "min_length", 1)
        most = getattr(self.backbone, "max_length", longest)
        if shortest < least or longest > most:
            raise ValueError(
                f"{name} takes sequences of {least} to {most} bases, found {shortest} to {longest}"
            )

    @classmethod
    def from_pretrained(cls, source, *args, output_loading_info: bool = False, **kwargs):
        """As in transformers, but weights that are missing or unknown are an error."""
        model, info = super().from_pretrained(source, *args, output_loading_info=True, **kwargs)
        missing, odd = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
        if missing or odd:
            raise ValueError(
                f"{source}: missing weights {missing[:5]}, unexpected weights {odd[:5]} "
                f"({len(missing)} and {len(odd)} in all); is it the checkpoint of another model?"
            )
        return (model, info) if output_loading_info else model


def check_config(config: PromoterConfig) -> None:
    """ValueError for unknown names, or settings that contradict each other."""
    choices = {
        "backbone": (config.backbone, BACKBONES),
        "head": (config.head, HEADS),
        "ambiguous": (config.ambiguous, AMBIGUOUS),
        "padding": (config.padding, PADDINGS),
    }
    for name, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f"{name} is {value!r}, expected one of: {', '.join(known)}")
    backbone = BACKBONES[config.backbone]
    if backbone.one_length and not config.length_bp:
        raise ValueError(
            f"{config.backbone} flattens places: give length_bp, the one length of its sequences"
        )
    if config.padding == "reference" and not backbone.masks:
        raise ValueError(f"padding 'reference': {config.backbone} never counts padding")
    if not config.heads:
        raise ValueError("no head, expected at least one task with names of its outputs")
    for task, outputs in config.heads.items():
        if not outputs or len(set(outputs)) != len(outputs) or "." in task:
            raise ValueError(
                f"task {task!r} with outputs {outputs}, expected a name without '.', and at least "
                "one output, all of different names"
            )


def build_promoter_net(
    name: str,
    heads: Mapping[str, Sequence[str]],
    *,
    length_bp: int | None = None,
    checkpoint: str | Path | None = None,
    motifs: Mapping[str, np.ndarray] | Sequence[NamedMotif] | None = None,
    head: str | None = None,
    ambiguous: str = "zeros",
    padding: str = "corrected",
    seed: int = 0,
    **sizes: Any,
) -> PromoterNet:
    """A network with random weights, the same for the same seed; torch's random state is kept.

    Args:
        name: one of `BACKBONES`. heads: task -> names of its outputs.
        length_bp: for backbones of one length (PureCNN, MPRAnn, LegNetOriginal).
        checkpoint: folder of a pretrained DNABERT (ours or published) or Enformer.
        motifs: of MotifBasedFCN, see `motif_scan.motif_matrices`.
        head: by default 'linear', for Malinois 'branched'.
        sizes: fields of `promoter_sizes.SIZES[name]` to set otherwise.
    Raises: ValueError for an unknown name or size, or something missing; see `check_config`.
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}, expected one of: {', '.join(BACKBONES)}")
    known = promoter_sizes.sizes_of(name, sizes)
    matrices = donor = None
    if name.startswith("MotifBased"):
        if motifs is None:
            raise ValueError(f"{name} needs motifs, such as motifs.formats.read_motifs(meme_file)")
        matrices = motif_matrices(motifs)
        known |= {"motifs": list(matrices), "max_width": max(map(len, matrices.values()))}
    elif name in FROM_CHECKPOINT and checkpoint is None:
        raise ValueError(f"{name} needs checkpoint, the folder of its weights")
    elif name == "DNABERT":
        donor, pooling = promoter_frozen.read_bert(checkpoint)
        known["bert"] = donor.config.to_dict()
        known["pooling"] = known["pooling"] or pooling
    elif name == "DNABERTRandomInit":
        known["bert"] = bert_config(known.pop("preset")).to_dict()
    elif name in FROM_CHECKPOINT:
        promoter_frozen.import_enformer()
        fields, donor = promoter_frozen.read_enformer(checkpoint)
        known["enformer"] = promoter_sizes.enformer_sizes(fields)
    config = PromoterConfig(
        backbone=name,
        sizes=known,
        heads={task: list(outputs) for task, outputs in heads.items()},
        head=head or BACKBONES[name].head,
        length_bp=length_bp,
        ambiguous=ambiguous,
        padding=padding,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = PromoterNet(config)
    if matrices is not None:
        model.backbone.scanner.set_motifs(matrices, known["p_value"])
    elif name == "DNABERT":
        fill(model.backbone.bert, donor.state_dict())
    elif name in FROM_CHECKPOINT:
        fill(model.backbone.trunk, donor)
    return model


def fill(target: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """All weights of `target` from those given, which may have a pooler more."""
    result = target.load_state_dict(weights, strict=False)
    odd = [name for name in result.unexpected_keys if not name.startswith("pooler.")]
    if result.missing_keys or odd:
        pooler = any(name.startswith("pooler.") for name in result.missing_keys)
        raise ValueError(
            f"the checkpoint does not fill the encoder: missing {result.missing_keys}, unexpected "
            f"{odd}" + "; pooling 'pooler' needs a checkpoint with a pooler" * pooler
        )


def load_promoter_net(
    folder: str | Path,
    heads: Mapping[str, Sequence[str]] | None = None,
    *,
    head: str | None = None,
    seed: int = 0,
) -> PromoterNet:
    """A saved network in evaluation mode; with `heads` the saved ones go, and new ones come.

    This is how a pretrained backbone meets another task: the backbone's weights are read strictly,
    the new heads start at random, the same for the same seed.
    Raises: FileNotFoundError without config.json; ValueError for weights that do not fit.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{folder / 'config.json'} does not exist; expected a folder written by save_pretrained"
        )
    model = PromoterNet.from_pretrained(folder)
    if heads is not None:
        config = PromoterConfig.from_dict(
            model.config.to_dict()
            | {"heads": {task: list(outputs) for task, outputs in heads.items()}}
            | ({"head": head} if head else {})
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            renewed = PromoterNet(config)
        renewed.backbone.load_state_dict(model.backbone.state_dict())
        model = renewed
    return model.eval()
