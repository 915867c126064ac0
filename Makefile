# Each target sets up all that it needs in a virtual environment of its own: Python 3.9 to 3.13 is enough.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# More arguments of pytest, such as TESTS=tests/losses or TESTS=--ignore=tests/docs.
TESTS ?=
# Packages into the environment $(1).
install = $(1)/bin/python -m pip install --quiet --disable-pip-version-check
# Two at a time, a file always in one process: most of a small network's time is spent on one core, and more than two
# would want more memory than many machines have. In the order of tests/conftest.py, the longest files first.
PYTEST = $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0

.PHONY: quickstart follow test quick drill lint docs clean

# Renders people, trains on the CPU, evaluates, exports, scores the exports.
quickstart: $(VENV)/ready
	@echo "about 4 minutes on 2 CPU cores with bfloat16 (AVX-512), about 8 on 2 without (AVX2); the first steps tell more"
	$(BIN)/python -m keras_reid.train --flagfile=quickstart.flags

# Films rendered people with three cameras, links their tracks by the quickstart's network, scores it, draws the page.
follow: $(VENV)/ready
	@test -f runs/quickstart/evaluation.json || $(MAKE) quickstart
	$(BIN)/python -m keras_reid.evaluate --artifact=runs/quickstart --dataset=synthetic --data_dir=data/synthetic \
	  --calibrate_fpr=1e-3
	@test -f data/scene/recordings.csv || \
	  $(BIN)/python -c "from keras_reid.data import write_synthetic_video; write_synthetic_video('data/scene')"
	$(BIN)/python -m keras_reid.tracks --artifact=runs/quickstart --recordings=data/scene/recordings.csv \
	  --output=runs/follow --link --truth=gt.txt

# The quick tests first, so that a mistake shows early; then the slow ones. The drill is a target of its own.
test: quick
	$(PYTEST) -m "slow and not drill" $(TESTS)

# One thread an operation: two processes share the cores already, and threads that wait for each other cost a fifteenth.
quick test: export OMP_NUM_THREADS = 1
quick test: export TF_NUM_INTRAOP_THREADS = 1
quick: $(VENV)/ready lint
	$(PYTEST) -m "not slow" $(TESTS)

# A training run that is killed 20 times ends as one that was left alone: half an hour.
drill: $(VENV)/ready
	$(BIN)/python -m pytest -q -s -m drill

lint: $(VENV)/ready
	$(BIN)/ruff check .

# The documentation as a site in site/, in an environment of its own without TensorFlow (Python 3.10 or later); a warning
# is an error.
docs: .venv-docs/ready
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

.venv-docs/ready: docs/requirements.txt
	$(PYTHON) -m venv --clear .venv-docs
	$(call install,.venv-docs) --requirement docs/requirements.txt
	touch $@

# A new environment whenever what it holds changes; without pip or venv it says which Debian package to install.
$(VENV)/ready: requirements.txt setup.py
	@$(PYTHON) -c "import sys; sys.exit(not (3, 9) <= sys.version_info[:2] < (3, 14))" || \
	  { echo "error: $(PYTHON) is not Python 3.9 to 3.13. Install one, or name it: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || \
	  { echo "error: Python cannot make a virtual environment: apt-get install python3 python3-venv"; exit 1; }
	$(call install,$(VENV)) --requirement requirements.txt
	$(call install,$(VENV)) --no-deps --editable .
	touch $@

clean:
	rm -rf .venv .venv-* build dist site *.egg-info
