"""How this machine proves to Kubeflow who it is: a token, a cookie, or a token made with kubectl's credentials."""

import base64
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from core.errors import UserError

AUDIENCE = "pipelines.kubeflow.org"  # which Kubeflow's API server asks of a ServiceAccount's token
LIFETIME = 3600  # seconds of a token that is made here
RENEWAL = 2700  # seconds after which another one is made
TOKEN, COOKIE, ACCOUNT = "KFP_TOKEN", "KFP_COOKIE", "KFP_LOGIN_AS"


class Login:
    """The credentials of one connection.

    Attributes:
        cookie: Value of the Cookie header, such as `oauth2_proxy_kubeflow=...`; empty for none.
        kind: Where the credentials come from, for error messages; empty without credentials.
    """

    def __init__(self, namespace: str | None, account: str | None = None) -> None:
        """Read the credentials from the environment.

        Args:
            namespace: Namespace of the ServiceAccount.
            account: ServiceAccount for which kubectl's user makes a token; KFP_LOGIN_AS if None.

        Raises:
            UserError: A token is to be made, and there is no namespace or cluster, or kubectl's user may not make it.
        """
        self.cookie = os.environ.get(COOKIE, "").removeprefix("Cookie:").strip()
        self._token = os.environ.get(TOKEN, "").removeprefix("Bearer ").strip()
        self._make: Callable[[], str] | None = None
        self._made_at = 0.0
        account = account or os.environ.get(ACCOUNT)
        if account:
            if not namespace:
                raise UserError(f"no namespace for the ServiceAccount {account}: name your profile's namespace (--namespace or KFP_NAMESPACE)")
            self._make = _token_maker(namespace, account)
        self.kind = ACCOUNT if account else TOKEN if self._token else COOKIE if self.cookie else ""

    def token(self) -> str:
        """Return the bearer token, a new one before the last one expires; empty if there is none."""
        if self._make and time.monotonic() - self._made_at > RENEWAL:
            self._token, self._made_at = self._make(), time.monotonic()
        return self._token

    def refused(self, namespace: str | None) -> str:
        """Say what is wrong with these credentials, and what to do."""
        space = namespace or "NAMESPACE"
        cure = f"let `mlops submit --login-as default-editor --namespace {space}` make one with kubectl's credentials"
        if self.kind == COOKIE:
            return f"the cookie of {COOKIE} is not accepted, it may have expired: log in with a browser again and copy it"
        if not self.kind:
            return f"it asks for a login: set {TOKEN} to a bearer token or {COOKIE} to the browser's cookie, or {cure}"
        claims = _claims(self._token)
        expiry = claims.get("exp")
        if isinstance(expiry, int | float) and expiry < time.time():
            expired = datetime.fromtimestamp(expiry, UTC)
            return f"the token of {self.kind} expired at {expired:%Y-%m-%d %H:%M} UTC: make a new one, or {cure}"
        audience = claims.get("aud", [])
        audiences = [audience] if isinstance(audience, str) else audience
        if str(claims.get("iss")).startswith("https://kubernetes") and AUDIENCE not in audiences:
            command = f"`kubectl -n {space} create token default-editor --audience={AUDIENCE}`"
            return f"the token of {self.kind} is for {', '.join(audiences)} and not for {AUDIENCE}: make it with {command}, or {cure}"
        return f"the token of {self.kind} is not accepted: make a new one, or {cure}"


def _token_maker(namespace: str, account: str) -> Callable[[], str]:
    from kubernetes import client

    from pipelines.cluster import connect, errors

    api = client.CoreV1Api(connect())

    def make() -> str:
        spec = client.V1TokenRequestSpec(audiences=[AUDIENCE], expiration_seconds=LIFETIME)
        request = client.AuthenticationV1TokenRequest(spec=spec)
        with errors():
            try:
                return str(api.create_namespaced_service_account_token(account, namespace, request).status.token)
            except client.ApiException as error:
                if error.status == 404:
                    raise UserError(f"namespace {namespace} has no ServiceAccount {account}: name another one (--login-as)") from error
                raise

    return make


def _claims(token: str) -> dict[str, Any]:
    """Read a JSON Web Token without verifying it; empty if it is none."""
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}
