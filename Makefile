# Every target sets up what it needs and can be run again; `python3 tools/run.py TARGET` does the same without make.
# ARGS are handed on: make demo ARGS="--steps 100", make notebooks ARGS=book/09_attention.ipynb

PYTHON ?= python3
ARGS ?=
TARGETS := demo test quick lint wheel book book-zh pdf epub translations pytest export notebooks gpt2-outputs readers workbook gpu bench speedrun pretrain release constraints clean distclean

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help $(TARGETS)

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: ## set up, train a small GPT on Shakespeare, sample from it
test: ## set up, run every test
quick: ## run the tests that take no more than seconds each: no chapters, no pages
lint: ## check style, format and types
wheel: ## run the chapters with the built wheel, outside the checkout
book: ## render the book into build/book
book-zh: ## render the book in English and in Chinese, with a switch
pdf: ## print the book as one PDF into build/editions
epub: ## bind the book as an EPUB into build/editions
translations: ## say how far the Chinese edition is
pytest: ## run the tests proper, slow ones too: units, chapter contract, rendered pages
export: ## write the package's modules from the chapters
notebooks: ## execute the chapters in place, store their outputs
gpt2-outputs: ## fetch GPT-2's released weights, store what they say in their chapter
readers: ## write the notebooks that readers open outside the site
workbook: ## write the workbook, in which you write the package, into build/workbook
gpu: ## measure a CUDA card and run its tests, in eight minutes: bench/results/gpu.json
bench: ## time training against other packages
speedrun: ## run the record of the speed-run, or an entry beside it
pretrain: ## train the model that comes with the package
release: ## build the wheel and the source archive into dist, check both
constraints: ## resolve the pinned versions anew
clean: ## remove what was built, but for build/workbook
distclean: ## remove what was built and .venv

$(TARGETS):
	@$(PYTHON) tools/run.py $@ $(ARGS)
