"""Every instance beside the others: sidecars that run the same version under the same load should look alike."""

board = Board(
    "interlock-fleet",
    "interlock: sidecar fleet",
    "Each instance (and pod) beside the others: load, memory, versions, conflicts, what it can ask the server.",
)
PER_INSTANCE = "{{instance}} {{pod}}"

board.row("At a glance")
board.stat(
    "Instances that answer",
    """Instances that answer. Compare with the number that should run.""",
    f"sum(interlock_build_info{{{S}}})", steps=[(None, BAD), (1, GOOD)],
)
board.stat(
    "Different versions",
    """Different versions that run now. More than one for longer than a rollout takes: some instance was not restarted.""",
    f"count(count by (version) (interlock_build_info{{{S}}}))", steps=[(None, GOOD), (2, WARN)],
)
board.stat(
    "Restarts",
    """Starts of instances in the chosen time. More than a rollout explains: look at the last lines of their logs and at
    the container's exit code.""",
    f"sum(changes(process_start_time_seconds{{{S}}}[$__range]))", steps=[(None, GOOD), (1, WARN)],
)
board.stat(
    "Sessions, fullest instance",
    """Sessions as a share of the limit, of the fullest instance. Near 100 % its next client is refused while others have
    room: balance the clients.""",
    f"max(interlock_sessions_open{{{S}}} / interlock_sessions_limit{{{S}}})",
    unit="percentunit", steps=[(None, GOOD), (0.8, WARN), (0.95, BAD)],
)
board.stat(
    "Unreachable servers",
    """Connections per second that failed because the server could not be reached. Any: look at the server and at
    upstream.address of the instances below.""",
    f'sum(rate(interlock_connections_total{{{S}, end="unreachable"}}{RATE}))',
    unit="ops", steps=[(None, GOOD), (0.001, BAD)],
)
board.stat(
    "Failed questions",
    """Questions on control connections per second that got no answer. Those instances work with less knowledge: check
    control.url and the account.""",
    f"""sum(rate(interlock_catalog_loads_total{{{S}, result="failed"}}{RATE}))
        + sum(rate(interlock_probes_total{{{S}, result=~"failed|timed_out"}}{RATE}))""",
    unit="ops", steps=[(None, GOOD), (0.01, WARN)],
)
board.table(
    "Instances",
    """One line for each. Sort by a column to find the odd one out: more deadlocks than the others is an application
    with other code; more memory, one with more sessions; another version, a rollout that has not ended.""",
    [
        (f"sum by (instance, pod) (interlock_sessions_open{{{S}}})", "sessions", "short"),
        (f"sum by (instance, pod) (rate(interlock_statements_total{{{S}}}{RATE}))", "statements/s", "ops"),
        (f"sum by (instance, pod) (rate(interlock_conflicts_total{{{S}}}{RATE}))", "conflicts/s", "ops"),
        (f"sum by (instance, pod) (interlock_held_statements{{{S}}})", "held now", "short"),
        (f"sum by (instance, pod) (increase(interlock_server_deadlocks_total{{{S}}}[$__range]))", "deadlocks", "short"),
        (f"sum by (instance, pod) (rate(process_cpu_seconds_total{{{S}}}{RATE}))", "CPU", "percentunit"),
        (f"sum by (instance, pod) (process_resident_memory_bytes{{{S}}})", "memory", "bytes"),
        (f"time() - max by (instance, pod) (process_start_time_seconds{{{S}}})", "uptime", "s"),
        (f"sum by (instance, pod, version) (interlock_build_info{{{S}}})", "up", None),
    ],
    height=9, labels=("instance", "pod", "version"),
)

