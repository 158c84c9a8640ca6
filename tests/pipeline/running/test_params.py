"""Parameters cells, parameter files, and the sentences that say what is wrong with a value."""

import pytest

from genomelm_utils.pipeline.params import check_params, notebook_title, parse_schema, read_schema
from genomelm_utils.pipeline.profile import load_profile, match_stage
from genomelm_utils.pipeline.yaml_text import load_yaml

CELL = """
seed: int = 1  # seed of all generators; in [0, inf)
mask_share: float = 0.15  # masked share of tokens; in (0, 1); DNABERT, Methods
schemes: list[str] = ["span"]  # masking; one of span, genemask
steps: int = 100  # steps; one of 10, 100
genome: str = ""  # FASTA; data
ranking: str = "default"  # ranking; run of 02_pmi_ranking
models: list[str] = ["*"]  # models; run of 04_pretraining
both: bool = True  # both strands
sizes: dict = {"a": 1}  # layers
lengths: list[int] = [
    10,
    20,
]  # lengths, bp; in [1, 512]
"""


def test_schema_reads_names_types_defaults_and_constraints():
    schema = parse_schema(CELL, "notebooks/04.ipynb")
    share = schema.by_name["mask_share"]
    assert schema.defaults["lengths"] == [10, 20]
    assert (share.type, share.default, share.interval.text) == ("float", 0.15, "(0, 1)")
    assert share.meaning == "masked share of tokens; DNABERT, Methods"
    assert schema.by_name["steps"].choices == (10, 100)
    assert schema.by_name["genome"].is_data
    assert schema.parent_stages == ["02_pmi_ranking", "04_pretraining"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"mask_share": 15},
            "p.yaml: s.mask_share is 15, expected a fraction in (0, 1); did you mean 0.15?",
        ),
        ({"mask_shar": 0.1}, "not a parameter of notebooks/04.ipynb; did you mean mask_share?"),
        ({"steps": "100"}, "s.steps is the text '100', expected one of 10, 100; did you mean 100"),
        ({"steps": 11}, "s.steps is 11, expected one of 10, 100"),
        ({"seed": True}, "s.seed is true, expected an integer in [0, inf)"),
        ({"seed": 1.0}, "s.seed is 1.0, expected an integer in [0, inf); did you mean 1?"),
        ({"seed": -1}, "s.seed is -1, expected an integer in [0, inf)"),
        ({"both": 1}, "s.both is 1, expected true or false"),
        ({"schemes": "span"}, "expected a list of texts; did you mean [the text 'span']?"),
        ({"schemes": ["spam"]}, "s.schemes[0] is the text 'spam', expected one of span, genemask"),
        ({"lengths": [1, 600]}, "s.lengths[1] is 600, expected an integer in [1, 512]"),
        ({"mask_share": float("nan")}, "s.mask_share is nan, expected a fraction in (0, 1)"),
        ({"sizes": [1]}, "s.sizes is [1], expected a mapping"),
    ],
)
def test_wrong_value_is_named_with_what_was_expected(values, sentence):
    with pytest.raises(ValueError, match=r"^p.yaml: s\.") as caught:
        check_params(parse_schema(CELL, "notebooks/04.ipynb"), values, "p.yaml: s")
    assert sentence in str(caught.value)


def test_integer_for_a_float_is_converted():
    schema = parse_schema("rate: float = 1.0  # rate, 1/step", "n")
    value = check_params(schema, {"rate": 3}, "s")["rate"]
    assert value == 3.0
    assert isinstance(value, float)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("a = 3  # no type", "expected `name: type = default"),
        ("a: int = 3", "a has no comment"),
        ("a: integer = 3  # x", "type integer, expected one of int"),
        ("a: int = len('x')  # x", "expected a literal"),
        ("a: int = 3  # x; in [5, 9]", "a is 3, expected an integer in [5, 9]"),
        ("a: int = 3  # x; in [5; 9]", "expected a range such as"),
        ("a: int = 3  # x; run of 01_data", "needs type str"),
        ("a: int = 3  # x\na: int = 4  # y", "names a twice"),
        ("a: int = = 3", "line 1"),
    ],
)
def test_wrong_parameters_cell_is_an_error(line, part):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_schema(line, "notebooks/04.ipynb")
    assert part in str(caught.value)


