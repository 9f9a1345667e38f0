"""What every test lives under: no network but loopback, a time limit, repeatable randomness.

Sockets are guarded by pytest-socket (`addopts` in pyproject.toml): a connection to anything but
this machine fails the test.  Time limits are per kind: a unit test that takes a minute hangs; one
that needs the chain may compile Aave first.  Hypothesis draws the same examples on every run;
``HYPOTHESIS_PROFILE=explore`` draws new ones, and many more of them.
"""

import os
from datetime import timedelta

import hypothesis
import pytest

UNIT_LIMIT_S = 60
CHAIN_LIMIT_S = 600

hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "explore",
    max_examples=2_000,
    deadline=timedelta(seconds=5),
    print_blob=True,
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test without a time limit of its own the one of its kind."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            on_chain = item.get_closest_marker("chain") is not None
            item.add_marker(pytest.mark.timeout(CHAIN_LIMIT_S if on_chain else UNIT_LIMIT_S))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's own KEEPER__* and *_RPC_URL variables, which a test must not obey."""
    for name in tuple(os.environ):
        if name.startswith("KEEPER__") or name.endswith(("_RPC_URL", "_WS_URL")):
            monkeypatch.delenv(name)
