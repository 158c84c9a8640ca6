"""The parameters cell of a notebook as a schema, and values checked against it."""

import ast
import difflib
import io
import json
import math
import re
import tokenize
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

TYPES = ("int", "float", "str", "bool", "list[str]", "list[int]", "list[float]", "dict")
PHRASES = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "list[str]": "a list of texts",
    "list[int]": "a list of integers",
    "list[float]": "a list of numbers",
    "dict": "a mapping",
}
INTERVAL = re.compile(r"^in\s+([\[(])\s*([^,\s]+)\s*,\s*([^,\s]+)\s*([\])])$")


@dataclass(frozen=True)
class Interval:
    """A range of numbers, each end closed `[` or open `(`."""

    low: float
    high: float
    low_open: bool
    high_open: bool
    text: str

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    @property
    def is_fraction(self) -> bool:
        """Whether the range lies inside [0, 1]."""
        return self.low >= 0 and self.high <= 1


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: `name: type = default  # meaning, unit; constraint`.

    interval   range of a number, or of each number of a list
    choices    values that are allowed, or None for any
    is_data    names (registry.tsv) or paths of data files; empty text = none
    run_of     stage whose runs it names (an edge of the graph), or ""
    """

    name: str
    type: str
    default: Any
    meaning: str
    interval: Interval | None = None
    choices: tuple[Any, ...] | None = None
    is_data: bool = False
    run_of: str = ""

    @property
    def is_list(self) -> bool:
        """Whether the value is a list."""
        return self.type.startswith("list")

    @property
    def item_type(self) -> str:
        """The type of a list's elements, or the type itself."""
        return self.type[5:-1] if self.is_list else self.type


@dataclass(frozen=True)
class Schema:
    """All parameters of a notebook, in the order of its parameters cell."""

    source: str
    parameters: tuple[Parameter, ...]

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        """Parameter name -> parameter."""
        return {parameter.name: parameter for parameter in self.parameters}

    @property
    def defaults(self) -> dict[str, Any]:
        """Parameter name -> the notebook's own value."""
        return {parameter.name: parameter.default for parameter in self.parameters}

    @property
    def parent_stages(self) -> list[str]:
        """Stages whose runs this notebook reads, each once."""
        return list(dict.fromkeys(p.run_of for p in self.parameters if p.run_of))


