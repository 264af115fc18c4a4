"""What S3 services and the way to them complain about, and what to do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from webapp.backup.errors import BackupError
from webapp.core.secrets import mask

_CODES: Final = {
    "NoSuchBucket": "There is no bucket {bucket}. Make it first, or check its name.",
    "InvalidAccessKeyId": "The service does not know this access key. Check it.",
    "SignatureDoesNotMatch": "The secret key is not the one of this access key. Enter it again.",
    "AccessDenied": "The access key may not do this in {bucket}. Allow it to list the bucket, and "
    "to get, put and delete objects under the folder.",
    "AllAccessDisabled": "Access to {bucket} is disabled by the service.",
    "RequestTimeTooSkewed": "The clock of this machine is wrong, so the service says no. Set it.",
    "AuthorizationHeaderMalformed": "The region is not that of the bucket. Enter the right one.",
    "IllegalLocationConstraintException": "The region is not that of the bucket.",
    "PermanentRedirect": "The bucket is in another region. Enter its region and endpoint.",
    "InvalidBucketName": "{bucket} cannot be the name of a bucket.",
    "NoSuchKey": "It is not there any more.",
    "404": "It is not there any more, or the bucket {bucket} does not exist.",
    "403": "The access key may not do this in {bucket}. Check key, secret and rights.",
    "SlowDown": "The service asks to slow down. Try again later.",
    "ServiceUnavailable": "The service is not available at the moment. Try again later.",
    "InternalError": "The service has an error of its own. Try again later.",
    "XMinioStorageFull": "The disk of the service is full. Free some space there.",
    "QuotaExceeded": "The quota of the service is used up. Free some space there.",
    "EntityTooLarge": "The file is larger than the service takes.",
    "NoSuchUpload": "The upload was ended by somebody else. Run the backup again.",
}


@contextmanager
def words(doing: str, config: Mapping[str, Any]) -> Iterator[None]:
    """Turn errors into a BackupError: "Cannot <doing>: …"."""
    from botocore import exceptions as botocore
    from urllib3.exceptions import HTTPError

    try:
        yield
    except botocore.ClientError as error:
        said = error.response.get("Error", {})
        code, message = str(said.get("Code", "")), str(said.get("Message", ""))
        known = _CODES.get(code, "").format_map(config)
        quoted = _quoted(f"{code}: {message}", config)
        raise BackupError(f"Cannot {doing}: {known}\n{quoted}".strip()) from error
    except (botocore.ConnectionError, botocore.HTTPClientError) as error:
        cure = _connection(_quoted(error, config))
        raise BackupError(f"Cannot {doing}: {cure}") from error
    except (botocore.BotoCoreError, HTTPError, OSError) as error:
        raise BackupError(
            f"Cannot {doing}: the connection was lost or gave nonsense.\n{_quoted(error, config)}"
        ) from error
    except (ValueError, KeyError, RuntimeError) as error:
        # the library's way with an endpoint that is none, and with answers that lack something
        raise BackupError(
            f"Cannot {doing}: endpoint, region or what the service answers has no sense.\n"
            f"{type(error).__name__}: {error}"
        ) from error


def _quoted(said: object, config: Mapping[str, Any]) -> str:
    """Return what somebody said, who may repeat the secret key."""
    return mask(str(said), (str(config["secret_key"]),))


def _connection(said: str) -> str:
    lowered = said.lower()
    if "certificate" in lowered or "ssl" in lowered:
        cure = (
            "The service's certificate could not be verified. When it comes from an authority of "
            "your own, enter the certificate authority file."
        )
    elif "timed out" in lowered or "timeout" in lowered:
        cure = "The service does not answer. Check the endpoint, the network and the firewall."
    else:
        cure = "The service cannot be reached. Check the endpoint and that it runs."
    return f"{cure}\n{said}"