board.row("Load")
board.graph(
    "Sessions",
    """Per instance. Sidecars of one deployment should be close together; one far above the rest has a leak or a hot
    client.""",
    [(f"sum by (instance, pod) (interlock_sessions_open{{{S}}})", PER_INSTANCE)], width=8, decimals=0,
)
board.graph(
    "Statements",
    """Per second and instance. An instance that falls to zero while its sessions stay is stuck behind its server or
    its application.""",
    [(f"sum by (instance, pod) (rate(interlock_statements_total{{{S}}}{RATE}))", PER_INSTANCE)],
    unit="ops", width=8,
)
board.graph(
    "CPU",
    """Cores per instance. Compare with the container's limit: a throttled sidecar adds latency to every statement.""",
    [(f"sum by (instance, pod) (rate(process_cpu_seconds_total{{{S}}}{RATE}))", PER_INSTANCE)],
    unit="none", width=8,
)
board.graph(
    "Memory",
    """Resident memory per instance. Compare with the container's limit.""",
    [(f"sum by (instance, pod) (process_resident_memory_bytes{{{S}}})", PER_INSTANCE)],
    unit="bytes",
)
board.graph(
    "Own time per statement",
    """Analysis per command and instance. One above the others has ever new digests, or is short of CPU.""",
    [
        (
            f"""sum by (instance, pod) (rate(interlock_statement_seconds_total{{{S}, where="analysis"}}{RATE}))
                / (sum by (instance, pod) (rate(interlock_commands_total{{{S}}}{RATE})) > 0)""",
            PER_INSTANCE,
        ),
    ],
    unit="s",
)

board.row("Conflicts between them")
board.graph(
    "Conflicts",
    """Per second and instance: those that the instance saw among its own sessions. Conflicts between sessions of two
    instances are seen by neither, unless coordination = "server".""",
    [(f"sum by (instance, pod) (rate(interlock_conflicts_total{{{S}}}{RATE}))", PER_INSTANCE)],
    unit="ops", width=8,
)
board.graph(
    "Deadlocks not foreseen",
    """Per second and instance. If all sidecars show them and a single one in front of the same database would not, they
    come from conflicts between instances: use coordination = "server".""",
    [
        (
            f'sum by (instance, pod) (rate(interlock_server_deadlocks_total{{{S}, predicted="no"}}{RATE}))',
            PER_INSTANCE,
        ),
    ],
    unit="ops", width=8,
)
board.graph(
    "Held",
    """Statements held now per instance.""",
    [(f"sum by (instance, pod) (interlock_held_statements{{{S}}})", PER_INSTANCE)], width=8, decimals=0,
)
board.graph(
    "Coordination through the server",
    """With coordination = "server": names of gaps that statements wanted, per second by outcome. timed_out and not_free:
    another instance had the gap, and the statement went on as without interlock. refused: the account may not use
    GET_LOCK. deadlocked: a deadlock in spite of a name; report it.""",
    [(f"sum by (outcome) (rate(interlock_coordination_total{{{S}}}{RATE}))", "{{outcome}}")],
    unit="ops", colours={"deadlocked": BAD, "refused": BAD, "timed_out": WARN, "taken": GOOD, "waited": "blue"},
)
board.graph(
    "Time of coordination",
    """95th percentile of the time that statements waited for a name, the round trip included. It adds to each statement
    that may conflict: compare with what the deadlocks cost before.""",
    [
        (
            f"""histogram_quantile(0.95, sum by (instance, pod, le)
                (rate(interlock_coordination_seconds_bucket{{{S}}}{RATE})))""",
            PER_INSTANCE,
        ),
    ],
    unit="s",
)

board.row("Rollouts")
board.graph(
    "Versions",
    """Instances by version: a rollout is two lines that cross.""",
    [(f"count by (version) (interlock_build_info{{{S}}})", "{{version}}")], decimals=0,
)
board.graph(
    "Configuration",
    """Keys that wait for a restart, and reloads per hour by result. "refused": the new file is faulty and the old one is
    still in force; the log names every fault.""",
    [
        (f"sum by (instance, pod) (interlock_config_pending_keys{{{S}}})", "pending " + PER_INSTANCE),
        (f"sum by (result) (rate(interlock_config_reloads_total{{{S}}}{RATE})) * 3600", "{{result}} per hour"),
    ],
)
