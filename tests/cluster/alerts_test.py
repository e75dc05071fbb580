"""docker/alerts.yml: every alarm speaks of metrics and labels that the server has, and docs/operating.md says what to do about it.

That docs/operating.md's table has just the server's metrics is checked by tests/integration/test_operations.py.
"""

import pathlib
import re
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MANUAL = (ROOT / "docs/operating.md").read_text()
# Prometheus' own, of every target.
OF_PROMETHEUS: dict[str, set[str]] = {"up": set()}
LABELS_OF_PROMETHEUS = {"job", "instance", "le"}
FUNCTIONS = {"sum", "by", "rate", "increase", "changes", "min_over_time", "histogram_quantile"}


def documented():
    """{metric: its labels} of the manual's table."""
    metrics = {}
    for names, labels in re.findall(r"^\| ((?:`(?:shira|process)_\w+`(?:, )?)+) \| (.*?) \|", MANUAL, re.M):
        for name in re.findall(r"`(\w+)`", names):
            metrics[name] = set(re.findall(r"`(\w+)`", labels))
    return metrics


def rules():
    groups = yaml.safe_load((ROOT / "docker/alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def words(expression):
    """The names of an expression, without its texts, durations and numbers."""
    return set(re.findall(r"[a-z_]\w*", re.sub(r'"[^"]*"|\[[^\]]*\]|\b\d\S*', " ", expression)))


class AlertsTest(unittest.TestCase):
    def test_every_name_is_a_metric_or_a_label_of_it(self):
        metrics = documented() | OF_PROMETHEUS
        self.assertGreater(len(metrics), 30)
        for rule in rules():
            found = {re.sub(r"_(bucket|sum|count)$", "", word) for word in words(rule["expr"])} - FUNCTIONS
            used = found & set(metrics)
            self.assertTrue(used, rule["alert"])
            labels = LABELS_OF_PROMETHEUS.union(*(metrics[name] for name in used))
            self.assertLessEqual(found - used, labels, rule["alert"])

    def test_every_alarm_says_how_bad_it_is_and_of_whom(self):
        for rule in rules():
            self.assertIn(rule["labels"]["severity"], ("warning", "critical"), rule["alert"])
            self.assertIn("$labels.instance", rule["annotations"]["summary"], rule["alert"])

    def test_a_summary_names_labels_that_its_alarm_has(self):
        for rule in rules():
            grouped = re.search(r"by \(([^)]*)\)", rule["expr"])
            if grouped:
                kept = set(re.split(r", *", grouped[1]))
                self.assertLessEqual(set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])), kept, rule["alert"])

    def test_the_manual_says_what_to_do(self):
        section = MANUAL.split("\n## Alarms\n")[1].split("\n## ")[0]
        self.assertEqual(re.findall(r"^\| `(\w+)` \|", section, re.M), [rule["alert"] for rule in rules()])


if __name__ == "__main__":
    unittest.main()
