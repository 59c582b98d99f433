# make study    set up .venv from the lock file, then run the study of CONFIG (default: the built-in testbed)
# make test     set up, then every check: style, types, workflow lint, tests
# make report   Snakemake's own HTML report of the study: results/<study>/workflow.html, readable offline
# make recommend TASK=/data/birds   which of the study's prompts to start a new task (a folder) from
# make dry-run  what a study would do, without doing it
# make docs     build the documentation site: build/site/index.html
# make clean    remove the checks' caches; a study is removed with rm -r results/<study>
# make help     these lines
# make lock     resolve the dependencies anew (keeps pins that still fit)
#
# Choose with: PYTHON=python3.12  VENV=/elsewhere/venv  CONFIG=config/realtasks.yaml  CORES=8  ARGS="--keep-going"

PYTHON ?= python3
VENV ?= .venv
CONFIG ?= config/testbed.yaml
CORES ?= all
ARGS ?=

BIN := $(VENV)/bin
READY := $(VENV)/.installed
MVLPT = $(BIN)/mvlpt
FOLDER = $(BIN)/python -c 'from mvlpt_workflow.configuration import tell_folder; tell_folder("$(CONFIG)")'

IMPORTED := snakemake.cli, open_clip, mvlpt_core.backbone.convert, mvlpt_core.jobs, mvlpt_core.probe, mvlpt_analysis.study, \
  mvlpt_analysis.figures.gallery, mvlpt_analysis.benchmark.make, mvlpt_analysis.report.page, mvlpt_analysis.play.section, \
  mvlpt_workflow.configuration

.PHONY: study test docs report recommend dry-run help clean lock
.DEFAULT_GOAL := study

study: $(READY)
	$(MVLPT) study $(CONFIG) --cores $(CORES) -- $(ARGS)

report: $(READY)
	folder=$$($(FOLDER)) && $(MVLPT) study $(CONFIG) -- --report $$folder/workflow.html

recommend: $(READY)
	folder=$$($(FOLDER)) && $(MVLPT) recommend --study $$folder --task $(TASK)

dry-run: $(READY)
	$(MVLPT) study $(CONFIG) --dry-run -- --quiet host reason $(ARGS)

help:
	@sed -n 's/^# \(make .*\)/\1/p' $(firstword $(MAKEFILE_LIST))

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint --cores 1
	$(MAKE) --no-print-directory docs
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

docs: $(READY)
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs build/site

# The environment is rebuilt only when a lock file or pyproject.toml changes. Where uv cannot reach a package index
# that pip is configured for (a mirror in pip.conf), pip installs the same hashes, only slower. What jobs import is
# imported once: where PYTHONDONTWRITEBYTECODE is set, every job would compile torch, pandas and Snakemake again.
$(READY): requirements.lock requirements-uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %s: try make PYTHON=python3.11" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -W ignore -c 'import $(IMPORTED)'
	@touch $@

lock: $(READY)
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile pyproject.toml --extra dev --extra docs --extra slurm --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --quiet -o requirements.lock
	grep -o '^uv==[^ ]*' requirements-uv.lock | UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile - \
	  --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --quiet -o requirements-uv.lock
	sed -i.old '/^  - pip:$$/q' environment.yml && rm environment.yml.old
	grep -E '^[a-z0-9].*==' requirements.lock | sed 's/ *\\$$//; s/.*/      - "&"/' >> environment.yml
	echo '      - "-e ."' >> environment.yml

clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
