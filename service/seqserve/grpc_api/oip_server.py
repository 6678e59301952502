"""OIP's questions about the server itself: the same on every port that speaks the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seqserve import __version__
from seqserve.grpc_api.boundary import Call, Method
from seqserve.oip_answers import SERVER
from seqserve.pb import inference_pb2 as pb
from seqserve.repository.table import Repository


@dataclass(frozen=True, slots=True)
class ServerMethods:
    """Whether the server lives and is ready, and what it is.

    extensions: of the protocol, those that are served in full beside these methods.
    """

    repository: Repository
    extensions: Sequence[str]

    def methods(self) -> Mapping[str, Method]:
        """By their names in the protocol."""
        return {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ServerMetadata": self.server_metadata,
        }

    async def server_live(self, _: pb.ServerLiveRequest, __: Call) -> pb.ServerLiveResponse:
        """The process answers, so it lives."""
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, _: pb.ServerReadyRequest, __: Call) -> pb.ServerReadyResponse:
        """See Repository.are_all_ready."""
        return pb.ServerReadyResponse(ready=self.repository.are_all_ready())

    async def server_metadata(self, _: pb.ServerMetadataRequest, __: Call) -> pb.ServerMetadataResponse:
        """Name, version, extensions."""
        return pb.ServerMetadataResponse(name=SERVER, version=__version__, extensions=self.extensions)
