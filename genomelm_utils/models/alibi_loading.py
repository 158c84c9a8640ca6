"""Reading the published DNABERT-S and DNABERT-2-117M files, and our own, strictly, without remote
code; writing the published layout.

Keys are the published ones: an encoder bare (DNABERT-S) or under `bert.` (DNABERT-2, which has no
pooler), its masked-LM head under `cls.`, a classifier's under `classifier.`.
"""

import json
import logging
from pathlib import Path

import torch

from genomelm_utils.models.alibi_bert import (
    AlibiBertForMaskedLM,
    AlibiBertForSequenceClassification,
    AlibiBertModel,
    AlibiPreTrainedModel,
    describe_keys,
)
from genomelm_utils.models.alibi_config import PAD_ID, AlibiBertConfig
from genomelm_utils.models.weights_files import WEIGHTS, read_weights, weights_file

logger = logging.getLogger(__name__)

KINDS = ("encoder", "mlm", "classifier")
TIED = ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight")


def load_alibi(
    folder: str | Path, kind: str = "encoder", *, n_labels: int | None = None, seed: int = 0
) -> AlibiPreTrainedModel:
    """The model in a local folder, float32, on the CPU, in evaluation mode.

    Args:
        folder: config.json and model.safetensors or pytorch_model.bin (read with weights_only);
            of both, the safetensors file. Published or written by `save_pretrained`.
        kind: "encoder" drops heads the file may have; its pooler is None when the file has none.
            "mlm" needs the `cls.` head. "classifier" needs the `classifier.` head, unless
            `n_labels` asks for a new one.
        n_labels: a new classifier head for so many labels, and a pooler where the file has none,
            on the file's encoder. What the file had of a classifier is dropped.
        seed: of those new weights.
    A published config's pad id 0 (its tokenizer: 3) is corrected, with a line in the log.
    Errors: FileNotFoundError without folder, config or weights; ValueError for a damaged file, a
    stock BERT, another architecture, a missing head, missing or unexpected weights (named), wrong
    shapes.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of: {', '.join(KINDS)}")
    if n_labels is not None and kind != "classifier":
        raise ValueError(f"n_labels is for kind='classifier', found kind={kind!r}; leave it out")
    folder = Path(folder)
    config = read_config(folder)
    file = weights_file(folder)
    weights = with_prefix(read_weights(file))
    refuse_stock_bert(weights, file)
    if n_labels is not None:
        config.num_labels = n_labels
        weights = {k: v for k, v in weights.items() if not k.startswith("classifier.")}
    model = build_model(kind, config, weights, seed)
    fill(model, weights, file, new_head=n_labels is not None)
    return model.eval()


def read_config(folder: Path) -> AlibiBertConfig:
    """The folder's configuration, published or ours.

    Errors: FileNotFoundError without it; ValueError when it is of another architecture, or asks for
    something this model does not have.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no config.json: expected a folder with config.json and "
            f"{' or '.join(WEIGHTS)}; download the whole checkpoint folder"
        )
    fields = json.loads(path.read_text())
    found = fields.get("model_type")
    if found not in ("bert", AlibiBertConfig.model_type):
        raise ValueError(
            f"{path}: model_type is {found!r}, expected 'bert' (published DNABERT-S, DNABERT-2) or "
            f"{AlibiBertConfig.model_type!r}"
        )
    for name, wanted in (("attention_probs_dropout_prob", 0.0), ("hidden_act", "gelu")):
        if fields.get(name, wanted) != wanted:
            raise ValueError(f"{path}: {name} is {fields[name]!r}, expected {wanted!r}")
    if found == AlibiBertConfig.model_type:
        return AlibiBertConfig.from_pretrained(folder)
    wanted = (*AlibiBertConfig.__annotations__, "id2label", "label2id")
    fields = {name: fields[name] for name in wanted if name in fields}
    if fields.get("pad_token_id") != PAD_ID:
        logger.info(
            "%s: pad_token_id %s corrected to %d, the tokenizer's [PAD]",
            path,
            fields.get("pad_token_id"),
            PAD_ID,
        )
    return AlibiBertConfig(**{**fields, "pad_token_id": PAD_ID})


