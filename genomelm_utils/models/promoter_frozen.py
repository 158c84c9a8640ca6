"""Promoter networks around what others made: motif counts, a DNABERT, Enformer's features.

Shapes: B sequences, L bases, M motifs, T tokens, P bins, D width.
"""

import json
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import BertConfig, BertModel

from genomelm_utils.models.motif_scan import MotifScanner
from genomelm_utils.models.presets import k_of_vocab
from genomelm_utils.models.promoter_blocks import Lengths, place_mask
from genomelm_utils.models.weights_files import WEIGHTS, read_weights, weights_file
from genomelm_utils.sequences.alphabet import CODE_N, N_BASES, encode
from genomelm_utils.tokenizers.kmer import CLS, N_SPECIAL, PAD, SEP, UNK, VOCAB_ORDER

logger = logging.getLogger(__name__)

POOLINGS = ("pooler", "mean")
#: A bin is 2^7 bases. Source: Avsec et al. 2021, Nat. Methods 18:1196.
ENFORMER_HALVINGS = 7
ENFORMER_HINT = (
    "Enformer's features need the package enformer-pytorch, which is not installed: pip install "
    "einops polars discrete-key-value-bottleneck-pytorch && pip install --no-deps enformer-pytorch "
    "(by itself it would bring transformers back to 4.56.2)"
)
#: The class registers each part twice, by itself and in `_trunk`; a file may hold either name.
_ENFORMER_PARTS = {
    "stem.": "_trunk.1.",
    "conv_tower.": "_trunk.2.",
    "transformer.": "_trunk.4.",
    "final_pointwise.": "_trunk.6.",
}


