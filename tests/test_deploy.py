"""What deploy/ and the documents say is what the configuration knows and the safe default is."""

import re
from pathlib import Path

import pytest

from keeper.settings.document import env

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCUMENTS = (
    *(path for path in sorted(DEPLOY.iterdir()) if path.is_file()),
    ROOT / "README.md",
    ROOT / "docs" / "OPERATIONS.md",
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_variable_that_is_named_exists(path: Path) -> None:
    known = set(re.findall(r"KEEPER__[A-Z_]+", env())) | {"KEEPER__SECTION__KEY"}

    named = set(re.findall(r"KEEPER__[A-Z_]+", path.read_text(encoding="utf-8")))

    assert named <= known


def test_the_unit_watches_only_and_the_drop_in_brings_the_key() -> None:
    unit = (DEPLOY / "keeper.service").read_text(encoding="utf-8")
    armed = (DEPLOY / "keeper-armed.conf").read_text(encoding="utf-8")

    assert "SIGNING" not in unit
    assert "ARMED_CHAIN_IDS" not in unit + armed
    for line in ("Type=notify", "WatchdogSec=", "NoNewPrivileges=yes", "ProtectSystem=strict"):
        assert f"\n{line}" in unit
    assert armed.count("\nLoadCredential=") == 2


def test_the_keeper_comes_back_after_a_reboot_and_after_an_outage() -> None:
    unit = (DEPLOY / "keeper.service").read_text(encoding="utf-8")
    compose = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")

    assert "\nRestart=on-failure" in unit
    assert "\nRestartPreventExitStatus=2" in unit
    # SIGTERM ends it with 0, so that on-failure would leave it stopped after a clean reboot.
    services = compose.partition("\nvolumes:")[0]
    assert re.findall(r"^    restart: (.*)$", services, re.MULTILINE) == ["unless-stopped"] * 2


def test_the_image_is_made_of_hashes_and_runs_as_nobody_in_particular() -> None:
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")

    assert "--require-hashes --only-binary :all: --requirement /tmp/requirements-product" in image
    assert "\nUSER 10001\n" in image
    for copied in re.findall(r"^COPY ([\w. -]+) /", image, re.MULTILINE):
        assert all((ROOT / name).exists() for name in copied.split())


def test_every_term_of_the_glossary_has_its_source() -> None:
    text = (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")
    body, _, links = text.partition("\n[aave-v3-origin]:")

    defined = set(re.findall(r"^\[([^\]]+)\]: https://", "[aave-v3-origin]:" + links, re.MULTILINE))
    assert set(re.findall(r"\[([^\]]+)\]", body)) == defined
    for row in re.findall(r"^\| (?!term|---)(.*) \|$", body, re.MULTILINE):
        assert len(row.split(" | ")) == 3
        assert row.split(" | ")[2]
