"""``nmt-moe serve``."""

from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import option, positional, switch
from nmt_moe.cli.translate import OnDevice
from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import integers
from nmt_moe.trained.search import BEAM, RANGES


@dataclass(kw_only=True)
class Serve(OnDevice):
    """Serve models on a page to translate on, and to programs that speak LibreTranslate's protocol.

    Only this machine reaches the address, unless --host names another one, which needs
    --token-file. SIGTERM or Ctrl-C ends the server after the running requests.
    """

    models: list[str] = positional("a model's folder, or a checkpoint", "MODEL", nargs="+")
    host: str = option("127.0.0.1", "address to listen at", metavar="ADDRESS")
    port: int = option(5000, "port to listen at; 0 takes a free one", integers(0, 65535))
    token_file: Path | None = option(
        None, "file of tokens, one in each line, of which each request must bring one"
    )
    allow_origin: list[str] | None = option(
        None,
        "origin of pages elsewhere whose scripts may ask, such as https://example.org; may be "
        "given several times",
        metavar="ORIGIN",
        action="append",
    )
    int8: bool = switch("open the models with weights in int8, for translating faster on CPUs")
    shortlist: Path | None = option(
        None, "file of 'nmt-moe model shortlist', for a single model: makes the search faster"
    )
    beam: int = option(BEAM, "beam size", RANGES["beam"])
    threads: int | None = option(
        None, "threads of each process (default: its share of the cores, but one)", integers(1)
    )
    processes: int | None = option(
        None,
        "processes of each model, each with weights of its own (default: on a CPU one for each "
        "core, or of OMP_NUM_THREADS, at most 4, for a small model; else 1)",
        integers(1),
    )
    queue: int = option(256, "requests that may wait; others are told to come later", integers(1))
    max_length: int = option(5000, "characters of a text", integers(1))
    max_file: int = option(10, "MiB of a file", integers(1, 1000))
    timeout: int = option(
        120, "seconds until a text is translated, and a server that ends is gone", integers(1)
    )
    log: bool = switch("write a line for each request to stderr, without its text")
    log_text: bool = switch("write the texts and their translations to stderr, too")

    def run(self) -> None:
        try:
            import prometheus_client  # noqa: F401
            import python_multipart  # noqa: F401
            import starlette  # noqa: F401
            import uvicorn  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"nmt-moe serve needs {error.name}: install it with pip install 'nmt-moe[serve]'"
            ) from None
        from nmt_moe.serve.server import serve
        from nmt_moe.serve.settings import Settings, origins_of, read_tokens

        if self.shortlist is not None and len(self.models) > 1:
            raise UserError("--shortlist is for a single model: serve the others by themselves")
        serve(
            Settings(
                models=tuple(self.models),
                device=self.device,
                int8=self.int8,
                shortlist=self.shortlist,
                threads=self.threads,
                processes=self.processes,
                beam=self.beam,
                host=self.host,
                port=self.port,
                tokens=read_tokens(self.token_file) if self.token_file else frozenset(),
                origins=origins_of(self.allow_origin or []),
                queue=self.queue,
                max_length=self.max_length,
                max_file=self.max_file,
                timeout=self.timeout,
                log=self.log,
                log_text=self.log_text,
            )
        )
