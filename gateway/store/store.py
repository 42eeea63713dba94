"""The store of one process: a recorder and a reader on engines that are made when it is opened."""

from __future__ import annotations

from types import TracebackType

from sqlalchemy import Engine

from gateway.clock import Clock, SystemClock
from gateway.errors import StoreUnavailable
from gateway.store.engine import open_engine, open_read_engine
from gateway.store.reader import Reader
from gateway.store.recorder import Recorder


class Store:
    """Opens nothing until ``open``, which must come after the fork. ``migrate`` comes before, on its own."""

    def __init__(
        self, url: str, *, max_queue: int = 2000, max_batch: int = 256, clock: Clock | None = None
    ) -> None:
        self._url = url
        self._max_queue = max_queue
        self._max_batch = max_batch
        self._clock = clock or SystemClock()
        self._engines: tuple[Engine, ...] = ()
        self._recorder: Recorder | None = None
        self._reader: Reader | None = None

    @property
    def recorder(self) -> Recorder:
        """Raises StoreUnavailable before ``open`` and after ``close``."""
        if self._recorder is None:
            raise StoreUnavailable("the store is not open")
        return self._recorder

    @property
    def reader(self) -> Reader:
        """Raises StoreUnavailable before ``open`` and after ``close``."""
        if self._reader is None:
            raise StoreUnavailable("the store is not open")
        return self._reader

    def open(self) -> None:
        """Make engines and start the recorder's thread. Raises ConfigurationError for a bad URL."""
        writing, reading = open_engine(self._url), open_read_engine(self._url)
        self._engines = (writing, reading)
        self._recorder = Recorder(
            writing, max_queue=self._max_queue, max_batch=self._max_batch, clock=self._clock
        )
        self._reader = Reader(reading)
        self._recorder.start()

    def close(self) -> None:
        """Write what is queued, then close every connection. Blocks until that is done."""
        recorder, self._recorder = self._recorder, None
        reader, self._reader = self._reader, None
        if recorder is not None:
            recorder.close()
        if reader is not None:
            reader.close()
        for engine in self._engines:
            engine.dispose()
        self._engines = ()

    def __enter__(self) -> Store:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
