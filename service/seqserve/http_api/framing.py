"""Where one HTTP request ends and the next begins, with no room for two opinions."""

from __future__ import annotations

from typing import Any

import h11

_TWO_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})


class StrictConnection(h11.Connection):
    """h11's, but for a head that gives its body two lengths.

    h11 goes by the chunks and reads on; a proxy before it that goes by the other length would take for a
    body what is answered here as a second request (RFC 9112, section 6.1).
    """

    def next_event(self) -> Any:
        """See h11.Connection. Raises h11.RemoteProtocolError, and then the connection is of no use."""
        event = super().next_event()
        if isinstance(event, h11.Request) and _TWO_LENGTHS.issubset(name for name, _ in event.headers):
            raise h11.RemoteProtocolError("a body of two lengths")
        return event
