"""Our text of the protocol has the standard's names, field numbers and types, as tritonclient has them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

DESCRIBE = """
import importlib, json, sys

def fields(message):
    found = {}
    for field in message.fields:
        kind = field.message_type or field.enum_type
        found[field.name] = [field.number, field.is_repeated, field.type, kind.full_name if kind else ""]
    return found

def walk(messages, into):
    for message in messages:
        into[message.full_name] = fields(message)
        walk(message.nested_types, into)

found = {"messages": {}, "enums": {}, "methods": {}}
for name in sys.argv[1:]:
    file = importlib.import_module(name).DESCRIPTOR
    walk(file.message_types_by_name.values(), found["messages"])
    for enum in file.enum_types_by_name.values():
        found["enums"][enum.full_name] = {value.name: value.number for value in enum.values}
    for service in file.services_by_name.values():
        for method in service.methods:
            kinds = method.input_type.full_name, method.output_type.full_name
            streams = method.client_streaming, method.server_streaming
            found["methods"][method.full_name] = [*kinds, *streams]
print(json.dumps(found))
"""


def described(*modules: str) -> Any:
    """Both claim the package `inference`, so that each needs a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE, *modules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ours() -> Any:
    return described("seqserve.pb.inference_pb2")


@pytest.fixture(scope="module")
def theirs() -> Any:
    return described("tritonclient.grpc.model_config_pb2", "tritonclient.grpc.service_pb2")


def test_every_field_of_ours_is_the_standards(ours: Any, theirs: Any) -> None:
    assert len(ours["messages"]) > 40
    for message, fields in ours["messages"].items():
        for name, field in fields.items():
            assert (message, name, field) == (message, name, theirs["messages"][message].get(name))


@pytest.mark.parametrize("kind", ["enums", "methods"])
def test_every_method_and_enum_of_ours_is_the_standards(ours: Any, theirs: Any, kind: str) -> None:
    assert ours[kind]
    assert ours[kind] == {name: theirs[kind][name] for name in ours[kind]}
