# For who comes from NVIDIA's harness, or one made of it: its targets, each a line that calls loadrun.
# BENCHMARKS="resnet50 bert" (default: all tasks), RUN_ARGS="--benchmarks=resnet50,bert
# --scenarios=Offline --config_ver=default --test_mode=PerformanceOnly --fast": docs/coming-from.md.
# MLPERF_SCRATCH_PATH is where weights, data and what is built of them are.
LOADRUN ?= $(if $(wildcard .venv/bin/loadrun),.venv/bin/loadrun,loadrun)
BENCHMARKS ?= $(shell $(LOADRUN) models --names)
RUN_ARGS ?=
SUBMIT_ARGS ?=

.PHONY: help download_model download_data preprocess_data calibrate generate_engines run_harness \
	run run_audit_harness update_results update_compliance

help:
	@$(LOADRUN) run-all --help

download_model:
	@set -e; for one in $(BENCHMARKS); do $(LOADRUN) fetch $$one; done

download_data:
	@set -e; for one in $(BENCHMARKS); do $(LOADRUN) fetch $$one --data; done

preprocess_data:
	@set -e; for one in $(BENCHMARKS); do $(LOADRUN) preprocess $$one; done

calibrate:
	@$(LOADRUN) run-all $(RUN_ARGS) --scenarios=Offline --prepare-only

generate_engines:
	@$(LOADRUN) run-all $(RUN_ARGS) --prepare-only

run_harness run:
	@$(LOADRUN) run-all $(RUN_ARGS)

run_audit_harness:
	@$(LOADRUN) run-all $(RUN_ARGS) --audits

update_results update_compliance:
	@$(LOADRUN) submit $(SUBMIT_ARGS)
