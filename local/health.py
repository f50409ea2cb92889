"""Whether a server on the loopback interface answers."""

import http.client


def answers(port: int, path: str) -> bool:
    """Whether a GET of this path is answered with 200. No proxy is asked, whatever the environment says."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
