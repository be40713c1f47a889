# socklab: two commands, `make lab` and `make test`; each installs what it needs first.
#
#   make lab [experiment=web] [profile=quick] [blocks=N] [new=1] [hosts=3]
#   make lab cpus=0,1 experiment=web-placement   CPUs of the hosts that run the topologies (default: half of them)
#   make lab arm=1                               an emulated ARM host beside the others (x86=1 on an ARM machine)
#   make lab lab=mine subnet=198.18.7.0/24       a second lab beside the first
#   make lab inventory=inventories/mine [yes=1]  hosts of one's own, or in the cloud

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
lab     ?= socklab
subnet  ?= 198.18.0.0/24
hosts   ?= 3
experiment ?= web
inventory  ?= inventories/local

export SOCKLAB_ID := $(lab)
export SOCKLAB_SUBNET := $(subnet)
export SOCKLAB_HOSTS := $(hosts)
export SOCKLAB_CPUS := $(cpus)
export SOCKLAB_ARCHS := $(if $(filter 1,$(arm)),aarch64),$(if $(filter 1,$(x86)),x86_64)
export ANSIBLE_FORCE_COLOR ?= 0
# Else Ansible, in a pipe, holds its lines back until it has eight kilobytes of them.
export PYTHONUNBUFFERED := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

STATE = .lab/$(lab)
EXTRA = -e experiment=$(experiment) $(if $(profile),-e profile=$(profile)) $(if $(blocks),-e blocks=$(blocks)) \
        $(if $(seed),-e seed=$(seed)) $(if $(new),-e new=true) $(if $(yes),-e cloud_hosts_yes=true) \
        $(if $(filter 1,$(arm) $(x86)),-e emulated=true)
PLAYBOOK = $(BIN)/ansible-playbook lab.yml -i $(inventory) $(EXTRA)

##@ Every day
.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: lab
lab: $(VENV)/.lab ## From nothing to a report: set-up, hosts, cluster, workloads, measure, collect, analyse
	@$(BIN)/python -I -S collector/lock.py check $(STATE)
	@$(PLAYBOOK)
ifeq ($(inventory),inventories/local) # others keep their state elsewhere; the playbook has told the answer in any case
	@echo; cd $(STATE)/results/report/$(basename $(notdir $(experiment))); cat answer.txt; echo "Report: $$PWD/report.html"
endif

.PHONY: plan
plan: $(VENV)/.lab ## Show what an experiment would run and could detect; touches no host
	@$(BIN)/python -m collector plan $(experiment) -i $(inventory) $(if $(profile),--profile $(profile)) $(if $(blocks),--blocks $(blocks)) \
	  $(if $(filter 1,$(arm) $(x86)),--emulated)

.PHONY: doctor
doctor: $(VENV)/.lab ## Say what is missing, what would be made, and how long that takes
	@$(BIN)/python -m collector doctor -i $(inventory)

.PHONY: status
status: $(VENV)/.lab ## Show hosts, cluster, campaigns
	@$(BIN)/python -m collector status -i $(inventory)

.PHONY: ssh
ssh: $(VENV)/.lab ## Log in to a host: make ssh host=lab-2
	@$(BIN)/python -m collector ssh $(host) -i $(inventory)

.PHONY: logs
logs: $(VENV)/.lab ## Show what a running arm's tasks wrote: make logs arm=sharedvolume
	@$(BIN)/python -m collector logs $(arm) -i $(inventory)

.PHONY: top
top: $(VENV)/.lab ## Show live what every host and container uses
	@$(BIN)/python -m collector top -i $(inventory)

.PHONY: shell
shell: $(VENV)/.lab ## A shell in which nomad, consul and python talk to the lab
	@$(BIN)/python -m collector shell -i $(inventory)

.PHONY: cloud-check
cloud-check: $(VENV)/.lab ## Ask AWS whether the lab's role, policy and external id still hold
	@$(BIN)/python -m collector cloud check -i $(inventory)

.PHONY: rotate
rotate: $(VENV)/.lab ## New keys, certificates and tokens for a lab that goes on working
	@$(BIN)/ansible-playbook lab.yml -i $(inventory) --tags rotate

.PHONY: teardown
teardown: $(VENV)/.lab ## Take the lab down; results stay in .lab/*/results
	@$(BIN)/ansible-playbook lab.yml -i $(inventory) --tags teardown

.PHONY: clean
clean: ## Remove what was built here: virtual environment, test caches, cached images
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .ansible
	find . -name __pycache__ -not -path './.lab/*' -prune -exec rm -rf {} +
	if command -v podman > /dev/null; then podman images --quiet --filter label=socklab.image | sort -u | xargs -r podman rmi || echo "images of a lab that is up were kept"; fi

##@ Tests: make test, or one layer
LAYERS := static pure contract render jobs lab
PYTEST = $(BIN)/python -m pytest -q
# A worker a core. A file's tests stay together, for they share what is dear to make; files in their order, since those with few
# tests, which are put last otherwise, are the long ones.
SPREAD = $(PYTEST) -n auto --dist loadfile --no-loadscope-reorder
# prints how long a layer took, whatever became of it
layer = @start=$$SECONDS; echo "== layer $(1)"; trap 'echo "== layer $(1): $$((SECONDS - start)) s"' EXIT;