def nearest(name: str, names: Any) -> str:
    """The sentence `; did you mean X?` for the closest name, or an empty text."""
    close = difflib.get_close_matches(str(name), [str(n) for n in names], n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


# --- reading the parameters cell -----------------------------------------------------------


def load_cells(path: Path) -> list[dict[str, Any]]:
    """The cells of a notebook file, each with its source as one text.

    Raises FileNotFoundError for an absent notebook, ValueError for a file that is not one.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected a notebook, found nothing; is the stage's name right?"
        )
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a notebook (nbformat 4 JSON), found {error}") from error
    for cell in cells:
        cell["source"] = "".join(cell["source"])
    return cells


def notebook_title(path: Path) -> str:
    """The first heading of a notebook, or its file name."""
    for cell in load_cells(path):
        if cell["cell_type"] == "markdown":
            for line in cell["source"].splitlines():
                if line.startswith("#"):
                    return line.lstrip("# ").strip()
    return path.stem


def has_tag(cell: dict[str, Any], tag: str) -> bool:
    """Whether a notebook cell carries a tag."""
    return tag in cell.get("metadata", {}).get("tags", [])


def read_schema(path: Path) -> Schema:
    """The schema in a notebook's one cell tagged `parameters`.

    Every line reads `name: type = default  # meaning, unit; constraint; ...`, where a constraint is
    `in [0, 1)`, `one of a, b`, `data` or `run of 02_pmi_ranking`. Lines that are only comment
    continue the line above. Defaults must satisfy the constraints.
    """
    tagged = [cell for cell in load_cells(path) if has_tag(cell, "parameters")]
    if len(tagged) != 1:
        raise ValueError(
            f"{path}: expected one cell tagged `parameters`, found {len(tagged)}; "
            "add the tag in JupyterLab's property inspector"
        )
    source = f"notebooks/{path.name}"
    return parse_schema(tagged[0]["source"], source)


def parse_schema(text: str, source: str) -> Schema:
    """The schema written in the text of a parameters cell (see `read_schema`)."""
    try:
        lines = ast.parse(text).body
    except SyntaxError as error:
        raise ValueError(
            f"{source}: parameters cell, line {error.lineno}: {error.msg}; expected Python"
        ) from error
    comments = _comments(text)
    parameters: list[Parameter] = []
    for line in lines:
        parameter = _parse_line(line, comments, f"{source}: parameters cell, line {line.lineno}")
        if any(parameter.name == other.name for other in parameters):
            raise ValueError(f"{source}: parameters cell names {parameter.name} twice; keep one")
        check_value(parameter, parameter.default, f"{source}: {parameter.name}")
        parameters.append(parameter)
    return Schema(source, tuple(parameters))


def _comments(text: str) -> dict[int, str]:
    """Line number -> comment on that line, with the lines of nothing but comment that follow it."""
    comments: dict[int, str] = {}
    first = -1  # the line that is continued; a comment above the first parameter continues nothing
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        alone = token.line.lstrip().startswith("#")
        if alone and first + comments.get(first, "").count("\n") + 1 == token.start[0]:
            comments[first] += "\n" + token.string.lstrip("# ")
        elif not alone:
            first = token.start[0]
            comments[first] = token.string.lstrip("# ")
    return {line: comment.replace("\n", " ") for line, comment in comments.items()}


def _parse_line(line: ast.stmt, comments: dict[int, str], where: str) -> Parameter:
    shape = "name: type = default  # meaning, unit; constraint"
    if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value):
        raise ValueError(f"{where}: expected `{shape}`, found `{ast.unparse(line)}`")
    name, kind = line.target.id, ast.unparse(line.annotation)
    if kind not in TYPES:
        raise ValueError(f"{where}: {name} has type {kind}, expected one of {', '.join(TYPES)}")
    try:
        default = ast.literal_eval(line.value)
    except ValueError as error:
        found = ast.unparse(line.value)
        raise ValueError(f"{where}: {name} is {found}, expected a literal value") from error
    comment = comments.get(line.end_lineno or line.lineno) or comments.get(line.lineno)
    if not comment:
        raise ValueError(f"{where}: {name} has no comment; expected `{shape}`")
    meaning, *rest = (part.strip() for part in comment.split(";"))
    parameter = Parameter(name, kind, default, meaning)
    for part in rest:
        parameter = _add_constraint(parameter, part, where)
    return parameter


def _add_constraint(parameter: Parameter, text: str, where: str) -> Parameter:
    """The parameter with one more constraint; other text is more of its meaning."""
    if text == "data" and parameter.item_type == "str":
        return replace(parameter, is_data=True)
    if text.startswith("run of ") and parameter.item_type == "str":
        return replace(parameter, run_of=text.removeprefix("run of ").strip())
    if text.startswith("one of "):
        texts = [part.strip() for part in text.removeprefix("one of ").split(",")]
        return replace(parameter, choices=tuple(_choice(t, parameter, where) for t in texts))
    if text.startswith(("in [", "in (")):
        return replace(parameter, interval=_parse_interval(text, parameter, where))
    if text == "data" or text.startswith("run of "):
        raise ValueError(f"{where}: {parameter.name}: `{text}` needs type str or list[str]")
    return replace(parameter, meaning=f"{parameter.meaning}; {text}")


def _choice(text: str, parameter: Parameter, where: str) -> Any:
    if parameter.item_type == "str":
        return text.strip("'\"")
    try:
        return {"int": int, "float": float}[parameter.item_type](text)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{where}: {parameter.name}: choice `{text}` is not {PHRASES[parameter.item_type]}"
        ) from error


def _parse_interval(text: str, parameter: Parameter, where: str) -> Interval:
    match = INTERVAL.match(text)
    if not match or parameter.item_type not in ("int", "float"):
        raise ValueError(
            f"{where}: {parameter.name}: expected a range such as `in [0, 1)` on a number, "
            f"found `{text}` on {parameter.type}"
        )
    left, low, high, right = match.groups()
    return Interval(float(low), float(high), left == "(", right == ")", text.removeprefix("in "))


# --- checking values -----------------------------------------------------------------------


def check_params(schema: Schema, values: dict[str, Any], where: str) -> dict[str, Any]:
    """The given values, converted (3 -> 3.0 for a float) and checked; defaults are not added.

    where: file and stage for the error, such as `params/small.yaml: 04_pretraining`.
    Raises ValueError with what was found, what was expected, and the nearest right name.
    """
    checked = {}
    for name, value in values.items():
        if name not in schema.by_name:
            known = schema.by_name
            hint = nearest(name, known) or f"; it has {', '.join(known) or 'none'}"
            raise ValueError(f"{where}.{name} is not a parameter of {schema.source}{hint}")
        checked[name] = check_value(schema.by_name[name], value, f"{where}.{name}")
    return checked


def check_value(parameter: Parameter, value: Any, where: str) -> Any:
    """One value, converted and checked against its parameter."""
    if not parameter.is_list:
        return _check_item(parameter, value, where)
    if not isinstance(value, list | tuple):
        raise ValueError(
            f"{where} is {_show(value)}, expected {PHRASES[parameter.type]}; "
            f"did you mean [{_show(value)}]?"
        )
    return [_check_item(parameter, item, f"{where}[{i}]") for i, item in enumerate(value)]


def _check_item(parameter: Parameter, value: Any, where: str) -> Any:
    kind = parameter.item_type
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    accepted = {"int": int, "float": float, "str": str, "bool": bool, "dict": dict}[kind]
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind != "bool"):
        raise ValueError(
            f"{where} is {_show(value)}, expected {expectation(parameter)}{_retype(kind, value)}"
        )
    if kind == "float" and math.isnan(value):
        raise ValueError(f"{where} is nan, expected {expectation(parameter)}")
    if parameter.interval and value not in parameter.interval:
        hint = ""
        if parameter.interval.is_fraction and value / 100 in parameter.interval and value >= 1:
            hint = f"; did you mean {value / 100:g}?"
        raise ValueError(f"{where} is {_number(value)}, expected {expectation(parameter)}{hint}")
    if parameter.choices is not None and value not in parameter.choices:
        hint = nearest(value, parameter.choices)
        raise ValueError(f"{where} is {_show(value)}, expected {expectation(parameter)}{hint}")
    return value


def expectation(parameter: Parameter) -> str:
    """What one value of a parameter must be, in words: `a fraction in (0, 1)`."""
    if parameter.choices is not None:
        return f"one of {', '.join(map(str, parameter.choices))}"
    if parameter.interval is None:
        return PHRASES[parameter.item_type]
    fraction = parameter.interval.is_fraction and parameter.item_type == "float"
    noun = "a fraction" if fraction else PHRASES[parameter.item_type]
    return f"{noun} in {parameter.interval.text}"


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) and value == round(value) else str(value)


def _show(value: Any) -> str:
    return f"the text {value!r}" if isinstance(value, str) else json.dumps(value, default=str)


def _retype(kind: str, value: Any) -> str:
    """`; did you mean 3?` where a text or a float holds what the type wants."""
    if kind == "int" and isinstance(value, float) and value.is_integer():
        return f"; did you mean {int(value)}?"
    if kind in ("int", "float") and isinstance(value, str):
        try:
            return f"; did you mean {_number(float(value))} without quotes?"
        except ValueError:
            return ""
    return ""
