"""What a sentence tells a user to give can be given: in Python, and on the command line under the same name.

tests/comfyui/test_fit_files.py says the same of the node.
"""

from __future__ import annotations

import inspect

import pytest

from expportrait_core.cli.arguments import OF_FITS
from expportrait_core.cli.parser import make_parser
from expportrait_core.cli.wording import NAMES, as_typed
from expportrait_core.fit import load_fit

from .option_names import FOLDER, named_options

HEADLESS = {"body_model"}  # what `fit inspect` has no use for: it looks at a fit without a head


def test_sentences_name_options_and_nothing_else() -> None:
    named = named_options()
    assert set(named) == {"body_model", "focal", "fps", "image_size", "legacy10", "mirror", "person"}, named
    assert {"formats/for_head.py", "formats/into_fit.py", "formats/smplerx.py"} <= set().union(*named.values())


@pytest.mark.parametrize("name", named_options())
def test_the_function_has_them(name: str) -> None:
    assert name in inspect.signature(load_fit).parameters


@pytest.mark.parametrize("command", [["fit", "inspect"], ["fit", "convert"], ["animate"], ["render"], ["generate"]])
def test_the_command_line_has_them(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args([*command, "--help"])
    shown = capsys.readouterr().out
    for name in set(named_options()) - (HEADLESS if command[-1] == "inspect" else set()):
        assert f"  {as_typed(f'`{name}`')} " in shown or f"  {as_typed(f'`{name}`')}\n" in shown, name


def test_the_readme_lists_them() -> None:
    readme = (FOLDER.parents[1] / "README.md").read_text("utf-8")
    for name in NAMES:
        assert f"| `{as_typed(f'`{name}`')}" in readme, name


def test_what_the_command_line_hands_over_is_the_functions() -> None:
    assert set(NAMES) <= set(inspect.signature(load_fit).parameters) and set(OF_FITS) == set(NAMES) - HEADLESS
    assert as_typed("Give `image_size`, not `else`.") == "Give --image-size, not `else`."
