"""The same with TLS and tokens, and what a job of Prometheus needs to scrape it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from support.access import Tokens, bearer
from support.archives import make_archive
from support.certificates import Authority, replace
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.oip import infer_request, inference_stub
from support.scraped import IMAGE, Target
from support.tls import Caller, ask_http


@dataclass
class GuardedTarget:
    """A gateway with TLS and tokens, and what a job needs to scrape it."""

    target: Target
    folder: Path
    tokens: Tokens
    authority: Authority

    @property
    def job(self) -> dict[str, Any]:
        """As in `scrape_configs`; docs/monitoring.md shows the same."""
        return {
            "job_name": "seqserve-guarded",
            "scheme": "https",
            "authorization": {"type": "Bearer", "credentials_file": str(self.folder / "seqserve.token")},
            "tls_config": {"ca_file": str(self.folder / "ca.crt"), "server_name": "localhost"},
            "static_configs": [{"targets": [self.target.instance]}],
        }

    async def ask(self, token: str) -> None:
        """One call with a token; who is turned away is turned away."""
        call = inference_stub(self.target.channel).ModelInfer
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call(infer_request(IMAGE), metadata=bearer(token))

    async def change_certificates(self) -> None:
        """One change that is loaded, one that is refused."""
        caller = Caller(self.authority.pem)
        self.authority.issue().write(self.folder)
        await ask_http(self.target.gateway, caller)
        replace(self.folder / "tls.crt", b"no certificate")
        await ask_http(self.target.gateway, caller)


@asynccontextmanager
async def guarded_target(folder: Path) -> AsyncIterator[GuardedTarget]:
    """`tiny` 1 for callers with tokens, over TLS."""
    tokens, authority, engine = Tokens(), Authority.made(), FakeEngine()
    key, certificate = authority.issue().write(folder)
    authority.write(folder)
    replace(folder / "seqserve.token", tokens.of_scope["metrics"].encode())
    settings = {
        "tls_key": key,
        "tls_certificate": certificate,
        "clients": tokens.clients(),
        "front": "python",
    }
    async with running_gateway([make_archive(folder)], engine, **settings) as gateway:
        credentials = grpc.ssl_channel_credentials(authority.pem)
        async with grpc.aio.secure_channel(f"127.0.0.1:{gateway.grpc_port}", credentials) as channel:
            yield GuardedTarget(Target(gateway, engine, channel), folder, tokens, authority)
