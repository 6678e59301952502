"""What the doctor says of the store, of the settings' models in it, its handlers and message limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from seqserve.doctor.archives import check_sections, check_store
from seqserve.doctor.contents import read_contents
from seqserve.doctor.finding import Finding
from seqserve.doctor.handlers import check_handlers
from seqserve.doctor.messages import check_messages
from seqserve.engines.torchserve.config import LARGEST_MESSAGE_BYTES
from seqserve.engines.torchserve.wire import message_bytes
from seqserve.errors import DependencyMissing
from seqserve.settings_reading import read_settings
from seqserve.signature import Signature
from seqserve.trust import UNCHECKED, Trust
from support.archives import make_archive
from support.attesting import Signer, attest, trusting
from support.contract import signature_document

pytestmark = pytest.mark.usefixtures("environment")

TINY = Signature.parse(signature_document("tiny_image"))


def store(folder: Path) -> list[Finding]:
    return check_store(read_contents(folder, UNCHECKED))


def statuses(findings: list[Finding]) -> list[str]:
    return [finding.status for finding in findings]


def distinct(folder: Path, name: str, version: str) -> Path:
    """An archive whose model is like no other's."""
    return make_archive(folder, name, version, replace={f"{name}.pt": f"{name} {version}".encode()})


def test_a_sound_store_is_one_line(tmp_path: Path) -> None:
    for name, version in (("a", "1"), ("a", "2"), ("b", "1")):
        distinct(tmp_path, name, version)

    assert [one.found for one in store(tmp_path)] == [f"{tmp_path}: archives 3, models 2; all hashes agree"]


def test_a_store_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    [finding] = store(tmp_path / "gone")

    assert finding.status == "fault"
    assert f"no model store at {tmp_path / 'gone'}" in finding.found
    assert "--model-store" in finding.advice


def test_a_store_that_may_not_be_read_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    [finding] = store(tmp_path)

    assert finding.status == "fault"
    assert "may not be read" in finding.found


def test_an_empty_store_is_a_warning(tmp_path: Path) -> None:
    assert statuses(store(tmp_path)) == ["warning"]


def test_each_archive_that_is_not_sound_is_a_fault_with_its_reason(tmp_path: Path) -> None:
    distinct(tmp_path, "good", "1")
    changed = distinct(tmp_path, "changed", "1")
    changed.write_bytes(changed.read_bytes()[:-1])
    distinct(tmp_path, "renamed", "1").rename(tmp_path / "renamed-2.mar")
    (tmp_path / "renamed-1.mar.sha256").rename(tmp_path / "renamed-2.mar.sha256")
    findings = store(tmp_path)

    assert statuses(findings) == ["ok", "fault", "fault"]
    assert "changed-1.mar: SHA-256 is" in findings[1].found
    assert "build or copy it again" in findings[1].advice
    assert "so its name is renamed-1.mar" in findings[2].found
    assert str(tmp_path / "renamed-2.mar") in findings[2].advice


def test_two_versions_of_the_same_model_are_a_warning(tmp_path: Path) -> None:
    distinct(tmp_path, "tiny", "1")
    for version in ("2", "10"):
        make_archive(tmp_path, "tiny", version)
    findings = store(tmp_path)

    assert statuses(findings) == ["ok", "warning"]
    assert findings[1].found == "versions 2 and 10 of tiny are the same model"


def test_what_belongs_to_no_archive_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqserve.store.SECONDS_OF_A_PUBLISH", -1.0)
    make_archive(tmp_path, "tiny", "1")
    make_archive(tmp_path, "tiny", "2").unlink()
    findings = store(tmp_path)

    assert statuses(findings) == ["ok", "warning"]
    assert findings[1].advice == f"Remove it: rm {tmp_path / 'tiny-2.mar.sha256'}."


# ---- the settings' sections ----


