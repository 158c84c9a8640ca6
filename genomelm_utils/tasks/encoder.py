"""BERT as a classifier of windows: weights from a masked LM, logits from [CLS], mean-pooled
features.

Shapes: W windows, L ids, H heads, D width, E width of a head, C classes.
"""

import copy
import logging
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedModel

from genomelm_utils.models.quiet import quiet_loading
from genomelm_utils.tokenizers.kmer import N_SPECIAL, vocab_size

logger = logging.getLogger(__name__)

Source = str | Path | PreTrainedModel | BertConfig

# What a masked language model does not bring along.
HEAD = ("bert.pooler.dense.", "classifier.")


def build_classifier(
    source: Source, k: int, n_classes: int, seed: int, dropout: float = 0.1
) -> tuple[BertForSequenceClassification, list[str]]:
    """A BERT sequence classifier on the CPU, and the names of its newly initialised weights.

    source: a folder in Hugging Face format (masked LM or classifier), a BERT model in memory (left
    untouched, its weights are copied), or a BertConfig: all weights random, the 'from scratch'
    baseline. dropout: hidden and attention dropout, in place of what the source says.
    New pooler and classifier weights are N(0, initializer_range), biases 0, and depend on `seed`
    only.

    Errors: FileNotFoundError without config.json in the folder; ValueError when it is no BERT, its
    vocabulary is not that of k, or encoder weights are missing.
    Source: GeneMask's and DNABERT's fine-tuning: pooled [CLS] (tanh) -> dropout -> linear; dropout
    0.1 from its command line, also for models pretrained without.
    """
    config = classifier_config(source, k, n_classes, dropout)
    if isinstance(source, BertConfig):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = BertForSequenceClassification(config)
        return model, [name for name, _ in model.named_parameters()]
    if isinstance(source, PreTrainedModel):
        model, new = copy_weights(source, config)
    else:
        with quiet_loading(), torch.random.fork_rng(devices=[]):
            model, info = BertForSequenceClassification.from_pretrained(
                source, config=config, dtype=torch.float32, output_loading_info=True
            )
        new = sorted(info["missing_keys"])
    lost = [name for name in new if not name.startswith(HEAD)]
    if lost:
        raise ValueError(
            f"{describe(source)} lacks {len(lost)} weights of a BERT encoder, such as {lost[0]}; "
            "is it the checkpoint of another kind of model?"
        )
    initialise(model, new, seed)
    if new:
        logger.info("newly initialised with seed %d: %s", seed, ", ".join(new))
    return model, new


def classifier_config(source: Source, k: int, n_classes: int, dropout: float) -> BertConfig:
    """The source's configuration, checked, with the head and the dropout of a classifier."""
    config = source_config(source)
    if config.model_type != "bert":
        raise ValueError(f"{describe(source)} is a {config.model_type!r} model, expected 'bert'")
    if config.vocab_size != vocab_size(k):
        raise ValueError(
            f"{describe(source)} has a vocabulary of {config.vocab_size} tokens, expected "
            f"{vocab_size(k)} for k = {k}; pass the k it was pretrained with"
        )
    config.num_labels = n_classes
    config.problem_type = "single_label_classification"
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
    config.classifier_dropout = None
    config._attn_implementation = "sdpa"
    return config


def source_config(source: Source) -> BertConfig:
    """A copy of the configuration of a folder, a model, or itself."""
    if isinstance(source, PreTrainedModel):
        return copy.deepcopy(source.config)
    if isinstance(source, BertConfig):
        return copy.deepcopy(source)
    if not (Path(source) / "config.json").is_file():
        raise FileNotFoundError(
            f"{source} has no config.json, expected the folder of a model in Hugging Face format; "
            "pretraining writes them as checkpoints/step-..."
        )
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source)


def describe(source: Source) -> str:
    """How an error names a source."""
    if isinstance(source, str | Path):
        return str(source)
    return f"the {type(source).__name__}"


def copy_weights(
    source: PreTrainedModel, config: BertConfig
) -> tuple[BertForSequenceClassification, list[str]]:
    """A classifier with the encoder weights of a model in memory, and what the model lacked."""
    with torch.random.fork_rng(devices=[]):
        model = BertForSequenceClassification(config)
    weights = source.state_dict()
    if isinstance(source, BertModel):
        weights = {f"bert.{name}": value for name, value in weights.items()}
    result = model.load_state_dict(weights, strict=False)
    return model, sorted(result.missing_keys)


def initialise(model: PreTrainedModel, names: list[str], seed: int) -> None:
    """Fill these weights in place: N(0, initializer_range), biases 0, from `seed` alone.

    Source: BERT's initialisation, arXiv:1810.04805 (standard deviation 0.02).
    """
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in names:
            if name.endswith("bias"):
                parameters[name].zero_()
            else:
                parameters[name].normal_(0, model.config.initializer_range, generator=generator)


def classify_windows(
    model: BertForSequenceClassification,
    input_ids_WL: torch.Tensor,
    attention_mask_WL: torch.Tensor,
) -> torch.Tensor:
    """Logits [W, C]: what `model(...).logits` gives, at little over half the work for two layers.

    The head sees [CLS] only, so the last layer needs keys and values of all tokens but one query.
    Differentiable, with dropout in training mode. Needs `sdpa` attention (see `build_classifier`).
    """
    bert = model.bert
    mask = attention_mask_WL[:, None, None, :].bool()
    hidden_WLD = bert.embeddings(input_ids_WL)
    *layers, last = bert.encoder.layer
    for layer in layers:
        hidden_WLD = layer(hidden_WLD, mask)
    cls_W1D = last_layer_cls(last, hidden_WLD, mask)
    return model.classifier(model.dropout(bert.pooler(cls_W1D)))


def last_layer_cls(layer: nn.Module, hidden_WLD: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Row 0 of what a BERT layer makes of its input: [W, 1, D]."""
    attention = layer.attention.self
    n_heads, width = attention.num_attention_heads, attention.attention_head_size
    cls_W1D = hidden_WLD[:, :1]
    query_WH1E, key_WHLE, value_WHLE = (
        project(states).unflatten(-1, (n_heads, width)).transpose(1, 2)
        for project, states in (
            (attention.query, cls_W1D),
            (attention.key, hidden_WLD),
            (attention.value, hidden_WLD),
        )
    )
    context_WH1E = functional.scaled_dot_product_attention(
        query_WH1E,
        key_WHLE,
        value_WHLE,
        attn_mask=mask,
        dropout_p=attention.dropout.p if layer.training else 0.0,
    )
    context_W1D = context_WH1E.transpose(1, 2).flatten(2)
    return layer.feed_forward_chunk(layer.attention.output(context_W1D, cls_W1D))


def mean_states(
    bert: BertModel, input_ids_WL: torch.Tensor, attention_mask_WL: torch.Tensor
) -> torch.Tensor:
    """Mean of the last hidden states over the k-mers of each window: [W, D].

    [CLS], [SEP], padding and ambiguous k-mers do not count; zeros when nothing is left.
    """
    states = bert(input_ids=input_ids_WL, attention_mask=attention_mask_WL).last_hidden_state
    counted_WL1 = (input_ids_WL >= N_SPECIAL).unsqueeze(-1).to(states.dtype)
    return (states * counted_WL1).sum(1) / counted_WL1.sum(1).clamp(min=1)
