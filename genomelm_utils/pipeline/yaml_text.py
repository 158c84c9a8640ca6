"""YAML as people expect it: 1e-4 is a number, `on` is a text, no key stands twice."""

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """YAML with the 1.2 rules for numbers and booleans: 1e-4 is a number, `on` is a text."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9][0-9_]*", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
        r"|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", "<<", "<"),
):
    _starts = [c for c in _first if c != "\0"] + ([""] if "\0" in _first else [])
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _starts
    )


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(node.value)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.value in seen and key.value != "<<":
            raise ValueError(
                f"{loader.name}, line {line}: {key.value} is given twice "
                f"(first in line {seen[key.value]}); keep one"
            )
        seen[key.value] = line
    loader.flatten_mapping(node)
    return {str(key): value for key, value in loader.construct_pairs(node, deep=True)}


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def load_yaml(text: str, source: str) -> Any:
    """The value of a YAML text: numbers as in YAML 1.2 (1e-4 is a float), no key twice.

    Raises ValueError naming source and line for anything that is not such a text.
    """
    loader = _Loader(text)
    loader.name = source
    try:
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{source}{line}: {error.problem}; expected YAML") from error
    finally:
        loader.dispose()
