# make demo        trains a ResNet without labels on real images, then with ten labels a class: a few minutes on any machine
# make test        every kernel against its specification, with the run-time checks on and off
# make check       format, lints, documentation: with `test` and `validate-shaders`, what continuous integration runs
# make benchmark   how fast this GPU is: a table on the terminal, under a minute
# make bench       every kernel in criterion, with its statistics
# make peers       the same work in burn on the same adapter, side by side; builds burn: ten minutes
# make report      checks and measures kernels, ops and the training step of this adapter, into the tables of the READMEs
# make results     three seeds of the demo, into the README
# make compare     every method with one budget on the demo's images, three seeds, into the README: half an hour on two cores
# make figures     the theory, drawn and checked, into examples/figures.md: ten minutes on two cores
# make isa         what a GPU's compiler makes of each kernel, without the GPU; an error where a training step's kernel spills registers
# make swiftshader the op tests on a second, independent Vulkan driver
# make validation  the op tests and a training step under the Khronos validation layer
# make test-classes  the suite as every class of adapter that can be had without a GPU, into tests/README.md: hours on two cores
# make validate-shaders  every kernel's SPIR-V through spirv-val, and its HLSL through dxc where that is installed: seconds
# make check-systems  compiles for Windows and macOS, without linking: minutes
#
# `needs` looks for a linker and a Vulkan driver, and installs them with apt where it can.

CARGO ?= cargo
export CARGO

# Mesa's device selection complains where this is unset, as it is in containers.
XDG_RUNTIME_DIR ?= /tmp
export XDG_RUNTIME_DIR

.PHONY: demo test check benchmark bench peers report results compare figures isa swiftshader validation test-classes validate-shaders check-systems needs

demo: needs
	$(CARGO) run --release --example demo

test: needs
	WGRAD_CHECKS=1 $(CARGO) test --release
	WGRAD_CHECKS=0 $(CARGO) test --release --tests

check: needs
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --features bench,isa -- -D warnings
	$(CARGO) clippy --lib --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps
	@if command -v cargo-deny >/dev/null; then cargo deny check; else echo "cargo-deny is not installed: skipped"; fi

benchmark: needs
	$(CARGO) run --release --example report -- --quick

bench: needs
	$(CARGO) bench --features bench

peers: needs
	$(CARGO) run --release --manifest-path benches/peers/Cargo.toml -- --out benches/results

report: needs
	$(CARGO) run --release --example report

results: needs
	rm -rf runs/results
	for seed in 0 1 2; do $(CARGO) run --release --example demo -- --seed $$seed --out runs/results/$$seed || exit 1; done
	$(CARGO) run --release --example demo_table -- runs/results/0 runs/results/1 runs/results/2

compare: needs
	$(CARGO) run --release --example compare -- --seeds 3 --out runs/compare --readme README.md

figures: needs
	$(CARGO) run --release --example figures

# The tests that want its features, then RADV, which .ci/radv fetches where the system's own is another version.
isa: needs
	$(CARGO) test --release --features isa --test isa
	$(CARGO) run --release --features isa --example isa -- --all

# Debian and Ubuntu ship SwiftShader inside `chromium`.
SWIFTSHADER ?= /usr/lib/chromium/vk_swiftshader_icd.json
swiftshader: needs
	@test -e $(SWIFTSHADER) || { echo "No $(SWIFTSHADER): apt-get install chromium, or set SWIFTSHADER."; exit 1; }
	VK_DRIVER_FILES=$(SWIFTSHADER) VK_ICD_FILENAMES=$(SWIFTSHADER) $(CARGO) test --release --test ops

test-classes: needs
	.ci/classes

validation: needs
	.ci/validation

validate-shaders: needs
	.ci/validate-shaders

check-systems:
	.ci/check-systems

needs:
	@.ci/needs
