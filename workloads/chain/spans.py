"""A service's part of traces: OpenTelemetry's spans, and the ``traceparent`` between two services.

``TRACE`` is the share of the requests without a ``traceparent`` whose spans are kept; where one
comes, it says. Without ``TRACE`` nothing is read and nothing handed on, and the library is not even
loaded. The last spans lie in the file ``SPANS``, times in ns of the host's clock::

    {"spans": [{"trace": "32 hex digits", "span": "16", "parent": "16, or null", "service": "...",
                "kind": "server or client", "start_ns": ..., "end_ns": ...}, ...]}
"""

import json
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TRACE = os.environ.get("TRACE", "")
SERVICE = os.environ.get("NOMAD_TASK_NAME", "service")
LAST = 64  # spans that the file holds
EXPORT_MS = 200

if TRACE:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    def plain(span: ReadableSpan) -> dict:
        """What the file holds of a span."""
        return {
            "trace": f"{span.context.trace_id:032x}",
            "span": f"{span.context.span_id:016x}",
            "parent": None if span.parent is None else f"{span.parent.span_id:016x}",
            "service": SERVICE,
            "kind": span.kind.name.lower(),
            "start_ns": span.start_time,
            "end_ns": span.end_time,
        }

    class LastSpans(SpanExporter):
        """Keeps a file of the last spans, which is whole at every moment."""

        def __init__(self, path: Path) -> None:
            self._path = path
            self._last: deque[dict] = deque(maxlen=LAST)

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            """Write the file anew."""
            self._last.extend(map(plain, spans))
            part = self._path.with_suffix(".part")
            part.write_text(json.dumps({"spans": list(self._last)}))
            part.replace(self._path)
            return SpanExportResult.SUCCESS

    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(float(TRACE))),
        resource=Resource.create({"service.name": SERVICE}),
    )
    provider.add_span_processor(
        BatchSpanProcessor(LastSpans(Path(os.environ["SPANS"])), schedule_delay_millis=EXPORT_MS)
    )
    tracer = provider.get_tracer("socklab")
    propagator = TraceContextTextMapPropagator()


@contextmanager
def serving(headers: Mapping[str, str]) -> Iterator[None]:
    """Time a request that came with ``headers``."""
    if not TRACE:
        yield
        return
    context = propagator.extract(headers)
    with tracer.start_as_current_span(SERVICE, context=context, kind=SpanKind.SERVER):
        yield


@contextmanager
def asking() -> Iterator[dict[str, str]]:
    """Time a request to the next service; gives the headers that it takes along."""
    headers: dict[str, str] = {}
    if not TRACE:
        yield headers
        return
    with tracer.start_as_current_span(SERVICE, kind=SpanKind.CLIENT):
        propagator.inject(headers)
        yield headers
