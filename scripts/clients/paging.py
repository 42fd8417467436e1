"""Lists that come in pages: following the tokens, and judging what they lead to."""

from connection import Wrong

# What the API promises of a token (contract §1.14 no. 2).
TOKEN_BYTES_MAX = 100
# More pages than any list here has; a token that leads in circles ends there.
PAGES_MAX = 500


def walk(fetch, size, between=None):
    """All rows, page by page.

    `fetch(size, token)` gives a page's rows and the token of the next one. `between` is called once,
    after the first page. Promises that pages are as large as they were asked for and no larger.
    """
    rows, token, seen = [], "", set()
    for _ in range(PAGES_MAX):
        page, token = fetch(size, token)
        rows.extend(page)
        if len(page) > size:
            raise Wrong(f"a page of {size} has {len(page)} rows")
        if not token:
            return rows
        if len(page) < size:
            raise Wrong(f"a page of {size} has {len(page)} rows, and another page behind it")
        if len(token.encode()) > TOKEN_BYTES_MAX:
            raise Wrong(f"a page token has {len(token.encode())} bytes")
        if token in seen:
            raise Wrong("a page token leads back to where it came from")
        seen.add(token)
        if between is not None:
            between()
            between = None
    raise Wrong(f"a list does not end within {PAGES_MAX} pages")


def same(by_pages, at_once, what):
    """Whether the pages together are the list, row for row."""
    names = [_name(row) for row in by_pages]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise Wrong(f"pages of {what} show twice: {', '.join(doubled)}")
    whole = [_name(row) for row in at_once]
    lost = [name for name in whole if name not in names]
    if lost:
        raise Wrong(f"pages of {what} lose: {', '.join(lost)}")
    if list(by_pages) != list(at_once):
        raise Wrong(f"pages of {what} are not the list that one page shows")


def _name(row):
    """What to call a row by: its id, or all of it when it has none, as an access binding."""
    return getattr(row, "id", "") or " ".join(str(row).split())
