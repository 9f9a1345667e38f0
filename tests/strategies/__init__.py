"""Tests of keeper.strategies."""