# What the lab layer needs of both architectures is built while the layers before it run: from empty caches that takes longest.
.PHONY: test
test: $(VENV)/.test ## Every layer, the live lab included
	@mkdir -p .lab; $(MAKE) --no-print-directory images lab=socklab-test arm=1 x86=1 > .lab/images.log 2>&1 & builder=$$!; \
	  trap 'kill $$builder 2> /dev/null || true' EXIT; \
	  for layer in $(filter-out lab,$(LAYERS)); do $(MAKE) --no-print-directory test-$$layer; done; \
	  echo "== images (.lab/images.log)"; wait $$builder || { tail -n 40 .lab/images.log; exit 1; }
	@$(MAKE) --no-print-directory test-lab

.PHONY: test-static
test-static: $(VENV)/.test ## Formatting, types, imports, Ansible, job files (seconds)
	$(call layer,static) ruff check .; ruff format --check .; mypy; lint-imports --no-cache; yamllint .; \
	  ansible-lint --offline -q; ansible-playbook lab.yml --syntax-check > /dev/null; \
	  $(NOMAD) fmt -check -recursive jobs

.PHONY: test-pure
test-pure: $(VENV)/.test ## Parsers, plan, dataset, statistics (no machine)
	$(call layer,pure) $(SPREAD) tests/pure --doctest-modules collector/parse

.PHONY: test-contract
test-contract: $(VENV)/.test ## Roles, commands, rooms, report in a browser
	$(call layer,contract) $(SPREAD) tests/contract tests/browser

.PHONY: test-render
test-render: $(VENV)/.test ## Rendered configurations
	$(call layer,render) $(SPREAD) tests/render

.PHONY: test-jobs
test-jobs: $(VENV)/.test ## Job files and their variables
	$(call layer,jobs) $(SPREAD) tests/jobs

.PHONY: test-lab
test-lab: $(VENV)/.test ## A live lab of its own (id socklab-test): up, measured, broken, down
	$(call layer,lab) $(PYTEST) -x --durations=12 -m "not long" tests/lab

.PHONY: test-long
test-long: $(VENV)/.test ## Kills in every stage, and what takes minutes each; one of them: make test-long part=cluster
	$(call layer,long) $(PYTEST) -x -m long tests/lab $(if $(part),-k $(part))

.PHONY: bench
bench: $(VENV)/.test ## Figures: error rates of the verdicts, collector, parsers, stages; on the lab, aa=3: campaigns of one arm alone
ifdef aa
	$(BIN)/python benchmarks/aa.py -i $(inventory) --campaigns $(aa)
else
	$(BIN)/python benchmarks/parsers.py
	$(BIN)/python benchmarks/collector.py
	$(BIN)/python benchmarks/verdicts.py
	$(BIN)/python benchmarks/harness.py -i $(inventory)
	$(BIN)/python benchmarks/fetch.py -i $(inventory)
	$(BIN)/python benchmarks/crowd.py -i $(inventory)
	$(BIN)/python benchmarks/first_answer.py -i $(inventory)
	$(BIN)/python benchmarks/views.py -i $(inventory)
	$(BIN)/python benchmarks/converge.py
endif

##@ Set-up
NOMAD_VERSION := $(shell sed -n 's/^nomad_version: //p' roles/nomad/defaults/main.yml)
GOARCH := $(if $(filter aarch64,$(shell uname -m)),arm64,amd64)
NOMAD = $${XDG_CACHE_HOME:-$$HOME/.cache}/socklab/bin/nomad-$(NOMAD_VERSION)-linux-$(GOARCH)

.PHONY: images
images: $(VENV)/.lab ## Build binaries and images ahead of a lab, without starting one; arm=1 for both architectures
	@$(BIN)/ansible-playbook lab.yml -i $(inventory) --tags images

.PHONY: setup
setup: $(VENV)/.test ## Install everything that lab and test need, pinned

$(BIN)/python:
	@echo "== virtual environment"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version.split()[0])'
	@$(PYTHON) -c 'import ensurepip' 2> /dev/null || { apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.lab: requirements/lab.txt | $(BIN)/python
	@echo "== Python packages of the lab, by hash (about a minute)"
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.lab
	@echo "== Python packages and Debian packages of the tests"
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r $<
	@missing=; for package in nginx-light chromium gcc libc6-dev iproute2 python3-starlette python3-uvicorn python3-uvloop python3-httptools gunicorn python3-aiohttp python3-aiomysql protobuf-compiler python3-grpcio python3-msgpack python3-protobuf python3-ujson; do \
	   dpkg-query -W -f '$${db:Status-Status}' $$package 2> /dev/null | grep -qx installed || missing="$$missing $$package"; done; \
	 if [ -n "$$missing" ]; then apt-get update -q && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; fi
	@$(BIN)/ansible-playbook lab.yml --tags binaries
	@touch $@

.PHONY: requirements
requirements: $(VENV)/.test ## Pin the newest versions that requirements/*.in allow
	cd requirements; pin="$(CURDIR)/$(BIN)/uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --strip-extras \
	    --no-emit-index-url --no-header --no-annotate --quiet"; \
	  $$pin -o lab.txt lab.in; $$pin -o ../roles/workload_images/files/opentelemetry.txt opentelemetry.in; $$pin -o test.txt test.in
