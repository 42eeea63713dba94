"""pkigate.yaml: what is read, and where a mistake stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.config import Config, Flags, config_markdown, config_schema, load, unknown_variables
from gateway.config.overrides import variables_of
from gateway.config.source import parse
from gateway.errors import ConfigurationError

BASE = Path("/etc/pkigate")


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse("pkigate.yaml", text, base=BASE)
    return str(caught.value).splitlines()


MISTAKES = [
    ("workers: atuo\n", "pkigate.yaml:1:10: workers: 'atuo' is no number of workers; write auto"),
    ("workers: 0\n", "pkigate.yaml:1:10: workers: '0' is no number of workers; write auto"),
    ("wrkers: 2\n", "pkigate.yaml:1:1: wrkers: unknown key 'wrkers'; did you mean 'workers'?"),
    ("workers: 2\nworkers: 3\n", "pkigate.yaml:2:1: the key 'workers' stands here twice, first in line 1"),
    (
        "logging: {level: verbose}\n",
        "pkigate.yaml:1:18: logging.level: 'verbose' is not known; one of debug,",
    ),
    (
        "logging: {levle: info}\n",
        "pkigate.yaml:1:11: logging.levle: unknown key 'levle'; did you mean 'level'?",
    ),
    ("limits:\n  queue: 0\n", "pkigate.yaml:2:10: limits.queue: '0' is too small; at least 1"),
    ("drain_timeout: soon\n", "pkigate.yaml:1:16: drain_timeout: 'soon' is no whole number; write one"),
    ("database_url: mysql://db/x\n", "pkigate.yaml:1:15: database_url: is no database URL; write sqlite:"),
    ("passphrase: hunter2\n", "pkigate.yaml:1:13: passphrase: is no secret reference; write file:PATH"),
    ("public_urls: [pki.example]\n", "pkigate.yaml:1:15: public_urls.0: is no base URL; write for example"),
    (
        "public_urls: ['https://pki.example/est']\n",
        "pkigate.yaml:1:15: public_urls.0: a base URL has no path, query or user; write",
    ),
    (
        "trusted_proxies: [10.0.0.1/8]\n",
        "pkigate.yaml:1:19: trusted_proxies.0: '10.0.0.1/8' is no network (10.0.0.1/8 has",
    ),
    ("demo_credentials: yes\n", "pkigate.yaml:1:19: demo_credentials: 'yes' is not known; one of auto, off,"),
    ("metrics: {port: 70000}\n", "pkigate.yaml:1:17: metrics.port: '70000' is too large; at most 65535"),
    ("listeners: []\n", "pkigate.yaml:1:1: listeners: the list is empty; write at least one"),
    (
        "listeners: [{name: a, port: 1}]\n",
        "pkigate.yaml:1:13: listeners.0: the key 'serves' is missing; add it",
    ),
    (
        "listeners:\n  - name: a\n    address: localhost\n    port: 1\n    serves: [est]\n",
        "pkigate.yaml:3:14: listeners.0.address: is no IP address; write 127.0.0.1",
    ),
    (
        "listeners:\n  - {name: a, port: 1, serves: [est], tls: of}\n",
        "pkigate.yaml:2:44: listeners.0.tls: 'of' is not known; did you mean 'off'?",
    ),
    (
        "listeners:\n  - {name: a, port: 1, serves: [est], tls: {certificate: a.pem}}\n",
        "pkigate.yaml:2:39: listeners.0.tls: the key 'key' is missing; add it",
    ),
    (
        "listeners:\n  - {name: a, port: 1, serves: [est], tls: off, client_certificate: request}\n",
        "pkigate.yaml:2:69: listeners.0.client_certificate: a client certificate needs TLS; write none",
    ),
    (
        "listeners:\n  - {name: a, port: 1, serves: [scep], client_certificate: request}\n",
        "pkigate.yaml:2:60: listeners.0.client_certificate: a listener that serves scep never asks",
    ),
    (
        "listeners:\n  - {name: a, port: 1, serves: [est]}\n  - {name: a, port: 2, serves: [crl]}\n",
        "pkigate.yaml:3:12: listeners.1.name: 'a' is the name of another listener too; give each its own",
    ),
    (
        "listeners:\n  - {name: a, port: 1, serves: [est]}\n  - {name: b, port: 1, serves: [crl]}\n",
        "pkigate.yaml:3:21: listeners.1.port: port 1 of 127.0.0.1 is taken by another listener",
    ),
    (
        "listeners:\n  - {name: a, port: 9464, serves: [est]}\n",
        "pkigate.yaml:1:1: metrics.port: port 9464 of 127.0.0.1 is taken by another listener",
    ),
    (
        "listeners:\n  - {name: a, port: 1, serves: [est], client_certificate_header: nginx}\n",
        "pkigate.yaml:2:66: listeners.0.client_certificate_header: 'nginx' is believed from trusted",
    ),
    ("workers: 2\n---\nworkers: 3\n", "pkigate.yaml:3:1: a second document begins here"),
    ("- workers\n", "pkigate.yaml:1:1: "),
    ("workers: [\n", "pkigate.yaml:2:1: this is not YAML: "),
    ("workers: &w 2\n", "pkigate.yaml:1:10: the anchor &w is not allowed here; remove it"),
]


@pytest.mark.parametrize(("text", "complaint"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_mistake_is_reported_at_its_line_and_column_with_what_would_be_right(
    text: str, complaint: str
) -> None:
    assert [line for line in complaints(text) if line.startswith(complaint)], complaints(text)


def test_every_mistake_of_a_file_is_reported_at_once_in_order() -> None:
    lines = complaints("workers: x\nlimits: {queue: 0}\nnonsense: 1\n")
    assert [line.split(":")[1] for line in lines] == ["1", "2", "3"]


def test_secret_written_in_place_of_a_reference_is_not_repeated_in_the_complaint() -> None:
    assert "hunter2" not in "\n".join(complaints("passphrase: hunter2\n"))


def test_empty_file_gives_the_defaults() -> None:
    assert parse("pkigate.yaml", "", base=BASE) == Config()


def test_default_listeners_are_https_with_requested_certificate_and_plain_http_on_loopback() -> None:
    https, http = Config().listeners
    assert (https.name, https.address, https.port, https.tls) == ("https", "127.0.0.1", 8443, "auto")
    assert https.client_certificate == "request"
    assert (http.name, http.address, http.port, http.plain) == ("http", "127.0.0.1", 8080, True)
    assert set(http.serves) == {"scep", "cmp", "crl", "ocsp", "ca"}


def test_example_of_the_reference_serves_what_the_defaults_serve() -> None:
    """Who starts from it has all protocols, and loses none without having taken it out."""
    example = config_markdown().partition("```yaml\n")[2].partition("```")[0]
    listeners = parse("pkigate.yaml", example, base=BASE).listeners
    assert [set(one.serves) for one in listeners] == [set(one.serves) for one in Config().listeners]


def test_relative_paths_count_from_the_directory_of_the_file() -> None:
    config = parse(
        "pkigate.yaml",
        "data_directory: data\npassphrase: file:pass\n"
        "listeners: [{name: a, port: 1, serves: [est], tls: {certificate: c.pem, key: /k.pem}}]\n",
        base=BASE,
    )
    tls = config.listeners[0].tls
    assert config.data_directory == BASE / "data"
    assert config.policies == BASE / "data" / "policies"
    assert config.database_url == "sqlite:////etc/pkigate/data/pkigate.sqlite3"
    assert config.passphrase == "file:/etc/pkigate/pass"
    assert not isinstance(tls, str)
    assert (tls.certificate, tls.key) == (BASE / "c.pem", Path("/k.pem"))


def test_yaml_words_for_truth_stay_words_where_words_belong() -> None:
    config = parse("f", "demo_credentials: off\nlab: {enabled: true}\n", base=BASE)
    assert config.demo_credentials == "off"
    assert config.lab.enabled is True


def test_automatic_workers_are_one_on_sqlite_and_more_than_none_on_postgresql() -> None:
    assert Config().worker_count == 1
    assert Config(database_url="postgresql://db/pkigate").worker_count >= 1
    assert Config(workers=3).worker_count == 3


def test_database_password_is_not_in_the_representation() -> None:
    assert "hunter2" not in repr(Config(database_url="postgresql://pkigate:hunter2@db/pkigate"))


def test_tls_names_hold_loopback_public_and_bound_addresses_once() -> None:
    config = parse(
        "f",
        "public_urls: ['https://pki.example', 'http://PKI.example']\n"
        "listeners: [{name: a, address: 0.0.0.0, port: 1, serves: [est]},"
        " {name: b, address: 192.0.2.7, port: 1, serves: [est]}]\n",
        base=BASE,
    )
    assert config.tls_names() == ("localhost", "127.0.0.1", "::1", "pki.example", "192.0.2.7")


def test_flag_wins_over_variable_and_variable_over_file(tmp_path: Path) -> None:
    file = tmp_path / "pkigate.yaml"
    file.write_text("workers: 2\ndrain_timeout: 5\nlogging: {level: error, format: json}\n")
    config = load(
        file,
        flags=Flags(workers=4),
        environment={"PKIGATE_WORKERS": "3", "PKIGATE_DRAIN_TIMEOUT": "6", "PKIGATE_LOG_LEVEL": "debug"},
    )
    assert (config.workers, config.drain_timeout) == (4, 6)
    assert (config.logging.level, config.logging.format) == ("debug", "json")


def test_variable_names_the_configuration_file(tmp_path: Path) -> None:
    file = tmp_path / "pkigate.yaml"
    file.write_text("workers: 7\n")
    assert load(environment={"PKIGATE_CONFIG": str(file)}).workers == 7


def test_host_and_port_flags_move_listeners_and_leave_metrics_alone() -> None:
    config = load(flags=Flags(host="0.0.0.0", https_port=0, http_port=81), environment={})
    assert [(one.address, one.port) for one in config.listeners] == [("0.0.0.0", 0), ("0.0.0.0", 81)]
    assert config.metrics.address == "127.0.0.1"


def test_data_directory_flag_moves_database_and_policies_with_it(tmp_path: Path) -> None:
    config = load(flags=Flags(data_dir=tmp_path), environment={})
    assert config.database_url == f"sqlite:///{tmp_path}/pkigate.sqlite3"
    assert config.policies == tmp_path / "policies"


def test_lists_in_variables_are_written_with_commas() -> None:
    config = load(environment={"PKIGATE_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1"})
    assert [str(network) for network in config.trusted_proxies] == ["10.0.0.0/8", "192.0.2.1/32"]


@pytest.mark.parametrize(
    ("flags", "environment", "complaint"),
    [
        (Flags(workers=0), {}, "--workers: 0 is no number of workers; write auto"),
        (Flags(host="localhost"), {}, "--host: is no IP address; write 127.0.0.1"),
        (Flags(https_port=70000), {}, "--https-port: '70000' is too large; at most 65535"),
        (Flags(log_level="warn"), {}, "--log-level: 'warn' is not known; did you mean 'warning'?"),
        (Flags(), {"PKIGATE_LAB": "maybe"}, "PKIGATE_LAB: 'maybe' is neither true nor false"),
        (Flags(), {"PKIGATE_METRICS_PORT": "x"}, "PKIGATE_METRICS_PORT: 'x' is no whole number"),
        (Flags(), {"PKIGATE_LIMITS__QUEUE": "0"}, "PKIGATE_LIMITS__QUEUE: '0' is too small; at least 1"),
    ],
)
def test_wrong_override_is_reported_by_its_flag_or_variable(
    flags: Flags, environment: dict[str, str], complaint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(flags=flags, environment=environment)
    assert str(caught.value).startswith(complaint)
    assert len(str(caught.value).splitlines()) == 1


def test_port_flag_without_its_listener_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pkigate.yaml"
    file.write_text("listeners: [{name: only, port: 1, serves: [est]}]\n")
    with pytest.raises(
        ConfigurationError, match="--https-port: the configuration has no listener named https"
    ):
        load(file, flags=Flags(https_port=2), environment={})


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (("data_directory",), ("PKIGATE_DATA_DIRECTORY", "PKIGATE_DATA_DIR")),
        (("logging", "level"), ("PKIGATE_LOGGING__LEVEL", "PKIGATE_LOG_LEVEL")),
        (("workers",), ("PKIGATE_WORKERS",)),
    ],
)
def test_every_variable_of_a_setting_is_in_the_reference_and_means_something(
    path: tuple[str, ...], names: tuple[str, ...]
) -> None:
    assert variables_of(path) == names
    assert f"- variable: {' or '.join(f'`{name}`' for name in names)}\n" in config_markdown()
    assert unknown_variables(dict.fromkeys(names, "")) == ()


def test_both_variables_of_the_data_directory_work_and_the_flags_name_wins(tmp_path: Path) -> None:
    long, short = {"PKIGATE_DATA_DIRECTORY": str(tmp_path / "a")}, {"PKIGATE_DATA_DIR": str(tmp_path / "b")}
    found = [load(environment=one).data_directory.name for one in (long, short, {**short, **long})]
    assert found == ["a", "b", "b"]


def test_misspelt_variable_is_reported_and_known_ones_are_not() -> None:
    reports = unknown_variables({"PKIGATE_WORKER": "1", "PKIGATE_HTTPS_PORT": "1", "PKIGATE_CONFIG": "x"})
    assert reports == ("PKIGATE_WORKER: means nothing; did you mean PKIGATE_WORKERS?",)


def test_missing_file_is_reported_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.yaml: cannot be read: No such file"):
        load(tmp_path / "absent.yaml", environment={})


def test_schema_is_json_and_describes_every_key_at_the_top() -> None:
    schema = json.loads(json.dumps(config_schema()))
    assert set(schema["properties"]) == set(Config.model_fields)
    assert all("description" in described for described in schema["properties"].values())
    assert schema["additionalProperties"] is False
