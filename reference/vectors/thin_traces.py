"""Thins recorded steps and logits of the attack vectors: all of them are a megabyte.

python3 thin_traces.py SOURCE FOLDER     FOLDER: crates/net/tests/vectors

SOURCE holds trace.safetensors (changes x_t - x of the first picture at steps 1, 2, 5 and 19, (3, H, W) f32) and
data.safetensors (among others logits of both networks, (8, K, H, W) f32), made in torch 2.15.0 on the CPU with adv-lib
0.2.8 and alma_prox_segmentation at 1ce75cb; pictures are generated, seed 4242. FOLDER gets thinned.safetensors: of
each change and of the logits every 17th number of the flattened tensor, from the first on, with the SHA-256 of the
files in its header.
"""

from __future__ import annotations

import hashlib
import json
import sys
from array import array
from pathlib import Path

EVERY = 17


def read(content: bytes) -> dict[str, array]:
    """The tensors of f32 of a safetensors file, flattened."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        if entry["dtype"] == "F32":
            tensors[name] = array("f", content[start + first : start + last])
    return tensors


def write(path: Path, tensors: dict[str, array], about: dict[str, str]) -> None:
    header: dict[str, object] = {"__metadata__": about}
    end = 0
    for name, numbers in tensors.items():
        first, end = end, end + 4 * len(numbers)
        header[name] = {"dtype": "F32", "shape": [len(numbers)], "data_offsets": [first, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(numbers.tobytes() for numbers in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def main() -> None:
    source, folder = map(Path, sys.argv[1:])
    about, thinned = {"every": str(EVERY)}, {}
    for name in ("trace.safetensors", "data.safetensors"):
        content = (source / name).read_bytes()
        about[f"sha256 of {name}"] = hashlib.sha256(content).hexdigest()
        thinned |= {key: numbers[::EVERY] for key, numbers in read(content).items() if key != "images"}
    write(folder / "thinned.safetensors", dict(sorted(thinned.items())), about)


if __name__ == "__main__":
    assert sys.byteorder == "little", "numbers are written as they lie in memory"
    main()
