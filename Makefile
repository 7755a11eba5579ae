# For who comes from NVIDIA's harness, or one made of it: its targets, each a line that calls loadrun.
# BENCHMARKS="resnet50 bert" (default: all tasks), RUN_ARGS="--benchmarks=resnet50,bert
# --scenarios=Offline --config_ver=default --test_mode=PerformanceOnly --fast": docs/coming-from.md.
# MLPERF_SCRATCH_PATH is where weights, data and what is built of them are.
LOADRUN ?= $(shell command -v .venv/bin/loadrun || command -v loadrun || echo .venv/bin/loadrun)
BENCHMARKS ?= $(shell $(LOADRUN) models --names)
RUN_ARGS ?=
SUBMIT_ARGS ?=

# For every benchmark, whatever becomes of one: some data sets are only there for who asks for them.
each = @failed=0; for one in $(BENCHMARKS); do $(LOADRUN) $(1) || failed=$$?; done; exit $$failed

.PHONY: setup help build build_cpu prebuild download_model download_data preprocess_data calibrate \
	generate_engines run_harness run_cpu_harness run run_audit_harness update_results \
	update_compliance truncate_results check_submission summarize_results clean

help: setup
	@$(LOADRUN) run-all --help

# What the scripts set up, where there is no loadrun yet.
setup:
	@command -v $(LOADRUN) >/dev/null || \
		bash -euc 'root=$$PWD; . launch/setup.sh; loadrun_setup' </dev/null

# Nothing else is to be built: says what there is.
build build_cpu prebuild: setup
	@$(LOADRUN) models

download_model: setup
	$(call each,fetch $$one)

download_data: setup
	$(call each,fetch $$one --data)

preprocess_data: setup
	$(call each,preprocess $$one)

calibrate: setup
	@$(LOADRUN) run-all $(RUN_ARGS) --scenarios=Offline --prepare-only

generate_engines: setup
	@$(LOADRUN) run-all $(RUN_ARGS) --prepare-only

run_harness run_cpu_harness run: setup
	@$(LOADRUN) run-all $(RUN_ARGS)

run_audit_harness: setup
	@$(LOADRUN) run-all $(RUN_ARGS) --audits

update_results update_compliance truncate_results check_submission: setup
	@$(LOADRUN) submit $(SUBMIT_ARGS)

summarize_results: setup
	@$(LOADRUN) report

clean: setup
	@$(LOADRUN) clean