class MotifFCN(nn.Module):
    """Codes to counts of motif hits to [B, D]: linear layers with ReLU between.

    sizes: motifs (names), max_width, dense (widths of the layers), p_value.
    Source: Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code, MotifBasedFCN.
    """

    min_length = 1

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        widths = [len(sizes["motifs"]), *sizes["dense"]]
        self.scanner = MotifScanner(len(sizes["motifs"]), sizes["max_width"])
        pairs = pairwise(widths)
        self.layers = nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in pairs)
        self.width = widths[-1]

    def forward(self, codes_BL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        return self.forward_counts(self.scanner(codes_BL))

    def forward_counts(self, counts_BM: torch.Tensor) -> torch.Tensor:
        """[B, D] of counts that are already at hand: scanning is the same in every epoch."""
        x_BD = counts_BM.to(self.layers[0].weight.dtype)
        for i, layer in enumerate(self.layers):
            x_BD = layer(functional.relu(x_BD) if i else x_BD)
        return x_BD


class DnaBert(nn.Module):
    """Codes to overlapping k-mers to [B, D]: BERT's pooler, or the mean over a sequence's k-mers.

    A k-mer with a base that is not definite is `[UNK]`. sizes: bert (the configuration), pooling.
    """

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        if sizes["pooling"] not in POOLINGS:
            raise ValueError(f"pooling is {sizes['pooling']!r}, expected {' or '.join(POOLINGS)}")
        config = BertConfig(**sizes["bert"], attn_implementation="sdpa")
        self.k, self.pooling = k_of_vocab(config.vocab_size), sizes["pooling"]
        self.bert = BertModel(config, add_pooling_layer=self.pooling == "pooler")
        self.width, self.min_length = config.hidden_size, self.k
        self.max_length = config.max_position_embeddings - 2 + self.k - 1

    def token_ids(
        self, codes_BL: torch.Tensor, lengths_B: Lengths
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids int64 [B, L - k + 3], mask bool): `[CLS]`, k-mers, `[SEP]`, made on the device."""
        order = "ACGT"
        digits = torch.tensor([VOCAB_ORDER.index(base) for base in order], device=codes_BL.device)
        windows_BTK = codes_BL.unfold(1, self.k, 1).long()
        places = 4 ** torch.arange(self.k - 1, -1, -1, device=codes_BL.device)
        ids_BT = (digits[windows_BTK.clamp(max=N_BASES - 1)] * places).sum(-1) + N_SPECIAL
        ids_BT[(windows_BTK >= N_BASES).any(-1)] = UNK
        n_rows, n_tokens = ids_BT.shape
        if lengths_B is None:
            lengths_B = torch.full((n_rows,), codes_BL.shape[1], device=codes_BL.device)
        own_B = lengths_B - self.k + 1
        ids_BT = functional.pad(ids_BT, (1, 1), value=PAD)
        ids_BT[:, 0] = CLS
        ids_BT = ids_BT.masked_fill(~place_mask(own_B + 1, n_tokens + 2), PAD)
        ids_BT[torch.arange(n_rows, device=codes_BL.device), own_B + 1] = SEP
        return ids_BT, place_mask(own_B + 2, n_tokens + 2)

    def forward(self, codes_BL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        ids_BT, mask_BT = self.token_ids(codes_BL, lengths_B)
        output = self.bert(input_ids=ids_BT, attention_mask=mask_BT.long())
        if self.pooling == "pooler":
            return output.pooler_output
        # k-mers alone: neither [CLS] nor [SEP]
        kept_BT = mask_BT.roll(-1, dims=1) & mask_BT
        kept_BT[:, 0] = kept_BT[:, -1] = False
        hidden_BTD = output.last_hidden_state.masked_fill(~kept_BT[..., None], 0)
        return hidden_BTD.sum(1) / kept_BT.sum(1, keepdim=True).to(hidden_BTD.dtype)


def read_bert(folder: str | Path) -> tuple[BertModel, str]:
    """The encoder of a DNABERT folder, published or our own, and the pooling that it can serve.

    'pooler' where the checkpoint has one, else 'mean' (our masked language models have none, and
    one of random weights would only blur). Heads of other tasks are left out. Raises:
        FileNotFoundError without config.json; ValueError for a vocabulary that is none of k-mers,
        or an encoder weight that is missing or of another shape.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{folder / 'config.json'} does not exist; expected the folder of a DNABERT: "
            "config.json and model.safetensors or pytorch_model.bin"
        )
    config = BertConfig.from_pretrained(folder)
    k_of_vocab(config.vocab_size)
    try:
        model, info = BertModel.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True
        )
    except RuntimeError as error:  # shapes that do not fit
        raise ValueError(f"{folder}: weights do not fit config.json: {error}") from error
    missing = sorted(info["missing_keys"])
    lost = [name for name in missing if not name.startswith("pooler.")]
    if lost or len(missing) == 1:
        raise ValueError(
            f"{folder}: {len(missing)} missing weights ({', '.join((lost or missing)[:5])}); is it "
            "the checkpoint of another model?"
        )
    if missing:
        model.pooler = None  # made up by transformers, of random weights
    pooling = "mean" if missing else "pooler"
    logger.info("%s: pooling %s (pooler %s)", folder, pooling, "absent" if missing else "present")
    return model, pooling


