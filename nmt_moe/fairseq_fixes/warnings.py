"""Warnings and remarks that are not for a user to act on."""

import logging
import warnings

_OF_HYDRA = (
    r"hydra\.experimental\.\w+\(\) is no longer experimental",
    r"\s*The version_base parameter is not specified",
    r".*Usage of deprecated keyword in package header",
    r"\s*'.*' is validated against ConfigStore schema with the same name",
    r"\s*The strict flag in the compose API is deprecated",
    r"\s*Future Hydra versions will no longer change working directory",
)
"""It tells fairseq's authors of names that they still use."""


def silence() -> None:
    """fairseq asks for tensorboardX where tensorboard is enough, and for autocast by its old name
    at every update, and for batches in pinned memory without a GPU; torch remarks that oneDNN lacks
    LSTM projections."""
    logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)
    logging.getLogger("hydra").setLevel(logging.INFO)
    for message in (
        *_OF_HYDRA,
        ".*torch.cuda.amp.autocast.* is deprecated",
        "'pin_memory' argument is set as true but no accelerator is found",
        "LSTM with projections is not supported with oneDNN",
    ):
        warnings.filterwarnings("ignore", message=message)
