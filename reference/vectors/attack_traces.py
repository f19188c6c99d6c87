"""Steps of the public library's attacks that the attack vectors have no trace of.

python3 attack_traces.py FOLDER     FOLDER: crates/net/tests/vectors

Needs torch, safetensors and adv-lib 0.2.8. First picture, batch of 1, 20 steps, threshold 0.99 unless said, void
pixels masked, no chance; runs named `met` reach their goal. Into trace_more.json: per step the length of the change
that the network was shown, in l2, and the number of wrong pixels. Into trace_more.safetensors: of the change at
steps 1, 2, 5 and 19 every 17th number (3, H, W), since all of them are a megabyte.
"""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path

os.environ["TORCHDYNAMO_DISABLE"] = "1"
sys.modules.setdefault("visdom", types.ModuleType("visdom")).Visdom = object

import torch
from adv_lib.attacks.segmentation import alma_prox, asma, pdpgd
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

torch.set_num_threads(1)
STEPS, INF = 20, float("inf")
SAVED, EVERY = (1, 2, 5, 19), 17
RUNS = {
    "pdpgd_l2": (pdpgd, {"norm": 2}),
    "pdpgd_l2_ratio": (pdpgd, {"norm": 2, "dual_ratio_init": 1e-3}),
    "pdpgd_l2_lr0.01_masked": (
        pdpgd,
        {"norm": 2, "primal_lr": 0.01, "constraint_masking": True, "mask_decay": True, "adv_threshold": 0.5},
    ),
    "pdpgd_l1_ratio": (pdpgd, {"norm": 1, "dual_ratio_init": 1e-3}),
    "pdpgd_l2_met": (pdpgd, {"norm": 2, "dual_ratio_init": 1e-3, "adv_threshold": 0.6}),
    "pdpgd_linf": (pdpgd, {"norm": INF}),
    "asma": (asma, {"τ": 1e-4, "β": 1e-3}),
    "alma_prox": (alma_prox, {}),
    "alma_prox_0.5": (alma_prox, {"adv_threshold": 0.5}),
    "alma_prox_met": (alma_prox, {"adv_threshold": 0.3, "lr_init": 0.05}),
    # comes back: the smallest success is a late one
    "alma_prox_met_late": (alma_prox, {"adv_threshold": 0.42, "lr_init": 0.05, "μ_init": 0.01, "α": 0.5}),
}


class Net(nn.Module):
    """One of the two networks; keeps what it is shown."""

    def __init__(self, path: Path, lipschitz: bool) -> None:
        super().__init__()
        self.weights, self.lipschitz, self.seen = load_file(path), lipschitz, []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        x = x - 0.5
        for at, dilation in enumerate((1, 2, 4, 0)):
            weight, bias = (self.weights[f"convs.{at}.{name}"] for name in ("weight", "bias"))
            x = nn.functional.conv2d(x, weight, bias, padding=dilation, dilation=max(dilation, 1))
            if dilation and self.lipschitz:
                a, b = x.chunk(2, 1)
                x = torch.cat([torch.maximum(a, b), torch.minimum(a, b)], 1)
            elif dilation:
                x = x.relu()
        return x


def main() -> None:
    folder = Path(sys.argv[1])
    data = load_file(folder / "data.safetensors")
    image, labels = data["images"][:1], data["labels"][:1].long()
    masks, traces, changes = labels != 255, {}, {}
    for name in ("lip", "plain"):
        for run, (attack, settings) in RUNS.items():
            net = Net(folder / f"{name}.safetensors", name == "lip")
            steps = {"num_steps": STEPS, "adv_threshold": 0.99} | settings
            returned = attack(net, image, labels, masks=masks, **steps)
            seen = net.seen[:STEPS]
            for step in SAVED:
                change = (seen[step] - image).flatten()[::EVERY]
                changes[f"{name}/{run}/step{step}"] = change.contiguous()
            lengths = [float((x - image).double().norm()) for x in seen]
            wrong = [int(((net(x).argmax(1) != labels) & masks).sum()) for x in seen]
            equal = [at for at, x in enumerate(seen) if torch.equal(x, returned)]
            traces[f"{name}/{run}"] = {
                "settings": {key: str(value) if value == INF else value for key, value in steps.items()},
                "l2_of_perturbation_per_step": lengths,
                "wrong_valid_pixels_per_step": wrong,
                "returned_step": equal[-1] if equal else 0,
                "returned_l2": float((returned - image).double().norm()),
            }
    versions = {"torch": torch.__version__, "adv-lib": "0.2.8 (PyPI)"}
    save_file(changes, folder / "trace_more.safetensors", {"every": str(EVERY)})
    told = json.dumps({"versions": versions, "traces": traces}, indent=1)
    (folder / "trace_more.json").write_text(told + "\n")


if __name__ == "__main__":
    main()
