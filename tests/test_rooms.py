"""Rooms of the package import only from rooms above them; only those that draw import figures."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from genomelm_utils import paths

PACKAGE = "genomelm_utils"
#: From above to below; what a room needs lies above it. Commands lie beside the rooms.
ROOMS = (
    *("paths", "sequences", "datasets", "tokenizers", "models", "training", "pretraining"),
    *("tasks", "baselines", "evaluation", "interpretation", "motifs", "figures", "pipeline"),
    "commands",
)
COMMANDS = ("command_errors", "command_outputs", "genomenlp", "promoters", "species")
PROTOCOL = "a stage's protocol: models and baselines side by side, scored alike"
#: Module -> rooms below its own that it may import, and why.
EXCEPTIONS = {
    "tasks/fewshot.py": ({"baselines", "evaluation"}, PROTOCOL),
    "tasks/activity_benchmark.py": ({"baselines", "evaluation"}, PROTOCOL),
    "tasks/expression_benchmark.py": ({"baselines", "evaluation"}, PROTOCOL),
    "tasks/expression_importance.py": ({"interpretation"}, "what the trained networks look at"),
    "tasks/species_benchmark.py": ({"baselines", "evaluation"}, PROTOCOL),
    "tasks/species_sets.py": ({"baselines", "evaluation"}, PROTOCOL),
    "tasks/sequence_training.py": ({"evaluation"}, "validation by the published scores"),
    "tasks/sequence_validation.py": ({"evaluation"}, "validation by the published scores"),
    "tasks/activity_reports.py": ({"evaluation"}, PROTOCOL),
    "tasks/transfer.py": ({"motifs"}, "motif files that a network is made of"),
    "tasks/crossval.py": ({"evaluation"}, "scores of every fold, and their intervals"),
    "tasks/genomic_bert.py": ({"baselines", "evaluation", "interpretation"}, PROTOCOL),
    "tasks/token_pipelines.py": ({"baselines", "evaluation"}, PROTOCOL),
    "pretraining/experiment.py": ({"evaluation"}, "intervals of what a masking scheme hides"),
}
FOLDER = Path(paths.__file__).parent
MODULES = [file.relative_to(FOLDER).as_posix() for file in sorted(FOLDER.rglob("*.py"))]


def room_of(module: str) -> str:
    """The room of a file's or a module's path below the package, such as `tasks/fewshot.py`."""
    top = module.split("/")[0].removesuffix(".py")
    return "commands" if top in COMMANDS else top


def find_imports(text: str) -> Iterator[tuple[int, str]]:
    """(line, room) of every import from the package, inside functions too.

    What only names a type (under `if TYPE_CHECKING:`) is not an import: nothing is loaded.
    """
    nodes = [ast.parse(text)]
    while nodes:
        node = nodes.pop()
        names = []
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            nodes += node.orelse
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import, expected a full name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package == PACKAGE:
                yield node.lineno, room_of(rest.replace(".", "/"))
        nodes += ast.iter_child_nodes(node)


def find_wrong(module: str, text: str) -> list[str]:
    """Sentences on imports of a module from rooms below its own."""
    room = room_of(module)
    allowed = EXCEPTIONS.get(module, (set(), ""))[0]
    wrong = [
        f"{module}, line {line}: {room} imports {other}, which is below it"
        for line, other in find_imports(text)
        if ROOMS.index(other) > ROOMS.index(room) and other not in allowed
    ]
    if room not in ("figures", "pipeline", "commands"):
        wrong += [
            f"{module}, line {line}: imports figures; names and roles of methods are elsewhere"
            for line, other in find_imports(text)
            if other == "figures"
        ]
    return wrong


def test_every_module_is_in_a_room():
    assert {room_of(module) for module in MODULES} - {"__init__"} <= set(ROOMS)


@pytest.mark.parametrize("module", [m for m in MODULES if m != "__init__.py"])
def test_imports_come_from_above(module):
    assert find_wrong(module, (FOLDER / module).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("module", EXCEPTIONS)
def test_exceptions_are_still_needed(module):
    found = {room for _, room in find_imports((FOLDER / module).read_text(encoding="utf-8"))}
    rooms, reason = EXCEPTIONS[module]
    assert rooms <= found
    assert reason


def test_what_is_wrong_is_found():
    text = """
from typing import TYPE_CHECKING
import genomelm_utils.figures.style
from genomelm_utils import paths, tasks
if TYPE_CHECKING:
    from genomelm_utils.pipeline.context import Run
def draw():
    from genomelm_utils.baselines.composition import majority
"""
    found = find_wrong("evaluation/new.py", text)
    assert sorted(found) == [
        "evaluation/new.py, line 3: evaluation imports figures, which is below it",
        "evaluation/new.py, line 3: imports figures; names and roles of methods are elsewhere",
    ]
    assert len(find_wrong("tasks/new.py", text)) == 3
    assert find_wrong("species.py", text) == []
    assert find_wrong("figures/new.py", text) == []
