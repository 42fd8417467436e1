"""The demo's judges find what is planted: a stale read, a mixed-up payload, a wrong bill."""

import unittest
from unittest import mock

from yandex.cloud.lockbox.v1.payload_pb2 import Payload

import bill
from connection import Wrong
from race import History, check_payload, digest


def payload(number, of):
    """A payload that says to be version `number` and has the digest of version `of`."""
    entries = [
        Payload.Entry(key="login", text_value="demo"),
        Payload.Entry(key="number", text_value=str(number)),
        Payload.Entry(key="digest", binary_value=digest(of)),
    ]
    return Payload(version_id="v", entries=entries)


class Reads(unittest.TestCase):
    def setUp(self):
        self.history = History()
        for number in (1, 2):
            self.history.ask(number)
            self.history.acknowledge(number, f"v{number}")
        self.history.ask(3)

    def test_what_may_be_seen(self):
        self.history.saw(2, 2, "v2")
        self.history.saw(2, 3, "v3")
        self.assertEqual(self.history.floor(), 3)
        self.history.acknowledge(3, "v3")
        self.history.saw_id(2, "v3")
        self.history.settle()
        self.assertEqual(self.history.acknowledged(), ["v1", "v2", "v3"])

    def test_an_older_version_than_the_acknowledged_one(self):
        with self.assertRaisesRegex(Wrong, "stale"):
            self.history.saw(2, 1, "v1")
        with self.assertRaisesRegex(Wrong, "stale"):
            self.history.saw_id(2, "v1")

    def test_an_older_version_than_somebody_has_seen(self):
        self.history.saw(2, 3, "v3")
        with self.assertRaisesRegex(Wrong, "stale"):
            self.history.saw(self.history.floor(), 2, "v2")

    def test_a_version_that_was_not_asked_for(self):
        with self.assertRaisesRegex(Wrong, "before it was asked for"):
            self.history.saw(2, 4, "v4")

    def test_a_version_under_two_ids(self):
        with self.assertRaisesRegex(Wrong, "for another"):
            self.history.saw(2, 2, "other")
        self.history.saw(2, 3, "v3")
        with self.assertRaisesRegex(Wrong, "for another"):
            self.history.acknowledge(3, "v3-again")

    def test_a_current_version_that_nobody_was_told_of(self):
        self.history.saw_id(2, "stray")
        with self.assertRaisesRegex(Wrong, "stray"):
            self.history.settle()

    def test_a_current_version_that_is_judged_later(self):
        self.history.saw_id(2, "v3")
        self.history.acknowledge(3, "v3")
        self.history.ask(4)
        self.history.saw_id(4, "v4")
        self.history.acknowledge(4, "v4")
        self.history.settle()
        self.history.saw_id(6, "v5")
        self.history.acknowledge(5, "v5")
        with self.assertRaisesRegex(Wrong, "stale"):
            self.history.settle()

    def test_payloads(self):
        carried = {"login": "demo"}
        self.assertEqual(check_payload(payload(7, of=7), carried), 7)
        with self.assertRaisesRegex(Wrong, "digest"):
            check_payload(payload(7, of=6), carried)
        with self.assertRaisesRegex(Wrong, "login"):
            check_payload(payload(7, of=7), {"login": "other"})


class Bills(unittest.TestCase):
    def check(self, billed, not_billed=0, subject="serviceAccount:a"):
        expected = bill.Expected()
        expected.create_with_version()
        expected.read_payload()
        line = {"key_id": "k", "subject": subject, "not_billed": 0}
        lines = [
            dict(line, operation="GenerateDataKey", billed=1),
            dict(line, operation="Decrypt", billed=billed, not_billed=not_billed),
            dict(line, key_id="other", operation="Decrypt", billed=9),
        ]
        environment = mock.Mock()
        environment.service_account.return_value = "a"
        with mock.patch.object(bill, "_report", return_value={"lines": lines}):
            return bill.check(environment, "k", expected)

    def test_the_exact_bill(self):
        self.assertEqual(self.check(1), "1 Decrypt, 1 GenerateDataKey")

    def test_wrong_bills(self):
        for wrong in (
            {"billed": 0},
            {"billed": 2},
            {"billed": 1, "not_billed": 1},
            {"billed": 1, "subject": "serviceAccount:b"},
        ):
            with self.subTest(wrong), self.assertRaises(Wrong):
                self.check(**wrong)
