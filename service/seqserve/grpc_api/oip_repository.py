"""OIP's model repository extension: what is there, and loading and unloading it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from seqserve.errors import InvalidRequest
from seqserve.grpc_api.boundary import Boundary, Call, Handler, Method
from seqserve.grpc_api.oip_server import ServerMethods
from seqserve.oip_rules import INDEX_STATES
from seqserve.pb import inference_pb2 as pb
from seqserve.repository.table import ModelControl, Repository
from seqserve.repository.versions import ModelState, ModelVersion

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
EXTENSION = "model_repository"


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
        versions = self.repository.versions()
        if request.ready:
            versions = [version for version in versions if version.state is ModelState.READY]
        return pb.RepositoryIndexResponse(models=map(_index, versions))

    async def repository_model_load(
        self, request: pb.RepositoryModelLoadRequest, _: Call
    ) -> pb.RepositoryModelLoadResponse:
        """See ModelControl.load. Raises InvalidRequest."""
        _check_repository(request.repository_name)
        _refuse_parameters(request.parameters)
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
        about = ServerMethods(self.repository, [EXTENSION])
        models = RepositoryMethods(self.repository, self.control)
        return boundary.handler(SERVICE, {**about.methods(), **models.methods()})


def _check_repository(name: str) -> None:
    if name:
        raise InvalidRequest(
            "REPOSITORY_NAME", field="repository_name", came=name,
            accepted="an empty name; there is one repository",
        )  # fmt: skip


def _refuse_parameters(names: Collection[str]) -> None:
    if names:
        raise InvalidRequest(
            "PARAMETER_NOT_ACCEPTED", field="parameters", came=", ".join(sorted(names)),
            accepted="no parameters; the store is the only source of models",
        )  # fmt: skip


def _index(version: ModelVersion) -> pb.RepositoryIndexResponse.ModelIndex:
    return pb.RepositoryIndexResponse.ModelIndex(
        name=version.name,
        version=version.version,
        state=INDEX_STATES[version.state],
        reason=version.reason,
    )
