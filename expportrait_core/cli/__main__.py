"""`python -m expportrait_core.cli` is the `expportrait` command too."""

from . import main

if __name__ == "__main__":
    raise SystemExit(main())
