"""Runners: what carries out a pipeline of Apache Beam, its options, and its errors in one line."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import Iterator, Sequence

from keras_reid.errors import ReidError, first_line

# Runners whose job server is a Java program, with options of its own, and the options that say where one is.
_ADDRESSES = {
    "FlinkRunner": ("flink_master", "job_endpoint"),
    "SparkRunner": ("spark_master_url", "spark_rest_url", "job_endpoint"),
}
_EXAMPLES = {"FlinkRunner": "--flink_master=HOST:8081", "SparkRunner": "--spark_master_url=spark://HOST:7077"}
_PATIENCE = 30  # seconds for an answer of what a pipeline is sent to


def import_beam() -> None:
    """Raises ReidError, which says how to get it, where Apache Beam cannot be imported."""
    try:
        import apache_beam.ml.inference.base  # noqa: F401
    except ImportError as error:
        raise ReidError(
            f"runner needs Apache Beam, which cannot be imported ({error}): pip install 'keras_reid[beam]', on Python "
            "3.10 or later. Without runner this machine embeds by itself."
        ) from error


def options_of(runner: str, arguments: Sequence[str]):
    """Returns Beam's `PipelineOptions` for a runner and its options, written --name=value as Beam takes them.

    Raises:
        ReidError: an unknown option or value, one that is missing, or nothing answers where the runner should be.
    """
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    if arguments and not arguments[0].startswith("--"):
        raise ReidError(f"{arguments[0]!r} is no option of {runner}: they are written --name=value.")
    usage = io.StringIO()
    try:
        with contextlib.redirect_stderr(usage), contextlib.redirect_stdout(usage):
            options = PipelineOptions(list(arguments), runner=runner)
            values = options.get_all_options(retain_unknown_options=True)
            unknown = sorted(set(values) - set(options.get_all_options()))
    except SystemExit as error:
        raise ReidError(f"options of {runner}: {usage.getvalue().strip().rpartition('error: ')[2]}.") from error
    if unknown and runner not in _ADDRESSES:  # a job server of Java knows more options than Beam's Python
        raise ReidError(f"{runner} has no option {unknown[0]!r}: look for it in Apache Beam's documentation.")
    if runner == "DataflowRunner":
        _check_dataflow(values)
    if runner in _ADDRESSES:
        _check_portable(runner, arguments, values)
    FileSystems.set_options(options)  # such as the region of s3://
    return options


def _check_dataflow(values: dict) -> None:
    try:
        import apache_beam.runners.dataflow.internal.apiclient  # noqa: F401
    except ImportError as error:
        raise ReidError(f"DataflowRunner needs Beam's extra gcp ({error}): pip install 'apache-beam[gcp]'.") from error
    missing = [name for name in ("project", "region", "temp_location") if not values.get(name)]
    if missing:
        raise ReidError(
            f"DataflowRunner needs {', '.join(missing)}: give its options after --, as in -- --project=MINE "
            "--region=europe-west1 --temp_location=gs://BUCKET/temp."
        )


def _check_portable(runner: str, arguments: Sequence[str], values: dict) -> None:
    if not any(argument.startswith(tuple(f"--{name}" for name in _ADDRESSES[runner])) for argument in arguments):
        raise ReidError(
            f"{runner} needs the address of a cluster, as in -- {_EXAMPLES[runner]}, or of Beam's job server, as in "
            "-- --job_endpoint=HOST:8099. DirectRunner needs none."
        )
    given = {name: values[name] for name in _ADDRESSES[runner] if re.search(r":\d+", values[name] or "")}
    for name, address in given.items():
        _check_answers(name, address)
    if not values.get("job_endpoint") and not shutil.which(values["job_server_java_launcher"]):
        raise ReidError(f"{runner} needs Java, or the job_endpoint of Beam's job server: install a Java runtime.")


def _check_answers(name: str, address: str) -> None:
    host, port = re.search(r"([^/@:\[\]]+|\[[^\]]+\]):(\d+)", address).groups()
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise ReidError(
            f"nothing answers at {address!r}, the runner's {name} ({error}). Start it, or correct the address."
        ) from error


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Lets no connection of Python wait for ever, and no thread print what the pipeline raises as well."""
    timeout, hook = socket.getdefaulttimeout(), threading.excepthook
    socket.setdefaulttimeout(_PATIENCE)
    threading.excepthook = lambda _: None
    try:
        yield
    finally:
        socket.setdefaulttimeout(timeout)
    threading.excepthook = hook  # but not after Ctrl-C, which ends the workers, too: their threads raise that later


def runner_of(name: str, options):
    """Returns Beam's runner of a name, for a pipeline with these options."""
    from apache_beam.options.pipeline_options import DirectOptions, WorkerOptions
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner
    from apache_beam.runners.portability.portable_runner import JobServiceHandle
    from apache_beam.runners.runner import create_runner
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    if name != "DirectRunner":
        return create_runner(name)
    # Beam's class of this name would first download and start another program, Prism, and needs a network for that.
    # This is the runner that it falls back on, made as it makes it.
    workers, direct, environment = options.view_as(WorkerOptions), options.view_as(DirectOptions), None
    workers.default_sdk_harness_log_level = workers.default_sdk_harness_log_level or "CRITICAL"
    if direct.direct_running_mode == "multi_processing":
        direct.direct_running_mode = "in_memory"  # for which it takes the environment that it is given
        # What workers print, tracebacks above all, comes as the pipeline's error, too.
        command = f'"{sys.executable}" -m apache_beam.runners.worker.sdk_worker_main 2>{os.devnull}'
        environment = SubprocessSDKEnvironment.from_command_string(command)
    known = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=known)
    return FnApiRunner(environment, provision_info=ExtendedProvisionInfo(provision))


def in_one_line(error: Exception) -> str:
    """Returns why a pipeline failed: our words, which may stand in a worker's traceback, or the last line of it."""
    text = str(error)
    ours = re.search(r"(?<!\w)ReidError: (.+)", text)
    if ours or isinstance(error, ReidError):
        return re.sub(r" \[while running '.*", "", ours[1] if ours else text)
    if not text.strip() and "Timeout" in type(error).__name__:
        return "the pipeline failed: the runner does not answer in time. Is its address that of Beam's job server?"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception)\b", line)), first_line(error))
    return f"the pipeline failed ({words[:500]})."
