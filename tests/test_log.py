"""The redactor: planted secrets never reach a log line, by any of the ways a line is made."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import stamina
import stamina.instrumentation
import structlog

from keeper import log

TOKEN = "7204815533:AAHq3vQ0pWc9xYb1KfDZtLrUeSgJmN2oV8k"
KEY = "0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
URL = "https://user:hunter22@eth.example.org:8443/v2/SeCrEtKeY-77?token=abc"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    stamina.instrumentation.set_on_retry_hooks(None)
    log._secrets.clear()


def _json_lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_url_keeps_scheme_host_and_port_only() -> None:
    assert log.redact(f"cannot reach {URL}.") == "cannot reach https://eth.example.org:8443/***"
    assert log.redact("wss://a.example/ws, next") == "wss://a.example/***, next"
    assert log.redact("at http://[::1]:8545/v2/k9, said") == "at http://[::1]:8545/***, said"
    assert log.redact("http://u:p@[::1]/v2") == "http://[::1]/***"
    assert log.redact("http://127.0.0.1:8545") == "http://127.0.0.1:8545"
    assert log.redact("postgresql+asyncpg://k:pw@db/keeper") == "postgresql+asyncpg://db/***"


def test_transaction_hashes_stay_readable() -> None:
    assert log.redact(f"tx {KEY}") == f"tx {KEY}"


def _fail(text: str) -> None:
    raise RuntimeError(text)


@pytest.mark.parametrize("style", ["json", "text"])
def test_planted_secrets_reach_no_line(style: str) -> None:
    out = io.StringIO()
    log.set_up(style=style, level="debug", secrets=(KEY,), stream=out)  # type: ignore[arg-type]
    ours, theirs = structlog.get_logger("keeper"), logging.getLogger("some.library")

    ours.info("rpc.failed", url=URL, nested={"key": KEY, "list": [f"bot{TOKEN}"]})
    ours.warning(f"said in the event itself {TOKEN}")
    theirs.warning("POST %s with %s", f"https://api.telegram.org/bot{TOKEN}/getMe", KEY)
    try:
        _fail(f"could not use {KEY} at {URL}")
    except RuntimeError:
        ours.exception("task.died")
        theirs.exception("task died")

    text = out.getvalue()
    assert len(text) > 500
    for secret in (TOKEN, KEY, "hunter22", "SeCrEtKeY", "token=abc"):
        assert secret not in text


def test_an_event_is_one_json_object_with_its_fields() -> None:
    out = io.StringIO()
    log.set_up(style="json", stream=out)

    structlog.get_logger().warning("price.stale", feed="USDC/USD", age_s=90_314, heartbeat_s=86_400)

    (line,) = _json_lines(out)
    assert line["event"] == "price.stale"
    assert (line["age_s"], line["heartbeat_s"], line["level"]) == (90_314, 86_400, "warning")


def test_httpx_does_not_log_its_requests() -> None:
    out = io.StringIO()
    log.set_up(style="json", level="debug", stream=out)

    logging.getLogger("httpx").info("HTTP Request: POST ...")
    logging.getLogger("telegram.ext").info("polling")

    assert out.getvalue() == ""


def test_a_repeated_question_is_no_event_of_a_library() -> None:
    out = io.StringIO()
    log.set_up(style="json", level="debug", stream=out)

    for attempt in stamina.retry_context(on=ValueError, attempts=2, wait_initial=0, wait_jitter=0):
        with attempt:
            if attempt.num == 1:
                raise ValueError("once")

    assert "stamina" not in out.getvalue()


def test_a_traceback_has_no_local_variables() -> None:
    out = io.StringIO()
    log.set_up(style="text", stream=out)
    canary = "in" + "visible-canary"

    try:
        _ = canary + 1  # type: ignore[operator]
    except TypeError:
        structlog.get_logger().exception("task.died")

    assert "TypeError" in out.getvalue()
    assert "invisible-canary" not in out.getvalue()
