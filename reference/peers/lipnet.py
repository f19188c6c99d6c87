"""The network of a `.graph.json` (a list of layers) in torch: a peer for timing, never shipped.

Needs torch, onnx and orthogonium. To be trained: orthogonium's AOC layers or plain convolutions,
centring after MaxMin. Given the weights of the `.onnx`, which hold the coefficients: biases there.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import onnx
import torch
from orthogonium.layers import BatchCentering2D, MaxMin
from orthogonium.layers.conv.AOC import AdaptiveOrthoConv2d, AdaptiveOrthoConvTranspose2d
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

PLAIN = {"conv2d": nn.Conv2d, "conv_transpose2d": nn.ConvTranspose2d}
AOC = {"conv2d": AdaptiveOrthoConv2d, "conv_transpose2d": AdaptiveOrthoConvTranspose2d}


class Times(nn.Module):
    """The coefficient, on the weight: there it costs nothing."""

    def __init__(self, coeff: float) -> None:
        super().__init__()
        self.coeff = coeff

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.coeff


def convolution(spec: dict, kind: type[nn.Module], weights: dict[str, Tensor] | None) -> nn.Module:
    outside, inside, kernel, _ = spec["weight_shape"]
    if spec["op"] == "conv_transpose2d":
        outside, inside = inside, outside
    how = {key: spec[key] for key in ("stride", "padding", "dilation")}
    how["padding_mode"] = "circular" if spec["padding_mode"] == "circular" else "zeros"
    layer = kind(inside, outside, kernel, bias=bool(spec["bias"]), **how)
    coeff = spec["coeff"] * spec["branch_coeff"]
    if weights:
        layer.load_state_dict({key: weights[spec[key]] for key in ("weight", "bias") if spec[key]})
    elif coeff != 1.0:
        # a strided AOC weight is composed of two factors and has no parametrisation of its own
        factor = "weight_2" if hasattr(layer, "weight_2") else "weight"
        register_parametrization(layer, factor, Times(coeff))
    return layer


class Network(nn.Module):
    """The layers in order; a value is dropped after its last reader."""

    def __init__(self, model: Path, kinds: dict, weights: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        graph = json.loads(Path(f"{model}.graph.json").read_text())
        last = {x: spec["name"] for spec in graph["layers"] for x in spec["inputs"]}
        self.wiring, self.source, self.sink = [], graph["input"]["name"], graph["output"]
        for spec in graph["layers"]:
            match spec["op"]:
                case "affine_input":
                    part = partial(torch.add, torch.tensor(spec["shift"]), alpha=spec["scale"])
                case "channel_bias" if weights:
                    part = partial(torch.add, weights[spec["bias"]].reshape(1, -1, 1, 1))
                case "channel_bias":
                    part = BatchCentering2D(spec["channels"])
                case "concat":
                    part = lambda *branches: torch.cat(branches, 1)  # noqa: E731
                case "maxmin_split":
                    part = MaxMin()
                case op:
                    part = convolution(spec, kinds[op], weights)
            name, inputs = spec["name"], spec["inputs"]
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            self.wiring.append((name, part, inputs, [x for x in inputs if last[x] == name]))

    def forward(self, image: Tensor) -> Tensor:
        values = {self.source: image}
        for name, part, inputs, read_last in self.wiring:
            values[name] = part(*(values[x] for x in inputs))
            for x in read_last:
                del values[x]
        return values[self.sink]

    def layers(self) -> list[nn.Module]:
        return [x for x in self.children() if isinstance(x, nn.Conv2d | nn.ConvTranspose2d)]


def stored(model: Path) -> dict[str, Tensor]:
    tensors = onnx.load(f"{model}.onnx").graph.initializer
    return {x.name: torch.from_numpy(onnx.numpy_helper.to_array(x).copy()) for x in tensors}
