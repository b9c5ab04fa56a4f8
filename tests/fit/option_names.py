"""Which options the sentences of the fit step tell users to give."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from expportrait_core import fit

FOLDER = Path(fit.__file__).parent


def named_options() -> dict[str, set[str]]:
    """Every name that a sentence of `expportrait_core/fit` puts into backquotes, with the files that do."""
    found: dict[str, set[str]] = {}
    for path in sorted(FOLDER.rglob("*.py")):
        for name in (name for text in _sentences(path) for name in re.findall(r"`([^`]*)`", text)):
            found.setdefault(name, set()).add(str(path.relative_to(FOLDER)))
    return found


def _sentences(path: Path) -> list[str]:
    """The strings of a module; those that stand alone are docstrings, where backquotes hold any code."""
    tree = ast.parse(path.read_text("utf-8"))
    alone = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    strings = [n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr | ast.Constant) and n not in alone | parts]
    return [_text(node) for node in strings]


def _text(node: ast.expr) -> str:
    """What a string says, with "…" for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
