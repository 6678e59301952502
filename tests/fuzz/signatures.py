"""The contract's signatures, as the gateway has them and as the archive's handler has them."""

from __future__ import annotations

import json
from typing import Any

from seqserve.signature import Signature
from support.contract import FOLDER

DOCUMENTS: dict[str, dict[str, Any]] = json.loads((FOLDER / "signatures.json").read_bytes())
NAMES = sorted(DOCUMENTS)
SIGNATURES = {name: Signature.parse(json.dumps(document).encode()) for name, document in DOCUMENTS.items()}
OF_IMAGES = [name for name in NAMES if SIGNATURES[name].image_size is not None]
