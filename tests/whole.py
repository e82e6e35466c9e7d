"""The tests that take longest, by file or folder: `make check` leaves them out, `make test` and CI do not.

They start a whole service or several, build a model from its parts, or drive browsers, clients and other programs. They
take about half of the processor time of all tests.
"""

from pathlib import Path

TESTS = Path(__file__).parent
WHOLE = (
    "broker/test_sentinel.py",
    "chaos",
    "contract/test_ai_sdk.py",
    "contract/test_clients.py",
    "contract/test_generated_clients.py",
    "contract/test_node_client.py",
    "contract/test_open_webui.py",
    "contract/test_openapi_lint.py",
    "contract/test_programs_of_guides.py",
    "contract/test_schemathesis.py",
    "contract/test_structured_takeover.py",
    "convert/cache/test_build.py",
    "convert/test_other_language_models.py",
    "deploy/test_proxies.py",
    "examples",
    "parity/test_imagebind_llm_http.py",
    "parity/test_minigpt_v2_served.py",
    "recipes",
    "systems/test_runtime.py",
    "test_contributing.py",
    "test_golden_folder.py",
    "test_guides.py",
    "test_readme.py",
    "test_serve.py",
    "test_soft_tokens_served.py",
    "test_two_systems.py",
    "test_wheel.py",
    "training/evaluation/test_evaluation.py",
    "training/test_sample_answers.py",
    "training/tune",
    "web",
)


def is_whole(file: Path) -> bool:
    return any(file.is_relative_to(TESTS / name) for name in WHOLE)