def with_prefix(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights with the encoder's keys under `bert.`, wherever the file puts them."""
    own = ("bert.", "cls.", "classifier.")
    return {k if k.startswith(own) else f"bert.{k}": v for k, v in weights.items()}


def refuse_stock_bert(weights: dict[str, torch.Tensor], file: Path) -> None:
    """ValueError for a BERT with position embeddings and separate query, key and value."""
    stock = [k for k in weights if ".position_embeddings." in k or ".self.query." in k]
    if stock:
        raise ValueError(
            f"{file} is a stock BERT ({stock[0].removeprefix('bert.')}), expected ALiBi BERT as in "
            "DNABERT-S and DNABERT-2 (attention.self.Wqkv); load it with transformers' AutoModel"
        )


def build_model(
    kind: str, config: AlibiBertConfig, weights: dict[str, torch.Tensor], seed: int
) -> AlibiPreTrainedModel:
    """An empty model of the kind; the caller's random state is left as it was found."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if kind == "encoder":
            return AlibiBertModel(config, add_pooling_layer="bert.pooler.dense.weight" in weights)
        if kind == "mlm":
            return AlibiBertForMaskedLM(config)
        return AlibiBertForSequenceClassification(config)


def fill(
    model: AlibiPreTrainedModel, weights: dict[str, torch.Tensor], file: Path, *, new_head: bool
) -> None:
    """Copies the weights into the model; every key is either used or of a head it does not have."""
    expected = model.state_dict()
    bare = isinstance(model, AlibiBertModel)
    found = {k.removeprefix("bert.") if bare else k: v for k, v in weights.items()}
    decoder, embedding = TIED
    if decoder in expected and decoder not in found and embedding in found:
        found[decoder] = found[embedding]  # a safetensors file holds tied weights once
    other_heads = (
        "cls.",
        "classifier.",
        *(() if "bert.pooler.dense.weight" in expected or bare else ("bert.pooler.",)),
    )
    dropped = [k for k in found if k not in expected and k.startswith(other_heads)]
    missing = sorted(set(expected) - set(found))
    if new_head:
        new = ("classifier.", "bert.pooler.")
        missing = [k for k in missing if not k.startswith(new)]
    unexpected = sorted(set(found) - set(expected) - set(dropped))
    refuse(missing, unexpected, file)
    used = {k: found[k] for k in expected if k in found}
    shapes = [
        f"{k} is {list(used[k].shape)}, expected {list(expected[k].shape)}"
        for k in used
        if used[k].shape != expected[k].shape
    ]
    if shapes:
        raise ValueError(
            f"{file}: {len(shapes)} weights do not fit config.json, such as {shapes[0]}; is it the "
            "config of another checkpoint?"
        )
    if decoder in used and not torch.equal(used[decoder], used[embedding]):
        raise ValueError(f"{file}: {decoder} differs from {embedding}, expected them to be tied")
    model.load_state_dict(used, strict=not new_head)
    if dropped:
        logger.info("%s: %d weights of other heads left out", file, len(dropped))


def refuse(missing: list[str], unexpected: list[str], file: Path) -> None:
    """ValueError naming missing and unexpected weights, if any."""
    heads = [head for head in ("cls.", "classifier.") if any(k.startswith(head) for k in missing)]
    if heads and all(k.startswith((*heads, "bert.pooler.")) for k in missing) and not unexpected:
        kind = "masked-LM" if heads == ["cls."] else "classifier"
        advice = (
            "DNABERT-S publishes none, DNABERT-2-117M does"
            if heads == ["cls."]
            else "give n_labels for a new one"
        )
        raise ValueError(
            f"{file} has no {kind} head: {describe_keys('missing', missing)}; {advice}"
        )
    if missing or unexpected:
        raise ValueError(
            f"{file}: {describe_keys('missing', missing)}, "
            f"{describe_keys('unexpected', unexpected)}; is it the checkpoint of another model, or "
            "damaged?"
        )


def write_published(model: AlibiPreTrainedModel, folder: str | Path) -> Path:
    """The folder, holding the model as its authors publish theirs: config.json of type 'bert' with
    pad id 0, and pytorch_model.bin.

    For code that expects the published layout; `save_pretrained` is what this package reads best.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    fields = {name: getattr(model.config, name) for name in AlibiBertConfig.__annotations__}
    published = {
        **{name: value for name, value in fields.items() if name != "model_type"},
        "model_type": "bert",
        "pad_token_id": 0,
        "hidden_act": "gelu",
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": 512,
    }
    (folder / "config.json").write_text(json.dumps(published, indent=2) + "\n")
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder
