"""Five hundred draws of pictures of any kind, others in every run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.any_picture import Drawn, check_run, pictures

pytestmark = [pytest.mark.endurance, pytest.mark.usefixtures("quick_demo")]


@given(st.lists(pictures(), min_size=1, max_size=6, unique_by=lambda picture: picture.name))
@settings(
    max_examples=500,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
def test_five_hundred_lists_of_any_pictures(drawn: list[Drawn]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_run(drawn, Path(folder))
