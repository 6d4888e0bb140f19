"""What the server counts, in the form of Prometheus."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_PARTS = (1, 2, 4, 8, 16, 32, 64)
_PIECES = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        disable_created_metrics()
        kinds: list[Any] = [Counter, Gauge, Histogram]
        counter, gauge, histogram = (partial(kind, registry=self.registry) for kind in kinds)
        model = ("model",)
        self._requests = counter(
            "nmt_moe_requests", "Requests, by path and status.", ("path", "status")
        )
        self._seconds = histogram(
            "nmt_moe_request_seconds",
            "Seconds from a request to the end of its answer.",
            ("path",),
            buckets=_SECONDS,
        )
        self.running = gauge(
            "nmt_moe_requests_running", "Requests that wait for a model or are translated."
        )
        self.waiting = gauge("nmt_moe_queue", "Sentences that wait for a model.", model)
        self.ready = gauge("nmt_moe_ready", "Whether a model is ready.", model)
        self._failures = counter(
            "nmt_moe_failures", "How often the process of a model has ended.", model
        )
        self._sentences = histogram(
            "nmt_moe_batch_sentences", "Sentences of a batch.", model, buckets=_PARTS
        )
        self._wordpieces = histogram(
            "nmt_moe_batch_wordpieces", "Wordpieces of a batch's source.", model, buckets=_PIECES
        )
        self._experts = counter(
            "nmt_moe_expert_tokens",
            "Tokens that an expert has seen.",
            ("model", "layer", "expert"),
        )

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count an answer; ``path`` is one of the server's own."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def failed(self, model: str) -> None:
        """Count that the process of a model has ended."""
        self._failures.labels(model).inc()

    def batch(self, model: str, sentences: int, wordpieces: int) -> None:
        """Count a batch."""
        self._sentences.labels(model).observe(sentences)
        self._wordpieces.labels(model).observe(wordpieces)

    def experts(self, model: str, load: Mapping[str, Sequence[int]]) -> None:
        """Count the tokens of experts, by layer."""
        for layer, counts in load.items():
            for expert, count in enumerate(counts):
                if count:
                    self._experts.labels(model, layer, str(expert)).inc(count)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self.registry)
