"""Whoever should not ask is not heard."""

from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from textregion.web.guard import COOKIE, Guard, host_name, is_loopback

TOKEN = "täken & 'quoted'"


def client_of(host: str = "127.0.0.1", token: str | None = None, base: str = "http://127.0.0.1:8765") -> TestClient:
    guard = Guard(PlainTextResponse("heard"), host, token, ["box.example.org"])
    return TestClient(guard, base_url=base, follow_redirects=False)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8765", "localhost:9000", "LOCALHOST", "[::1]:8765", "localhost.", "box.example.org"]
)
def test_the_loopback_is_called_by_its_names(host: str) -> None:
    assert client_of().get("/x", headers={"Host": host}).text == "heard"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.0.7:8765",
        "evil.example@localhost", "localhost/evil.example", "localhost, evil.example", "localhost:8765:1", "[::1", "",
        "127.0.0.1:x",
    ],
)  # fmt: skip
def test_another_name_of_the_loopback_is_refused_as_rebinding_would_use_it(host: str) -> None:
    answer = client_of().get("/x", headers={"Host": host})
    assert (answer.status_code, "heard" in answer.text) == (403, False)


def test_two_hosts_are_refused() -> None:
    answer = client_of().get("/x", headers=[("Host", "localhost"), ("Host", "evil.example")])
    assert answer.status_code == 403


def test_an_open_address_may_be_called_by_any_address_but_not_by_any_name() -> None:
    client = client_of("0.0.0.0", TOKEN)
    heads = {"Authorization": "Bearer x"}
    assert client.get("/x", headers={**heads, "Host": "192.168.0.7:8765"}).status_code == 401  # the token is next
    assert client.get("/x", headers={**heads, "Host": "[fe80::1]:8765"}).status_code == 401
    assert client.get("/x", headers={**heads, "Host": "box.example.org"}).status_code == 401
    assert client.get("/x", headers={**heads, "Host": "evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_other_pages_of_the_browser_are_refused(method: str, headers: dict[str, str]) -> None:
    assert client_of().request(method, "/api/x", headers=headers).status_code == 403


def test_the_own_page_and_links_to_it_are_heard() -> None:
    client = client_of()
    own = {"Origin": "http://127.0.0.1:8765", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/x", headers=own).text == "heard"
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=link).text == "heard"
    assert client.post("/", headers=link).status_code == 403


def test_every_answer_carries_the_safe_headers() -> None:
    for answer in (client_of().get("/"), client_of().get("/", headers={"Host": "evil.example"})):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
        assert "http" not in policy and "unsafe" not in policy


def test_nothing_but_the_way_in_is_shown_without_the_token() -> None:
    client = client_of(token=TOKEN)
    assert client.get("/").status_code == 401 and "token" in client.get("/").text
    assert "heard" not in client.get("/").text
    assert client.get("/api/info").json()["error"].startswith("The token is missing or wrong")
    for wrong in ("", "x", TOKEN + "x", TOKEN[:-1], TOKEN.upper()):
        assert client.get("/", params={"token": wrong}).status_code == 401
        assert client.get("/api/info", params={"token": TOKEN}).status_code == 401  # only the page takes it so
        bearer = {"Authorization": f"Bearer {wrong}".encode()}
        assert client.get("/api/info", headers=bearer).status_code == 401
        assert client.get("/api/info", headers={"Cookie": f"{COOKIE}=x"}).status_code == 401


def test_the_token_becomes_a_cookie_that_scripts_cannot_read_and_leaves_the_address() -> None:
    client = client_of(token=TOKEN)
    answer = client.get("/", params={"token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and "secure" not in cookie
    assert client.get("/api/info").text == "heard"
    assert client_of(token="plain").get("/api/x", headers={"Authorization": "bearer plain"}).text == "heard"


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("hmac.compare_digest", lambda one, other: seen.append((one, other)) or False)
    client_of(token="plain").get("/api/x", headers={"Authorization": "Bearer plain"})
    assert (b"plain", b"plain") in seen


def test_what_is_a_loopback_and_what_a_host() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.8.9.1", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.7", "box")] == [False] * 4
    assert host_name("[::1]:80") == "::1" and host_name("Box.Example:1") == "box.example" and host_name("a b") == ""
