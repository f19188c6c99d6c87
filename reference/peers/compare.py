"""Certificates in Rust beside the same work in Python, in one run: prints a Markdown table.

`make peers` runs it; it needs cargo, numpy and torch. Both sides certify the same picture, and the
counts they find must agree.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ["cargo", "run", "--release", "-q", "-p", "certiseg-cert", "--example", "speed", "--", "--json"]
PEER = [sys.executable, str(Path(__file__).with_name("certificates.py")), "--threads", "1", "--floor"]
ROWS = {
    "curve": "accuracy, whole curve, 5 eps",
    "q1": "accuracy at one eps",
    "iou": "IoU of one class, whole curve, 5 eps",
    "all_ious": "IoU of 19 classes, whole curves, 5 eps",
}


def run(command: list[str]) -> dict:
    print("$", *command[1:], file=sys.stderr)
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def main() -> None:
    # before and after the peer, so that a machine that slows down shows
    before = run(OURS)
    peer = run([*PEER, "--json"])
    after = run(OURS)
    for key in ("flips", "iou"):
        ours, theirs = before["results"][key], peer["results"][key]
        if ours != theirs:
            sys.exit(f"the two sides disagree on {key}: {ours} and {theirs}")
    names = [name for name, times in peer.items() if isinstance(times, dict) and "curve" in times]
    print("| 1024x1024x19 f32, one thread, medians | ours, ms |", end="")
    print("".join(f" {name}, ms (ratio) |" for name in names))
    print("|---|---|" + "---|" * len(names))
    for key, what in ROWS.items():
        slower = max(before["ms"][key], after["ms"][key])
        times = [peer[name][key] for name in names]
        cells = "".join(f" {ms:.1f} ({ms / slower:.1f}) |" for ms in times)
        print(f"| {what} | {slower:.1f} |{cells}")
    for key in ("floor", "margins", "miou"):
        print(f"| {key} | {max(before['ms'][key], after['ms'][key]):.1f} |" + " |" * len(names))
    print(f"\n{peer['versions']}; ours the slower of two medians, one before and one after")


if __name__ == "__main__":
    main()