def sections(folder: Path, models: dict[str, Any]) -> list[Finding]:
    return check_sections(read_settings({"models": models}), read_contents(folder, UNCHECKED))


def test_sections_of_what_is_in_the_store_are_fine(tmp_path: Path) -> None:
    make_archive(tmp_path, "tiny", "3")
    models = {"tiny": {"labels": {"stable": 3}, "weights": {"stable": 1}}}

    assert statuses(sections(tmp_path, models)) == ["ok"]


def test_a_section_of_a_model_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    make_archive(tmp_path, "tiny", "3")
    [finding] = sections(tmp_path, {"tinny": {}})

    assert finding.status == "warning"
    assert finding.found.startswith("[models.tinny] ")


def test_labels_and_weights_of_versions_that_are_not_there_are_warnings(tmp_path: Path) -> None:
    make_archive(tmp_path, "tiny", "3")
    findings = sections(tmp_path, {"tiny": {"labels": {"next": 4, "old": 3}, "weights": {"3": 1, "5": 1}}})

    assert [one.found for one in findings] == [
        "label 'next' of tiny: version 4 is not in the store",
        "weight of 5 of tiny: version 5 is not in the store",
    ]
    assert findings[0].advice == "Put tiny-4.mar into it, or correct [models.tiny]."


# ---- handlers ----


def test_only_handlers_of_attested_archives_are_imported_where_that_is_required(tmp_path: Path) -> None:
    signer = Signer()
    trust = trusting(tmp_path / "trusted", release=signer)
    attest(make_archive(tmp_path, "good", replace={"handler.py": b"good"}), signer)
    make_archive(tmp_path, "stray", replace={"handler.py": b"stray"})
    imported: list[bytes] = []

    def import_one(content: bytes) -> str:
        imported.append(content)
        return ""

    contents = read_contents(tmp_path, trust)
    check_handlers(contents, import_one)
    assert imported == [b"good"]
    [_, finding] = check_store(contents)
    assert finding.status == "fault"
    assert "stray-1.mar: there is no stray-1.mar.sig" in finding.found
    assert "seqserve attest stray-1.mar" in finding.advice


def test_archives_that_are_taken_though_nobody_trusted_attested_them_are_warnings(tmp_path: Path) -> None:
    keys = trusting(tmp_path / "trusted", release=Signer()).keys
    make_archive(tmp_path)
    [_, finding] = check_store(read_contents(tmp_path, Trust("warn", keys)))
    assert finding.status == "warning"
    assert finding.found == "tiny-1.mar: there is no tiny-1.mar.sig beside it"


def test_each_distinct_handler_is_imported_once(tmp_path: Path) -> None:
    for name, handler in (("a", b"one"), ("b", b"two"), ("c", b"one")):
        make_archive(tmp_path, name, replace={"handler.py": handler})
    imported: list[bytes] = []

    def import_one(content: bytes) -> str:
        imported.append(content)
        return ""

    assert [one.found for one in check_handlers(read_contents(tmp_path, UNCHECKED), import_one)] == [
        "imported: 2, of 3 archives"
    ]
    assert imported == [b"one", b"two"]


