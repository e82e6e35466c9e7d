"""ImageBind-LLM's mixing, cache and bind network against vectors of the original implementation."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pandagpt_core.systems.imagebind_llm.bind_network import BindNetwork
from pandagpt_core.systems.imagebind_llm.mix import mixed
from pandagpt_core.visual_cache import CacheOptions, VisualCache
from tests.golden import cases, read, tensors
from tests.parity.bind_tiny import FEATURES, FOUND, PART, WITH_OPTIONS, cache_options

CONFIG = read(PART)
COMBINATIONS = cases(PART, "combos")
NAMES = {"f1": "gate_proj", "f3": "up_proj", "f2": "down_proj", "norm": "norm"}


@pytest.fixture(scope="module")
def folder(golden: Path) -> Path:
    return golden / PART


@pytest.fixture(scope="module")
def vectors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "cases.safetensors")


@pytest.fixture(scope="module")
def cache(folder: Path) -> VisualCache:
    return VisualCache(load_file(folder / "knn_vectors.safetensors")["vectors"])


@pytest.fixture(scope="module")
def network(folder: Path) -> BindNetwork:
    weights = load_file(folder / "weights.safetensors")
    state = {f"proj.{kind}": weights[f"image_bind_proj.{kind}"] for kind in ("weight", "bias")}
    for old, new in NAMES.items():
        for block in range(CONFIG["llama_params"]["n_layers"]):
            state[f"blocks.{block}.{new}.weight"] = weights[f"image_bind_{old}_{block + 1}.weight"]
    network = BindNetwork(CONFIG["imagebind_out_dim"], CONFIG["dim"], CONFIG["bridge_hidden"])
    network.load_state_dict(state)
    return network.requires_grad_(False)


def alone(vectors: Mapping[str, torch.Tensor], combos: Mapping[str, Any], medium: str) -> torch.Tensor:
    """A medium's own feature, of length one but for the 1e-6 that its weight is divided by."""
    name = next((name for name, weights in combos.items() if list(weights) == [medium]), None)
    if name is None:
        pytest.skip(f"no combination of {medium} alone among these vectors")
    return vectors[f"visual/{name}/mixed"].flatten()


@pytest.mark.parametrize("name", COMBINATIONS)
def test_media_are_mixed_as_the_original_mixes_them(
    folder: Path, vectors: Mapping[str, torch.Tensor], name: str
) -> None:
    combos = json.loads((folder / "cases.json").read_text())["combos"]
    weights = combos[name]
    found = mixed(torch.stack([7.0 * alone(vectors, combos, medium) for medium in weights]), list(weights.values()))
    torch.testing.assert_close(found, vectors[f"visual/{name}/mixed"].flatten(), rtol=0, atol=FEATURES)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_cache_draws_a_feature_where_the_original_draws_it(
    vectors: Mapping[str, torch.Tensor], cache: VisualCache, name: str
) -> None:
    found = cache.retrieve(vectors[f"visual/{name}/mixed"].flatten(), CacheOptions())
    torch.testing.assert_close(found.feature, vectors[f"visual_knn/{name}/mixed"].flatten(), rtol=0, atol=FEATURES)


@pytest.mark.parametrize("name", tensors(PART, WITH_OPTIONS))
def test_the_caches_options_do_what_they_do_in_the_original(
    vectors: Mapping[str, torch.Tensor], cache: VisualCache, name: str
) -> None:
    combination, *options = cache_options(name)
    found = cache.retrieve(vectors[f"visual/{combination}/mixed"].flatten(), CacheOptions(*options))
    expected = vectors[f"visual_knn/{name}/mixed"].flatten()
    torch.testing.assert_close(found.feature, expected, rtol=0, atol=FEATURES)


@pytest.mark.parametrize("name", tensors(PART, FOUND))
def test_the_rows_that_are_found_are_the_originals(
    vectors: Mapping[str, torch.Tensor], cache: VisualCache, name: str
) -> None:
    found = cache.retrieve(vectors[f"visual/{name}/mixed"].flatten(), CacheOptions())
    assert list(found.rows) == vectors[f"knn/{name}/indices"].flatten().tolist()
    torch.testing.assert_close(
        torch.tensor(found.similarities), vectors[f"knn/{name}/sims"].flatten(), rtol=0, atol=FEATURES
    )


@pytest.mark.parametrize("kind", ["visual", "visual_knn"])
@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_bind_network_gives_the_originals_vector(
    vectors: Mapping[str, torch.Tensor], network: BindNetwork, kind: str, name: str
) -> None:
    found = network(vectors[f"{kind}/{name}/mixed"].flatten())
    torch.testing.assert_close(found, vectors[f"{kind}/{name}/out"].flatten(), rtol=0, atol=FEATURES)
