"""Pictures of what diagnostics found, by their class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from callbacks.report.html import Markup

#: title and picture of each diagnostic's section; a picture may be None where the diagnostic has nothing to show
SPECTRA: dict[str, tuple[str, Callable[[Any], Markup | None]]] = {}
