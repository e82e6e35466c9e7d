"""Every locked package has a licence that is known and allowed, and the bill of materials lists them all."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

# Each may be used and passed on with a service under Apache-2.0; of MPL-2.0 the package's own files stay under it.
ALLOWED = {"MIT", "MIT-0", "MIT-CMU", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0", "ISC", "PSF-2.0", "Zlib"}
ALLOWED |= {"MPL-2.0", "CC0-1.0", "CNRI-Python", "BSL-1.0", "LLVM-exception", "Unlicense"}
# NVIDIA's own terms, of the libraries that torch needs on its GPUs: a user of those GPUs installs them.
NVIDIA, OF_CUDA = "LicenseRef-NVIDIA-Proprietary", ("nvidia-", "cuda-")


@pytest.fixture(scope="module")
def sbom(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", root / "requirements" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_package_of_the_lock_has_an_allowed_licence(sbom: ModuleType) -> None:
    found = {each.name: each.licence for each in sbom.components()}
    assert len(found) > 100
    unknown = {name: licence for name, licence in found.items() if licence is None or not is_allowed(name, licence)}
    assert not unknown, f"read their licences, and name them in {sbom.LICENCES.name}"


def is_allowed(name: str, licence: str) -> bool:
    allowed = ALLOWED | {NVIDIA} if name.startswith(OF_CUDA) else ALLOWED
    return not set(re.split(r" (?:AND|OR|WITH) |[()]+", licence)) - allowed - {""}


def test_the_table_of_licences_names_locked_packages_alone(sbom: ModuleType) -> None:
    named = tomllib.loads(sbom.LICENCES.read_text(encoding="utf-8"))
    assert set(named) <= {each.name for each in sbom.components()}


def test_the_bill_of_materials_lists_every_locked_package(sbom: ModuleType, root: Path) -> None:
    texts = [
        (root / "requirements" / name).read_text(encoding="utf-8") for name in ("lock.txt", "no-deps.txt", "mini.txt")
    ]
    lines = [line for text in texts for line in text.splitlines() if line and line[0] not in "# "]
    made = sbom.document()
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert len(made["components"]) == len(lines)
    assert all(each["purl"].startswith("pkg:pypi/") and each["licenses"] for each in made["components"])
