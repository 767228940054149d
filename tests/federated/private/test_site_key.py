from pathlib import Path

import pytest

from federated.private import site_key
from medimg.errors import InputError


def test_a_key_is_kept_from_others_and_found_again(site):
    data = site().data
    file = Path(data.folder) / site_key.FILE
    assert file.stat().st_mode & 0o077 == 0
    assert len(file.read_bytes()) == site_key.BYTES
    assert site_key.with_key(data) == data
    # Its name does not give it away.
    assert data.key
    assert data.key not in file.read_bytes().hex()


def test_a_key_that_is_gone_does_not_come_back(site):
    data = site().data
    (Path(data.folder) / site_key.FILE).unlink()
    assert site_key.with_key(data).key != data.key


def test_a_fixed_seed_gives_every_site_a_key_of_its_own(site):
    keys = [site(name, fixed=3).data.key for name in ("a", "b", "a")]
    assert keys[0] == keys[2] != keys[1]
    assert site("a", fixed=4).data.key != keys[0]


def test_half_a_key_is_refused(site):
    data = site().data
    (Path(data.folder) / site_key.FILE).write_bytes(b"short")
    with pytest.raises(InputError, match="not a whole key"):
        site_key.with_key(data)


def test_a_key_never_meets_other_records(site):
    data = site(rows=60, patients=30).data
    file = Path(data.folder) / "targets.bin"
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="the records have changed"):
        site_key.with_key(data)
