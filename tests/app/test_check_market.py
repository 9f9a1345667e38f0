"""What `keeper check` says of a market: the line to write, not only where."""

from dataclasses import replace
from tomllib import loads

from keeper.app.check_market import heartbeats_line
from tests.alerts.build import ETH_USD, USDC_USD


def test_an_assumed_heartbeat_comes_with_the_line_to_write() -> None:
    odd = replace(USDC_USD, description='x"\n[signing]')

    line = heartbeats_line((ETH_USD, odd))

    written = f'heartbeats_s = {{ "{ETH_USD.address}" = 3600, "{USDC_USD.address}" = 86400 }}'
    assert line == (
        f"write what is published under [oracles] in keeper.toml, such as {written} "
        "(ETH / USD and x??[signing], as assumed now)"
    )
    assert loads(written)["heartbeats_s"] == {ETH_USD.address: 3600, USDC_USD.address: 86_400}
