"""The files below ``policies/``: those that are read, and that no other one is passed over in silence.

1. Policies are ``policies/*.yaml``, their tests ``policies/tests/*.yaml``. ``README.md`` and hidden files may lie there
   too.
2. Any other file is refused: somebody took it for a policy, and a restriction that nobody reads binds nobody. So is a
   file that holds nothing, and a link to a folder: what lies behind it would not be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dataops.declarations.loader import Document, read_yaml
from dataops.errors import InvalidInput

POLICIES = "policies"
POLICY_TESTS = "policies/tests"

_SUFFIX = ".yaml"
_LET_BE = "README.md"
_LINK = "a link to a folder, which isn't followed: put the policies themselves into policies/"
_OTHER = (
    f"nobody reads it: a policy is named {POLICIES}/NAME{_SUFFIX} (tests {POLICY_TESTS}/NAME{_SUFFIX}); rename it, or "
    f"move it out of {POLICIES}/"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A file below ``policies/`` that nobody reads, by its path in the workspace, and what to do about it."""

    name: str
    reason: str

    @property
    def is_test(self) -> bool:
        """Whether it lies with the tests, so that no policy is missing."""
        return self.name.startswith(f"{POLICY_TESTS}/")


def policy_files(root: Path, folder: str = POLICIES) -> tuple[Path, ...]:
    """The YAML files right in `folder` of the workspace at `root`, by name."""
    return tuple(path for path in sorted((root / folder).glob(f"*{_SUFFIX}")) if not path.name.startswith("."))


def stray_files(root: Path) -> tuple[Stray, ...]:
    """What lies below ``policies/`` of the workspace at `root` and isn't read, by name.

    Raises
    ------
    InvalidInput : ``policies`` is no folder.
    """
    folder = root / POLICIES
    if not folder.is_dir() and (folder.exists() or folder.is_symlink()):
        what = "a symbolic link to nothing" if folder.is_symlink() and not folder.exists() else "not a folder"
        raise InvalidInput(f"{folder} is {what}: expected the folder that holds the policies")
    return tuple(sorted(_strays(root, folder), key=lambda stray: stray.name))


def read_policy_file(path: Path, *, what: str = "policy") -> list[Document]:
    """The documents in a policy or policy-test file, one at least.

    Raises
    ------
    InvalidInput : it holds none; besides what `read_yaml` raises.
    """
    documents = read_yaml(path)
    if not documents:
        raise InvalidInput(f"{path}: holds no {what}: write one, or remove the file")
    return documents


def _strays(root: Path, folder: Path) -> Iterator[Stray]:
    read = {*policy_files(root), *policy_files(root, POLICY_TESTS)}
    for above, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(above, name).is_symlink()]
        for name in (*files, *links):
            path = Path(above, name)
            if path not in read and not name.startswith(".") and (name != _LET_BE or name in links):
                yield Stray(name=path.relative_to(root).as_posix(), reason=_LINK if name in links else _OTHER)
