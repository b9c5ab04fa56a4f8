"""The `expportrait` command: one subcommand per step, and `demo` for the whole walk.

`parser` names the commands, one file of commands a step does them, `arguments` holds what their options have in common.
Errors in what the user gave are one sentence and exit code 2. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence

from ..printable import printable_lines
from ..steps import Steps
from .outputs import require_outputs
from .parser import make_parser
from .wording import TypedOptions, as_typed

__all__ = ["main"]

EXIT_BAD_INPUT, EXIT_INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: 0, or 2 with a sentence on stderr."""
    options = make_parser().parse_args(arguments)
    logged = logging.StreamHandler()
    logged.setFormatter(TypedOptions("%(message)s"))
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, handlers=[logged])
    # Our tensors are small: on a busy machine two threads that wait for each other are many times slower than one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not options.verbose:
        warnings.simplefilter("ignore")  # of libraries; what we have to say is logged
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name or a sign that a terminal does not know is no reason to fail
            stream.reconfigure(errors="replace")
    try:
        require_outputs(options)
        options.run(options, Steps(sys.stderr))
    except (ValueError, OSError, ImportError) as error:  # the last two name a file or disk, and what to install
        sys.stderr.write(f"expportrait: {printable_lines(as_typed(str(error)))}\n")
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("expportrait: stopped.\n")
        return EXIT_INTERRUPTED
    return 0