def test_a_handler_that_cannot_be_imported_is_a_fault_of_all_its_archives(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_archive(tmp_path, name, replace={"handler.py": b"import nowhere"})
    [finding] = check_handlers(read_contents(tmp_path, UNCHECKED), lambda _: "No module named 'nowhere'")

    assert finding.status == "fault"
    assert "of a-1.mar, b-1.mar cannot be imported: No module named 'nowhere'" in finding.found


def test_handlers_are_left_alone_where_there_are_none_or_nothing_to_import_them_with(tmp_path: Path) -> None:
    def import_one(content: bytes) -> str:
        raise DependencyMissing("no TorchServe")

    assert check_handlers(read_contents(tmp_path, UNCHECKED), import_one)[0].found.startswith(
        "not used: the store has"
    )
    make_archive(tmp_path)
    assert check_handlers(read_contents(tmp_path, UNCHECKED), import_one)[0].found.startswith(
        "not used: they can be"
    )


# ---- messages ----


def messages(
    *signatures: Signature, with_torchserve: bool = False, is_external: bool = False, **flags: Any
) -> list[Finding]:
    return check_messages(
        read_settings(flags), signatures or [TINY], with_torchserve=with_torchserve, is_external=is_external
    )


def sized(elements: int, *, max_batch_size: int = 1) -> Signature:
    """A model that takes so many numbers."""
    document = TINY.model_dump()
    document["input"]["shape"] = [-1, elements]
    document["example_shapes"] = [{"shape": [elements], "layout": "flat"}]
    document["max_batch_size"] = max_batch_size
    return Signature.model_validate(document)


def test_limits_that_fit_are_told() -> None:
    [finding] = messages()

    assert (finding.status, finding.found) == ("ok", "up to 16,777,216 bytes, enough for 1024 examples")


def test_a_limit_below_what_the_models_need_is_a_warning() -> None:
    [finding] = messages(max_message_bytes=1000)

    assert finding.status == "warning"
    assert "a message may have 1,000" in finding.found
    assert finding.advice.startswith("Set --max-message-bytes 0")


def test_requests_beyond_what_grpc_takes_are_a_warning() -> None:
    [finding] = messages(sized(10**6))

    assert finding.status == "warning"
    assert "--max-request-examples" in finding.advice


def test_the_largest_batch_of_any_model_is_one_that_torchserve_can_take() -> None:
    for elements, batch in ((1022, 65536), (2**24 - 2, 4)):
        largest = sized(elements, max_batch_size=batch)
        assert 2**27 < message_bytes(largest) < LARGEST_MESSAGE_BYTES
        assert statuses(messages(largest, with_torchserve=True, max_request_examples=4)) == ["ok", "ok"]
        with pytest.raises(ValidationError, match="max_batch_size"):
            sized(elements, max_batch_size=batch + 1)


@pytest.mark.parametrize("is_external", [False, True])
def test_the_largest_batch_to_torchserve_is_told(*, is_external: bool) -> None:
    small, large = sized(100, max_batch_size=8), sized(1000, max_batch_size=4)
    into_gateway, into_torchserve = messages(small, large, with_torchserve=True, is_external=is_external)

    assert (into_gateway.status, into_torchserve.status) == ("ok", "ok")
    needed = f"a batch of 4 examples of tiny_image 1 is {message_bytes(large):,} bytes"
    assert into_torchserve.found == f"the largest to TorchServe: {needed}"
    assert message_bytes(large) >= 16_000


def test_a_batch_beyond_the_default_limit_of_somebody_elses_torchserve_is_a_warning() -> None:
    large = sized(10**5, max_batch_size=17)
    assert statuses(messages(large, with_torchserve=True)) == ["ok", "ok"], "our own gets its limit from us"
    _, finding = messages(large, with_torchserve=True, is_external=True)

    assert finding.status == "warning"
    assert "TorchServe takes 6,553,500 by default" in finding.found
    assert f"max_response_size of those servers to {message_bytes(large)} or more" in finding.advice


def test_a_store_without_models_has_no_largest_batch() -> None:
    found = check_messages(read_settings({}), [], with_torchserve=True, is_external=True)

    assert statuses(found) == ["ok"]


def test_what_to_do_about_a_name_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqserve.store.SECONDS_OF_A_PUBLISH", -1.0)
    (tmp_path / "ev$(id)-1.mar").write_bytes(b"x")
    (tmp_path / ".$(id).partial").touch()
    advice = " ".join(finding.advice for finding in check_store(read_contents(tmp_path, UNCHECKED)))
    assert "sha256sum 'ev$(id)-1.mar' > 'ev$(id)-1.mar.sha256'." in advice
    assert f"rm '{tmp_path}/.$(id).partial'." in advice
