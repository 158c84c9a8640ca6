"""Classifiers of token sequences: DistilBERT, Longformer and BERT presets, any vocabulary.

The networks are those of transformers and are saved as such. What the head reads is a choice:

    mean     the mean of the last states over all tokens
    cls      the state of a token `<cls>` put before the sequence (`<sep>` behind it)
    first    the state of the first token of the sequence, as released: what the head learns then
             depends on which token that is

Shapes: W windows (or sequences), L ids, D width, C classes.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from genomelm_utils.models.presets import PRESETS, bert_config
from genomelm_utils.models.quiet import quiet_loading
from genomelm_utils.sequences.fasta import suggest

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)

POOLINGS = ("mean", "cls", "first")
KINDS = ("distilbert", "longformer", *PRESETS)
WIDTH = 768  # of the published DistilBERT and Longformer; Source: their configurations
POSITIONS = 512  # Source: genomeNLP trains both with 512 positions
LONG_POSITIONS = 4096  # Source: Longformer, arXiv:2004.05150
#: Type of model -> name of a setting -> name in its configuration.
_NAMES = {
    "distilbert": {
        "layers": "n_layers", "width": "dim", "heads": "n_heads", "inner": "hidden_dim",
        "dropout": ("dropout", "attention_dropout", "seq_classif_dropout"),
    },
    "bert": {
        "layers": "num_hidden_layers", "width": "hidden_size", "heads": "num_attention_heads",
        "inner": "intermediate_size",
        "dropout": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    },
}  # fmt: skip
_NAMES["longformer"] = {**_NAMES["bert"], "window": "attention_window"}
#: Weights that only a task brings along.
_HEAD = ("classifier.", "pre_classifier.", "bert.pooler.")


def build_config(
    kind: str,
    vocab_size: int,
    class_names: Sequence[str],
    *,
    pad_id: int,
    positions: int | None = None,
    **sizes: float,
) -> "PretrainedConfig":
    """The configuration of a network with random weights.

    kind: one of `KINDS`. vocab_size: ids the tokenizer gives out, special ones and `<sep>`, `<cls>`
    with them. positions: ids a row may have, by default 512 (Longformer 4096, presets their own).
    sizes: `layers`, `width`, `heads`, `inner` (feed-forward), `dropout`, and `window` (Longformer;
    even) where they differ from the published ones. A narrower network starts with larger weights,
    0.02 x sqrt(768 / width), so that its products start as large.

    Raises: ValueError for an unknown kind or size, or heads that do not divide the width.
    """
    from transformers import DistilBertConfig, LongformerConfig

    if kind not in KINDS:
        raise ValueError(
            f"the model is {kind!r}{suggest(kind, KINDS)}, expected one of {', '.join(KINDS)}"
        )
    labels = {"id2label": dict(enumerate(class_names)), "pad_token_id": pad_id}
    labels["label2id"] = {name: i for i, name in enumerate(class_names)}
    if kind == "distilbert":
        config = DistilBertConfig(
            vocab_size=vocab_size, max_position_embeddings=positions or POSITIONS, **labels
        )
    elif kind == "longformer":
        # positions are counted from the id of the padding on
        places = (positions or LONG_POSITIONS) + pad_id + 1
        config = LongformerConfig(vocab_size=vocab_size, max_position_embeddings=places, **labels)
    else:
        config = bert_config(kind)
        config.vocab_size = vocab_size
        for name, value in labels.items():
            setattr(config, name, value)
        if positions:
            config.max_position_embeddings = positions
    _set_sizes(config, sizes)
    return config


def _set_sizes(config: "PretrainedConfig", sizes: dict[str, float]) -> None:
    names = _NAMES[config.model_type]
    for name, value in sizes.items():
        if name not in names:
            raise ValueError(
                f"a {config.model_type} has no size {name!r}{suggest(name, names)}, expected one "
                f"of {', '.join(names)}"
            )
        for field in [names[name]] if isinstance(names[name], str) else names[name]:
            setattr(config, field, value)
    width, heads = (getattr(config, names[name]) for name in ("width", "heads"))
    if width % heads:
        raise ValueError(f"width {width} is no multiple of {heads} heads")
    if "width" in sizes:
        if "inner" not in sizes:
            setattr(config, names["inner"], 4 * width)
        config.initializer_range = 0.02 * (WIDTH / width) ** 0.5


def build_network(config: "PretrainedConfig", seed: int) -> "PreTrainedModel":
    """A classifier with random weights on the CPU, the same for the same seed."""
    from transformers import AutoModelForSequenceClassification

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return AutoModelForSequenceClassification.from_config(config)


def load_network(
    folder: Path | str, vocab_size: int, class_names: Sequence[str], seed: int, **sizes: float
) -> tuple["PreTrainedModel", list[str]]:
    """A classifier with the weights of a model folder, and the names of what it had to make anew.

    The folder may hold a pretrained encoder (the head is new, from `seed`) or a classifier of the
    same classes. sizes: only `dropout` may be given.

    Raises: FileNotFoundError without config.json; ValueError for a model of another kind, a
    vocabulary that is smaller than the tokenizer's, other classes, or missing encoder weights.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    if not (Path(folder) / "config.json").is_file():
        raise FileNotFoundError(f"{folder} has no config.json, expected the folder of a model")
    config = AutoConfig.from_pretrained(folder)
    if config.model_type not in _NAMES:
        raise ValueError(
            f"{folder} is a {config.model_type!r} model, expected one of {', '.join(_NAMES)}"
        )
    if config.vocab_size < vocab_size:
        raise ValueError(
            f"{folder} knows {config.vocab_size} token ids, but the tokenizer gives out "
            f"{vocab_size}; take the tokenizer the model was made with"
        )
    is_classifier = any("SequenceClassification" in name for name in config.architectures or ())
    if is_classifier and config.num_labels != len(class_names):
        raise ValueError(
            f"{folder} tells {config.num_labels} classes apart ("
            f"{', '.join(map(str, config.id2label.values()))}), the data have {len(class_names)}: "
            f"{', '.join(class_names)}"
        )
    config.id2label = dict(enumerate(class_names))
    config.label2id = {name: i for i, name in enumerate(class_names)}
    if unknown := sorted(set(sizes) - {"dropout"}):
        raise ValueError(f"{unknown[0]} cannot be changed: {folder} has weights of one size")
    _set_sizes(config, sizes)
    with quiet_loading(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True
        )
    new = sorted(info["missing_keys"])
    if lost := [name for name in new if not name.startswith(_HEAD)]:
        raise ValueError(f"{folder} lacks {len(lost)} weights of the encoder, such as {lost[0]}")
    return model, new


