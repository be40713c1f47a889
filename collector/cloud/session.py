"""Who asks EC2: an assumed role, in the account of the inventory, with an external id.

Credentials are botocore's business: a profile with ``role_arn``, ``external_id`` and
``source_profile`` serves this room, the Ansible modules and the inventory plugin alike, and
botocore renews the short session. What it raises becomes one line here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as UnreachableError
from botocore.session import Session

from collector.cloud.errors import CloudError, CloudNotReadyError
from collector.cloud.settings import Settings

CONFIG: Final = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 3})
_HOW: Final = "docs/cloud.md#access says how to set a profile up"
_EXPIRED: Final = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_STRANGE: Final = {
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED: Final = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what botocore raises into a ``CloudError`` of one line."""
    try:
        yield
    except ClientError as error:
        raise _explain(error) from None
    except (UnreachableError, HTTPClientError) as error:
        raise CloudNotReadyError(f"AWS cannot be reached: {_line(error)}") from None
    except BotoCoreError as error:
        raise CloudNotReadyError(f"AWS credentials: {_line(error)}; {_HOW}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _explain(error: ClientError) -> CloudError:
    code = error.response["Error"]["Code"]
    operation = error.operation_name
    if code in _EXPIRED:
        return CloudNotReadyError(
            f"the AWS credentials have expired ({operation}); renew those of the source profile"
        )
    if code in _STRANGE:
        return CloudNotReadyError(f"AWS does not know these credentials ({code}); {_HOW}")
    if code in _DENIED and operation == "AssumeRole":
        return CloudNotReadyError(
            "AWS refuses the role: the external id of the profile is not the one of the role's "
            "trust policy, or the policy does not name this principal; compare them with "
            "roles/cloud_hosts/files/trust.json"
        )
    if code in _DENIED:
        return CloudError(
            f"AWS refuses {operation}; the role's policy is not roles/cloud_hosts/files/policy.json"
        )
    return CloudError(f"{operation}: {_line(error)}")


@dataclass(frozen=True, slots=True)
class Caller:
    """A botocore session whose identity was checked, and the profile's external id."""

    session: Session
    region: str
    external_id: str

    def client(self, service: str) -> Any:
        """Return a client of a service in the lab's region."""
        return self.session.create_client(service, region_name=self.region, config=CONFIG)


def open_session(settings: Settings, session: Session | None = None) -> Caller:
    """Find credentials and refuse any but the configured role's, of the configured account.

    Raises ``CloudNotReadyError``. ``session`` is a test's.
    """
    session = session or Session()
    with plain_errors():
        if session.get_credentials() is None:
            raise CloudNotReadyError(f"no AWS credentials; {_HOW}")
        profile = session.get_scoped_config()
        sts = session.create_client("sts", region_name=settings.region, config=CONFIG)
        identity = sts.get_caller_identity()
    if identity["Account"] != settings.account:
        raise CloudNotReadyError(
            f"these AWS credentials are of account {identity['Account']}, and the inventory's "
            f"cloud_hosts_account is {settings.account}; nothing was looked at"
        )
    role = re.fullmatch(r"arn:[^:]+:sts::\d+:assumed-role/([^/]+)/.+", identity["Arn"])
    if role is None or role[1] != settings.role:
        raise CloudNotReadyError(
            f"these AWS credentials are {identity['Arn']}, not the role {settings.role}: "
            f"AWS_PROFILE must name its profile, with no AWS_ACCESS_KEY_ID beside it; {_HOW}"
        )
    if not profile.get("external_id"):
        raise CloudNotReadyError(f"the AWS profile has no external_id; {_HOW}")
    return Caller(session, settings.region, profile["external_id"])
