"""Backups in an S3 bucket, or in anything that speaks its protocol, through obstore.

Credentials, region and endpoint come from the usual `AWS_…` variables, see docs/guides.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from perdure.kernel.errors import InvalidInput, StorageError

if TYPE_CHECKING:
    from obstore.store import S3Store


class S3Depot:
    """Implements Depot."""

    def __init__(self, url: str) -> None:
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise InvalidInput(f"“{url}” names no bucket", hint="Like this: s3://bucket/prefix")
        self._url, self._prefix = url.rstrip("/"), prefix.strip("/")
        self._store = _connect(bucket)

    @property
    def name(self) -> str:
        return self._url

    def names(self, prefix: str) -> Iterator[str]:
        import obstore

        mine = self._key("")
        try:
            for page in obstore.list(self._store, self._key(prefix), chunk_size=1000):
                for item in page:
                    yield item["path"].removeprefix(mine)
        except Exception as error:
            raise self._error("list", error) from None

    def read(self, key: str) -> bytes | None:
        import obstore

        try:
            return bytes(obstore.get(self._store, self._key(key)).bytes())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._error("read", error) from None

    def write(self, key: str, data: bytes) -> None:
        import obstore

        try:
            # One request, so that it is there whole or not at all.
            obstore.put(self._store, self._key(key), data, use_multipart=False)
        except Exception as error:
            raise self._error("write", error) from None

    def settle(self) -> None:
        """A put that was answered is durable."""

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _error(self, doing: str, error: Exception) -> StorageError:
        # The first line says what happened; what follows is the library's own structures.
        said = str(error).strip().split("\n")[0][:300]
        return StorageError(
            f"could not {doing} the backup in {self._url}: {said}",
            hint="Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, for other providers, "
            "AWS_ENDPOINT_URL.",
        )


def _connect(bucket: str) -> S3Store:
    try:
        from obstore.store import S3Store
    except ImportError:
        raise StorageError(
            "backups in a bucket need obstore, which is not installed",
            hint="Install it: pip install 'perdure[s3]'",
        ) from None
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    # Without TLS only where the owner says so by the endpoint's own scheme.
    plain = endpoint.startswith("http://")
    return S3Store(bucket, client_options={"allow_http": True} if plain else None)
