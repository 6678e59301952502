"""Writes docs/configuration.md: `python -m seqserve.settings_page > …`, or `make docs`."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from seqserve.client_settings import ClientSettings
from seqserve.config_watch import LIVE
from seqserve.model_settings import ModelSettings
from seqserve.settings import SECTIONS, Settings

_HEAD = """\
# Configuration

Written by `make docs` from `service/seqserve/settings.py`; do not edit.

A flag of `seqserve serve` (`--grpc-port 9001`) beats the environment (`SEQSERVE_GRPC_PORT=9001`), which beats
the file (`--config seqserve.toml`), which beats the default. All faults are reported at once, at the start.
`seqserve config`, which takes the same flags, prints what would hold and where each value comes from, as TOML
with secrets masked.

A small file:

```toml
model_store = "/models"
host = "0.0.0.0"
version_policy = "latest:2"

[models.digit_mlp]
labels = {{ stable = 3, next = 4 }}
weights = {{ stable = 90, next = 10 }}
max_queue_size = 8192
```

The file is followed while the gateway serves: {live}, the clients and the labels, weights and version
policy of the models' sections take effect at once; other changes are named in the log and need a restart. A
file with a fault changes nothing, and one that is still being written is not read: it counts once two looks,
half a second apart, have seen the same.

A port of 0 takes a free one. Seconds may have decimals.
"""

_MODELS = """
## A model's section: `[models.NAME]`

What is not set is as for all models. Over the environment: `SEQSERVE_MODELS`, as JSON.

"""

_CLIENTS = """
## A client's section: `[clients.NAME]`

Who may call, see [access.md](access.md). Without any section nobody needs a token; when the last one goes
while the gateway serves, nobody gets in until there is one again. `seqserve tokens new NAME` makes a token
and prints a section with its SHA-256. Over the environment: `SEQSERVE_CLIENTS`, as JSON.

"""


def page() -> str:
    """The whole page, in Markdown."""
    live = ", ".join(f"`{name}`" for name in sorted(LIVE - SECTIONS))
    settings = {name: field for name, field in Settings.model_fields.items() if name not in SECTIONS}
    parts = [_HEAD.format(live=live), "\n## Settings\n\n", _table(settings)]
    parts += [_MODELS, _table(ModelSettings.model_fields)]
    return "".join([*parts, _CLIENTS, _table(ClientSettings.model_fields)])


def _table(fields: Mapping[str, FieldInfo]) -> str:
    rows = [
        f"| `{name}` | {_kind(field.annotation)} | {_default(field)} | {_description(field)} |"
        for name, field in fields.items()
    ]
    return "\n".join(["| name | kind | default | |", "|---|---|---|---|", *rows]) + "\n"


def _kind(annotation: object) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin in (Union, types.UnionType):
        return _kind(next(argument for argument in arguments if argument is not type(None)))
    if origin is tuple:
        return "list"
    if origin is dict:
        return "table"
    if hasattr(annotation, "__metadata__"):
        return _kind(arguments[0])
    return {int: "integer", float: "number", bool: "true or false", Path: "path"}.get(annotation, "text")  # type: ignore[call-overload, no-any-return]  # a type, whichever


def _description(field: FieldInfo) -> str:
    return (field.description or "").replace("<", "&lt;")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be set"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, tuple):
        return ", ".join(f"`{each}`" for each in default)
    if default is None or default in ("", {}):
        return "none"
    return f"`{str(default).lower()}`" if isinstance(default, bool) else f"`{default}`"


if __name__ == "__main__":
    sys.stdout.write(page())
