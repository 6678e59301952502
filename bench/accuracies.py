"""How well the zoo's models do: `python -m bench.accuracies --data-dir MNIST`, about 40 minutes on one core.

Builds every model with three seeds on each data set that it knows, and asks the models of the embedded digits
for MNIST's test images as well, which they have never seen. Prints Markdown, a row for each model.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from seqserve_models.build import BuildResult, build
from seqserve_models.dataset import DataOptions, to_values
from seqserve_models.datasets import load_mnist
from seqserve_models.definition import ModelDefinition
from seqserve_models.evaluate import evaluate, infer
from seqserve_models.export import load
from seqserve_models.plan import BuildSettings
from seqserve_models.zoo import MODELS

SEEDS = (0, 1, 2)
PARTS = ("test", "train")


@dataclass(frozen=True)
class Row:
    """One model and what was measured of it for each seed."""

    model: str
    data: str
    figures: Sequence[float]
    seconds: Sequence[float]

    def __str__(self) -> str:
        shown = " | ".join(f"{figure:.2%}" for figure in (*self.figures, np.mean(self.figures)))
        times = f"{min(self.seconds):.0f} to {max(self.seconds):.0f}" if self.seconds else ""
        return f"| `{self.model}` | {self.data} | {shown} | {times} |"


@dataclass(frozen=True)
class Mnist:
    """Where its files lie, and the part that models of the embedded digits are asked for."""

    folder: Path
    part: str

    def accuracy(self, definition: ModelDefinition, archive: Path) -> float:
        """Share of right answers of an archived model."""
        mnist = load_mnist(DataOptions(data_dir=self.folder))
        images = getattr(mnist, f"{self.part}_inputs")
        targets = getattr(mnist, f"{self.part}_targets")
        with zipfile.ZipFile(archive) as members:
            module = load(members.read(f"{definition.name}.pt"))
        inputs = to_values(images).reshape(-1, *definition.input_shape)
        wanted = targets % 2 if len(definition.labels) == 2 else targets  # noqa: PLR2004 - odd or even
        return evaluate(infer(module, inputs, batch_size=256), wanted).metrics["accuracy"]


def rows(
    definition: ModelDefinition, dataset: str, mnist: Mnist, tell: Callable[[str], None]
) -> Iterator[Row]:
    """Builds of one model on one data set, with three seeds."""
    results: list[BuildResult] = []
    beyond: list[float] = []
    with tempfile.TemporaryDirectory(prefix="seqserve-accuracies-") as store:
        folder = mnist.folder if dataset == "mnist" else None
        for seed in SEEDS:
            settings = BuildSettings(output=Path(store), dataset=dataset, data_dir=folder, seed=seed)
            results.append(build([definition.name], settings)[-1])
            tell(f"{definition.name} on {dataset}, seed {seed}: {results[-1].evaluation.headline}")
            if dataset == "digits":
                beyond.append(mnist.accuracy(definition, results[-1].path))
    accuracies = [result.evaluation.metrics["accuracy"] for result in results]
    yield Row(definition.name, dataset, accuracies, [result.seconds for result in results])
    if beyond:
        yield Row(definition.name, f"digits, asked for MNIST's {mnist.part} images", beyond, ())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="Folder of MNIST's IDX files.")
    parser.add_argument("--dataset", nargs="*", default=["digits", "mnist"], help="[default: both]")
    parser.add_argument("--model", nargs="*", default=[name for name in MODELS if name != "line"])
    parser.add_argument(
        "--part",
        choices=PARTS,
        default="train",
        help="Of MNIST, for models of the digits; the test images are for the end.",
    )
    asked = parser.parse_args()
    console = Console(stderr=True)
    print("| Model | Data | Seed 0 | Seed 1 | Seed 2 | Mean | Seconds |\n| --- | --- |" + " --- |" * 5)
    for dataset in asked.dataset:
        for name in asked.model:
            for row in rows(MODELS[name], dataset, Mnist(asked.data_dir, asked.part), console.print):
                print(row, flush=True)


if __name__ == "__main__":
    main()
