"""Settings: their sources in order, and the refusal of what is not one."""

import dataclasses
import re
from pathlib import Path

import pytest

from pandagpt_core.media.limits import Limits
from service import settings
from service.settings.page import page

NUMBERS = (int, float)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = tmp_path / "pandagpt.toml"
    file.write_text(text)
    monkeypatch.setenv("PANDAGPT_CONFIG", str(file))


def test_nothing_given_is_the_local_default() -> None:
    chosen = settings.load()
    assert (chosen.gateway.host, chosen.gateway.port) == ("127.0.0.1", 8000)
    assert chosen.worker.model == Path("models/panda-mini")
    assert chosen.store.url is None


def test_each_source_beats_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(tmp_path, monkeypatch, "[gateway]\nport = 1\nmax_media = 1\nmax_fields = 1\nmax_files = 1\n")
    Path(".env").write_text(
        "PANDAGPT_GATEWAY_PORT=2\nPANDAGPT_GATEWAY_MAX_MEDIA=2\nPANDAGPT_GATEWAY_MAX_FIELDS=2\nOTHER=x\n"
    )
    monkeypatch.setenv("PANDAGPT_GATEWAY_PORT", "3")
    monkeypatch.setenv("PANDAGPT_GATEWAY_MAX_MEDIA", "3")
    gateway = settings.load({"gateway": {"port": 4}}).gateway
    assert (gateway.port, gateway.max_media, gateway.max_fields, gateway.max_files) == (4, 3, 2, 1)


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("PANDAGPT_GATEWAY_PROT", "PANDAGPT_GATEWAY_PORT"),
        ("PANDAGPT_PORT", "PANDAGPT_GATEWAY_PORT"),
        ("PANDAGPT_STORE_URI", "PANDAGPT_STORE_URL"),
        ("pandagpt_worker_modell", "PANDAGPT_WORKER_MODEL"),
    ],
)
def test_an_unknown_variable_is_refused_and_the_nearest_right_one_named(
    given: str, right: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(given, "1")
    with pytest.raises(settings.SettingsError) as raised:
        settings.load()
    assert str(raised.value) == f"unknown variable {given}; did you mean {right}?"


def test_an_unknown_variable_in_the_env_file_is_refused_too() -> None:
    Path(".env").write_text("PANDAGPT_GATEWAY_HOTS=0.0.0.0\n")
    with pytest.raises(settings.SettingsError, match="did you mean PANDAGPT_GATEWAY_HOST"):
        settings.load()


@pytest.mark.parametrize("text", ["[gateway]\nprot = 1\n", "[gatewey]\nport = 1\n", "port = 1\n"])
def test_an_unknown_toml_key_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(tmp_path, monkeypatch, text)
    with pytest.raises(settings.SettingsError, match=r"unknown key .*pandagpt\.toml; did you mean gateway\.port"):
        settings.load()


def test_a_config_file_that_is_missing_or_broken_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(tmp_path, monkeypatch, "[gateway\n")
    with pytest.raises(settings.SettingsError, match="is no TOML"):
        settings.load()
    (tmp_path / "pandagpt.toml").unlink()
    with pytest.raises(settings.SettingsError, match="cannot read"):
        settings.load()


def test_all_wrong_values_are_named_at_once_without_quoting_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDAGPT_GATEWAY_PORT", "canary-1")
    monkeypatch.setenv("PANDAGPT_WORKER_MAX_SEQUENCES", "-9")
    monkeypatch.setenv("PANDAGPT_GATEWAY_SALT", "canary-2")
    with pytest.raises(settings.SettingsError) as raised:
        settings.load()
    message = str(raised.value)
    assert [line.partition(":")[0] for line in message.splitlines()] == [
        "gateway.port",
        "gateway.salt",
        "worker.max_sequences",
    ]
    assert "canary" not in message


@pytest.mark.parametrize("name", ["STORE_PASSWORD", "GATEWAY_SALT", "STORE_URL", "CLIENT_KEY"])
def test_an_empty_secret_or_address_refuses_to_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"PANDAGPT_{name}", "")
    with pytest.raises(settings.SettingsError, match=name.lower().replace("_", r"\.", 1)):
        settings.load()


def test_a_secret_does_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDAGPT_STORE_PASSWORD", "canary")
    assert "canary" not in repr(settings.load())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org"])
def test_listening_beyond_loopback_needs_keys_or_an_open_word(host: str) -> None:
    with pytest.raises(settings.SettingsError, match="KEYS_FILE"):
        settings.load({"gateway": {"host": host}})
    assert settings.load({"gateway": {"host": host, "open_access": True}}).gateway.host == host
    assert settings.load({"gateway": {"host": host, "keys_file": "keys"}}).gateway.keys_file == Path("keys")


def test_words_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDAGPT_FETCH_HOSTS", "a.example, b.example,")
    assert settings.load().fetch.hosts == ("a.example", "b.example")


def test_a_worker_must_show_life_twice_before_it_counts_as_lost() -> None:
    with pytest.raises(settings.SettingsError, match="lost_after_s is 3"):
        settings.load({"worker": {"heartbeat_s": 2, "lost_after_s": 3}})


def test_overrides_reach_a_child_as_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"gateway": {"port": 8123}, "worker": {"model": Path("a b"), "drain_grace_s": 1.5}}
    for name, value in settings.environment(given).items():
        monkeypatch.setenv(name, value)
    assert settings.load() == settings.load(given)


def test_sections_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings.load().gateway.port = 1  # type: ignore[misc]  # the point of the test


def test_a_store_address_is_required_where_there_is_no_embedded_one() -> None:
    with pytest.raises(settings.SettingsError, match="PANDAGPT_STORE_URL"):
        settings.load().store.required_url()


def test_every_setting_is_described_and_every_number_has_its_unit() -> None:
    for name, section in settings.sections().items():
        for key, field in section.model_fields.items():
            assert field.description, f"{name}.{key}"
            if isinstance(field.default, NUMBERS) and not isinstance(field.default, bool):
                assert re.search(r"\([a-z]+\)$", field.description), f"{name}.{key} names no unit"


def test_the_media_limits_are_those_of_the_media_room() -> None:
    ours = settings.MediaLimits().model_dump()
    assert ours == dataclasses.asdict(Limits())
    assert Limits(**ours) == Limits()


def test_the_settings_page_is_what_the_settings_say(root: Path) -> None:
    assert (root / "docs/settings.md").read_text() == page(), "docs/settings.md is stale: make openapi"


def test_vllms_own_options_are_an_object_in_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(tmp_path, monkeypatch, '[worker]\nengine = "vllm"\nvllm_options = { tensor_parallel_size = 2 }\n')
    assert settings.load().worker.vllm_options == {"tensor_parallel_size": 2}
    for name, value in settings.environment({"worker": {"vllm_options": {"gpu_memory_utilization": 0.8}}}).items():
        monkeypatch.setenv(name, value)
    assert settings.load().worker.vllm_options["gpu_memory_utilization"] == 0.8


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"engine": "vllm", "cache_tokens": 4096, "reserve": "current"}, "cache_tokens, reserve cannot be set with"),
        ({"vllm_options": {"tensor_parallel_size": 2}}, "vllm_options cannot be set with engine own"),
    ],
)
def test_settings_that_the_chosen_engine_would_ignore_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(settings.SettingsError, match=said):
        settings.load({"worker": given})
