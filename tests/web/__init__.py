"""Tests of keeper.web."""
