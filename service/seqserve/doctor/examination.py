"""All checks in their order, and which of them the settings need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from seqserve.cores import available_cores
from seqserve.doctor import (
    addresses,
    archives,
    certificates,
    device,
    disk,
    files,
    front,
    handlers,
    java,
    memory,
    messages,
    packages,
    pid_file,
    ports,
    threads,
    torchserve_folder,
    trust,
    variables,
)
from seqserve.doctor.finding import Finding, fault, not_used, ok
from seqserve.doctor.subject import NO_TORCHSERVE, Subject
from seqserve.errors import SettingsInvalid
from seqserve.open_files import hard_limit
from seqserve.settings import Settings

SETTINGS = "settings"


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at.

    title: for who waits meanwhile. why_unused: why the settings do not need it; "" where they do.
    """

    name: str
    title: str
    look: Callable[[], Iterable[Finding]]
    why_unused: str = ""

    def findings(self) -> list[Finding]:
        """What was found; a look that fails is a finding too, and the others go on. Raises nothing."""
        if self.why_unused:
            return [not_used(self.name, self.why_unused)]
        try:
            return list(self.look())
        except Exception as error:  # noqa: BLE001 - whatever a broken machine does to it
            found = f"it could not be looked at: {type(error).__name__}: {error}"
            return [fault(self.name, found, "Report it with this line: the doctor should know better.")]


def examination(read: Callable[[], Settings]) -> list[Check]:
    """The checks to make, in order. read: gives the settings, or raises SettingsInvalid.

    Where the settings have a fault, only what does not depend on them is looked at.
    """
    try:
        subject = Subject(read())
    except SettingsInvalid as error:
        return [_of_settings(error), *_of_this_python()]
    return [
        _of_settings(None),
        *_of_this_python(),
        Check(packages.PACKAGES, "packages", lambda: packages.check_packages(subject.extras)),
        *_of_the_machine(subject),
        *_of_the_store(subject),
        *_of_torchserve(subject),
        *_of_sizes(subject),
    ]


def _of_settings(error: SettingsInvalid | None) -> Check:
    finding = ok(SETTINGS, "valid")
    if error is not None:
        finding = fault(SETTINGS, str(error), "Correct them; docs/configuration.md lists what is accepted.")
    return Check(SETTINGS, "settings", lambda: [finding])


def _of_this_python() -> list[Check]:
    return [
        Check(variables.CHECK, "environment", variables.check_variables),
        Check(packages.PYTHON, "Python", packages.check_python),
    ]


def _of_the_machine(subject: Subject) -> list[Check]:
    own, runs = subject.settings, subject.runs_torchserve
    listening = ports.listenings(own, with_torchserve=runs)
    return [
        Check(ports.CHECK, "ports", lambda: ports.check_ports(listening)),
        Check(front.CHECK, "the front", lambda: front.check_front(own)),
        Check(files.CHECK, "open files", lambda: files.check_files(own, hard_limit())),
        Check(certificates.CHECK, "TLS", lambda: certificates.check_certificate(own)),
        Check(
            device.CHECK,
            "torch and the device",
            lambda: device.check_device(own.device),
            why_unused="" if subject.is_embedded else "TorchServe chooses for itself",
        ),
    ]


def _of_the_store(subject: Subject) -> list[Check]:
    own = subject.settings
    return [
        Check(trust.CHECK, "trusted keys", lambda: trust.check_trust(own)),
        Check(archives.STORE, "every archive of the store", lambda: archives.check_store(subject.contents)),
        Check(archives.SECTIONS, "models", lambda: archives.check_sections(own, subject.contents)),
        Check(disk.CHECK, "free space", lambda: disk.check_disk(_places(subject))),
    ]


def _places(subject: Subject) -> list[disk.Place]:
    own = subject.settings
    return disk.places(
        own.model_store, own.torchserve_folder, subject.contents.size_bytes,
        with_torchserve=subject.runs_torchserve,
    )  # fmt: skip


def _of_torchserve(subject: Subject) -> list[Check]:
    own, runs = subject.settings, subject.runs_torchserve
    managed = [
        Check(java.CHECK, "Java", java.check_java),
        Check(pid_file.CHECK, "other TorchServes", pid_file.check_pid_file),
        Check(
            torchserve_folder.CHECK,
            "TorchServe's folder",
            lambda: torchserve_folder.check_folder(own.torchserve_folder),
        ),
        Check(handlers.CHECK, "handlers", lambda: handlers.check_handlers(subject.contents)),
    ]
    if not runs:
        managed = [replace(check, why_unused=NO_TORCHSERVE) for check in managed]
    external = Check(
        addresses.CHECK,
        "TorchServe's addresses",
        lambda: addresses.check_servers(addresses.servers_of(own)),
    )
    if not subject.asks_torchserve:
        external = replace(external, why_unused="these settings name none")
    return [*managed, external]


def _of_sizes(subject: Subject) -> list[Check]:
    return [
        Check(messages.CHECK, "messages", lambda: _messages(subject)),
        Check(threads.CHECK, "threads", lambda: _threads(subject)),
        Check(memory.CHECK, "memory", lambda: _memory(subject)),
    ]


def _messages(subject: Subject) -> list[Finding]:
    return messages.check_messages(
        subject.settings, subject.contents.signatures,
        with_torchserve=subject.runs_torchserve or subject.asks_torchserve,
        is_external=subject.asks_torchserve,
    )  # fmt: skip


def _threads(subject: Subject) -> list[Finding]:
    return threads.check_threads(
        subject.settings, available_cores(), workers=subject.workers,
        is_embedded=subject.is_embedded, with_torchserve=subject.runs_torchserve,
    )  # fmt: skip


def _memory(subject: Subject) -> list[Finding]:
    available = memory.available_bytes()
    return memory.check_memory(available, workers=subject.workers, heap_megabytes=subject.heap_megabytes)
