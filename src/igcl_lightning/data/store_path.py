"""What names a prepared store: a folder with a manifest, or a URL; without the imports that reading one takes."""

from __future__ import annotations

from pathlib import Path

from igcl_lightning.errors import IgclError, suggestion

MANIFEST = "manifest.json"


def is_address(path: str | Path) -> bool:
    """Return whether a store is named by a URL, such as s3://bucket/store, instead of a folder."""
    return "://" in str(path)


def read_manifest(path: Path) -> bytes:
    """Return the content of a store's manifest; `IgclError` if the folder has none."""
    try:
        return (path / MANIFEST).read_bytes()
    except FileNotFoundError:
        if not path.exists():
            near = suggestion(path.name, [each.parent.name for each in path.parent.glob(f"*/{MANIFEST}")])
            raise IgclError(f"{path}: no such store{near}; `igcl prepare` makes one") from None
        raise IgclError(f"{path}: not a store (no {MANIFEST}); make one of it with `igcl prepare`") from None
