"""Checkpoints: numbers and plain values in a file that runs nothing when it is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from seqserve_models.checkpoint import Checkpoint, load_weights, read_checkpoint, weights_sha256
from seqserve_models.errors import CheckpointUnusable

SETTINGS = {
    "name": "m",
    "version": "1",
    "dataset": "d",
    "epochs": 2,
    "seed": 3,
    "libraries": {"torch": "2"},
    "start_weights": None,
}


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "h1.weight": torch.randn(3, 4, generator=generator),
        "h1.bias": torch.randn(3, generator=generator),
    }


def written(folder: Path, checkpoint: Checkpoint) -> Path:
    path = folder / "m-1.checkpoint.pt"
    path.write_bytes(checkpoint.document())
    return path


@pytest.mark.parametrize("training", [None, {"history": [{"loss": 0.5}], "order": torch.arange(3)}])
def test_what_was_written_is_read(tmp_path: Path, training: dict[str, object] | None) -> None:
    read = read_checkpoint(written(tmp_path, Checkpoint(weights(), SETTINGS, training)))
    assert read.settings == SETTINGS
    assert read.is_finished == (training is None)
    assert {name: tensor.tolist() for name, tensor in read.state_dict.items()} == {
        name: tensor.tolist() for name, tensor in weights().items()
    }


def test_equal_checkpoints_have_equal_bytes_that_torch_reads_without_running_code(tmp_path: Path) -> None:
    first, second = (Checkpoint(weights(), SETTINGS).document() for _ in range(2))
    assert first == second
    assert first != Checkpoint(weights(1), SETTINGS).document()
    content = torch.load(written(tmp_path, Checkpoint(weights(), SETTINGS)), weights_only=True)
    assert list(content["state_dict"]) == ["h1.weight", "h1.bias"]


def test_bytes_follow_values_and_not_how_memory_holds_them(tmp_path: Path) -> None:
    text = str(b"cpu", "ascii")
    settings = {"device": text, "first": text, "second": text}
    kept = Checkpoint({"w": torch.zeros(2, 3)}, settings)
    elsewhere = Checkpoint(
        {"w": torch.zeros(3, 400)[:, :2].t()}, {**settings, "second": str(b"cpu", "ascii")}
    )
    assert kept.document() == elsewhere.document()
    assert read_checkpoint(written(tmp_path, kept)).document() == kept.document()


FORMAT_1 = {"format": 1, "settings": {}, "state_dict": {}, "training": None}


@pytest.mark.parametrize(
    "content",
    [
        {name: part for name, part in FORMAT_1.items() if name != "training"},
        FORMAT_1 | {"format": 2},
        FORMAT_1 | {"format": torch.ones(2)},
        FORMAT_1 | {"settings": None},
        FORMAT_1 | {"state_dict": {"h1.weight": 3}},
        [1, 2],
    ],
)
def test_another_document_is_no_checkpoint(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(CheckpointUnusable, match=r"c\.pt holds no checkpoint of this format") as caught:
        read_checkpoint(tmp_path / "c.pt")
    assert "seqserve package" in caught.value.hint


@pytest.mark.parametrize(
    "content", [b"]", b"t.", b"I9\n.", b"PK\x05\x06" + bytes(18), bytes(300), b"\x80\x02."]
)
def test_whatever_else_is_in_a_file_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(CheckpointUnusable, match=r"c\.pt (is no|holds no) checkpoint"):
        read_checkpoint(tmp_path / "c.pt")


class Fires:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save(FORMAT_1 | {"settings": {"seed": Fires(tmp_path / "fired")}}, tmp_path / "c.pt")
    with pytest.raises(CheckpointUnusable, match="is no checkpoint"):
        read_checkpoint(tmp_path / "c.pt")
    assert not (tmp_path / "fired").exists()


def test_half_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, Checkpoint(weights(), SETTINGS))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointUnusable, match="is no checkpoint"):
        read_checkpoint(path)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("text", "empty", "module", "state_dict")}
    files["text"].write_text("not a checkpoint")
    files["empty"].touch()
    torch.save(nn.Linear(1, 1), files["module"])
    torch.save(weights(), files["state_dict"])
    for path in [*files.values(), tmp_path / "gone", tmp_path]:
        with pytest.raises(CheckpointUnusable, match=str(path)):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("state_dict", "says"),
    [
        ({"weight": torch.zeros(2, 3)}, "x lacks 'bias'"),
        (
            {"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "more": torch.zeros(1)},
            "x has 'more', which the module lacks",
        ),
        (
            {"weight": torch.zeros(2, 4), "bias": torch.zeros(2)},
            r"x: 'weight' has shape \[2, 4\], the module's has \[2, 3\]",
        ),
    ],
)
def test_weights_of_other_layers_are_refused_and_the_first_is_named(
    state_dict: dict[str, torch.Tensor], says: str
) -> None:
    with pytest.raises(CheckpointUnusable, match=says):
        load_weights(nn.Linear(3, 2), state_dict, "x")


def test_the_first_difference_is_the_first_of_the_modules_own_names() -> None:
    with pytest.raises(CheckpointUnusable, match="x lacks 'weight'") as caught:
        load_weights(nn.Linear(3, 2), {f"{name}.weight": torch.zeros(1) for name in "abcdefgh"}, "x")
    assert caught.value.hint == (
        "there: a.weight, b.weight, c.weight, d.weight, e.weight, f.weight and 2 more"
    )


def test_weights_that_fit_are_loaded_and_a_lazy_layer_takes_their_shape() -> None:
    state_dict = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    for module in (nn.Linear(3, 2), nn.LazyLinear(2)):
        load_weights(module, state_dict, "x")
        assert module(torch.ones(1, 3)).tolist() == [[3, 3]]


@pytest.mark.parametrize(
    "tensor",
    [nn.Parameter(torch.ones(2)), torch.ones(2, dtype=torch.bfloat16), torch.tensor(3), torch.zeros(0)],
)
def test_every_kind_of_weight_has_a_hash(tensor: torch.Tensor) -> None:
    assert len({weights_sha256({"w": one}) for one in (tensor, tensor.double(), tensor[..., None])}) == 3


def test_the_hash_of_weights_follows_names_shapes_and_numbers() -> None:
    same = weights_sha256(weights())
    assert weights_sha256(dict(reversed(weights().items()))) == same
    others = [
        {**weights(), "h1.bias": weights()["h1.bias"] + 1e-6},
        {"h2.weight": weights()["h1.weight"], "h1.bias": weights()["h1.bias"]},
        {**weights(), "h1.weight": weights()["h1.weight"].reshape(4, 3)},
    ]
    assert len({same, *map(weights_sha256, others)}) == 4


@pytest.mark.parametrize("change", [{"name": None}, {"seed": "3"}, {"epochs": 2.0}, {"version": 1}])
def test_an_unfinished_training_must_say_what_it_is(tmp_path: Path, change: dict[str, object]) -> None:
    path = written(tmp_path, Checkpoint(weights(), SETTINGS | change, {"history": []}))
    with pytest.raises(CheckpointUnusable, match="holds no checkpoint of this format"):
        read_checkpoint(path)
