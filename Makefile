# Each target does its own set-up in .venv, once. ARGS goes on to the command:
#
#   make demo ARGS="--gateways 2 --meters 12 --seconds 60"
#   make test ARGS="-k journal"
#   make bench ARGS="base --json figures.json"

BIN := .venv/bin
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: help demo device test bench lint plot picture requirements clean

help:
	@echo "make demo     simulated meters, gateways of the real firmware, a broker, a live table"
	@echo "make test     the whole test suite (needs mosquitto and openssl)"
	@echo "make device   what meshems build, flash and provision need on top"
	@echo "make lint     ruff, mypy against the stubs of the chips, the project's own rules"
	@echo "make bench    the benchmarks"
	@echo "make plot     docs/bus.svg and the README's table of the bus, from a run of the benchmark"
	@echo "make picture  docs/demo.svg and docs/install-*.svg, from runs of the demo and of docs/install.md"
	@echo "make clean    removes what the others have made"

demo: .venv/.run
	@$(BIN)/meshems demo $(ARGS)

picture: .venv/.dev
	@$(BIN)/meshems demo --gateways 2 --meters 12 --seconds 60 --picture docs/demo.svg $(ARGS)
	@PYTHONPATH=tools:firmware $(BIN)/python host_tests/system/install_page.py docs

device: .venv/.device

test: .venv/.dev
	@for name in mosquitto openssl; do command -v $$name >/dev/null || \
		{ echo "make test: $$name is missing: apt-get install $$name" >&2; exit 1; }; done
	@$(BIN)/python -m pytest -n auto host_tests/unit host_tests/mesh $(ARGS); unit=$$?; \
	$(BIN)/python -m pytest -n 3 --dist loadfile host_tests/system $(ARGS); system=$$?; \
	case $$unit,$$system in 0,0|0,5|5,0) ;; *) exit 1;; esac  # 5: ARGS chose no test of them

bench: .venv/.dev
	@$(BIN)/meshems bench $(ARGS)

plot: .venv/.dev
	@mkdir -p build
	@$(BIN)/meshems bench bus --json build/bus.jsonl
	@$(BIN)/python -m meshems.benches.bus_plot build/bus.jsonl docs/bus.svg

lint: .venv/.dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/python tools/lint/typecheck.py
	@$(BIN)/python tools/lint/rules.py
	@echo "lint: clean"

.venv/.run: requirements/run.txt pyproject.toml tools/setup
	@tools/setup run

.venv/.device: .venv/.run requirements/device.txt requirements/esptool.txt
	@tools/setup device

.venv/.dev: .venv/.device requirements/dev.txt requirements/stubs-esp32.txt requirements/stubs-esp32-s3.txt package-lock.json
	@tools/setup dev

# Pins and hashes from requirements/*.in, for all platforms and Pythons; needs uv.
requirements:
	@cd requirements && for name in run device dev stubs-esp32 stubs-esp32-s3; do \
		uv pip compile -q --universal --generate-hashes --python-version 3.10 --no-emit-index-url --no-header \
			$$name.in -o $$name.txt || exit 1; done

clean:
	@rm -rf .venv node_modules build .pytest_cache .mypy_cache .ruff_cache tools/meshems.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
