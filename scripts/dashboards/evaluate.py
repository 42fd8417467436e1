#!/usr/bin/env python3
"""Evaluates every expression of every panel and rule in a running Prometheus.

    evaluate.py --prometheus URL --out DIR

Exits with 1 when an expression fails, is empty or is never a number, when a rule has an error, or
when a series is named that docs/reference/metrics.md does not have. Writes a page for each dashboard
with its data into DIR, to be looked at or drawn. The standard library is all that it needs.
"""
import argparse
import json
import math
import pathlib
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPAN_SECONDS = 300
STEP_SECONDS = 2
PREFIXES = ("lockbox", "kms")
#: What Grafana puts in by itself.
VARIABLES = {"$__rate_interval": "20s", "$__interval": "5s", "$__range": "5m"}
#: Series of Prometheus itself.
OWN = {"up", "ALERTS"}


def reference():
    """The names of all series that the reference has."""
    names = set()
    text = (ROOT / "docs/reference/metrics.md").read_text()
    for name, kind in re.findall(r"^\| `([^`]+)` \| (\w+)", text, re.M):
        for prefix in PREFIXES if name.startswith("*") else ("",):
            whole = name.replace("*", prefix, 1)
            ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            names.update(whole + end for end in ends)
    return names


class Prometheus:
    """The API, as far as it is needed."""

    def __init__(self, url):
        self.url = url

    def get(self, path, **parameters):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error).get("error", str(error))) from error

    def range(self, expr):
        now = int(time.time())
        return self.get("query_range", query=expr, start=now - SPAN_SECONDS, end=now,
                        step=STEP_SECONDS)["result"]

    def instant(self, expr):
        return self.get("query", query=expr)["result"]


def with_values(expr):
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    return expr


def selectors(expr):
    """Names of series with the labels that are matched on them."""
    found = []
    for match in re.finditer(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^}]*)\})?", without_texts(expr)):
        name, labels = match.group(1), match.group(2) or ""
        is_series = name in OWN or re.match(r"(lockbox|kms|key)[_:]", name)
        if is_series:
            found.append((name, re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels)))
    return found


def without_texts(expr):
    return re.sub(r'"[^"]*"', '""', expr)


def numbers(series):
    """Values that are numbers."""
    return [float(value) for one in series for _, value in one["values"]
            if math.isfinite(float(value))]


class Findings:
    """What was evaluated, and what is wrong."""

    def __init__(self):
        self.evaluated, self.wrong = 0, []

    def add(self, where, problem):
        self.wrong.append(f"{where}: {problem}")


def check_names(where, expr, known, findings):
    for name, _ in selectors(expr):
        if name not in known:
            findings.add(where, f"{name} is not in the reference")


def panel_data(prometheus, where, panel, known, findings):
    """The series of a panel, in the order of its expressions."""
    data = []
    for target in panel["targets"]:
        expr = with_values(target["expr"])
        findings.evaluated += 1
        check_names(where, expr, known, findings)
        try:
            series = prometheus.range(expr)
        except ValueError as error:
            findings.add(where, f"{expr}: {error}")
            continue
        if not series:
            findings.add(where, f"{expr}: empty")
        elif not numbers(series):
            findings.add(where, f"{expr}: never a number")
        for one in series:
            legend = re.sub(r"\{\{\s*(\w+)\s*\}\}",
                            lambda found, of=one: of["metric"].get(found.group(1), ""),
                            target["legendFormat"])
            data.append({"name": legend.strip() or panel["title"], "values": one["values"]})
    return data


def check_rules(prometheus, known, findings):
    """Recording rules have values; alerts parse, and what they stand on is there."""
    groups = prometheus.get("rules")["groups"]
    if not groups:
        findings.add("rules", "none is loaded")
    for group in groups:
        for rule in group["rules"]:
            where = f"rule {rule['name']}"
            findings.evaluated += 1
            if rule.get("health") != "ok":
                findings.add(where, rule.get("lastError") or f"health is {rule.get('health')}")
            check_names(where, rule["query"], known, findings)
            if rule["type"] == "recording":
                if not prometheus.instant(rule["name"]):
                    findings.add(where, "empty")
                continue
            for name, labels in selectors(rule["query"]):
                matchers = ",".join(f'{label}=~".+"' for label in labels)
                selector = f"{name}{{{matchers}}}" if matchers else name
                if not prometheus.instant(f"count({selector})"):
                    findings.add(where, f"{selector} is not there")


def settled(prometheus):
    """Waits until each rule was evaluated once."""
    deadline = time.monotonic() + 60
    while True:
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        if rules and all(rule.get("health") != "unknown" for rule in rules):
            return
        if time.monotonic() > deadline:
            sys.exit("the rules are not evaluated")
        time.sleep(1)


def write_page(out, name, dashboard, data):
    page = (ROOT / "scripts/dashboards/page.html").read_text()
    panels = [
        {"title": panel["title"], "tells": panel["description"], "type": panel["type"],
         "grid": panel["gridPos"], "field": panel["fieldConfig"]["defaults"], "series": series}
        for panel, series in zip(dashboard["panels"], data)
    ]
    told = json.dumps({"title": dashboard["title"], "description": dashboard["description"],
                       "panels": panels})
    # Nothing in it may end the script.
    (out / f"{name}.html").write_text(page.replace("/*DATA*/null", told.replace("</", "<\\/")))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--prometheus", required=True)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    prometheus, findings = Prometheus(arguments.prometheus), Findings()
    settled(prometheus)
    recorded = {
        rule["name"] for group in prometheus.get("rules")["groups"] for rule in group["rules"]
        if rule["type"] == "recording"
    }
    known = reference() | recorded | OWN
    files = sorted((ROOT / "deploy/dashboards").glob("*.json"))
    panels = 0
    for path in files:
        dashboard = json.loads(path.read_text())
        data = []
        for panel in dashboard["panels"]:
            panels += 1
            where = f"{path.stem}, {panel['title']!r}"
            data.append(panel_data(prometheus, where, panel, known, findings))
        write_page(arguments.out, path.stem, dashboard, data)
    check_rules(prometheus, known, findings)
    for problem in findings.wrong:
        print(problem)
    print(f"{len(files)} dashboards, {panels} panels, {findings.evaluated} expressions, "
          f"{len(findings.wrong)} wrong")
    sys.exit(1 if findings.wrong or not files else 0)


if __name__ == "__main__":
    main()
