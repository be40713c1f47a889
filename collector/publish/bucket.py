"""The calls to S3: list and look, send, copy in place. Nothing is deleted, no ACL is ever set.

Every call names the account that the bucket must belong to, so that a bucket of somebody else's
is never written to. An object carries the SHA-256 of its bytes in its own metadata: the ETag of an
upload in parts is no hash of the content, and S3's own SHA-256 is then one of the parts' hashes.
What arrives is checked by the CRC that boto3 sends along.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

from collector.publish.compare import HEADERS, Stored
from collector.publish.errors import NotReadyError, PublishError
from collector.publish.site import Item, LocalFile, Progress, stamp_of

CONFIG: Final = Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=10)
ONE_COPY: Final = TransferConfig(multipart_threshold=5 * 1024**3)  # what S3 copies in one call
PLACE: Final = "us-east-1"  # any region answers for the identity; used where none is configured
REFUSED_KEYS: Final = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
DENIED: Final = {"403", "AccessDenied", "AllAccessDisabled", "Forbidden"}
CHANGED: Final = {"404", "412", "NoSuchKey", "PreconditionFailed"}


class Bucket:
    """The objects below one prefix of one bucket."""

    def __init__(self, client: Any, name: str, prefix: str, owner: str) -> None:
        self._client = client
        self.name = name
        self.prefix = prefix
        self.owner = owner
        self._at = {"Bucket": name, "ExpectedBucketOwner": owner}

    def look(self, items: Sequence[Item], progress: Progress) -> dict[str, Stored]:
        """Every object below the prefix by its name; headers of those that may be ``items``."""
        found: dict[str, Stored] = {}
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Prefix=self.prefix, **self._at):
            for entry in page.get("Contents", ()):
                found[entry["Key"].removeprefix(self.prefix)] = Stored(entry["Size"])
        for done, item in enumerate(items):
            progress(done, len(items))
            if item.name in found and found[item.name].size == item.size:
                found[item.name] = self._head(item.name)
        return found

    def _head(self, name: str) -> Stored:
        head = self._client.head_object(Key=self.prefix + name, **self._at)
        headers = {one: head[_field(one)] for one in HEADERS if head.get(_field(one))}
        sha256 = head.get("Metadata", {}).get("sha256")
        return Stored(head["ContentLength"], sha256, headers, head["ETag"])

    def send(self, item: Item, sent: Callable[[int], object]) -> None:
        """Upload an object, a large one in parts; ``sent`` is told bytes as they go.

        Raises ``PublishError`` where the file is no longer the one that was hashed.
        """
        with _opened(item) as stream:
            self._client.upload_fileobj(
                stream, self.name, self.prefix + item.name, self._described(item), sent
            )

    def mend(self, item: Item, etag: str) -> None:
        """Give an object its headers by a copy onto itself inside S3; no content travels.

        ``etag`` is that of the object that was looked at: another one is not copied.
        """
        key = self.prefix + item.name
        extra = self._described(item) | {"MetadataDirective": "REPLACE", "CopySourceIfMatch": etag}
        source = {"Bucket": self.name, "Key": key}
        self._client.copy(source, self.name, key, extra, Config=ONE_COPY)

    def _described(self, item: Item) -> dict[str, Any]:
        return {
            **{_field(name): value for name, value in item.headers.items()},
            "Metadata": {"sha256": item.sha256},
            "ExpectedBucketOwner": self.owner,
        }


def _field(header: str) -> str:
    """A header's name as boto3 writes it: ``Content-Type`` is ``ContentType``."""
    return header.replace("-", "")


@contextmanager
def _opened(item: Item) -> Iterator[BinaryIO]:
    if not isinstance(item.source, LocalFile):
        yield io.BytesIO(item.source)
        return
    path = item.source.path
    changed = PublishError(f"{path}: was changed while it was published; run the command again")
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stamp_of(os.fstat(handle)) != item.source.stamp:
            raise changed
        # boto3 closes the stream; the handle outlives it and shows what became of the file.
        with os.fdopen(handle, "rb", closefd=False) as stream:
            yield stream
        if stamp_of(os.fstat(handle)) != item.source.stamp:
            raise changed
    finally:
        os.close(handle)


def open_bucket(name: str, prefix: str, account: str | None) -> Bucket:
    """The bucket, expected to belong to ``account``, else to the account of the credentials."""
    session = boto3.session.Session()
    if account is None:
        region = session.region_name or PLACE
        sts = session.client("sts", region_name=region, config=CONFIG)
        account = str(sts.get_caller_identity()["Account"])
    return Bucket(session.client("s3", config=CONFIG), name, prefix, account)


@contextmanager
def plain_errors(bucket: str) -> Iterator[None]:
    """Turn what boto3 raises into the room's errors: one line each, and no secret in it."""
    try:
        yield
    except NoCredentialsError:
        raise NotReadyError(
            "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    except ParamValidationError as error:
        raise PublishError(" ".join(str(error).split())) from None
    except ClientError as error:
        raise _refusal(error, bucket) from None
    except (BotoCoreError, Boto3Error) as error:
        raise NotReadyError(f"AWS: {' '.join(str(error).split())}") from None


def _refusal(error: ClientError, bucket: str) -> PublishError:
    found = error.response["Error"]
    code, call = found["Code"], error.operation_name
    if code in REFUSED_KEYS:
        return NotReadyError(f"AWS refuses the credentials ({code}, {call}); get new ones")
    if code in DENIED:
        return PublishError(
            f"bucket {bucket!r}: access denied ({call}): it belongs to another account than "
            "--account or that of the credentials, or its policy does not let them; "
            "docs/publishing.md lists what is needed"
        )
    if code == "NoSuchBucket":
        return PublishError(f"bucket {bucket!r}: does not exist; create it, or mend its name")
    if code in CHANGED:
        return PublishError(f"bucket {bucket!r}: an object was changed meanwhile; run it again")
    busy = error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    kind = NotReadyError if busy else PublishError
    return kind(f"bucket {bucket!r}: {call}: {code}: {found.get('Message', '')!r:.300}")
