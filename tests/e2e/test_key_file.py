"""The keyring on one machine: a file for its owner's eyes only, and the way on when a link has ended with its keys."""

import contextlib


def test_the_operator_gets_a_link_again_when_two_rotations_have_ended_the_first(local_gate):
    gate = local_gate().start()
    asked = gate.client("agent").asked()
    link = gate.link(asked, "bob")
    gate.rotate()
    gate.rotate()
    assert link.page().status in (404, 410)
    ran = gate.cli("link", asked["request_id"], "--client", "agent", "--reviewer", "bob")
    assert ran.returncode == 0 and "/r/" in ran.stdout, ran


def test_the_keyring_is_for_its_owners_eyes_only(local_gate):
    gate = local_gate().start()
    secret = gate.secret("agent")
    gate.rotate()
    keyrings = [path for path in gate.data.rglob("*") if path.is_file() and "key" in path.name.lower()]
    assert keyrings
    for path in keyrings:
        assert path.stat().st_mode & 0o777 == 0o600, path
    for path in gate.data.rglob("*"):
        # The gate goes on writing: a file may have got its last name since it was listed.
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            assert secret.encode() not in path.read_bytes(), path
