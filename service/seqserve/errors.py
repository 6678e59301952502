"""Everything that can go wrong, as one tree; it knows no transport.

SeqserveError
├── InvalidRequest          the caller sent something the signature does not accept
│   └── UnsupportedMedia    a body in an encoding that HTTP callers may not use
├── Unauthenticated         no token, or one that nobody here has given out
├── PermissionDenied        known, but not for this; or a web page that tries to administrate
├── MessageTooLarge         a message above the limit; no retry will help
├── LoadInProgress          somebody is loading that model already
├── NotFound
│   ├── ModelNotFound       no model of that name in the repository
│   └── VersionNotFound     the model is there, that version is not
├── Unavailable             worth a retry
│   ├── ModelNotReady       loading, or its golden check failed
│   ├── EngineUnavailable   what runs the model is away
│   ├── ResourceShortage    the gateway itself has no files or threads left
│   └── ShuttingDown        the gateway is draining
├── Overloaded              the queue is full, or too long for the caller's deadline
│   └── ClientOverLimit     this client's own share is used up
├── DeadlineExceeded        the caller's time ran out
├── EngineContractError     the engine answered nonsense (count, shape, non-finite, sum)
└── StartFault              the gateway or a command cannot do its work
    ├── ArchiveInvalid      an archive differs from what it claims
    │   └── ArchiveUntrusted  nobody whose key is trusted has attested it
    ├── StoreMissing        there is no model store at that path
    ├── AddressInUse        somebody else listens there
    ├── SettingsInvalid     a setting is wrong
    └── DependencyMissing   an extra or a program is not installed

`status.py` gives each its gRPC and HTTP code.
"""

from __future__ import annotations

from typing import ClassVar

CAME_CHARACTERS = 64


def quote_came(came: object) -> str:
    """What a caller sent, safe for messages and logs: escaped, at most 64 characters."""
    text = str(came)[: CAME_CHARACTERS + 1].encode("unicode_escape").decode("ascii")
    return text if len(text) <= CAME_CHARACTERS else f"{text[: CAME_CHARACTERS - 3]}..."


class SeqserveError(Exception):
    """Root of the tree; `reason` is stable and goes to clients as ErrorInfo.reason."""

    reason: ClassVar[str] = "INTERNAL"


class InvalidRequest(SeqserveError):
    """A request that the signature does not accept.

    field: which part of the request, in the protocol's own words (`image`, `model_version`).
    came: what was sent; it is truncated to 64 characters and escaped.
    accepted: what would have been accepted, as words for a person.
    detail: a stable reason, one for each check (`SHAPE_NOT_ACCEPTED`).
    """

    reason: ClassVar[str] = "INVALID_REQUEST"

    def __init__(self, detail: str, *, field: str, came: object, accepted: str) -> None:
        self.detail = detail
        self.field = quote_came(field)
        self.came = quote_came(came)
        self.accepted = accepted
        super().__init__(f"{self.field}: {self.came}; accepted: {accepted}")


class UnsupportedMedia(InvalidRequest):
    """An HTTP body in a content type or encoding that is not taken."""

    reason: ClassVar[str] = "UNSUPPORTED_MEDIA"


class Unauthenticated(SeqserveError):
    """No token came with the call, or one that is not known here; the text never quotes it.

    is_token_given: a token came.
    """

    reason: ClassVar[str] = "UNAUTHENTICATED"

    def __init__(self, message: str, *, is_token_given: bool = False) -> None:
        self.is_token_given = is_token_given
        super().__init__(message)


class PermissionDenied(SeqserveError):
    """The caller is known, and what it asks for is not for it.

    missing_scope: what it would need, or "" where no scope would help.
    """

    reason: ClassVar[str] = "PERMISSION_DENIED"

    def __init__(self, message: str, *, missing_scope: str = "") -> None:
        self.missing_scope = missing_scope
        super().__init__(message)


