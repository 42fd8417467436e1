#!/usr/bin/env python3
"""Makes the Grafana dashboards beside this file from what is said here.

    generate.py           writes *.json
    generate.py --check   exits with 1 when a file is not what would be written

A dashboard is rows of panels. A panel has a title that says what it shows, a sentence that says
what is well and what to do when it is not, and expressions. Colours mean the same everywhere: green
is well, orange waits for the morning, red does not.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
RUNBOOK = "docs/runbook.md"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
GET = "/yandex.cloud.lockbox.v1.PayloadService/Get"
FAULTS = "UNKNOWN|INTERNAL|UNAVAILABLE|DATA_LOSS|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED"
RATE = "$__rate_interval"


def targets(expressions):
    """Expressions with their legends, as Grafana has them."""
    return [
        {"refId": chr(ord("A") + place), "expr": expr, "legendFormat": legend, "datasource": SOURCE}
        for place, (expr, legend) in enumerate(expressions)
    ]


def steps(*bounds):
    """Colours from the given values on; the first has no value."""
    return {
        "mode": "absolute",
        "steps": [{"color": color, "value": value} for color, value in bounds],
    }


def light(title, tells, expr, unit="none", well=None, mappings=None, decimals=None):
    """A number in a colour."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background", "graphMode": "area", "textMode": "value", "justifyMode": "center",
    }
    defaults = {"unit": unit, "thresholds": well or steps(("blue", None)), "mappings": mappings or []}
    if decimals is not None:
        defaults["decimals"] = decimals
    return {
        "type": "stat", "title": title, "description": tells, "datasource": SOURCE,
        "targets": targets([(expr, "")]), "options": options,
        "fieldConfig": {"defaults": defaults, "overrides": []}, "width": 4, "height": 4,
    }


