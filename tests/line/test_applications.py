"""An application's answers on the census are the scores of the nightly rescore."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dataops.runtime import load
from tests.line.conftest import CensusDemo
from tests.line.test_parity import adults

# the fixture runs the whole demo
pytestmark = pytest.mark.timeout(1500)


def test_a_handle_gives_the_probabilities_that_rescoring_wrote(census_demo: CensusDemo) -> None:
    people = adults(census_demo, "production")
    made = sorted((census_demo.folder / "storage/datasets/income_scores/runs").glob("*/data/*.parquet"))
    scores = pd.concat([pd.read_parquet(part) for part in made], ignore_index=True)
    with load(
        census_demo.folder / "registry", "income", trust=census_demo.folder / "signers.yaml", every=None
    ) as model:
        answers = model.predict(people)
        some = people.head(200)
        rows = some.astype(object).where(some.notna(), None).to_dict("records")
        assert np.abs(model.predict(rows) - answers[:200]).max() <= 1e-6
    assert len(answers) == len(scores) > 50_000
    # scores carry a pseudonym instead of the person's id, so the two are compared in order of size
    assert np.abs(np.sort(answers) - np.sort(scores["probability"].to_numpy())).max() <= 1e-6
