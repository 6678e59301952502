"""Tells calls that a web page makes from others: whoever visits one must not administrate for it.

A browser on the gateway's machine reaches loopback, and lets any page send a POST there without asking
first. It says so in headers that no page can leave out or change; programs send none of them.
Sources: Fetch (Origin), Fetch Metadata Request Headers (Sec-Fetch-Site).
"""

from __future__ import annotations

from starlette.datastructures import Headers

_OF_THE_USER = frozenset({"none", "same-origin"})


def is_of_web_page(headers: Headers) -> bool:
    """Whether it may be a page's; calls typed into a browser's address line are not."""
    sites = headers.getlist("sec-fetch-site")
    return "origin" in headers or not _OF_THE_USER.issuperset(sites)
