"""Times certiseg beside its peers, case by case in turn, and prints medians and ratios.

    cargo build --release && cargo build --release -p certiseg-conv --example convolutions
    python ratios.py [--rounds 5] [--only WORDS ...] [--json OUT]

Needs what speed.py needs, the two programs above, and ../shared/models beside the repository. Every
round runs each side of a case once, in a process of its own, so that a busy moment meets both;
figures are medians over rounds of the medians within them. Two threads on each side; `times` is how
much better ours is. Spinning threads of the peers lose most on a busy machine: the load before
each case goes into the JSON, and one that means other work is told. Memory is that of whole
processes, and again without what the peer holds once set up, beside our whole process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OURS = ROOT / "target" / "release"
MODELS = ROOT.parent / "shared" / "models"
SPEED = ROOT / "experiments" / "speed.toml"
TWIN = ["--set", "network.kernels=unconstrained", "--set", "network.centering=batch"]
BUSY = 2.5  # runnable threads: two of a case, half a processor of others
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


def peer(words: str | list[str], unit: str, model: Path) -> dict[str, float]:
    """The rows of speed.py whose name has one of these words, from one process."""
    words = [words] if isinstance(words, str) else words
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, HERE / "speed.py", "--model", model, "--json", file.name]
        run([*command, "--only", *words])
        rows = json.loads(Path(file.name).read_text())["rows"]
    return {name: row[unit] for name, row in rows.items() if unit in row}


def bench(size: int, *how: object) -> dict:
    return json.loads(run([OURS / "certiseg", "bench", "--size", size, "--json", *how]))


def step(name: str, size: int, how: list[object]) -> dict[str, float]:
    report = bench(size, SPEED, *how)
    ours = {name: report["milliseconds"]}
    if name == "LipNet step 64":
        stages = {stage["stage"]: stage["milliseconds"] for stage in report["stages"]}
        ours["parametrisation of LipNet"] = sum(stages[stage] for stage in WEIGHTS)
    return ours


def convolution(name: str) -> dict[str, float]:
    lines = run([OURS / "examples" / "convolutions", name]).splitlines()
    line = next(line for line in lines if line.startswith(name + "  "))
    rates = [float(word) for word in line[len(name) :].split()[:3]]
    return dict(zip((f"{name}: {what}" for what in ("forward", "dx", "dw")), rates, strict=True))


def cases(ours: Path, model: Path) -> list[tuple[str, str, object, object]]:
    """Name, unit, the peer's figures, ours; both by row."""
    table = []
    for size in (64, 128):
        for name, how in ((f"LipNet step {size}", []), (f"twin step {size}", TWIN)):
            theirs = partial(peer, name, "ms", model)
            table.append((name, "ms", theirs, partial(step, name, size, how)))
    name = "parametrisation of LipNet"
    mine = partial(step, "LipNet step 64", 64, [])
    table.append((name, "ms", partial(peer, name, "ms", model), mine))
    for size in (256, 512, 1024):
        names = [f"ORT {size}", f"torch NCHW {size}", f"torch NHWC {size}"]
        mine = lambda size=size, names=names: dict.fromkeys(
            names, bench(size, "--model", ours)["milliseconds"]
        )
        table.append((f"inference {size}", "ms", partial(peer, names, "ms", model), mine))
    for row, size, how in (
        ("LipNet step 128", 128, [SPEED]),
        ("ORT 1024", 1024, ["--model", ours]),
    ):
        for unit in ("MB", "MB above set-up"):
            mine = lambda row=row, size=size, how=how: {
                f"memory: {row}": bench(size, *how)["peak_megabytes"]
            }
            name = f"memory: {row}"
            table.append((name, unit, partial(peer, name, unit, model), mine))
    for name in CONVOLUTIONS:
        theirs = partial(peer, f"{name}: ", "GFLOP/s", model)
        table.append((name, "GFLOP/s", theirs, partial(convolution, name)))
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
        chosen = [case for case in cases(ours, model) if any(word in case[0] for word in args.only)]
        if not chosen:
            sys.exit(f"no case has one of {args.only} in its name")
        for _, unit, theirs, mine in chosen:
            load = os.getloadavg()[0]
            rounds = [(theirs(), mine()) for _ in range(args.rounds)]
            for row in sorted(rounds[0][0].keys() & rounds[0][1].keys()):
                them, us = (median(side[row] for side in sides) for sides in zip(*rounds))
                ratio = us / them if unit == "GFLOP/s" else them / us
                pairs = [[theirs[row], ours[row]] for theirs, ours in rounds]
                rows[f"{row}, {unit}"] = {
                    "peer": them, "ours": us, "ratio": ratio, "load": load, "rounds": pairs
                }
                # what the case before has left in the average of the last minute is no other work
                note = "" if load < BUSY else f"  load {load:.1f} before"
                print(f"{row:42}{them:>10.1f}{us:>10.1f}{ratio:>8.2f}  {unit}{note}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
