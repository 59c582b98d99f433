"""Templates: the forms that people publish them in, what they become, and what is refused."""

import pytest

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow
from mvlpt_core.contract.templates import read_template, read_templates

TWO = ("a bad photo of a {c}.", "itap of the {c}'s {c}")


@pytest.mark.parametrize("place", ["{}", "{c}", "{class}", "{label}"])
def test_a_line_with_a_place_for_the_class(place: str) -> None:
    assert read_template(f"a {place}, a pet", "x") == "a {c}, a pet"


@pytest.mark.parametrize(
    "text",
    [
        "a bad photo of a {}.\nitap of the {}'s {}\n",
        "a bad photo of a {c}.\r\n\r\nitap of the {label}'s {label}",
        '["a bad photo of a {}.", "itap of the {}\'s {}"]',
        '[\n  "a bad photo of a {c}.",\n  "itap of the {c}\'s {c}"\n]\n',
        "['a bad photo of a {}.', \"itap of the {}'s {}\"]",
        "'a bad photo of a {}.',\n\"itap of the {}'s {}\",\n",
        "lambda c: f'a bad photo of a {c}.',\nlambda c: f\"itap of the {c}'s {c}\",\n",
        "lambda name: f'a bad photo of a {name}.'\nlambda c: 'itap of the ' + c + '\\'s ' + c\n",
        "[lambda c: 'a bad photo of a {}.'.format(c), lambda c: f\"itap of the {c}'s {c}\"]",
        "# published\nclasses = ['cat', 'dog']\n\ntemplates = [\n    'a bad photo of a {}.',\n"
        '    "itap of the {}\'s {}",  # twice\n]\n',
        "IMAGENET: tuple[str, ...] = (\n  lambda c: f'a bad photo of a {c}.',\n  lambda c: f\"itap of the "
        "{c}'s {c}\",\n)\n",
    ],
)
def test_published_lists(text: str) -> None:
    assert read_templates(text, "x") == TWO


def test_one_of_each() -> None:
    assert read_templates("lambda c: f'a photo of a {c}.',", "x") == ("a photo of a {c}.",)
    assert read_templates('["a {c}"]', "x") == ("a {c}",)
    assert read_templates("{c} texture", "x") == ("{c} texture",)
    assert read_templates("\n", "x") == ()


@pytest.mark.parametrize(
    "text",
    [
        "a photo",
        "{{c}}",
        "{article} {c}",
        "{c} {x}",
        "{c}{",
        "}{c}",
        "{ c }",
        "{c!r}",
        "{0}",
        "{c} {}",
        "# a {c}",
        "(a photo of a {c})",
        "'a photo of a {c}",
        "lambda c: f'a photo of a {x}.'",
        "lambda c, d: f'a photo of a {c}.'",
        "lambda c: f'{{{c}}}'",
        "lambda c: f'{c:>9}'",
        "lambda c: c.upper()",
        "lambda c: 'a photo'",
        "template = 'a photo of a {c}'",
        "def f(c): return f'a {c}'",
        '["a {c}", 3]',
        '["a {c}", ["a {c}"]]',
        '{"cars": ["a {c}"]}',
        "a = ['{}']\nb = ['{}']",
        "[]",
        "[" * 2000 + "{c}",
        "%s",
    ],
)
def test_all_else_is_refused_with_the_form_expected(text: str) -> None:
    with pytest.raises(
        InputError, match=r"template ['\"].* of task x: expected text with \{c\}"
    ) as told:
        read_templates(text, "task x")
    assert "\n" not in str(told.value)


def test_templates_of_a_row() -> None:
    assert TaskRow("x", "wds", "x", "accuracy", ("a {}.",)).templates == ("a {c}.",)
    with pytest.raises(InputError, match=r"template '\{x\}' of task x: expected"):
        TaskRow("x", "wds", "x", "accuracy", ("{x}",))