def graph(title, tells, expressions, unit="short", width=12, stack=False, bound=None, zero=True):
    """Lines over time; `bound` is drawn as a red line."""
    custom = {"lineWidth": 2, "fillOpacity": 40 if stack else 8, "showPoints": "never"}
    if stack:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    defaults = {"unit": unit, "custom": custom}
    if zero:
        defaults["min"] = 0
    if bound is not None:
        custom["thresholdsStyle"] = {"mode": "line"}
        defaults["thresholds"] = steps(("green", None), ("red", bound))
    return {
        "type": "timeseries", "title": title, "description": tells, "datasource": SOURCE,
        "targets": targets(expressions),
        "options": {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "fieldConfig": {"defaults": defaults, "overrides": []}, "width": width, "height": 8,
    }


YES_NO = [{"type": "value", "options": {"0": {"text": "no"}, "1": {"text": "yes"}}}]
BAD_BELOW_ONE = steps(("red", None), ("green", 1))
BAD_ABOVE_ZERO = steps(("green", None), ("red", 1))


def see(*alerts):
    """Where the runbook goes on."""
    return " Runbook: " + ", ".join(f"{RUNBOOK}#{alert.lower()}" for alert in alerts) + "."


def serving():
    return light(
        "Served?", "Whether any node has a leader with a quorum behind it. No: nothing is served."
        + see("LockboxNoLeader"), "max(lockbox_raft_has_leader) or vector(0)",
        well=BAD_BELOW_ONE, mappings=YES_NO)


def nodes_up():
    return light(
        "Nodes that may still fail", "How many more nodes may go before everything stops. 0: the "
        "next failure is an outage." + see("LockboxQuorumAtRisk"),
        'sum(up{job="lockbox"}) - floor(max(lockbox_raft_members{kind="voter"}) / 2) - 1',
        well=steps(("red", None), ("green", 1)))


def errors():
    return light(
        "Calls that we fail", "The part of calls that end by the fault of the servers; what a "
        "caller does wrong is not in it. Well: below 0.1 %." + see("LockboxErrors"),
        "lockbox:rpc_errors:ratio5m", "percentunit",
        steps(("green", None), ("orange", 0.001), ("red", 0.02)), decimals=2)


def read_time():
    return light(
        "Slow reads (p99)", "One read of a payload in a hundred takes longer. Well: tens of "
        "milliseconds." + see("LockboxReadsSlow"),
        f'max(lockbox:rpc_duration_seconds:p99_5m{{method="{GET}"}})', "s",
        steps(("green", None), ("orange", 0.1), ("red", 0.5)), decimals=3)


def sealed():
    return light(
        "Sealed nodes", "Nodes without keys: they serve no secrets." + see("LockboxSealed"),
        "sum(lockbox_keyring_sealed)", well=BAD_ABOVE_ZERO)


def kms_answers():
    return light(
        "KMS answers?", "Whether every node gets answers of the KMS. No: secrets with an own key "
        "are UNAVAILABLE." + see("LockboxKmsUnreachable", "KmsDown"),
        'min(lockbox_kms_breaker_state{state="closed"})', well=BAD_BELOW_ONE, mappings=YES_NO)


def disk_left():
    return light(
        "Room on the fullest disk", "Well: above 15 %. A full disk ends a node."
        + see("LockboxDiskLow", "LockboxDiskAlmostFull"),
        "min(lockbox:disk_available:ratio)", "percentunit",
        steps(("red", None), ("orange", 0.07), ("green", 0.15)), decimals=1)


def certificates_left():
    return light(
        "Next certificate ends in", "The certificate that ends first, of all servers."
        + see("LockboxCertificateEnds", "LockboxCertificateEndsNow"),
        "min(lockbox:certificate_left_seconds:min)", "s",
        steps(("red", None), ("orange", 2 * 86400), ("green", 14 * 86400)), decimals=0)


def audit_written():
    return light(
        "Audit is written?", "No: the server refuses calls because it cannot record them."
        + see("LockboxAuditFailing"),
        "min(lockbox_audit_healthy or kms_audit_healthy)", well=BAD_BELOW_ONE,
        mappings=YES_NO)


def backup_age():
    return light(
        "Age of the backup", "Of the newest that the leader knows of. 0: none is made by itself."
        + see("LockboxBackupOld", "LockboxBackupFails"),
        "(time() - max(lockbox_backup_last_success_timestamp_seconds)) "
        "* (max(lockbox_backup_interval_seconds) > bool 0)", "s",
        steps(("green", None), ("orange", 2 * 86400), ("red", 7 * 86400)), decimals=0)


def kms_backup_age():
    return light(
        "Age of the KMS's backup", "Of the newest that the KMS has written since its start, while "
        "there are commits that it does not have. 0: it has all, or none is made."
        + see("KmsBackupOld", "KmsBackupFails"),
        "max((time() - kms_backup_last_success_timestamp_seconds) "
        "* (kms_backup_last_success_timestamp_seconds > bool 0) "
        "* (kms_commit_sequence > bool kms_backup_last_commit))", "s",
        steps(("green", None), ("orange", 3600), ("red", 7200)), decimals=0)


def growth_refused():
    return light(
        "Growth refused?", "Whether the leader takes nothing that makes the data grow, for want of "
        "room on disks." + see("LockboxGrowthRefused", "LockboxDiskBelowMark"),
        'max(lockbox_disk_growth_refused and on (instance) lockbox_raft_role{role="leader"} == 1) '
        "or vector(0)", well=BAD_ABOVE_ZERO, mappings=YES_NO)


def states_agree():
    return light(
        "Nodes whose states agree", "At the last comparison, or before the first. Fewer than there "
        "are: one that was found wrong has stopped, or nobody can tell which is right."
        + see("LockboxStatesSplit"),
        "sum(lockbox_state_check_split_index <= bool lockbox_state_check_agreed_index)",
        well=steps(("red", None), ("green", 1)))


def epochs():
    return light(
        "Epochs", "In how many epochs of the cluster nodes run. Well: 1."
        + see("LockboxEpochsDiffer"), 'count(count_values("epoch", lockbox_cluster_epoch))',
        well=steps(("green", None), ("red", 2)))


def scrub_age():
    return light(
        "Oldest look at all files", "Since the node that has waited longest has read all its "
        "files, or since its start." + see("LockboxScrubOld"),
        "max(time() - (lockbox_scrub_last_timestamp_seconds > 0 "
        "or lockbox_process_start_timestamp_seconds))", "s",
        steps(("green", None), ("orange", 3 * 86400), ("red", 7 * 86400)), decimals=0)


def alerts_firing():
    return light(
        "Alerts that fire", "Of all rules; the alert's runbook says what to do.",
        'count(ALERTS{alertstate="firing"}) or vector(0)', well=steps(("green", None), ("red", 1)))


def cluster():
    return "Lockbox: cluster", "Is it well? Who leads, who lags, what is served.", [
        [serving(), nodes_up(), errors(), read_time(), sealed(), kms_answers()],
        [disk_left(), certificates_left(), audit_written(), alerts_firing(),
         light("Reads a second", "Payloads that are read.",
               f"sum(rate(lockbox_billed_payload_reads_total[{RATE}]))", "reqps", decimals=1),
         light("Writes a second", "Entries of the log that are committed.",
               f"max(rate(lockbox_raft_committed_index[{RATE}]))", "wps", decimals=1)],
        [backup_age(), kms_backup_age(), growth_refused(), states_agree(), epochs(), scrub_age()],
        [graph("Who leads", "One line for each node: the leader that it knows. Well: all the same "
               "and flat. 0: it knows none." + see("LockboxNodeWithoutLeader"),
               [("lockbox_raft_leader_node_id", "{{instance}} knows")]),
         graph("Part of each node", "1 where a node plays this part; its epoch, which is one more "
               "with each quorum that was lost for good." + see("LockboxEpochsDiffer"),
               [("lockbox_raft_role == 1", "{{instance}} {{role}}"),
                ("lockbox_cluster_epoch", "{{instance}} epoch")])],
        [graph("Terms and changes of the leader", "Elections that began, and leaders that were "
               "found, each hour. Well: 0." + see("LockboxElectionsFrequent"),
               [("max(increase(lockbox_raft_elections_total[1h]))", "elections"),
                ("max(increase(lockbox_raft_leader_changes_total[1h]))", "new leaders")]),
         graph("Behind the leader", "Entries that are not on a member's disk, and that a node has "
               "not applied. Well: tens." + see("LockboxMemberLags", "LockboxApplyLags"),
               [("max by (member) (lockbox_raft_member_lag_entries)", "member {{member}}"),
                ("lockbox_raft_apply_lag_entries", "{{instance}} to apply"),
                ("lockbox_raft_commit_lag_entries", "{{instance}} to commit")])],
        [graph("Calls", "By code. Anything but OK and what callers do wrong is ours.",
               [(f"sum by (code) (rate(lockbox_rpc_requests_total[{RATE}]))", "{{code}}")],
               "reqps", stack=True),
         graph("Reads for each confirmation of leadership", "More is cheaper: reads that wait share "
               "one round.", [("lockbox:reads_per_round:ratio5m", "{{instance}}")])],
        [graph("Memory", "Of each process.",
               [("lockbox_process_resident_memory_bytes", "{{instance}}"),
                ("kms_process_resident_memory_bytes", "{{instance}} KMS")], "bytes", 8),
         graph("CPU", "Cores in use.",
               [(f"rate(lockbox_process_cpu_seconds_total[{RATE}])", "{{instance}}"),
                (f"rate(kms_process_cpu_seconds_total[{RATE}])", "{{instance}} KMS")], width=8),
         graph("Clock skew", "Difference of wall clocks, as the leader sees it. Well: a few "
               "milliseconds." + see("LockboxClockSkew"),
               [("max(lockbox_clock_skew_milliseconds)", "largest")], "ms", 8, bound=500)],
    ]


def rpc():
    return "Lockbox: calls", "Rate, errors and time of each method; what waits.", [
        [errors(), read_time(),
         light("Calls a second", "All methods, all nodes.",
               f"sum(rate(lockbox_rpc_requests_total[{RATE}]))", "reqps", decimals=1),
         light("Under way", "Calls that are being answered.", "sum(lockbox_rpc_in_flight)"),
         light("Fullest queue", "Beyond 100 % calls are refused." + see("LockboxQueueFilling"),
               "max(lockbox_queue_depth / lockbox_queue_depth_max)", "percentunit",
               steps(("green", None), ("orange", 0.5), ("red", 0.8)), decimals=1),
         light("Connections", "Of clients and other nodes.", "sum(lockbox_connections_open)")],
        [graph("Rate by method", "", [(f"sum by (method) (rate(lockbox_rpc_requests_total[{RATE}]))",
                                       "{{method}}")], "reqps", 24, stack=True)],
        [graph("Calls that we fail, by method and code", "By the fault of the servers. Well: "
               "nothing but 0." + see("LockboxErrors"),
               [(f'sum by (method, code) (rate(lockbox_rpc_requests_total{{code=~"{FAULTS}"}}[{RATE}]))'
                 " or vector(0)", "{{method}} {{code}}")], "reqps"),
         graph("Calls that callers do wrong", "NOT_FOUND, PERMISSION_DENIED and the like: a client "
               "that changed, or somebody who tries doors.",
               [(f'sum by (code) (rate(lockbox_rpc_requests_total{{code!~"OK|{FAULTS}"}}[{RATE}]))'
                 " or vector(0)", "{{code}}")], "reqps")],
        [graph("Time of one call in two", "", [("lockbox:rpc_duration_seconds:p50_5m",
                                               "{{method}}")], "s"),
         graph("Time of one call in a hundred", "" + see("LockboxReadsSlow"),
               [("lockbox:rpc_duration_seconds:p99_5m", "{{method}}")], "s")],
        [graph("Queues", "How full each is, of 1." + see("LockboxQueueFilling"),
               [("lockbox_queue_depth / lockbox_queue_depth_max", "{{instance}} {{queue}}")],
               "percentunit", bound=0.8),
         graph("Calls under way", "Those included whose clients have gone.",
               [("lockbox_calls_under_way", "{{instance}}"),
                ("lockbox_rpc_in_flight", "{{instance}} answered")])],
        [graph("Calls that are refused at once", "More came than are answered in time."
               + see("LockboxCallsRefused"),
               [(f"sum by (instance, kind) (rate(lockbox_calls_refused_total[{RATE}]))",
                 "{{instance}} {{kind}}")], "reqps"),
         graph("Calls that are let in", "At one time, at most: found by how long they take.",
               [("lockbox_calls_limit", "{{instance}} {{kind}}")])],
        [graph("Connections", "", [("sum by (instance, listener) (lockbox_connections_open)",
                                    "{{instance}} {{listener}}")], width=8),
         graph("TLS handshakes", "Failures: wrong certificates, or scanners.",
               [(f"sum by (listener, result) (rate(lockbox_tls_handshakes_total[{RATE}]))",
                 "{{listener}} {{result}}")], "ops", 8),
         graph("Open files", "Of those that the system gives." + see("LockboxFilesExhausted"),
               [("lockbox_process_open_files / lockbox_process_open_files_max", "{{instance}}")],
               "percentunit", 8, bound=0.8)],
    ]


def storage():
    p99 = "histogram_quantile(0.99, sum by (instance, le) (rate(%s_bucket[" + RATE + "])))"
    return "Lockbox: storage", "Disks, log, state, snapshots, audit.", [
        [disk_left(),
         light("Slow syncs of the log (p99)", "Each write waits for it on a majority."
               + see("LockboxLogSyncSlow"), "max(lockbox:log_sync_seconds:p99_5m)", "s",
               steps(("green", None), ("orange", 0.03), ("red", 0.1)), decimals=4),
         light("Entries for each sync", "More is cheaper: writes that wait share one sync.",
               "avg(lockbox:log_entries_per_sync:ratio5m)", decimals=2),
         light("Databases that stall", "Writes wait for compaction, or a compaction has failed."
               + see("LockboxStorageStalls"),
               "sum(lockbox_rocksdb_writes_stopped) + sum(lockbox_rocksdb_background_errors)",
               well=BAD_ABOVE_ZERO),
         light("Entries since the oldest snapshot", "" + see("LockboxSnapshotOld"),
               "max(lockbox_raft_last_log_index - lockbox_raft_snapshot_index)", "short",
               steps(("green", None), ("orange", 200000), ("red", 500000))),
         audit_written()],
        [graph("Room", "Of each disk." + see("LockboxDiskLow", "LockboxDiskFullSoon"),
               [("lockbox:disk_available:ratio", "{{instance}} {{directory}}")], "percentunit"),
         graph("What is on it", "Tables of the databases.",
               [("lockbox_rocksdb_table_bytes", "{{instance}} {{database}}"),
                ("kms_rocksdb_table_bytes", "{{instance}} KMS")], "bytes")],
        [graph("Syncs of the log: one in a hundred", "" + see("LockboxLogSyncSlow"),
               [(p99 % "lockbox_log_sync_duration_seconds", "{{instance}}")], "s", bound=0.1),
         graph("Writes to the log", "Entries and syncs a second.",
               [(f"rate(lockbox_log_entries_total[{RATE}])", "{{instance}} entries"),
                (f"rate(lockbox_log_syncs_total[{RATE}])", "{{instance}} syncs")], "ops")],
        [graph("Live of all bytes", "The rest is overwritten and waits for compaction.",
               [("lockbox_rocksdb_live_bytes / clamp_min(lockbox_rocksdb_table_bytes, 1)",
                 "{{instance}} {{database}}")], "percentunit", 8),
         graph("Compaction to do", "" + see("LockboxStorageStalls"),
               [("lockbox_rocksdb_pending_compaction_bytes", "{{instance}} {{database}}")],
               "bytes", 8),
         graph("Files of the first level, jobs", "Tens of files: compaction does not keep up.",
               [("lockbox_rocksdb_level0_files", "{{instance}} {{database}} files"),
                ("lockbox_rocksdb_running_jobs", "{{instance}} {{database}} jobs")], width=8)],
        [graph("Memory of the databases", "",
               [("lockbox_rocksdb_memtable_bytes", "{{instance}} {{database}} memtables"),
                ("lockbox_rocksdb_block_cache_bytes", "{{instance}} block cache")], "bytes"),
         graph("Age of the newest snapshot", "0 where there is none yet." + see("LockboxSnapshotOld"),
               [("(time() - lockbox_raft_snapshot_timestamp_seconds) "
                 "* (lockbox_raft_snapshot_timestamp_seconds > bool 0)", "{{instance}}")], "s")],
        [graph("Audit records", "By result; all but `written` failed their call."
               + see("LockboxAuditFailing"),
               [(f"sum by (instance, result) (rate(lockbox_audit_records_total[{RATE}]))",
                 "{{instance}} {{result}}"),
                (f"sum by (instance, result) (rate(kms_audit_records_total[{RATE}]))",
                 "{{instance}} KMS {{result}}")], "ops", 8),
         graph("Syncs of the audit: one in a hundred", "",
               [(p99 % "lockbox_audit_sync_duration_seconds", "{{instance}}"),
                (p99 % "kms_audit_sync_duration_seconds", "{{instance}} KMS")], "s", 8),
         graph("Copies of the audit", "Records that a receiver does not have yet."
               + see("LockboxAuditNotShipped"),
               [("lockbox_audit_shipping_lag_records", "{{instance}} {{receiver}}"),
                ("kms_audit_shipping_lag_records", "{{instance}} KMS {{receiver}}")], width=8)],
        [graph("Destroyed payloads that may be in files", ""
               + see("LockboxDestroyedPayloadsRemain"),
               [("lockbox_destroyed_payloads_pending", "{{instance}}")]),
         graph("How long the oldest of them waits", "",
               [("lockbox_destroyed_payloads_pending_age_seconds", "{{instance}}")], "s")],
        [graph("Disks that are low", "1 where less than disk.low_bytes is free."
               + see("LockboxDiskBelowMark"), [("lockbox_disk_is_low", "{{instance}}")], width=6),
         graph("Operations that are kept", "With their idempotency records, before compression.",
               [("lockbox_retained_bytes", "{{instance}}")], "bytes", 6),
         graph("Files read to find damage", "Each second." + see("LockboxScrubOld"),
               [(f"rate(lockbox_scrub_bytes_total[{RATE}])", "{{instance}}")], "Bps", 6),
         graph("Comparisons of states", "The last entry at which a node agreed, and at which nobody "
               "was right." + see("LockboxStatesSplit"),
               [("lockbox_state_check_agreed_index", "{{instance}} agreed"),
                ("lockbox_state_check_split_index", "{{instance}} split")], width=6)],
        [graph("Backups", "Length of the last one." + see("LockboxBackupOld"),
               [("lockbox_backup_last_bytes", "{{instance}}")], "bytes"),
         graph("What was not stored", "Backups, and lists of what was destroyed, each hour."
               + see("LockboxBackupFails"),
               [("increase(lockbox_backup_failures_total[1h])", "{{instance}} {{kind}}")])],
    ]


def kms_billing():
    p99 = ("histogram_quantile(0.99, sum by (operation, le) "
           f"(rate(lockbox_kms_call_duration_seconds_bucket[{RATE}])))")
    return "Lockbox: KMS and billing", "The KMS, the keyring, and what is billed.", [
        [kms_answers(), sealed(),
         light("Calls that the KMS fails", "By its own fault." + see("KmsErrors"),
               "kms:rpc_errors:ratio5m", "percentunit",
               steps(("green", None), ("orange", 0.001), ("red", 0.02)), decimals=2),
         light("Slow groups of the ledger (p99)", "" + see("KmsLedgerSlow"),
               "max(kms:ledger_sync_seconds:p99_5m)", "s",
               steps(("green", None), ("orange", 0.03), ("red", 0.1)), decimals=4),
         light("Age of the key of data keys", "" + see("LockboxKeyringOld"),
               "time() - max(lockbox_keyring_active_since_timestamp_seconds"
               '{purpose="wrap-data-keys"})', "s",
               steps(("green", None), ("orange", 400 * 86400)), decimals=0),
         light("Billed operations a second", "Of the KMS.", "sum(kms:billed_operations:rate5m)",
               "ops", decimals=2)],
        [graph("Calls of the nodes to the KMS", "By what was asked and code."
               + see("LockboxKmsErrors"),
               [(f"sum by (operation, code) (rate(lockbox_kms_calls_total[{RATE}]))",
                 "{{operation}} {{code}}")], "ops"),
         graph("Time of one such call in a hundred", "", [(p99 + " >= 0 or on() vector(0)",
                                                         "{{operation}}")], "s")],
        [graph("Breakers", "1 where a node's breaker stands. Well: closed."
               + see("LockboxKmsUnreachable"),
               [("lockbox_kms_breaker_state", "{{instance}} {{state}}")], width=8),
         graph("Calls that were not sent", "The KMS did not answer, or too many waited.",
               [(f"rate(lockbox_kms_calls_not_sent_total[{RATE}])", "{{instance}}")], "ops", 8),
         graph("Calls that wait for the KMS", "",
               [('lockbox_queue_depth{queue=~"kms_calls|kms_waiting"}', "{{instance}} {{queue}}")],
               width=8)],
        [graph("What the KMS is asked, by code", "",
               [(f"sum by (operation, code) (rate(kms_crypto_operations_total[{RATE}]))",
                 "{{operation}} {{code}}")], "ops"),
         graph("The ledger", "Time of a group, and calls in one.",
               [("kms:ledger_sync_seconds:p99_5m", "p99 of a group, seconds"),
                (f"rate(kms_ledger_group_size_sum[{RATE}]) / "
                 f"clamp_min(rate(kms_ledger_group_size_count[{RATE}]), 1e-9)", "calls in one"),
                ('kms_queue_depth{queue="ledger"}', "calls that wait")])],
        [graph("Keys of customers, and their versions", "",
               [("kms_keys", "keys"), ("kms_key_versions", "versions {{status}}")]),
         graph("Keyring", "Keys by stage; more than one that is not retired: a rotation goes on.",
               [('max by (purpose, stage) (lockbox_keyring_keys) > 0', "{{purpose}} {{stage}}")])],
        [graph("Destructions that wait", "Until the cluster has noted them. Well: 0."
               + see("KmsDestructionsWait"), [("kms_destructions_waiting", "{{instance}}")],
               width=8),
         graph("Commits that are reserved", "The KMS stops at the last. 0: the cluster knows "
               "nothing of it." + see("KmsCommitsRunOut"),
               [("kms_commits_reserved", "{{instance}}")], width=8),
         graph("Backups of the KMS", "Each hour, by result, and commits that are in none."
               + see("KmsBackupFails", "KmsBackupOld"),
               [("sum by (result) (increase(kms_backups_total[1h]))", "{{result}}"),
                ("(kms_commit_sequence - kms_backup_last_commit) "
                 "* (kms_backup_last_commit > bool 0)", "commits in none")], width=8)],
        [graph("Rotation: data keys", "" + see("LockboxRewrapStuck"),
               [("max(lockbox_keyring_rewrap_examined)", "looked at"),
                ("max(lockbox_keyring_rewrap_versions)", "of"),
                ("sum(lockbox_keyring_rewrapped_total)", "put under another key"),
                ("max(lockbox_keyring_rewrap_unreadable)", "do not open")], width=8),
         graph("Billed: operations of the KMS", "Completed, each hour.",
               [("sum by (operation) (increase(kms_billed_operations_total[1h]))",
                 "{{operation}}")], width=8, stack=True),
         graph("Billed: reads of payloads", "Completed, each hour.",
               [("sum(increase(lockbox_billed_payload_reads_total[1h]))", "reads")], width=8)],
        [graph("Heads of the KMS's audit", "Each hour, by what came of the look. Well: anchored and "
               "unchanged alone." + see("LockboxKmsAuditContradicts", "LockboxKmsAuditNotAnchored"),
               [("sum by (result) (increase(lockbox_kms_audit_heads_total[1h]))", "{{result}}")],
               width=12),
         graph("Calls that the ledger lost", "Found at the last start of the KMS. Well: 0."
               + see("KmsLedgerLost"), [("kms_ledger_lost_calls", "{{instance}}")], width=12)],
        [graph("Billed: version-hours of secrets", "Since the beginning; one node's word is that "
               "of all.", [("max by (cloud) (lockbox_storage_version_hours_total)", "{{cloud}}")],
               width=8),
         graph("Billed: stored versions of keys", "Each is billed for every hour.",
               [('sum(kms_key_versions{status!="destroyed"})', "versions")], width=8),
         graph("Most read secrets", "The ten that are read most, by id.",
               [(f"topk(10, sum by (secret) (rate(key_payload_operations_rate_created"
                 f'{{service="lockbox"}}[{RATE}])))', "{{secret}}")], "reqps", 8)],
    ]


def chaos():
    return "Lockbox: chaos run", "Everything that moves while nodes are killed, cut off and " \
        "paused. Short intervals; look for what does not come back.", [
        [serving(), nodes_up(), errors(), kms_answers(), sealed(), alerts_firing()],
        [graph("Which processes run", "0: it is down.",
               [('up{job=~"lockbox|lockbox-kms"}', "{{instance}}")], width=8),
         graph("Which nodes have a leader", "All should come back to 1 within seconds of a fault's "
               "end.", [("lockbox_raft_has_leader", "{{instance}}")], width=8),
         graph("Whom they follow", "Two leaders of one term never; two terms for a moment.",
               [("lockbox_raft_leader_node_id", "{{instance}}")], width=8)],
        [graph("Term", "Each step is an election.", [("lockbox_raft_term", "{{instance}}")],
               width=8, zero=False),
         graph("Applied", "A line that stays flat is cut off, or down.",
               [("lockbox_raft_applied_index", "{{instance}}")], width=8, zero=False),
         graph("Behind the leader", "It must come down after each fault.",
               [("max by (member) (lockbox_raft_member_lag_entries)", "member {{member}}"),
                ("lockbox_raft_apply_lag_entries", "{{instance}} to apply")], width=8)],
        [graph("Calls by code", "", [(f"sum by (code) (rate(lockbox_rpc_requests_total[{RATE}]))",
                                      "{{code}}")], "reqps", 12, stack=True),
         graph("Time of one call in a hundred", "",
               [(f"histogram_quantile(0.99, sum by (le) (rate(lockbox_rpc_duration_seconds_bucket[{RATE}])))",
                 "all methods")], "s", 12)],
        [graph("Breakers that are open", "", [('lockbox_kms_breaker_state{state="open"}',
                                              "{{instance}}")], width=6),
         graph("Clock skew", "", [("lockbox_clock_skew_milliseconds", "{{instance}}")], "ms", 6),
         graph("Syncs of the log: one in a hundred", "",
               [("histogram_quantile(0.99, sum by (instance, le) "
                 f"(rate(lockbox_log_sync_duration_seconds_bucket[{RATE}])))", "{{instance}}")],
               "s", 6),
         graph("Starts", "When each process began.",
               [("time() - lockbox_process_start_timestamp_seconds", "{{instance}}"),
                ("time() - kms_process_start_timestamp_seconds", "{{instance}} KMS")], "s", 6)],
        [graph("Queues", "How full each is, of 1.",
               [("max by (queue) (lockbox_queue_depth / lockbox_queue_depth_max)", "{{queue}}")],
               "percentunit", 8),
         graph("Audit", "1 while it is written.",
               [("lockbox_audit_healthy", "{{instance}}"),
                ("kms_audit_healthy", "{{instance}} KMS")], width=8),
         graph("Room on disks", "", [("lockbox:disk_available:ratio",
                                      "{{instance}} {{directory}}")], "percentunit", 8)],
    ]


DASHBOARDS = {
    "cluster": (cluster, "30s", "1h"),
    "rpc": (rpc, "30s", "1h"),
    "storage": (storage, "30s", "3h"),
    "kms-billing": (kms_billing, "30s", "3h"),
    "chaos": (chaos, "5s", "15m"),
}


def dashboard(name):
    """The whole of one, as Grafana imports it."""
    make, refresh, span = DASHBOARDS[name]
    title, description, rows = make()
    panels, top = [], 0
    for row in rows:
        left, height = 0, max(panel["height"] for panel in row)
        assert sum(panel["width"] for panel in row) <= WIDTH, (name, row[0]["title"])
        for panel in row:
            panel["gridPos"] = {"x": left, "y": top, "w": panel.pop("width"), "h": height}
            left += panel["gridPos"]["w"]
            panel.pop("height")
            panel["id"] = len(panels) + 1
            panels.append(panel)
        top += height
    source = {
        "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source",
        "current": {}, "hide": 0,
    }
    links = [
        {"title": DASHBOARDS[other][0]()[0], "type": "link", "url": f"/d/lockbox-{other}",
         "keepTime": True}
        for other in DASHBOARDS if other != name
    ]
    return {
        "uid": f"lockbox-{name}", "title": title, "description": description,
        "tags": ["lockbox"], "timezone": "utc", "editable": True, "graphTooltip": 1,
        "schemaVersion": 39, "version": 1, "refresh": refresh,
        "time": {"from": f"now-{span}", "to": "now"},
        "templating": {"list": [source]}, "links": links, "annotations": {"list": []},
        "panels": panels,
    }


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    wrong = []
    for name in DASHBOARDS:
        path = HERE / f"{name}.json"
        text = json.dumps(dashboard(name), indent=2, ensure_ascii=False) + "\n"
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            wrong.append(path.name)
    if wrong:
        sys.exit(f"not as generate.py writes them: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
