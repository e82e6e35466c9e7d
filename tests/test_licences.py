"""Every locked package has a licence that is known and allowed, and the bill of materials lists them all."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

# Each may be used and passed on with a service under Apache-2.0; of MPL-2.0 the package's own files stay under it.
ALLOWED = {"MIT", "MIT-0", "MIT-CMU", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0", "ISC", "PSF-2.0", "Zlib"}
ALLOWED |= {"MPL-2.0", "CC0-1.0", "CNRI-Python", "BSL-1.0", "LLVM-exception", "Unlicense"}


@pytest.fixture(scope="module")
def sbom(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", root / "requirements" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_installed_package_of_the_lock_has_an_allowed_licence(sbom: ModuleType) -> None:
    found = {each.name: each.licence for each in sbom.components() if each.installed}
    assert len(found) > 50
    unknown = {
        name: licence
        for name, licence in found.items()
        if licence is None or set(re.split(r" (?:AND|OR|WITH) |[()]+", licence)) - ALLOWED - {""}
    }
    assert not unknown


def test_the_bill_of_materials_lists_every_line_of_the_lock(sbom: ModuleType, root: Path) -> None:
    lock = (root / "requirements" / "lock.txt").read_text(encoding="utf-8")
    lines = [line for line in lock.splitlines() if line and line[0] not in "# "]
    made = sbom.document()
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert len(made["components"]) == len(lines)
    assert all(each["purl"].startswith("pkg:pypi/") for each in made["components"])
