"""Times certiseg beside its peers, case by case in turn, and prints medians and ratios.

    cargo build --release && cargo build --release -p certiseg-conv --example speed
    python ratios.py [--rounds 5] [--only WORDS ...] [--json OUT]

Needs what speed.py needs, the two programs above, and ../shared/models beside the repository. Every
round runs each side of a case once, in a process of its own, so that a busy moment meets both;
figures are medians over rounds of the medians within them. Two threads on each side.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OURS = ROOT / "target" / "release"
MODELS = ROOT.parent / "shared" / "models"
SPEED = ROOT / "experiments" / "speed.toml"
TWIN = ["--set", "network.kernels=unconstrained", "--set", "network.centering=batch"]
WEIGHTS = ("weights", "backward of weights")
CONVOLUTIONS = (
    "32->32 at 256",
    "32->32 at 64, b8",
    "64->64 at 32, b8",
    "128->128 at 16, b8",
    "128->128 at 64",
    "128->128 at 64, dilation 4",
    "128->128 at 16, dilation 6, b8",
    "512->512 at 32",
    "32->64 stride 2 at 128, b8",
    "3->32 stride 2 at 128, b8",
    "1x1 256->256 at 128",
    "transposed 2x2 64->32 at 32, b8",
)


def run(command: list[object]) -> str:
    threads = {"RAYON_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [str(word) for word in command], env=os.environ | threads, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def peer(row: str, model: Path) -> dict[str, float]:
    """One row of speed.py."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        run([sys.executable, HERE / "speed.py", "--model", model, "--only", row, "--json", file.name])
        return json.loads(Path(file.name).read_text())["rows"][row]


def bench(size: int, *how: object) -> dict:
    return json.loads(run([OURS / "certiseg", "bench", "--size", size, "--json", *how]))


def weights(report: dict) -> float:
    return sum(s["milliseconds"] for s in report["stages"] if s["stage"] in WEIGHTS)


def convolution(name: str) -> list[float]:
    """GFLOP/s forward, input gradient, weight gradient."""
    lines = run([OURS / "examples" / "speed", name]).splitlines()
    line = next(line for line in lines if line.startswith(name + "  "))
    return [float(word) for word in line[len(name) :].split()[:3]]


def cases(ours: Path, model: Path) -> list[tuple[str, str, bool, object, object]]:
    """Name, unit, whether more is better, the peer's figure, ours."""
    table = []
    for side in (64, 128):
        for name, how in (("LipNet", []), ("twin", TWIN)):
            mine = lambda side=side, how=how: bench(side, SPEED, *how)["milliseconds"]
            theirs = lambda side=side, name=name: peer(f"{name} step {side}", model)["ms"]
            table.append((f"{name} step {side}", "ms", False, theirs, mine))
    row = "parametrisation of LipNet"
    theirs = lambda row=row: peer(row, model)["ms"]
    table.append((row, "ms", False, theirs, lambda: weights(bench(64, SPEED))))
    for side in (256, 512, 1024):
        for name in ("ORT", "torch NHWC"):
            mine = lambda side=side: bench(side, "--model", ours)["milliseconds"]
            theirs = lambda side=side, name=name: peer(f"{name} {side}", model)["ms"]
            table.append((f"{name} {side}", "ms", False, theirs, mine))
    for name, how in (("LipNet step 128", [SPEED]), ("ORT 1024", ["--model", ours])):
        mine = lambda name=name, how=how: bench(int(name.split()[-1]), *how)["peak_megabytes"]
        theirs = lambda name=name: peer(f"memory: {name}", model)["MB"]
        table.append((f"memory: {name}", "MB", False, theirs, mine))
    for name in CONVOLUTIONS:
        for at, what in enumerate(("forward", "dx", "dw")):
            mine = lambda name=name, at=at: convolution(name)[at]
            theirs = lambda name=name, what=what: peer(f"{name}: {what}", model)["GFLOP/s"]
            table.append((f"{name}: {what}", "GFLOP/s", True, theirs, mine))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of kvasir_s_released")
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose name has one of these")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    args = parser.parse_args()
    model, rows = args.models / "kvasir_s_released", {}
    with tempfile.TemporaryDirectory() as folder:
        ours = Path(folder) / "released.safetensors"
        parts = ["--graph", f"{model}.graph.json", "--tensors", f"{model}.safetensors"]
        run([OURS / "certiseg", "model", "import", *parts, "--out", ours])
        print(f"{'':42}{'peer':>10}{'ours':>10}{'times':>8}")
        for name, unit, rate, theirs, mine in cases(ours, model):
            if not any(word in name for word in args.only):
                continue
            pairs = [(theirs(), mine()) for _ in range(args.rounds)]
            them, us = (median(side) for side in zip(*pairs, strict=True))
            ratio = us / them if rate else them / us
            rows[name] = {"unit": unit, "peer": them, "ours": us, "ratio": ratio, "rounds": pairs}
            print(f"{name:42}{them:>10.1f}{us:>10.1f}{ratio:>8.2f}  {unit}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
