"""Fetches a page by the standard library, which finds the host's proxy in its environment."""

import urllib.error
import urllib.request

from sigil_actors.sdk import ToolError, Tools, serve

READ_MAX = 64 * 1024  # bytes of a page
TIMEOUT_S = 20

tools = Tools()


@tools.tool()
def fetch(url: str) -> str:  # no `async`: what blocks runs in a thread
    """Fetch a page; answer its beginning."""
    if not url.startswith(("http://", "https://")):
        raise ToolError(f"{url!r} is no address of a page")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as page:  # noqa: S310 - checked above
            return str(page.read(READ_MAX).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        # The proxy says in a header why it refuses.
        reason = error.headers.get("Sigil-Egress-Reason") or error.reason
        raise ToolError(f"{url}: {error.code}: {reason}") from error
    except OSError as error:
        raise ToolError(f"{url}: {error}") from error


if __name__ == "__main__":
    serve(tool=tools)
