"""Requests made from openapi.yaml, wild and plain, against the running gateway: no 500, no answer undocumented.

`PANDAGPT_TEST_EXAMPLES` is how many of each operation; the default suits CI. The same ones come every time.
"""

import os

import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from schemathesis.schemas import Case
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.conftest import ROOT

EXAMPLES = int(os.environ.get("PANDAGPT_TEST_EXAMPLES", "12"))
# No schema can say that a URL must lead to a picture: a body that fits it may still be refused, in documented words.
# And every field of a form is text, so that what is no string in the schema's eyes comes as a right one.
EXCLUDED = [positive_data_acceptance, negative_data_rejection]
schema = schemathesis.openapi.from_dict(yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8")))


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_every_answer_to_a_made_up_request_is_a_documented_one(case: Case, url: str) -> None:
    excluded = EXCLUDED if case.operation.body else []
    case.call_and_validate(base_url=url, timeout=20, excluded_checks=excluded)
