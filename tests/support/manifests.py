"""What deploy/ says, as kubectl renders it, and how programs are found and run.

Where a program is missing the test is skipped, and the reason says which; it fails where SEQSERVE_TESTS_REQUIRE has
`deploy`.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from support.required import skip_or_fail

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROGRAMS = ROOT / ".venv-deploy" / "bin"
OVERLAYS = ("cpu", "gpu", "torchserve")
RENDERED = (*(f"kubernetes/overlays/{name}" for name in OVERLAYS), "kserve")
COMPONENTS = (
    "# components:\n#   - ../../components/demo-models\n#   - ../../components/tracing\n"
    "#   - ../../components/alerts\n"
)
LIMIT_SECONDS = 600
PACKAGES = {
    "kubectl": "a release of Kubernetes has it, as one file",
    "promtool": "Debian's package prometheus has it",
}
"""Programs that no requirements file installs → where they are."""

Document = dict[str, Any]


def program(name: str) -> Path:
    """A checker of deploy/requirements.txt."""
    path = PROGRAMS / name
    if not path.exists():
        skip_or_fail("deploy", f"no {path.relative_to(ROOT)}: make deploy-test installs it")
    return path


def needs(name: str) -> None:
    """Skip where a program of PACKAGES is not there."""
    if shutil.which(name) is None:
        skip_or_fail("deploy", f"no {name} on the path: {PACKAGES[name]}")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Both outputs and the exit status of a program."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)


def kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    """`kubectl kustomize`, which needs no cluster."""
    needs("kubectl")
    return run("kubectl", "kustomize", folder)


def documents(text: str) -> list[Document]:
    """The resources of a YAML stream."""
    return [one for one in yaml.safe_load_all(text) if one]


@cache
def _rendered(folder: Path) -> str:
    done = kustomize(folder)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # warnings of what is deprecated
    return done.stdout


def rendered(name: str) -> list[Document]:
    """The resources of a folder under deploy/, a fresh copy for each caller."""
    return documents(_rendered(DEPLOY / name))


def with_components(folder: Path) -> Path:
    """A copy of deploy/ whose overlays have their components switched on, as a user does."""
    copied = folder / "deploy"
    shutil.copytree(DEPLOY, copied)
    for path in copied.glob("kubernetes/overlays/*/kustomization.yaml"):
        text = path.read_text()
        assert COMPONENTS in text, path
        path.write_text(text.replace(COMPONENTS, COMPONENTS.replace("# ", "").replace("#", "")))
    return copied


def written(documents: list[Document], folder: Path) -> Path:
    """A file with these resources."""
    path = folder / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return path


def only(documents: list[Document], kind: str, name: str = "seqserve") -> Document:
    """The one resource of that kind and name."""
    [found] = [one for one in of_kind(documents, kind) if one["metadata"]["name"] == name]
    return found


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    """All resources of a kind."""
    return [one for one in documents if one["kind"] == kind]


def pod_of(document: Document) -> Document:
    """The pod's spec of a Deployment, a Job or a ServingRuntime."""
    spec: Document = document["spec"]
    return spec["template"]["spec"] if "template" in spec else spec


def containers_of(document: Document) -> list[Document]:
    """All containers of its pods, those that run beside the first as well."""
    pod = pod_of(document)
    return [*pod.get("initContainers", []), *pod["containers"]]
