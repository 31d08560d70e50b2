"""Basic authentication: who gets in, and what a header may hold without breaking anything."""

from __future__ import annotations

import random
from base64 import b64encode

import pytest
from flask.testing import FlaskClient
from label_studio_ml.api import init_app
from label_studio_ml.auth import credentials
from label_studio_ml.model import LabelStudioMLBase

USER, PASSWORD = "labeler", "s3cret:with colon"

PROTECTED = [
    ("GET", "/"),
    ("GET", "/versions"),
    ("GET", "/metrics"),
    ("POST", "/setup"),
    ("POST", "/predict"),
    ("GET", "/no-such-page"),
    ("OPTIONS", "/predict"),
]


def basic(text: str | bytes, scheme: str = "Basic") -> str:
    return f"{scheme} {b64encode(text.encode() if isinstance(text, str) else text).decode()}"


@pytest.fixture
def client() -> FlaskClient:
    return init_app(LabelStudioMLBase, basic_auth_user=USER, basic_auth_pass=PASSWORD).test_client()


GOOD = basic(f"{USER}:{PASSWORD}")


@pytest.mark.parametrize(
    "header",
    [
        GOOD,
        GOOD.replace("Basic", "basic"),
        GOOD.replace("Basic ", "BASIC  "),
        GOOD + " ",
    ],
)
def test_the_right_credentials_are_let_in(client: FlaskClient, header: str) -> None:
    assert client.get("/versions", headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        "Basic",
        "Basic ",
        "Basic  ",
        "Basic :",
        "Basic ====",
        "Basic not base64!",
        "Basic YQ",  # padding is missing
        "Basic üñ",
        "Basic \x00",
        "Basic " + "A" * 100_000,
        GOOD + "x",
        GOOD + "=",
        f"{GOOD}, {GOOD}",
        GOOD.removeprefix("Basic "),
        GOOD.replace("Basic", "Bearer"),
        GOOD.replace("Basic", "Basic Basic"),
        "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x",
        'Digest username="labeler", realm="x", nonce="y", uri="/", response="z"',
        "Negotiate YII=",
        "Token 0123456789abcdef",
        basic(""),
        basic(":"),
        basic("no colon"),
        basic(USER),
        basic(f"{USER}:"),
        basic(f":{PASSWORD}"),
        basic(f"{PASSWORD}:{USER}"),
        basic(f"{USER}:{PASSWORD} "),
        basic(f" {USER}:{PASSWORD}"),
        basic(f"{USER}:{PASSWORD.upper()}"),
        basic(f"{USER.upper()}:{PASSWORD}"),
        basic(f"{USER}x:{PASSWORD}"),
        basic(f"{USER}:{PASSWORD[:-1]}"),
        basic(f"{USER}:{PASSWORD}\n"),
        basic(f"{USER}\x00:{PASSWORD}"),
        basic(b"\xff\xfe:\x80"),
        basic(USER.encode() + b":\xff"),
        basic("лабeler:пароль"),
        basic(f"{USER}:{PASSWORD}".encode("utf-16")),
    ],
)
def test_everything_else_is_a_401(client: FlaskClient, header: str | None) -> None:
    # Label Studio's requests and the test client encode a header as Latin-1; the WSGI server decodes it so too.
    environment = {} if header is None else {"HTTP_AUTHORIZATION": header}
    response = client.get("/versions", environ_overrides=environment)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert "basic authentication" in response.get_json()["error"]


def test_a_thousand_random_headers_open_nothing(client: FlaskClient) -> None:
    chance = random.Random(5)
    for _ in range(1000):
        noise = bytes(chance.randrange(256) for _ in range(chance.randrange(60)))
        header = chance.choice([basic(noise), f"Basic {noise.decode('latin-1')}", noise.decode("latin-1")])
        response = client.get("/versions", environ_overrides={"HTTP_AUTHORIZATION": header})
        assert response.status_code in (401, 429), header


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_every_route_but_the_probes_is_protected(client: FlaskClient, method: str, path: str) -> None:
    assert client.open(path, method=method).status_code == 401
    assert client.open(path, method=method, headers={"Authorization": GOOD}).status_code != 401


def test_probes_need_no_credentials(client: FlaskClient) -> None:
    for _ in range(30):
        assert client.get("/health").json == {"model_class": "LabelStudioMLBase", "status": "UP"}
        assert client.get("/health", headers={"Authorization": "Basic nonsense!"}).status_code == 200


@pytest.mark.parametrize("user", ["jürgen", "пользователь", "名"])
@pytest.mark.parametrize("password", ["pässword", "пароль"])
def test_credentials_beyond_ascii(user: str, password: str) -> None:
    known = credentials(user, password)
    assert known is not None
    assert known.accept(basic(f"{user}:{password}"))
    assert not known.accept(basic(f"{user}:"))
    assert not known.accept(basic(f":{password}"))
    assert not known.accept(basic(":"))


def test_label_studio_sends_umlauts_as_latin_1() -> None:
    known = credentials("jürgen", "pässword")
    assert known is not None
    assert known.accept(basic("jürgen:pässword".encode("latin-1")))


@pytest.mark.parametrize(
    ("arguments", "environment", "protected"),
    [
        ((None, None), {}, False),
        ((None, None), {"BASIC_AUTH_USER": "", "BASIC_AUTH_PASS": ""}, False),
        ((None, None), {"BASIC_AUTH_USER": "u", "BASIC_AUTH_PASS": "p"}, True),
        (("", ""), {"BASIC_AUTH_USER": "other", "BASIC_AUTH_PASS": "other"}, False),
        (("u", "p"), {"BASIC_AUTH_USER": "other", "BASIC_AUTH_PASS": "other"}, True),
        (("u", None), {"BASIC_AUTH_PASS": "p"}, True),
    ],
)
def test_arguments_go_before_the_environment(
    arguments: tuple[str | None, str | None],
    environment: dict[str, str],
    protected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    client = init_app(LabelStudioMLBase, *arguments).test_client()
    assert client.get("/versions").status_code == (401 if protected else 200)
    assert client.get("/versions", headers={"Authorization": basic("u:p")}).status_code == 200


@pytest.mark.parametrize(
    ("user", "password", "message"),
    [
        ("u", "", "BASIC_AUTH_USER is set but BASIC_AUTH_PASS is not"),
        ("u", None, "BASIC_AUTH_USER is set but BASIC_AUTH_PASS is not"),
        ("", "p", "BASIC_AUTH_PASS is set but BASIC_AUTH_USER is not"),
        ("a:b", "p", "must not hold a colon"),
    ],
)
def test_half_of_it_stops_the_start(user: str | None, password: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        init_app(LabelStudioMLBase, basic_auth_user=user, basic_auth_pass=password)


def test_the_password_is_in_no_representation() -> None:
    assert "hidden" not in repr(credentials("u", "hidden"))
