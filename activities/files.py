"""Files that outlive a power cut."""

import os
from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Write a file anew, so that whoever reads it finds all of the old one or all of the new."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # or the old one could come back
    finally:
        os.close(folder)
