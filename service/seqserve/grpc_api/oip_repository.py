"""OIP's model repository extension: what is there, and loading and unloading it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seqserve.errors import InvalidRequest
from seqserve.grpc_api.boundary import Boundary, Call, Handler, Method
from seqserve.grpc_api.oip_server import ServerMethods
from seqserve.oip_answers import REPOSITORY_EXTENSION, repository_index
from seqserve.oip_rules import check_load_parameters
from seqserve.pb import inference_pb2 as pb
from seqserve.repository.table import ModelControl, Repository

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]


@dataclass(frozen=True, slots=True)
class RepositoryMethods:
    """Index, Load and Unload."""

    repository: Repository
    control: ModelControl

    def methods(self) -> Mapping[str, Method]:
        """By their names in the protocol."""
        return {
            "RepositoryIndex": self.repository_index,
            "RepositoryModelLoad": self.repository_model_load,
            "RepositoryModelUnload": self.repository_model_unload,
        }

    async def repository_index(
        self, request: pb.RepositoryIndexRequest, _: Call
    ) -> pb.RepositoryIndexResponse:
        """Every version, or those that are ready. Raises InvalidRequest."""
        _check_repository(request.repository_name)
        entries = repository_index(self.repository, is_ready_only=request.ready)
        return pb.RepositoryIndexResponse(
            models=[pb.RepositoryIndexResponse.ModelIndex(**entry) for entry in entries]
        )

    async def repository_model_load(
        self, request: pb.RepositoryModelLoadRequest, _: Call
    ) -> pb.RepositoryModelLoadResponse:
        """See ModelControl.load. Raises InvalidRequest."""
        _check_repository(request.repository_name)
        check_load_parameters(request.parameters)
        await self.control.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def repository_model_unload(
        self, request: pb.RepositoryModelUnloadRequest, _: Call
    ) -> pb.RepositoryModelUnloadResponse:
        """See ModelControl.unload; parameters are ignored: no model here depends on another."""
        _check_repository(request.repository_name)
        await self.control.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()


@dataclass(frozen=True, slots=True)
class AdminService:
    """The protocol's service on the admin port: the repository, and what clients ask before it."""

    repository: Repository
    control: ModelControl

    def handler(self, boundary: Boundary) -> Handler:
        """What a gRPC server registers."""
        about = ServerMethods(self.repository, [REPOSITORY_EXTENSION])
        models = RepositoryMethods(self.repository, self.control)
        return boundary.handler(SERVICE, {**about.methods(), **models.methods()})


def _check_repository(name: str) -> None:
    if name:
        raise InvalidRequest(
            "REPOSITORY_NAME", field="repository_name", came=name,
            accepted="an empty name; there is one repository",
        )  # fmt: skip
