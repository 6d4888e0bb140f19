"""The server's process: its socket, and how it begins and ends."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from nmt_moe.common.errors import UserError
from nmt_moe.serve.address import listen, shown
from nmt_moe.serve.app import application
from nmt_moe.serve.asking import Service
from nmt_moe.serve.connections import Connection, raise_limit
from nmt_moe.serve.languages import warnings
from nmt_moe.serve.log import Errors, say
from nmt_moe.serve.metrics import Metrics
from nmt_moe.serve.names import names_of
from nmt_moe.serve.process import Between, Model
from nmt_moe.serve.settings import Settings
from nmt_moe.trained import folder


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, then end after the running requests.

    Raises:
        UserError: a model is not there, the port is taken, or nobody may listen there.
        SystemExit: a user's mistake keeps all models shut; it was said of each.
    """
    models = _models(settings)
    listening = listen(settings)
    logging.getLogger().addHandler(Errors())
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # not of what is no HTTP
    raise_limit()
    if not asyncio.run(_serve(settings, models, listening)):
        sys.exit(1)


def _models(settings: Settings) -> list[tuple[str, str, list[Between]]]:
    """The name, the path and the directions of each model, as far as its folder says them.

    Raises:
        UserError: there is none.
    """
    found: list[list[Between]] = []
    for given in settings.models:
        path = Path(given)
        first, between = Path(given.split(":")[0]), []
        if path.is_dir():
            if not (path / folder.ABOUT).is_file():
                _no_model_folder(path)
            between = folder.read(path).directions
        elif not first.is_file():
            raise UserError(f"there is no model {given}: give a model's folder, or a checkpoint")
        found.append(between)
    return [*zip(names_of(settings.models), settings.models, found, strict=True)]


def _no_model_folder(path: Path) -> None:
    best = next(path.glob("**/checkpoint_best.pt"), None)
    if best is not None:
        raise UserError(f"{path} is no model's folder: name a checkpoint in it, such as {best}")
    raise UserError(f"{path} is no model's folder: it has neither {folder.ABOUT} nor checkpoints")


async def _serve(
    settings: Settings, models: list[tuple[str, str, list[Between]]], listening: socket.socket
) -> bool:
    """Returns whether some model could be served."""
    metrics = Metrics()
    made = [Model(*one, settings, metrics) for one in models]
    service = Service(settings, made, metrics)
    config = uvicorn.Config(
        application(service),
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=settings.timeout,
        h11_max_incomplete_event_size=2**14,
    )
    print(*shown(listening), sep="\n", flush=True)
    server = _Server(config, service)
    watching = [
        asyncio.create_task(watch) for watch in (_end_without_models(server, made), _warn(made))
    ]
    await server.serve(sockets=[listening])
    for task in watching:
        task.cancel()
    service.close()
    return not all(model.given_up.is_set() for model in made)


async def _warn(models: list[Model]) -> None:
    """Say which models stand behind others, as soon as it is known."""
    for model in models:
        await model.known()
    for line in warnings(models):
        say(line)


async def _end_without_models(server: uvicorn.Server, models: list[Model]) -> None:
    for model in models:
        await model.given_up.wait()
    server.should_exit = True


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM is a way to end, no failure; the second one ends at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        if self.should_exit:
            self.force_exit = True
            return
        self.should_exit = True
        if self._service.running:
            say("ends after the running requests")
