"""Whatever file is given to the demo: results of the right size, or one sentence and exit status 2."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.any_picture import Drawn, check_run, pictures

pytestmark = pytest.mark.usefixtures("quick_demo")


@given(st.lists(pictures(), min_size=1, max_size=3, unique_by=lambda picture: picture.name))
@settings(
    derandomize=True,
    max_examples=100,
    phases=[Phase.generate],  # making a failure smaller takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
def test_any_picture_is_segmented_or_answered_with_one_sentence(drawn: list[Drawn]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_run(drawn, Path(folder))
