"""Predictions that are the same but for what PyTorch computes otherwise in a batch: some 0.00001, before they are rounded.

Pictures that wait for it at the same moment are a batch, so this is how to compare whatever is predicted with something else
at the same time.
"""

from __future__ import annotations

from typing import Any

import pytest


def alike(one: Any, other: Any) -> bool:
    """Tell whether two values of JSON are the same, numbers within 0.01."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, abs=0.01)
    return bool(one == other)
