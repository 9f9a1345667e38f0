"""Tests of keeper.oracles."""