class EnformerFeatures(nn.Module):
    """Codes to [B, 3072]: a learned weighting of the bins of an Enformer.

    A frozen trunk never learns and stays in evaluation mode. Sequences of different lengths go
    through it one length after the other, since it knows no padding. sizes: enformer (the
    configuration), frozen.
    Source: Avsec et al. 2021; lucidrains/enformer-pytorch; Reddy et al., `Enformer`,
    `EnformerFrozenBase`, `EnformerRandomInit`.
    """

    min_length = 1

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        self.trunk = build_enformer(sizes["enformer"])
        self.frozen = sizes["frozen"]
        self.trunk.requires_grad_(not self.frozen)
        self.trunk._heads.requires_grad_(False)  # tracks: nothing here reads them
        self.width = 2 * sizes["enformer"]["dim"]
        self.weigh = nn.Linear(self.width, 1)

    def train(self, mode: bool = True) -> "EnformerFeatures":
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self

    def bins(self, codes_BL: torch.Tensor) -> torch.Tensor:
        """[B, P, 3072] of sequences of one length: a bin per 128 bases, rounded up seven times."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.trunk(enformer_letters(codes_BL), return_only_embeddings=True)

    def forward(self, codes_BL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        if lengths_B is None:
            return self._pool(self.bins(codes_BL))
        out_BD = codes_BL.new_zeros((len(codes_BL), self.width), dtype=self.weigh.weight.dtype)
        for length in lengths_B.unique().tolist():
            rows = (lengths_B == length).nonzero()[:, 0]
            out_BD = out_BD.index_copy(
                0, rows, self._pool(self.bins(codes_BL[rows, :length])).to(out_BD)
            )
        return out_BD

    def _pool(self, bins_BPD: torch.Tensor) -> torch.Tensor:
        return (self.weigh(bins_BPD).softmax(1) * bins_BPD).sum(1)


class EnformerTracks(nn.Module):
    """Codes of one length to [B, P x tracks] of a frozen Enformer: tracks by bin, human ones first.

    What a sequence stands between in its plasmid may be put around it: 6,956 tracks in the 10 bins
    of a construct of 1,177 bases are 69,560 features. sizes: enformer (the configuration),
    upstream, downstream (texts). Source: Reddy et al., `EnformerFullFrozenBase`.
    """

    def __init__(self, sizes: dict[str, Any], length_bp: int | None) -> None:
        super().__init__()
        self.trunk = build_enformer(sizes["enformer"]).requires_grad_(False).eval()
        around = [sizes["upstream"], sizes["downstream"]]
        self.flanks = [encode(text, "flank") if text else np.zeros(0, np.uint8) for text in around]
        n_bins = (length_bp or 0) + sum(map(len, self.flanks))
        for _ in range(ENFORMER_HALVINGS):
            n_bins = -(-n_bins // 2)
        self.width = n_bins * sum(sizes["enformer"]["output_heads"].values())

    def train(self, mode: bool = True) -> "EnformerTracks":
        super().train(mode)
        self.trunk.eval()
        return self

    @torch.no_grad()
    def forward(self, codes_BL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        sides = [torch.from_numpy(one).to(codes_BL.device, codes_BL.dtype) for one in self.flanks]
        up_BF, down_BF = (side.expand(len(codes_BL), -1) for side in sides)
        found = self.trunk(enformer_letters(torch.cat([up_BF, codes_BL, down_BF], dim=1)))
        return torch.cat([found["human"], found["mouse"]], dim=-1).flatten(1)


def build_enformer(fields: dict[str, Any]) -> nn.Module:
    """A new Enformer whose parts have one name each: saving refuses tensors with two."""
    trunk = import_enformer().from_hparams(**fields)
    for part in _ENFORMER_PARTS:  # kept in `_trunk`
        trunk._modules.pop(part.removesuffix("."), None)
    for module in trunk.modules():
        module._is_hf_initialized = True  # new weights are its own, not those of `PromoterNet`
    return trunk


def enformer_letters(codes_BL: torch.Tensor) -> torch.Tensor:
    """int64: A, C, G, T, and N for whatever is not definite."""
    letters_BL = codes_BL.long()
    return letters_BL.masked_fill((letters_BL >= N_BASES) & (letters_BL <= CODE_N), N_BASES)


def read_enformer(folder: str | Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """(fields of config.json, weights by the names that `build_enformer` has) of a folder.

    Read here, as enformer-pytorch's own loader does not work with transformers 5.
    Raises: FileNotFoundError without config.json or weights; ValueError for an unreadable file.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{folder / 'config.json'} does not exist; expected the folder of an Enformer: "
            f"config.json and {' or '.join(WEIGHTS)}"
        )
    fields = json.loads((folder / "config.json").read_text())
    weights = {}
    for name, value in read_weights(weights_file(folder)).items():
        part = next((part for part in _ENFORMER_PARTS if name.startswith(part)), "")
        weights[_ENFORMER_PARTS.get(part, "") + name.removeprefix(part)] = value
    return fields, weights


def import_enformer() -> type:
    """The class `Enformer`; ImportError that says what to install."""
    try:
        from enformer_pytorch import Enformer
    except ImportError as error:
        raise ImportError(ENFORMER_HINT) from error
    return Enformer
