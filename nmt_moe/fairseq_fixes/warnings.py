"""Warnings that are not for a user to act on."""

import logging
import warnings


def silence() -> None:
    """fairseq asks for tensorboardX where tensorboard is enough, and for autocast by its old name
    at every update; torch remarks that oneDNN lacks LSTM projections."""
    logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*torch.cuda.amp.autocast.* is deprecated")
    warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
