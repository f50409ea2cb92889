# The front door: people and CI run the same.    make run USECASE=wine SET="train.max_trials=3"
USECASE ?= flights
OVERLAY ?= local
export PYTHONUTF8 = 1
export PYTHONPATH = $(CURDIR)
unexport PYTHONHOME PYTHONWARNINGS
MLOPS := .venv/bin/mlops
ENVIRONMENT := .venv/.synced
REVISION = $(shell git describe --always --dirty --abbrev=40 --exclude '*')
TAG = $(or $(IMAGE),localhost/kubeflow-mlops-template:$(REVISION))
BUILD = --build-arg GIT_SHA=$(REVISION) --build-arg IMAGE=$(TAG) --build-arg EXTRAS="$(EXTRAS)"
BUILDER = $(shell command -v docker || command -v podman || command -v buildah || echo docker)
environment = PACKAGE='$(PACKAGE)' EXTRAS='$(EXTRAS)' sh .ci/environment
if_started = if [ -f $(ENVIRONMENT) ]; then $(MLOPS) platform $(1); else echo 'Nothing is running: nothing was ever started here.'; fi

.PHONY: help run status stop add compile submit schema image secrets apply test lint format bench clean

help:
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nVariables: USECASE=flights (a folder in usecases/), SET="train.max_trials=3 ..." (overrides for one run), IMAGE=name:tag, OVERLAY=local (a folder in k8s/overlays/), EXTRAS="grpc lightgbm", SPARK=1, JOB=1, PYTHON=python3.12\n'

##@ On this machine
run: $(ENVIRONMENT) ## Train, judge, register and serve USECASE, from its data to a tested server
	@$(MLOPS) run $(USECASE) $(foreach pair,$(SET),--set '$(pair)')

status: ## What is running, and where
	@$(call if_started,status)

stop: ## Stop every server that was started here
	@$(call if_started,down)

add: ## Add PACKAGE=holidays for features.py, here and in the image, or EXTRAS=lightgbm here
	@$(if $(PACKAGE)$(EXTRAS),,$(error name what to add: make add PACKAGE=holidays, or make add EXTRAS=lightgbm))$(environment)

##@ On Kubeflow
compile: $(ENVIRONMENT) ## Write the YAML of every pipeline to pipelines/compiled, for IMAGE
	@$(MLOPS) compile

submit: $(ENVIRONMENT) ## Run USECASE on the Kubeflow that KFP_ENDPOINT names, or with JOB=1 in one Job of kubectl's cluster
	@$(MLOPS) submit $(USECASE) $(if $(JOB),--job) $(foreach pair,$(SET),--set '$(pair)')

image: ## Build IMAGE, the steps and the server, with docker, podman or buildah; SPARK=1 builds IMAGE-spark beside it
	@$(BUILDER) build $(BUILD) -t $(TAG) .
	@$(if $(SPARK),$(BUILDER) build $(BUILD) --target spark -t $(TAG)-spark .)

schema: $(ENVIRONMENT) ## Print the JSON schema of a use case's config.yaml
	@$(MLOPS) schema

##@ On Kubernetes
secrets: $(ENVIRONMENT) ## Write random passwords for a cluster to k8s/overlays/OVERLAY/secrets.yaml; ROTATE=1 makes new ones
	@$(MLOPS) secrets k8s/overlays/$(OVERLAY)/secrets.yaml $(if $(ROTATE),--rotate)

apply: $(ENVIRONMENT) ## Apply OVERLAY to kubectl's cluster, with IMAGE
	@$(MLOPS) apply $(OVERLAY) --image $(TAG)

##@ On the code
test: $(ENVIRONMENT) ## Run the tests that need no cluster, without the slow ones
	@.venv/bin/pytest -n 3 --dist loadgroup -m 'not slow and not extras and not cluster'

lint: $(ENVIRONMENT) ## ruff and mypy
	@.venv/bin/ruff check && .venv/bin/ruff format --check && .venv/bin/mypy

format: $(ENVIRONMENT) ## Put the code into shape
	@.venv/bin/ruff check --fix && .venv/bin/ruff format

bench: $(ENVIRONMENT) ## Measure: seconds and memory of each step
	@.venv/bin/python -m benchmarks

clean: stop ## Remove all that was made here: the environment, the servers' data, the caches
	@rm -rf .venv .uv .local .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -type d -name __pycache__ -prune -exec rm -rf {} +

$(ENVIRONMENT): pyproject.toml uv.lock $(if $(EXTRAS),.extras)
	@$(environment)

.extras: # is no file: EXTRAS are looked for each time
