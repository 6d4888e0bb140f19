"""A mistake to find: who does not follow the code would have to guess six bytes at once."""


def planted(data: bytes) -> None:
    """Fails for what begins with ``<segs>``."""
    for place, wanted in enumerate(b"<segs>"):
        if place >= len(data) or data[place] != wanted:
            return
    raise ValueError("found")
