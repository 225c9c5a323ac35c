"""A workspace whose data, storage, registry and anchors lie in a bucket."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.storage.s3_server import S3Server


def to_s3(folder: Path, s3: S3Server, bucket: str) -> None:
    """The data of the workspace, and all that it will make, lie in the bucket."""
    (folder / "dataops.yaml").write_text(
        "".join(f"{what}: s3://{bucket}/{what}\n" for what in ("storage", "registry", "anchors"))
    )
    for name in ("people_old", "people_new"):
        for path in (folder / "data" / name).iterdir():
            s3.put_raw(f"{bucket}/data/{name}/{path.name}", path.read_bytes())
        entry = folder / "catalog" / f"{name}.yaml"
        entry.write_text(entry.read_text().replace(f"url: data/{name}", f"url: s3://{bucket}/data/{name}"))
    shutil.rmtree(folder / "data")
