"""Programs that others wrote, and what they say of manifests."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from support.manifests import LIMIT_SECONDS, ROOT, Document, program, run

VERSIONS = tuple(f"1.{minor}" for minor in range(30, 38))
"""preStop.sleep is on from 1.30; 1.37 is the newest that the validator knows."""
CUSTOM = {"ServiceMonitor", "PrometheusRule", "ServingRuntime", "InferenceService"}
WITHOUT_DIGEST = "CKV_K8S_43"
"""Of checkov: an image by its digest."""
PINNED = f"registry.example/seqserve@sha256:{'0' * 64}"
SCHEMAS = ROOT / "tests" / "deploy" / "schemas" / "check.py"


def validated(path: Path, *versions: str) -> tuple[int, str]:
    """kubernetes-validate's exit status and words, against the schemas of these versions."""
    asked = [word for version in versions for word in ("-k", version)]
    done = run(program("kubernetes-validate"), "--strict", *asked, path)
    return done.returncode, done.stdout + done.stderr


def schema_faults(path: Path) -> tuple[int, str]:
    """Exit status and words of schemas/check.py."""
    done = run(program("python"), SCHEMAS, path)
    return done.returncode, done.stdout + done.stderr


def checkov(target: Path, framework: str) -> Document:
    """Its results: lists passed_checks, failed_checks, skipped_checks and parsing_errors."""
    command: list[str | Path] = [
        program("checkov"),
        "--framework",
        framework,
        "-d" if target.is_dir() else "-f",
        target,
    ]
    # With kubectl on its path it renders overlays by itself; --skip-download: it asks nobody for anything.
    done = subprocess.run(
        [*command, "--output", "json", "--skip-download"],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LOG_LEVEL": "ERROR"},
    )
    report = json.loads(done.stdout)
    assert isinstance(report, dict), f"one framework, one report: {done.stdout[:300]}"
    results: Document = report.get("results", {})
    assert results, f"checkov found nothing to check: {done.stdout[:300]} {done.stderr[:300]}"
    return results


def ids(checks: list[Document]) -> set[str]:
    """Which rules these results are of, with their resources."""
    return {f"{one['check_id']} {one['resource']}" for one in checks}
