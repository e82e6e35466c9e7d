"""The Helm chart, rendered and linted by Helm's own library without a cluster; every manifest against its API schema.

`golden/*.yaml` are renderings to read and to compare: WRITE_GOLDEN=1 writes them anew. Nothing was applied to
a cluster.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import StoreSettings

helm = pytest.importorskip("helm_python", reason="no helm-python-sdk here: pip install -r requirements/chart.lock")
validator = pytest.importorskip(
    "kubernetes_validate", reason="no kubernetes-validate here: pip install -r requirements/chart.lock"
)

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "pandagpt"
CASES = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))
KUBERNETES = ("1.27", "1.31", "1.34")
# Kinds of others' operators, whose schemas no package brings; their API versions are checked.
CUSTOM = {
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "ScaledObject": "keda.sh/v1alpha1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
}
Manifest = dict[str, Any]


def values(case: str) -> Manifest:
    return yaml.safe_load((CHART / "ci" / f"{case}.yaml").read_text(encoding="utf-8"))


def rendered(given: Manifest) -> list[Manifest]:
    texts = helm.Chart.load(str(CHART)).render(given, name="demo", namespace="pandagpt")
    return [one for name in sorted(texts) for one in yaml.safe_load_all(texts[name]) if one]


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    kinds = [*of_kind(manifests, "Deployment").items(), *of_kind(manifests, "StatefulSet").items()]
    return {name: one["spec"]["template"]["spec"] for name, one in kinds}


@pytest.mark.parametrize("case", CASES)
def test_the_chart_lints_without_a_warning(case: str) -> None:
    report = helm.lint(str(CHART), values(case), strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("case", CASES)
def test_every_manifest_is_what_kubernetes_takes(case: str, version: str) -> None:
    for manifest in rendered(values(case)):
        if manifest["kind"] in CUSTOM:
            assert manifest["apiVersion"] == CUSTOM[manifest["kind"]]
        else:
            validator.validate(manifest, version, strict=True)


@pytest.mark.parametrize("case", ["small", "gpus"])
def test_the_rendering_is_the_golden_one(case: str) -> None:
    shown = [one for one in rendered(values(case)) if one["metadata"]["name"] not in ("demo-dashboard", "demo-store")]
    shown = [one for one in shown if one["kind"] != "PrometheusRule"]  # these files have tests of their own
    text = yaml.safe_dump_all(shown, sort_keys=True, width=110)
    golden = Path(__file__).parent / "golden" / f"{case}.yaml"
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_no_pod_has_rights_that_it_does_not_need(case: str) -> None:
    for name, pod in pods(rendered(values(case))).items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"]


@pytest.mark.parametrize("case", CASES)
def test_a_pod_lives_longer_than_its_drain(case: str) -> None:
    for name, pod in pods(rendered(values(case))).items():
        env = {one["name"]: one.get("value") for container in pod["containers"] for one in container["env"]}
        times = [float(value) for key, value in env.items() if key.endswith(("DRAIN_GRACE_S", "SHUTDOWN_DELAY_S"))]
        assert "store" in name or times
        assert pod.get("terminationGracePeriodSeconds", 30) > sum(times)


def test_every_setting_in_a_pod_is_one_of_the_service() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for case in CASES:
        for pod in pods(rendered(values(case))).values():
            names = {one["name"] for container in pod["containers"] for one in container["env"]}
            assert {name for name in names if name.startswith("PANDAGPT_") and name not in page} == set()


def test_a_worker_is_ready_when_it_is_loaded_and_live_while_its_loop_turns() -> None:
    (worker,) = pods(rendered(values("gpus")))["demo-worker-pandagpt-7b"]["containers"]
    assert worker["startupProbe"]["httpGet"]["path"] == worker["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert worker["startupProbe"]["failureThreshold"] * worker["startupProbe"]["periodSeconds"] == 1800
    assert worker["livenessProbe"]["httpGet"]["path"] == "/health/live"


def test_a_model_on_a_gpu_gets_it_with_shared_memory_and_its_place() -> None:
    pod = pods(rendered(values("gpus")))["demo-worker-pandagpt-7b"]
    (worker,) = pod["containers"]
    assert worker["resources"]["limits"] == {"memory": "64Gi", "nvidia.com/gpu": 1}
    assert {one["name"]: one for one in pod["volumes"]}["shared-memory"]["emptyDir"]["sizeLimit"] == "8Gi"
    assert pod["nodeSelector"]
    assert pod["tolerations"]


def test_an_image_by_digest_needs_no_tag() -> None:
    images = {name: pod["containers"][0]["image"] for name, pod in pods(rendered(values("gpus"))).items()}
    assert images["demo-worker-minigpt-v2"] == f"registry.example.com/pandagpt-worker@sha256:{'5f' * 32}"
    assert images["demo-worker-pandagpt-7b"] == "registry.example.com/pandagpt-worker:0.1.0-cuda"


def test_workers_scale_on_the_queue_of_their_model_to_zero_and_back() -> None:
    scaled = of_kind(rendered(values("gpus")), "ScaledObject")
    queries = {
        name: [trigger["metadata"]["query"] for trigger in one["spec"]["triggers"]] for name, one in scaled.items()
    }
    depth, age, wake = queries["demo-worker-minigpt-v2"]
    assert 'pandagpt_queue_depth{model="minigpt-v2"}' in depth
    assert 'pandagpt_queue_oldest_age_seconds{model="minigpt-v2"' in age
    assert 'code="no_worker"' in wake
    assert scaled["demo-worker-minigpt-v2"]["spec"]["minReplicaCount"] == 0
    assert len(queries["demo-worker-pandagpt-7b"]) == 2
    rules = of_kind(rendered(values("gpus")), "PrometheusRule")["demo"]["spec"]["groups"][0]["rules"]
    assert "NoWorker" not in {rule["alert"] for rule in rules}, "it would page whenever a model sleeps"


def test_gateways_let_requests_wait_for_a_model_that_sleeps() -> None:
    (gateway,) = pods(rendered(values("gpus")))["demo-gateway"]["containers"]
    given = {one["name"]: one.get("value") for one in gateway["env"]}
    assert given["PANDAGPT_GATEWAY_FROM_ZERO"] == "minigpt-v2"
    assert float(given["PANDAGPT_GATEWAY_FROM_ZERO_WAIT_S"]) == 600
    (other,) = pods(rendered(values("small")))["demo-gateway"]["containers"]
    assert "PANDAGPT_GATEWAY_FROM_ZERO" not in {one["name"] for one in other["env"]}


def test_only_gateways_and_workers_reach_the_store() -> None:
    policy = of_kind(rendered(values("small")), "NetworkPolicy")["demo-store"]["spec"]
    (rule,) = policy["ingress"]
    labels = [one["podSelector"]["matchLabels"] for one in rule["from"]]
    assert labels[0]["app.kubernetes.io/component"] == "gateway"
    assert labels[1]["pandagpt/role"] == "worker"
    assert policy["egress"] == []


def test_a_store_behind_sentinels_is_named_by_them_and_the_chart_brings_none() -> None:
    manifests = rendered(values("sentinel"))
    assert "demo-store" not in {one["metadata"]["name"] for one in manifests}
    for pod in pods(manifests).values():
        given = {one["name"]: one for one in pod["containers"][0]["env"]}
        assert "PANDAGPT_STORE_URL" not in given
        sentinel = [one for name, one in given.items() if name.startswith("PANDAGPT_STORE_SENTINEL") and "value" in one]
        fields = {one["name"].removeprefix("PANDAGPT_STORE_").lower(): one["value"] for one in sentinel}
        assert StoreSettings(**fields).sentinel_addresses[2] == ("sentinel-2.redis", 26379)
        assert given["PANDAGPT_STORE_SENTINEL_PASSWORD"]["valueFrom"]["secretKeyRef"]["key"] == "sentinel-password"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"gateway": {"keysSecret": ""}}, "keysSecret"),
        ({"store": {"sentinel": {"addresses": ["a:1"], "master": ""}}}, "store.sentinel.master"),
        ({"store": {"sentinel": {"addresses": ["user@a:1"]}}}, "addresses"),
        ({"store": {"gatewayPassword": ""}}, "store.gatewayPassword"),
        ({"store": {"url": "redis://user:secret@host"}}, "url"),
        ({"gateway": {"replicas": 0}}, "replicas"),
        ({"gateway": {"image": {"repository": "x", "digest": "latest"}, "replicas": 2}}, "digest"),
        ({"models": {"Bad_Name": {"model": "x", "image": {"repository": "y"}}}}, "Bad_Name"),
        ({"modles": {}}, "modles"),
        ({"gateway": {"env": {"bad name": "x"}}}, "bad name"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(change: Manifest, named: str) -> None:
    given = values("small")
    for section, fields in change.items():
        given[section] = {**given.get(section, {}), **fields}
    with pytest.raises(helm.HelmError, match=named):
        rendered(given)


def test_the_chart_s_files_are_those_of_the_deployment() -> None:
    pairs = {"alerts.yml": "prometheus/alerts.yml", "dashboard.json": "grafana/dashboard.json"}
    pairs |= {f"valkey/{name}": f"valkey/{name}" for name in ("start.sh", "users.acl", "valkey.conf")}
    for inside, outside in pairs.items():
        ours, theirs = (CHART / "files" / inside).read_bytes(), (ROOT / "deploy" / outside).read_bytes()
        assert ours == theirs, f"cp deploy/{outside} deploy/helm/pandagpt/files/{inside}"
