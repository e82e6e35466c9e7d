"""The card names every validation set whose items the calibration sees."""

from recipes.panda_mini import calibration
from recipes.panda_mini.calibration import samples
from recipes.panda_mini.model_card import NOTES
from tests.conftest import ROOT

CARD = " ".join((ROOT / "models/panda-mini/README.md").read_text().split())


def test_the_card_says_which_figures_are_of_sets_that_the_calibration_saw() -> None:
    stated = CARD[CARD.index("All were fitted on") : CARD.index("Below the half")]
    assert "not a split apart" in stated
    for name in samples.MEASURED_TOO:
        assert name in NOTES
        assert name.removesuffix(", synthetic") in stated


def test_nothing_claims_a_split_apart() -> None:
    for text in (CARD, calibration.__doc__, samples.__doc__, (ROOT / "ARCHITECTURE.md").read_text()):
        assert "split of its own" not in " ".join((text or "").split())
