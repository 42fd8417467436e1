"""The judges of the clients find what is planted: an RPC that nobody calls, a row that is lost."""

import unittest
from types import SimpleNamespace
from unittest import mock

from connection import Wrong
from coverage import Coverage, Rpc, in_description
from ledger import Change, Ledger, judge
from paging import TOKEN_BYTES_MAX, same, walk

GET, LIST, DELETE = (Rpc("node", "a.v1.ThingService", name) for name in ("Get", "List", "Delete"))


class Coverages(unittest.TestCase):
    def complaints(self, called, served=(GET, LIST, DELETE), known=None, not_served=(DELETE,)):
        coverage = Coverage()
        for rpc, code in called:
            coverage.saw(rpc, code)
        known = served if known is None else known
        return coverage.complaints(set(served), set(known), set(not_served))

    def test_everything_was_called(self):
        called = [(GET, "NOT_FOUND"), (GET, "OK"), (LIST, "OK"), (DELETE, "UNIMPLEMENTED")]
        self.assertEqual(self.complaints(called), [])

    def test_what_nobody_calls(self):
        found = self.complaints([(GET, "OK"), (LIST, "NOT_FOUND"), (DELETE, "UNIMPLEMENTED")])
        self.assertEqual(len(found), 1)
        self.assertRegex(found[0], "List was never called with success .*NOT_FOUND")
        found = self.complaints([(GET, "OK"), (LIST, "OK")])
        self.assertRegex(found[0], "Delete is listed as not served, and was not tried")

    def test_what_is_served_after_all(self):
        called = [(GET, "OK"), (LIST, "OK"), (DELETE, "OK")]
        self.assertRegex(self.complaints(called)[0], "Delete is listed as not served, and answers")

    def test_what_only_one_side_knows(self):
        called = [(GET, "OK"), (LIST, "OK"), (DELETE, "UNIMPLEMENTED")]
        found = self.complaints(called, known=(GET, DELETE))
        self.assertRegex(found[0], "the SDK does not know it")
        found = self.complaints(called, served=(GET, DELETE), known=(GET, LIST, DELETE))
        self.assertRegex(found[0], "List was called, and nobody serves it")
        found = self.complaints([(GET, "OK")], served=(GET,), known=(GET,))
        self.assertRegex(found[0], "Delete is listed, and there is no such RPC")

    def test_a_description(self):
        def described(identifier, service="a.v1.ThingService"):
            return {"paths": {"/a": {"get": {"operationId": identifier, "tags": [service]}}}}

        self.assertEqual(in_description("node", described("ThingService_Get_get")), {GET})
        with self.assertRaisesRegex(Wrong, "under a.v1.OtherService"):
            in_description("node", described("ThingService_Get_get", "a.v1.OtherService"))
        ours = described("AccessService_Explain_post", "lockbox.iam.v1.AccessService")
        self.assertEqual(in_description("node", ours), set())


class Pages(unittest.TestCase):
    def fetch(self, pages):
        """The pages in turn; the token is the number of the next one."""

        def fetch(_, token):
            return pages[int(token or 0)]

        return fetch

    def test_whole_lists(self):
        pages = [(["a", "b"], "1"), (["c", "d"], "2"), (["e"], "")]
        between = mock.Mock()
        self.assertEqual(walk(self.fetch(pages), 2, between), list("abcde"))
        between.assert_called_once_with()
        self.assertEqual(walk(self.fetch([([], "")]), 2), [])

    def test_wrong_pages(self):
        for pages, wrong in (
            ([(["a", "b", "c"], "")], "has 3 rows"),
            ([(["a"], "1"), (["b"], "")], "another page behind it"),
            ([([], "1"), (["b"], "")], "another page behind it"),
            ([(["a", "b"], "1"), (["c", "d"], "1")], "leads back"),
            ([(["a", "b"], "0" * TOKEN_BYTES_MAX + "1"), (["c"], "")], "101 bytes"),
        ):
            with self.subTest(wrong), self.assertRaisesRegex(Wrong, wrong):
                walk(self.fetch(pages), 2)

    def test_pages_and_the_list(self):
        rows = [SimpleNamespace(id=name) for name in "abc"]
        same(rows, rows, "things")
        for by_pages, wrong in (
            (rows[:2], "lose: c"),
            ([*rows, rows[0]], "twice: a"),
            (rows[::-1], "not the list"),
            ([*rows, SimpleNamespace(id="d")], "not the list"),
        ):
            with self.subTest(wrong), self.assertRaisesRegex(Wrong, wrong):
                same(by_pages, rows, "things")


class Ledgers(unittest.TestCase):
    def test_histories(self):
        judge("r", ["1", "2", "3"], ["3", "2", "1"], "here")
        for listed, wrong in (
            (["3", "1"], "has lost 2"),
            (["4", "3", "2", "1"], "has 4, which nobody was told of"),
            (["2", "3", "1"], "another order"),
            (["3", "3", "2", "1"], "another order"),
        ):
            with self.subTest(wrong), self.assertRaisesRegex(Wrong, wrong):
                judge("r", ["1", "2", "3"], listed, "here")

    def test_what_is_followed_is_compared_until_it_is_gone(self):
        ledger, listed = Ledger(), [SimpleNamespace(id="1")]
        ledger.follow("r", lambda services, size: listed)
        with self.assertRaisesRegex(Wrong, "which nobody was told of"):
            ledger.check(None, "here")
        ledger.acknowledged(self.change("1", "1"), ["r", "not followed"])
        self.assertEqual(ledger.check(None, "here"), 1)
        listed.clear()
        with self.assertRaisesRegex(Wrong, "has lost 1"):
            ledger.check(None, "here")
        ledger.gone("r")
        self.assertEqual(ledger.check(None, "here"), 0)

    def test_repeats(self):
        ledger = Ledger()
        ledger.acknowledged(self.change("1", "1"), [])
        self.assertEqual(ledger.repeat(), 1)
        ledger.acknowledged(self.change("2", "3"), [])
        with self.assertRaisesRegex(Wrong, "is answered with 3"):
            ledger.repeat()

    def change(self, operation_id, repeated_as):
        service = mock.Mock()
        service.repeat.return_value = SimpleNamespace(id=repeated_as)
        return Change(service, "Change", object(), "key", operation_id)
