"""Work on several seeds side by side, through joblib: processes of this machine, or a Ray or Dask cluster.

Ray and Dask are extras, imported when asked for. A cluster that is already there is used (`RAY_ADDRESS`, a Dask client
of the calling program); otherwise one of `jobs` single-threaded workers is started on this machine and ended after.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from ..verify.errors import SpverifyError, UsageError

BACKENDS = ("loky", "ray", "dask")
PATIENCE = 3.0  # seconds that interrupted workers have to write down where they are
Result = TypeVar("Result")


def map_side_by_side(
    work: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], *, jobs: int, backend: str = "loky"
) -> Iterator[Result]:
    """Calls `work` once for each tuple of arguments, at most `jobs` at a time; results come in order.

    Raises:
        UsageError: an unknown backend, or one that is not installed.
    """
    from joblib import Parallel, delayed

    with _cluster(backend, jobs), _patience(backend):
        tasks = (delayed(_told)(work, *given) for given in arguments)
        # Ray's pool returns nothing before all is done.
        how = {} if backend == "ray" else {"return_as": "generator"}
        for found in Parallel(n_jobs=jobs, **how)(tasks):
            if isinstance(found, SpverifyError):
                raise found
            yield found


def _told(work: Callable[..., Result], *given: Any) -> Result | SpverifyError:
    """What work gives, or says is wrong: a worker of Dask that raises may end with a traceback of its own."""
    try:
        return work(*given)
    except SpverifyError as error:
        return error


@contextmanager
def _patience(backend: str) -> Iterator[None]:
    """Ctrl-C in a terminal reaches the processes of loky too, which joblib would kill before they have saved."""
    ours = backend == "loky" and threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def wait(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C is obeyed at once
        time.sleep(PATIENCE)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def check_backend(backend: str) -> None:
    """Refuses a backend that does not exist."""
    if backend not in BACKENDS:
        raise UsageError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")


@contextmanager
def _cluster(backend: str, jobs: int) -> Iterator[None]:
    from joblib import parallel_config

    check_backend(backend)
    with ExitStack() as stack:
        if backend == "ray":
            stack.enter_context(_ray(jobs))
        elif backend == "dask":
            stack.enter_context(_dask(jobs))
        with parallel_config(backend=backend, n_jobs=jobs):
            yield


@contextmanager
def _ray(jobs: int) -> Iterator[None]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError:
        raise UsageError('the backend ray needs Ray: pip install "spverify[ray]"') from None
    ours = not ray.is_initialized()
    if ours:
        try:  # a cluster that is named (RAY_ADDRESS) or already runs here
            ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError:
            ray.init(num_cpus=jobs, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        register_ray()
        yield
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def _dask(jobs: int) -> Iterator[None]:
    try:
        from distributed import Client, LocalCluster, get_client
    except ImportError:
        raise UsageError('the backend dask needs Dask: pip install "spverify[dask]"') from None
    try:
        get_client()
    except ValueError:
        cluster = LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR)
        with cluster, Client(cluster):
            yield
    else:
        yield