def max_ids(model: "PreTrainedModel") -> int:
    """Ids a row may have: what the network has positions for."""
    config = model.config
    places = config.max_position_embeddings
    return places - config.pad_token_id - 1 if config.model_type == "longformer" else places


def classify_tokens(
    model: "PreTrainedModel",
    input_ids_WL: torch.Tensor,
    attention_mask_WL: torch.Tensor,
    pooling: str,
) -> torch.Tensor:
    """Logits [W, C]; the head reads what `pooling` says (see the module's head).

    With 'cls' and 'first' they are what `model(...).logits` gives.
    """
    encoder = getattr(model, model.base_model_prefix)
    options: dict[str, Any] = {}
    if model.config.model_type == "longformer":
        options["global_attention_mask"] = _first_only(attention_mask_WL)
    states_WLD = encoder(
        input_ids=input_ids_WL, attention_mask=attention_mask_WL, **options
    ).last_hidden_state
    return read_head(model, pool_states(states_WLD, attention_mask_WL, pooling))


def pool_states(
    states_WLD: torch.Tensor, attention_mask_WL: torch.Tensor, pooling: str
) -> torch.Tensor:
    """[W, D]: the first state, or the mean over the tokens that are no padding."""
    if pooling != "mean":
        return states_WLD[:, 0]
    counted_WL1 = attention_mask_WL.unsqueeze(-1).to(states_WLD.dtype)
    return (states_WLD * counted_WL1).sum(1) / counted_WL1.sum(1).clamp(min=1)


def read_head(model: "PreTrainedModel", pooled_WD: torch.Tensor) -> torch.Tensor:
    """Logits [W, C] of pooled states, by the head of the network."""
    if model.config.model_type == "distilbert":
        return model.classifier(model.dropout(nn.functional.relu(model.pre_classifier(pooled_WD))))
    if model.config.model_type == "longformer":
        return model.classifier(pooled_WD.unsqueeze(1))
    return model.classifier(model.dropout(model.bert.pooler(pooled_WD.unsqueeze(1))))


def _first_only(mask_WL: torch.Tensor) -> torch.Tensor:
    """Global attention of the first token."""
    only = torch.zeros_like(mask_WL)
    only[:, 0] = 1
    return only
