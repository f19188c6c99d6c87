# `make check` is what CI runs; it needs Rust 1.95 with rustfmt and clippy, and nothing else.

.PHONY: check slow sanitize demo demo-model chromium browser figures bench budget peers

check:
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets --locked -- -D warnings
	.ci/tree
	cargo test --release --workspace --locked
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps --locked

# Tests that take minutes.
slow:
	cargo test --release --workspace --locked -- --ignored

# The unsafe code of the convolution kernels under an address sanitiser. The flag needs a nightly compiler or,
# as here, the stable one told to take it.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
sanitize:
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --release --locked -p certiseg-conv --lib \
		--target $(HOST) --target-dir target/sanitize -- --include-ignored

demo:
	cargo run --release --locked -- demo

# Installs what `browser` needs, where it is missing and Debian's package manager is there.
chromium:
	@command -v chromedriver >/dev/null && command -v chromium >/dev/null && command -v python3 >/dev/null || { \
		command -v apt-get >/dev/null || { echo "install Chromium, chromedriver and python3: there is no apt-get here" >&2; exit 2; }; \
		sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		$$sudo apt-get update && $$sudo apt-get install -y --no-install-recommends chromium chromium-driver python3; }

# Built as the tests are, so nothing is built twice.
CARGO_TARGET_DIR ?= target
BUILT = $(CARGO_TARGET_DIR)/release/certiseg

# The page of the demo in a real browser, held against its rows and maps, then against rows and maps with an error
# planted, which must be found; screenshots stay in target/browser.
BROWSER = target/browser/report.html target/browser/demo/rows.jsonl target/browser/demo/maps target/browser
browser: chromium
	cargo build --release --workspace --locked
	$(BUILT) demo --out target/browser/demo
	$(BUILT) report target/browser/demo/rows.jsonl target/browser/demo/attack.jsonl \
		--maps target/browser/demo/maps --out target/browser/report.html
	python3 reference/browser.py $(BROWSER)
	@for error in value budget; do \
		python3 reference/browser.py $(BROWSER) --planted $$error; \
		[ $$? = 1 ] || { echo "a planted $$error must end with 1: the comparison is blind" >&2; exit 1; }; \
	done; echo "both planted errors were found, as they must be"

# Trains the network that travels inside the program; about three minutes on two cores.
demo-model:
	rm -rf target/shapes target/demo-model
	cargo run --release --locked -- data shapes target/shapes --count 1024 --size 64 --seed 0
	cargo run --release --locked -- train experiments/demo.toml --out target/demo-model
	cp target/demo-model/model.safetensors crates/cli/assets/demo.safetensors

# Every figure from the rows under experiments/results into figures/; the README says which rows those are.
ROWS = experiments/results
FIGURE = $(BUILT) figure
figures:
	cargo build --release --workspace --locked
	mkdir -p figures
	$(FIGURE) eps $(ROWS)/kvasir-certify.jsonl "suite of paper 001=$(ROWS)/kvasir-paper001.jsonl" \
		"ours, guided by the bound=$(ROWS)/kvasir-strong.jsonl" --out figures/eps.svg
	$(FIGURE) samples $(ROWS)/kvasir-compare.jsonl --out figures/samples.svg
	$(FIGURE) front "tau 1"=$(ROWS)/shapes-front-001.jsonl "tau 3"=$(ROWS)/shapes-front-003.jsonl \
		"tau 10"=$(ROWS)/shapes-front-010.jsonl "tau 30"=$(ROWS)/shapes-front-030.jsonl \
		"tau 100"=$(ROWS)/shapes-front-100.jsonl --out figures/front.svg
	$(FIGURE) masks --maps $(ROWS)/shapes-maps --eps 0.25,1 --out figures/masks.svg
	$(FIGURE) stable --maps $(ROWS)/shapes-maps --save $(ROWS)/shapes-save --eps 0.05,0.1,0.2 --out figures/stable.svg
	$(FIGURE) radius $(ROWS)/kvasir-smooth.jsonl --out figures/radius.svg
	$(FIGURE) toy $(ROWS)/toy.jsonl --out figures/toy.svg

bench:
	cargo run --release --locked -p certiseg-cert --example speed
	cargo run --release --locked -p certiseg-cert --example smoothing_speed
	cargo run --release --locked -p certiseg-net --example noise
	cargo run --release --locked -p certiseg-net --example clouds
	cargo run --release --locked -p certiseg-conv --example convolutions
	cargo run --release --locked -- bench experiments/speed.toml --size 64,128

# How much of its Lipschitz budget each kind of network keeps, untrained.
budget:
	cargo run --release --locked -p certiseg-net --example budget

# The same work in Python beside ours, and our exported networks run by others; needs numpy, scipy and torch
# in PYTHON, onnxruntime and onnx2torch for the networks, orthogonium and ../shared/models for the speed of
# training and inference (half an hour), adv-lib 0.2.8 for its attacks.
PYTHON ?= python3
peers:
	$(PYTHON) reference/peers/compare.py
	$(PYTHON) reference/peers/smoothing.py
	$(PYTHON) reference/peers/point_networks.py
	cargo run --release --locked -p certiseg-net --example onnx_pairs target/onnx
	$(PYTHON) reference/peers/onnx_check.py target/onnx
	cargo run --release --locked -p certiseg-net --example attack_pairs target/attacks crates/cli/assets/demo.safetensors 64 64
	$(PYTHON) reference/peers/attacks.py target/attacks/demo.onnx
	cargo build --release --locked
	cargo build --release --locked -p certiseg-conv --example convolutions
	$(PYTHON) reference/peers/ratios.py
