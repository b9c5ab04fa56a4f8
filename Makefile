# make demo      the whole walk on the built-in photo and performance -> output/demo/
# make test      every test
# make bench     every benchmark
# make comfyui   a ComfyUI server with this pack in it
# All of them set up .venv first, and again when pyproject.toml or constraints.txt change.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready

define CHECK_PYTHON
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, this is " + sys.version)' || exit 1; \
$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv is missing. On Debian: apt-get install python3-venv" >&2; exit 1; }
endef

.PHONY: demo test bench comfyui
.DEFAULT_GOAL := demo

demo: $(READY)
	$(VENV)/bin/python -m expportrait_core demo

test: $(READY)
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile

bench: $(READY)
	set -e; for script in benchmarks/*.py; do echo "== $$script"; $(VENV)/bin/python "$$script"; done

# COMFYUI_DIR=... takes your own ComfyUI and COMFYUI_PYTHON=... its Python, where that is not in a venv inside the
# folder; PORT=... is a port of your choice, ARGS="..." are more of ComfyUI's own flags.
comfyui:
	@$(CHECK_PYTHON)
	@$(PYTHON) tests/comfyui/start.py $(ARGS)

# torch goes in first and alone: asked for by another package it would be the newest one.
$(READY): pyproject.toml constraints.txt
	@$(CHECK_PYTHON)
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement constraints.txt
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[fast,train,test]'
	touch $@
