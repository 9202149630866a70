"""What transformers offers is of any type: reading its 500 families takes pyright a minute."""

from typing import Any

def __getattr__(name: str) -> Any: ...
