"""Models in applications: a promoted version is picked up by itself, checked before it serves.

::

    from dataops.runtime import load

    with load("/models", "income", trust="/etc/shop/signers.yaml") as model:
        model.predict([{"age": 40, "job": "clerk"}])
"""

from __future__ import annotations

from dataops.registry.trust import UNSIGNED, Trust, read_trust
from dataops.runtime.handle import Handle, load

__all__ = ["UNSIGNED", "Handle", "Trust", "load", "read_trust"]
