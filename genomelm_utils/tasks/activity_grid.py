"""A grid of runs from a few lists: backbones x strategies x pretraining sets x seeds.

One block of settings is one call of `expand_block`; what differs for a backbone, a strategy or a
pretraining set is a line of `overrides`. The 43 commands of the released README, and the 92 of its
last state, are some twenty such blocks (params/paper.yaml).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import pandas as pd

from genomelm_utils.tasks.transfer_plan import STRATEGIES, FitSettings, Plan

ANALYSES = ("insertion", "insertion_summary", "transfer")
SPLITS = ("fixed", "multiple")
_NAMES = {one.name: one.type for one in fields(FitSettings)}
_PRETRAIN = "pretrain_"
_JOIN = "+"


@dataclass(frozen=True)
class Cell:
    """One row of the grid: a plan for each seed, or an analysis of trained networks.

    split: 'fixed' (seeds change the network only) or 'multiple' (each seed has its own split too).
    """

    kind: str
    split: str
    plans: tuple[Plan, ...]
    pretrain: str

    @property
    def label(self) -> str:
        """Backbone, strategy and pretraining set, as figures name them."""
        plan = self.plans[0]
        after = f" ({self.pretrain})" if self.pretrain else ""
        return f"{plan.backbone} {plan.strategy}{after}"


def expand_block(
    *,
    target: str,
    backbones: Sequence[str],
    strategies: Sequence[str],
    pretrain_sets: Sequence[str] = (),
    seeds: int = 1,
    first_seed: int = 0,
    split: str = "fixed",
    settings: FitSettings | None = None,
    pretrain_settings: FitSettings | None = None,
    overrides: Sequence[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    members: Mapping[str, Sequence[str]] | None = None,
    analyses: Sequence[str] = (),
) -> list[Cell]:
    """Cells of one block. pretrain_sets: tasks joined by '+', one cell for each.

    overrides: lines such as 'LegNet lr 0.005 batch_size 1024' or 'joint batch_size 12': first what
    has to match (any of backbone, strategy, pretraining set), then settings; those that begin with
    'pretrain_' are of the pretraining; 'seeds' may be set too. Later lines win. options: backbone
    -> arguments of `build_promoter_net`. members: name of several tasks -> their names.
    analyses: of trained networks, in place of training: one cell for each and each pretraining set
    ('transfer') or strategy (others).
    Raises: ValueError for an unknown name, and what `Plan` raises.
    """
    _check_names("strategy", strategies, STRATEGIES)
    _check_names("analysis", analyses, ANALYSES)
    _check_names("split", [split], SPLITS)
    settings, pretrain = settings or FitSettings(), pretrain_settings or FitSettings()
    options, members = options or {}, members or {}
    _check_names("option for", list(options), backbones)
    known = {*backbones, *strategies, *pretrain_sets}
    lines = [_read_override(line, known) for line in overrides]
    cells = []
    for backbone in backbones:
        for strategy in strategies:
            alone = strategy == "single"
            for name in [""] if alone else pretrain_sets or [""]:
                changes = _find_changes(lines, {backbone, strategy, name})
                n_seeds = int(changes.pop("seeds", seeds))
                own = {k: v for k, v in changes.items() if not k.startswith(_PRETRAIN)}
                before = {k.removeprefix(_PRETRAIN): v for k, v in changes.items() if k not in own}
                plan = Plan(
                    strategy=strategy,
                    backbone=backbone,
                    target="" if strategy == "pretrain" else target,
                    others=_spell_out(name, members),
                    settings=replace(settings, **own),
                    pretrain_settings=replace(pretrain, **before),
                    options=dict(options.get(backbone, {})),
                )
                plans = tuple(replace(plan, seed=first_seed + i) for i in range(n_seeds))
                kinds = [a for a in analyses if a != "transfer" or strategy == "pretrain"]
                for kind in kinds or ["train"]:
                    cells.append(Cell(kind, split, plans, name))
    return cells


def grid_table(cells: Sequence[Cell]) -> pd.DataFrame:
    """One row per cell: kind, backbone, strategy, pretrain, target, split, seeds, and settings."""
    rows = []
    for cell in cells:
        plan = cell.plans[0]
        row = {"kind": cell.kind, "backbone": plan.backbone, "strategy": plan.strategy}
        row |= {"pretrain": cell.pretrain, "target": plan.target, "split": cell.split}
        row["seeds"] = len(cell.plans)
        row |= asdict(plan.settings)
        if plan.pretraining:
            of_first = asdict(plan.pretraining.settings)
            row |= {f"{_PRETRAIN}{name}": value for name, value in of_first.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def unique_pretrainings(cells: Sequence[Cell]) -> list[Plan]:
    """Every pretraining that the cells need, once."""
    found: dict[str, Plan] = {}
    for cell in cells:
        for plan in cell.plans:
            first = plan if plan.strategy == "pretrain" else plan.pretraining
            if first is not None:
                found.setdefault(json.dumps(asdict(first), sort_keys=True, default=str), first)
    return list(found.values())


def _read_override(line: str, known: set[str]) -> tuple[set[str], dict[str, Any]]:
    words = line.split()
    n = 0
    while n < len(words) and words[n] in known:
        n += 1
    pairs = words[n:]
    if not n or not pairs or len(pairs) % 2:
        raise ValueError(
            f"override {line!r}, expected names out of {', '.join(sorted(known))}, then pairs of "
            "setting and value, such as 'LegNet lr 0.005'"
        )
    changes = {}
    for name, text in zip(pairs[::2], pairs[1::2], strict=True):
        plain = name.removeprefix(_PRETRAIN)
        if plain not in _NAMES and name != "seeds":
            raise ValueError(
                f"override {line!r}: no setting {name!r}, expected one of {', '.join(_NAMES)}, "
                f"alone or with {_PRETRAIN!r} in front, or seeds"
            )
        kind = int if name == "seeds" else _NAMES[plain]
        try:
            changes[name] = kind(text)
        except ValueError as error:
            raise ValueError(
                f"override {line!r}: {name} is {text!r}, expected {kind.__name__}"
            ) from error
    return set(words[:n]), changes


def _spell_out(name: str, members: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Tasks of a pretraining set, 'SuRE+Sharpr', in which one name may stand for several."""
    parts = filter(None, name.split(_JOIN))
    return tuple(task for part in parts for task in members.get(part, (part,)))


def _find_changes(lines: list, of_cell: set[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for selectors, values in lines:
        if selectors <= of_cell:
            changes |= values
    return changes


def _check_names(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    odd = [name for name in names if name not in known]
    if odd:
        raise ValueError(f"{what} is {odd[0]!r}, expected one of {', '.join(known)}")
