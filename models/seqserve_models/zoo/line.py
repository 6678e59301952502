"""A straight line: one weight, one bias, and an output that is a value and no probability."""

from __future__ import annotations

from torch import nn

from seqserve_models.datasets import load_line
from seqserve_models.definition import ExampleShape, ModelDefinition, Recipe


def line() -> nn.Sequential:
    """One x to y = weight·x + bias."""
    return nn.Sequential(nn.Linear(1, 1))  # [n, 1] -> [n, 1]


LINE = ModelDefinition(
    name="line",
    task="regression",
    build=line,
    input_name="x",
    input_shape=(1,),
    output_name="y",
    output_shape=(1,),
    example_shapes=(ExampleShape((), "flat"), ExampleShape((1,), "flat")),
    recipes={"line": Recipe(load=load_line, epochs=60, batch_size=16, learning_rate=5e-2)},
)