def test_notebook_needs_one_tagged_cell(project):
    path = project.notebook("01_data", "n: int = 3  # rows")
    assert list(read_schema(path).by_name) == ["n"]
    assert notebook_title(path) == "Stage 01_data"
    path.write_text(path.read_text().replace('"parameters"', '"other"'))
    with pytest.raises(ValueError, match="one cell tagged `parameters`, found 0"):
        read_schema(path)
    path.write_text("no json")
    with pytest.raises(ValueError, match="expected a notebook"):
        read_schema(path)


def test_yaml_numbers_are_what_people_expect():
    text = "{a: 1e-4, b: 1E-4, c: 010, d: on, e: 1.5, f: true, g: .inf, h: 1_000, i: ~, j: -3}"
    assert load_yaml(text, "x") == {
        "a": 1e-4,
        "b": 1e-4,
        "c": 10,
        "d": "on",
        "e": 1.5,
        "f": True,
        "g": float("inf"),
        "h": 1000,
        "i": None,
        "j": -3,
    }
    assert load_yaml("a:\nb: 2026-01-01", "x") == {"a": None, "b": "2026-01-01"}


def test_yaml_anchors_merge():
    text = "base: &b {x: 1, y: 2}\nother:\n  <<: *b\n  y: 3"
    assert load_yaml(text, "x")["other"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a: 1\nb: 2\na: 3", "x, line 3: a is given twice (first in line 1)"), ("a: [1", "x, line 1")],
)
def test_yaml_errors_name_the_line(text, sentence):
    with pytest.raises(ValueError, match=r".") as caught:
        load_yaml(text, "x")
    assert sentence in str(caught.value)


def test_profile_expands_runs_matrix_and_shared_values(project):
    cell = "seed: int = 1  # seed\nn: int = 3  # rows\nkind: str = 'a'  # kind; one of a, b"
    for name in ("01_plain", "02_named", "03_matrix"):
        project.notebook(name, cell)
    project.params(
        "profile: {seed: 9, description: Toy, retries: 2, resources: {threads: 2}}\n"
        "01_plain: {n: 4}\n"
        "02_named:\n  common: {n: 5}\n  runs: {one: , two: {n: 6}}\n"
        "03_matrix:\n  matrix: {kind: [a, b], n: [1, 2]}\n  resources: {gpu: 1}\n"
    )
    profile = load_profile("demo", ("03_matrix/b-2.seed=3", "plain.n=8", "profile.kind=b"))
    assert profile.runs["01_plain"] == {"default": {"seed": 9, "n": 8, "kind": "b"}}
    assert {run: v["n"] for run, v in profile.runs["02_named"].items()} == {"one": 5, "two": 6}
    assert list(profile.runs["03_matrix"]) == ["a-1", "a-2", "b-1", "b-2"]
    assert profile.runs["03_matrix"]["b-2"] == {"seed": 3, "n": 2, "kind": "b"}
    assert (profile.description, profile.retries) == ("Toy", 2)
    assert profile.resources["03_matrix"].gpu == 1
    assert profile.resources["03_matrix"].threads == 2


@pytest.mark.parametrize(
    ("text", "overrides", "sentence"),
    [
        ("01_dta:", (), "01_dta is not a stage (no notebooks/01_dta.ipynb); did you mean 01_data?"),
        ("01_data: {m: 3}", (), "params/demo.yaml: 01_data.m is not a parameter of"),
        ("01_data: {n: 3, runs: {a: }}", (), "move n below common:"),
        ("01_data: {matrix: {n: 3}}", (), "01_data.matrix.n is 3, expected a list"),
        ("01_data: {matrix: {n: [2, 2]}}", (), "gives the run 2 twice"),
        ("01_data: {runs: {'a b': }}", (), "the run name 'a b' cannot be a folder"),
        ("01_data: {resources: {gpus: 1}}", (), "did you mean gpu?"),
        ("profile: {sead: 1}\n01_data:", (), "did you mean seed?"),
        ("01_data: 3", (), "01_data is 3, expected `name: value` lines"),
        ("01_data:", ("data=3",), "expected stage.parameter=value"),
        ("01_data:", ("data.n=x",), "--set 01_data.n is the text 'x', expected an integer"),
        ("01_data:", ("data/a.n=1",), "01_data has no such run, it has default"),
        ("01_data:", ("train.n=1",), "train is not a stage of this profile"),
    ],
)
def test_wrong_profile_is_one_sentence(project, text, overrides, sentence):
    project.notebook("01_data", "n: int = 3  # rows; in [1, 10]\nseed: int = 1  # seed")
    project.params(text)
    with pytest.raises(ValueError, match=r".") as caught:
        load_profile("demo", overrides)
    assert sentence in str(caught.value)


def test_unknown_profile_names_the_nearest(project):
    project.params("", "small")
    with pytest.raises(FileNotFoundError, match=r"no such profile.*did you mean small\?"):
        load_profile("smal")


@pytest.mark.parametrize("text", ["05_fewshot", "05", "5", "fewshot"])
def test_stage_is_found_by_number_or_name(text):
    assert match_stage(text, ["04_pretraining", "05_fewshot"], "--only") == "05_fewshot"


# --- comments over several lines ------------------------------------------------------------------


def test_lines_of_comment_continue_the_parameter_above():
    schema = parse_schema(
        'scheme: str = "b"  # which tokens are masked;\n'
        "# one of a,\n"
        "# b, c\n"
        "k: int = 6  # length of the tokens,\n"
        "#   bases; in [3, 6]\n"
        "seed: int = 1  # seed",
        "notebooks/04.ipynb",
    )
    scheme, k, seed = schema.parameters
    assert scheme.choices == ("a", "b", "c")
    assert scheme.meaning == "which tokens are masked"
    assert (k.meaning, k.interval.text) == ("length of the tokens, bases", "[3, 6]")
    assert (seed.meaning, seed.interval, seed.choices) == ("seed", None, None)
    with pytest.raises(ValueError, match=r"s.scheme is the text 'd', expected one of a, b, c"):
        check_params(schema, {"scheme": "d"}, "s")
    with pytest.raises(ValueError, match=r"s.k is 7, expected an integer in \[3, 6\]"):
        check_params(schema, {"k": 7}, "s")


@pytest.mark.parametrize(
    "text",
    [
        "# Parameters\nn: int = 1  # rows",
        "# one of 5, 6\n# in [7, 8]\nn: int = 1  # rows",
        "n: int = 1  # rows\n\n# in [7, 8], after a blank line: not about n",
        "\n\n# Parameters\n\nn: int = 1  # rows\n",
    ],
)
def test_a_comment_that_follows_no_parameter_belongs_to_none(text):
    (parameter,) = parse_schema(text, "n").parameters
    assert (parameter.meaning, parameter.interval, parameter.choices) == ("rows", None, None)


def test_comments_inside_a_list_are_not_its_meaning():
    schema = parse_schema(
        "n: int = 1  # rows\nlengths: list[int] = [\n    # short ones\n    10,  # ten\n    20,\n"
        "]  # lengths, bp;\n# in [1, 512]",
        "n",
    )
    assert schema.by_name["n"].meaning == "rows"
    assert schema.by_name["lengths"].meaning == "lengths, bp"
    assert schema.by_name["lengths"].interval.text == "[1, 512]"


def test_a_hash_inside_a_text_is_no_comment():
    (parameter,) = parse_schema('colour: str = "#fff"  # colour of lines', "n").parameters
    assert (parameter.default, parameter.meaning) == ("#fff", "colour of lines")


def test_a_comment_below_does_not_stand_in_for_the_one_that_is_missing():
    with pytest.raises(ValueError, match="b has no comment"):
        parse_schema("a: int = 1  # x\nb: int = 2\n# in [0, 3]", "n")
