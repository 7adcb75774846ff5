"""What no packaged checker knows: alerts have runbooks, queries name metrics that exist, every
skipped check has its reason, what is not validated is on a list, and Prometheus gets its rules.

    lint.py sources K8S RUNBOOKS RULES   reads k8s/, writes the rules for promtool to RULES
    lint.py validated REPORT             reads what kubernetes-validate said
"""

import json
import pathlib
import re
import sys

import yaml

# Kinds whose schemas are not Kubernetes' own: the operators check them when they are applied.
FOREIGN_KINDS = {
    ("ServiceMonitor", "monitoring.coreos.com/v1"),
    ("PrometheusRule", "monitoring.coreos.com/v1"),
    ("ExternalSecret", "external-secrets.io/v1"),
    ("GRPCRoute", "gateway.networking.k8s.io/v1"),
}

STRINGS = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
SELECTORS = re.compile(r"\{[^{}]*\}")
RANGES = re.compile(r"\[[^\]]*\]")
GROUPINGS = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
NAMES = re.compile(r"(?<![\w:.$])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])")
WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
HISTOGRAM = re.compile(r"_(bucket|count|sum)$")


def metrics_of(query):
    """The names of the series that a PromQL query reads."""
    for pattern in (STRINGS, SELECTORS, RANGES, GROUPINGS):
        query = pattern.sub(" ", query)
    return {name for name in NAMES.findall(query) if name not in WORDS}


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def rules_of(document):
    return [rule for group in document["spec"]["groups"] for rule in group["rules"]]


def dashboard_queries(path):
    board = json.loads(path.read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield f"{path.name}: {panel['title']}", target["expr"]
    for annotation in board["annotations"]["list"]:
        yield f"{path.name}: annotation {annotation['name']}", annotation["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            series = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"]["query"])
            yield f"{path.name}: variable {variable['name']}", series[1]


def listed_metrics(path):
    lines = (line.strip() for line in path.read_text().splitlines())
    return {line.split()[-1] for line in lines if line and not line.startswith("#")}


def check_metrics(k8s, rules):
    monitoring = k8s / "components" / "monitoring"
    queries = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules]
    queries += dashboard_queries(monitoring / "dashboard.json")
    for path in sorted((k8s / "components" / "scale-by-calls").glob("*.yaml")):
        for name in re.findall(r"metric:\s+name: (\w+)", path.read_text()):
            queries.append((path.name, name))
    recorded = {rule["record"] for rule in rules if "record" in rule}
    listed = listed_metrics(k8s / "metrics.txt")
    used = set()
    for where, query in queries:
        for name in metrics_of(query):
            if name in recorded:
                continue
            family = name if name in listed else HISTOGRAM.sub("", name)
            used.add(family)
            if family not in listed:
                yield f"{where}: the metric {name} is not in k8s/metrics.txt"
    for name in sorted(listed - used):
        yield f"k8s/metrics.txt: {name} is used by no rule and no panel"


def check_runbooks(runbooks, rules):
    alerts = {rule["alert"]: rule for rule in rules if "alert" in rule}
    for name, rule in alerts.items():
        page = runbooks / f"{name}.md"
        url = rule["annotations"].get("runbook_url", "")
        if not url.endswith(f"/docs/runbooks/{name}.md"):
            yield f"{name}: its runbook_url does not end in docs/runbooks/{name}.md"
        if rule["labels"].get("severity") not in ("page", "ticket"):
            yield f"{name}: severity is page or ticket"
        if not page.is_file():
            yield f"{name}: there is no {page}"
            continue
        text = page.read_text()
        for heading in ("## Meaning", "## Impact", "## Diagnosis", "## Mitigation"):
            if heading not in text:
                yield f"{page}: no section “{heading}”"
    for page in sorted(runbooks.glob("*.md")):
        if page.stem != "README" and page.stem not in alerts:
            yield f"{page}: no alert has this name"


def check_tests(k8s, rules):
    """Each alert has a test in which it fires."""
    tested = set()
    for test in documents(k8s / "tests" / "rules_test.yaml")[0]["tests"]:
        for case in test.get("alert_rule_test", []):
            if case["exp_alerts"]:
                tested.add(case["alertname"])
    for rule in rules:
        if "alert" in rule and rule["alert"] not in tested:
            yield f"k8s/tests/rules_test.yaml: {rule['alert']} fires in no test"


def check_skips(k8s):
    """A check that is skipped says why, beside it."""
    for path in sorted(k8s.rglob("*.yaml")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            skip = re.search(r"checkov\.io/skip\d+: *(.*)", line)
            if skip and not re.fullmatch(r"CKV2?_K8S_\d+=\w.{15,}", skip[1]):
                yield f"{path}:{number}: expected CKV_K8S_n=the reason, in words"


def sources(k8s, runbooks, rules_file):
    document = documents(k8s / "components" / "monitoring" / "rules.yaml")[0]
    rules = rules_of(document)
    rules_file.write_text(yaml.safe_dump(document["spec"], sort_keys=False, width=1000))
    problems = [
        *check_metrics(k8s, rules),
        *check_runbooks(runbooks, rules),
        *check_tests(k8s, rules),
        *check_skips(k8s),
    ]
    alerts = sum("alert" in rule for rule in rules)
    return problems, f"{alerts} alerts, {len(rules) - alerts} recorded series"


def validated(report):
    problems = []
    for line in report.read_text().splitlines():
        if not line.startswith(("WARN", "ERROR")):
            continue
        unknown = re.search(r"schema for kind (\w+) with api version (\S+)", line)
        if not unknown or unknown.groups() not in FOREIGN_KINDS:
            problems.append(line)
    return problems, "only operators' kinds are unknown"


def main():
    command, *paths = sys.argv[1:]
    run = {"sources": sources, "validated": validated}[command]
    problems, summary = run(*map(pathlib.Path, paths))
    for problem in problems:
        print(f"    {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"    {summary}")


main()
