"""`seqserve predict`: photos in, labels out."""

from __future__ import annotations

from pathlib import Path

import click

from seqserve.cli.connection import Target, connected, connecting
from seqserve.cli.faults import Refused
from seqserve.cli.photo import Picture, prepare
from seqserve.client import Client, Model
from seqserve.printable import printable


@click.command("predict")
@click.argument(
    "images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--model", default="digit_mlp", show_default=True)
@click.option("--top-k", type=click.IntRange(1, 1000), default=1, show_default=True, help="Labels to name.")
@connecting
def command(images: tuple[Path, ...], model: str, top_k: int, target: Target) -> None:
    """Ask a running gateway what is in each of IMAGES (PNG, JPEG).

    A picture that is not of the model's size is made to look like the training data first: light
    ground inverted, cropped to the ink, resized and centred; what was done is printed. A model that
    resizes gets every file as it is.

    \b
    Examples:
      seqserve predict seven.png
      seqserve predict photo.jpg --top-k 3 --address gateway:8001 --tls --token-file token
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    with connected(target) as client:
        found = _find(client, model, target.address)
        prepared = [_prepared(path, found) for path in images]
        reply = client.predict([picture.file for picture in prepared], model=model, top_k=top_k)
    for path, picture, answer in zip(images, prepared, reply.answers, strict=True):
        if picture.steps:
            click.echo(printable(f"{path}: {', '.join(picture.steps)}"))
        labels = ", ".join(f"{label} ({probability:.1%})" for label, probability in answer.top)
        click.echo(printable(f"{path}: {labels}"))


def _find(client: Client, name: str, address: str) -> Model:
    """The model, of its ready versions the highest."""
    found: list[Model] = [model for model in client.models() if model.name == name and model.state == "ready"]
    if not found:
        raise Refused(f"{address}: no ready model {name!r} (see `seqserve models`)")
    return found[-1]


def _prepared(path: Path, model: Model) -> Picture:
    """A file that the model takes."""
    if model.resize:
        return Picture(path.read_bytes(), ())
    height, width = _size(model)
    return prepare(path, height, width, is_inverted_later=model.invert)


def _size(model: Model) -> tuple[int, int]:
    """Height and width of the images that the model takes, by its [H,W] shape."""
    for shape in model.example_shapes:
        sizes = [int(size) for size in shape.split(",") if size]
        if len(sizes) == 2:  # noqa: PLR2004 - height and width
            return sizes[0], sizes[1]
    raise Refused(f"model {model.name!r} takes no images")
