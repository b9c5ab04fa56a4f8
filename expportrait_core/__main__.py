"""`python -m expportrait_core` is the `expportrait` command."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
