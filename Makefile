# Each of these works as the first command in a fresh clone; what stands already is skipped.
#   make quickstart   train, evaluate and draw with a tiny model on generated scenes, in minutes on a CPU
#   make test         all tests; make test-fast: but those marked slow
#   make test-page    tests of the web page, in .venv-page; in a browser if there is a Chromium
#   make test-ray     tests of prediction by Ray, in .venv-ray; PICTURES=2000 takes more pictures
#   make test-gpu     tests on a GPU; DEVICE=cpu runs the same on the CPU, in small
#   make lint         ruff: rules and format; make format: let ruff mend what it can
#   make setup        only the environment, in .venv
# To change on the command line, for example `make test PYTHON=python3.12`:
PYTHON ?= python3
VENV ?= .venv
# What pip installs as PyTorch. Without a GPU, the CPU's builds are far smaller:
#   make TORCH="torch torchvision --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.14.1 torchvision==0.29.1
# "wheel": upstream of April 2024, nothing to compile; "git": upstream's main branch, needs git and a C++ compiler.
DETECTRON2 ?= wheel
# Where `make test-gpu` runs.
DEVICE ?= cuda
# Pictures that `make test-ray` predicts.
PICTURES ?= 40
# Test processes. Each uses one thread, since many threads on small tensors only get in each other's way.
WORKERS ?= 2

python := $(VENV)/bin/python
pip := $(python) -m pip --disable-pip-version-check
quickstart_output := output/quickstart

.PHONY: quickstart test test-fast test-gpu test-page test-ray lint format setup
.DELETE_ON_ERROR:

# An earlier quickstart is removed: it would add to its metrics.json and keep its pictures.
quickstart: setup
	rm -rf $(quickstart_output)
	$(python) train_net.py --config-file configs/quickstart/icpc_tiny.yaml OUTPUT_DIR $(quickstart_output)
	@echo
	@echo "Pictures (image | label | prediction): $(quickstart_output)/pictures/"
	@echo "Figures: $(quickstart_output)/results.json    Log: $(quickstart_output)/log.txt"

test: setup
	$(python) -m pytest --numprocesses $(WORKERS) --dist worksteal

test-fast: setup
	$(python) -m pytest --numprocesses $(WORKERS) --dist worksteal -m "not slow"

test-gpu: setup
	ICPC_TEST_DEVICE=$(DEVICE) $(python) -m pytest -m gpu tests/gpu

test-page: setup $(VENV)-page/page.stamp
	$(VENV)-page/bin/python -m pytest tests/tools/test_app.py tests/tools/test_app_browser.py

test-ray: setup $(VENV)-ray/ray.stamp
	ICPC_TEST_PICTURES=$(PICTURES) $(VENV)-ray/bin/python -m pytest tests/tools/test_predict_ray.py

lint: $(VENV)/ruff.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(VENV)/ruff.stamp
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

setup: $(VENV)/package.stamp $(VENV)/detectron2-$(DETECTRON2).stamp

# A stamp is written when its step has succeeded, so an interrupted step is done again.
$(VENV)/venv.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "$(PYTHON) is missing or older than 3.10; name another: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The linter alone needs no PyTorch; its version stands in setup.py.
$(VENV)/ruff.stamp: $(VENV)/venv.stamp setup.py
	$(pip) install "$$(grep -o 'ruff==[0-9.]*' setup.py)"
	@touch $@

$(VENV)/torch.stamp: $(VENV)/venv.stamp
	$(pip) install $(TORCH)
	@touch $@

$(VENV)/package.stamp: $(VENV)/torch.stamp setup.py pyproject.toml
	$(pip) install --editable '.[dev]'
	@touch $@

$(VENV)/detectron2-$(DETECTRON2).stamp: $(VENV)/package.stamp icpc_d2/install_detectron2.py
	$(python) icpc_d2/install_detectron2.py --from $(DETECTRON2)
	@touch $@

# Gradio does not take the newest Pillow, which all else is tested with: its environment adds to the other one.
$(VENV)-page/page.stamp: $(VENV)/package.stamp
	$(PYTHON) -m venv $(VENV)-page
	$(python) -c 'import site; print(site.getsitepackages()[0])' > "$$(echo $(VENV)-page/lib/python*/site-packages)/base.pth"
	$(VENV)-page/bin/python -m pip --disable-pip-version-check install --editable '.[browser]'
	@touch $@

# Ray is large and of use to few: its environment adds to the other one.
$(VENV)-ray/ray.stamp: $(VENV)/package.stamp
	$(PYTHON) -m venv $(VENV)-ray
	$(python) -c 'import site; print(site.getsitepackages()[0])' > "$$(echo $(VENV)-ray/lib/python*/site-packages)/base.pth"
	$(VENV)-ray/bin/python -m pip --disable-pip-version-check install --editable '.[ray]'
	@touch $@