class MessageTooLarge(SeqserveError):
    """More bytes than a message may have.

    what: the message itself, or the reply that it would have had.
    """

    reason: ClassVar[str] = "MESSAGE_TOO_LARGE"

    def __init__(self, limit_bytes: int, *, what: str = "message") -> None:
        super().__init__(f"the {what} has more than {limit_bytes} bytes, the limit of this gateway")


class LoadInProgress(SeqserveError):
    """A model is being loaded or unloaded, so it cannot be told to do either."""

    reason: ClassVar[str] = "LOAD_IN_PROGRESS"


class NotFound(SeqserveError):
    """Something that the caller named is not here."""

    reason: ClassVar[str] = "NOT_FOUND"


class ModelNotFound(NotFound):
    """No model of that name in the repository."""

    reason: ClassVar[str] = "MODEL_NOT_FOUND"

    def __init__(self, model: str) -> None:
        super().__init__(f"model {quote_came(model)!r} is not in the repository")


class VersionNotFound(NotFound):
    """The model is in the repository, that version of it is not."""

    reason: ClassVar[str] = "VERSION_NOT_FOUND"

    def __init__(self, model: str, version: str, *, available: str) -> None:
        super().__init__(
            f"model {quote_came(model)!r} has no version {quote_came(version)!r}; available: {available}"
        )


class Unavailable(SeqserveError):
    """Not now; a retry after `retry_after_seconds` may succeed."""

    reason: ClassVar[str] = "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class ModelNotReady(Unavailable):
    """The version is known and cannot serve: it loads, or its golden check failed."""

    reason: ClassVar[str] = "MODEL_NOT_READY"


class EngineUnavailable(Unavailable):
    """What runs the model is away."""

    reason: ClassVar[str] = "ENGINE_UNAVAILABLE"


class ResourceShortage(Unavailable):
    """The gateway itself has no files or threads left for it."""

    reason: ClassVar[str] = "RESOURCE_SHORTAGE"


class ShuttingDown(Unavailable):
    """The gateway drains and takes no new requests."""

    reason: ClassVar[str] = "SHUTTING_DOWN"


class Overloaded(SeqserveError):
    """The queue has no room, or would take longer than the caller can wait."""

    reason: ClassVar[str] = "OVERLOADED"

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class ClientOverLimit(Overloaded):
    """One client's own limit, while there may be room for others."""

    reason: ClassVar[str] = "CLIENT_OVER_LIMIT"


class DeadlineExceeded(SeqserveError):
    """The caller's time ran out before an answer was there."""

    reason: ClassVar[str] = "DEADLINE_EXCEEDED"


class EngineContractError(SeqserveError):
    """The engine answered nonsense; the text is for the log, never for a client."""

    reason: ClassVar[str] = "ENGINE_CONTRACT"


class StartFault(SeqserveError):
    """A command cannot do its work; `hint` says what to do about it."""

    reason: ClassVar[str] = "START_FAULT"

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


class ArchiveInvalid(StartFault):
    """An archive differs from what it claims to be."""

    reason: ClassVar[str] = "ARCHIVE_INVALID"


class ArchiveUntrusted(ArchiveInvalid):
    """No attestation by a trusted key fits the archive's bytes, name and version."""

    reason: ClassVar[str] = "ARCHIVE_UNTRUSTED"


class StoreMissing(StartFault):
    """There is no model store at that path."""

    reason: ClassVar[str] = "STORE_MISSING"


class AddressInUse(StartFault):
    """Somebody else listens on that address."""

    reason: ClassVar[str] = "ADDRESS_IN_USE"


class SettingsInvalid(StartFault):
    """A setting has a value that cannot be used."""

    reason: ClassVar[str] = "SETTINGS_INVALID"


class DependencyMissing(StartFault):
    """An extra of the package, or a program, is not installed."""

    reason: ClassVar[str] = "DEPENDENCY_MISSING"
