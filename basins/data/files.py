"""Official files of published datasets: downloaded, and verified before anything reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

from torchvision.datasets import CIFAR10, MNIST
from torchvision.datasets.utils import check_integrity

from basins.errors import UserError


def download(kind: type[CIFAR10] | type[MNIST], title: str, root: Path) -> None:
    """Let torchvision download its dataset `kind` into `root`; raises `UserError` if it cannot."""
    try:
        kind(str(root), download=True)
    except (URLError, RuntimeError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"{title}: could not be downloaded ({line}); see `files`") from None


def verify(title: str, folder: Path, official: Mapping[str, str], remedy: str) -> None:
    """Check that each official file, of a name and an md5, is in the folder and undamaged.

    Raises `UserError` naming those that are not; `remedy` says what to put where, and is followed
    by the names of the folder of real data.
    """
    missing = [name for name in official if not (folder / name).is_file()]
    damaged = [
        name
        for name, md5 in official.items()
        if name not in missing and not check_integrity(str(folder / name), md5)
    ]
    found = [f"missing {', '.join(missing)}"] * bool(missing)
    found += [f"damaged {', '.join(damaged)}"] * bool(damaged)
    if found:
        raise UserError(
            f"{title} in {folder}: {'; '.join(found)}. {remedy} `data_root` (params.yaml) or the "
            "folder that BASINS_DATA names"
        )
