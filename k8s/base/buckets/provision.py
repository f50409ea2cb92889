"""Make MinIO's buckets and users what this platform needs, from whatever they are: python provision.py POLICIES USERS.

POLICIES holds one `<user>.json` a user, USERS one file `<user>` with the password. The S3 API and MinIO's API of users and policies are all it takes.
"""

import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from minio import Minio, MinioAdmin
from minio.commonconfig import ENABLED, Filter
from minio.credentials.providers import StaticProvider
from minio.error import MinioException, S3Error
from minio.lifecycleconfig import Expiration, LifecycleConfig, NoncurrentVersionExpiration, Rule
from minio.versioningconfig import VersioningConfig

VERSIONED = {"data": True, "pipelines": False, "mlflow": False, "models": True, "predictions": False}
REPLACED_DAYS = 30  # how long a version of an object stays that was overwritten or deleted
EXPIRING = {  # what goes by itself: its name, its prefix, and after how many days
    "pipelines": (("artifacts", "", 180), ("cache", "cache/", 30), ("spark", "spark/", 1)),  # Spark removes its own files, but where it is killed
    "predictions": (("predictions", "", 180),),
}
PATIENCE, PAUSE = 180, 2  # seconds


def main(policies: Path, users: Path) -> None:
    """Bring everything about, or end with one sentence."""
    try:
        client, admin = connect()
        wait(client)
        for bucket in VERSIONED:
            make(client, bucket)
        for policy in sorted(policies.glob("*.json")):
            allow(admin, policy.stem, policy, (users / policy.stem).read_text().strip())
    except KeyError as error:
        sys.exit(f"error: {error.args[0]} is not set: the Secret minio-root and AWS_ENDPOINT_URL_S3 name the server and its administrator")
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} is missing: the Secret minio-users needs one key a policy, with the user's password")
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        sys.exit(f"error: MinIO refused: {error}")


def connect() -> tuple[Minio, MinioAdmin]:
    """Connect as the administrator: to S3, and to the API of users and policies."""
    address = urlsplit(os.environ["AWS_ENDPOINT_URL_S3"])
    credentials = StaticProvider(os.environ["MINIO_ROOT_USER"], os.environ["MINIO_ROOT_PASSWORD"])
    http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=30), retries=False)
    secure = address.scheme == "https"
    return (
        Minio(endpoint=address.netloc, credentials=credentials, region="us-east-1", secure=secure, http_client=http),
        MinioAdmin(endpoint=address.netloc, credentials=credentials, region="us-east-1", secure=secure, http_client=http),
    )


def wait(client: Minio) -> None:
    """Wait until MinIO answers and knows the administrator: it may be about to restart with a new password."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            client.list_buckets()
            return
        except S3Error as error:
            unknown = error.code in ("InvalidAccessKeyId", "SignatureDoesNotMatch")
            reason = "it does not know the administrator of the Secret minio-root: restart MinIO" if unknown else str(error)
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            reason = str(error)
        if time.monotonic() > deadline:
            sys.exit(f"error: MinIO at {os.environ['AWS_ENDPOINT_URL_S3']} was not ready after {PATIENCE} s: {reason}")
        time.sleep(PAUSE)


def make(client: Minio, bucket: str) -> None:
    """Make a bucket with its versioning and its rules, or bring an existing one to them."""
    if not client.bucket_exists(bucket):
        client.make_bucket(bucket)
    if VERSIONED[bucket]:
        client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    found = rules(bucket)
    if found:
        client.set_bucket_lifecycle(bucket, LifecycleConfig(found))
    else:
        client.delete_bucket_lifecycle(bucket)
    print(f"bucket {bucket}: {', '.join(str(rule.rule_id) for rule in found) or 'keeps everything'}")


def rules(bucket: str) -> list[Rule]:
    """List what MinIO removes from a bucket by itself; uploads that were never finished it removes anyway."""
    found = []
    if VERSIONED[bucket]:
        replaced = NoncurrentVersionExpiration(REPLACED_DAYS)
        found.append(Rule(ENABLED, Filter(prefix=""), f"replaced-{REPLACED_DAYS}-days", noncurrent_version_expiration=replaced))
    for what, prefix, days in EXPIRING.get(bucket, ()):
        found.append(Rule(ENABLED, Filter(prefix=prefix), f"{what}-{days}-days", expiration=Expiration(days=days)))
    return found


def allow(admin: MinioAdmin, user: str, policy: Path, password: str) -> None:
    """Make a user with this password and this policy alone, or bring an existing one to them."""
    admin.policy_add(user, policy=json.loads(policy.read_text()))
    admin.user_add(user, password)
    admin.policy_set(user, user=user)
    print(f"user {user}: policy {user}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
