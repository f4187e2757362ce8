"""Is it healthy, what does it cost, what does it save?"""

board = Board(
    "interlock-overview",
    "interlock: overview",
    "Is interlock healthy, what does it cost, and what does it save: deadlocks averted beside deadlocks that happened.",
)

board.row("At a glance")
board.stat(
    "Instances up",
    """Instances that Prometheus can scrape. If one is missing, look at its process and at /healthz; its clients
    cannot reach the database through it.""",
    f"sum(up{{{S}}})", steps=[(None, BAD), (1, GOOD)],
)
board.stat(
    "Sessions",
    """Clients that are logged in now. Near frontend.max_connections the next client gets error 1040: raise the limit
    or look for a leak of connections.""",
    f"sum(interlock_sessions_open{{{S}}})",
)
board.stat(
    "Deadlocks averted",
    """Conflicts in the chosen time that would have become deadlocks and did not, because interlock held or rejected a
    statement. Zero with action = flag; then see "would hold" on the Conflicts dashboard.""",
    f'sum(increase(interlock_predictions_total{{{S}, kind=~"hazard|deadlock", outcome="averted"}}[$__range]))',
    decimals=0, steps=[(None, GOOD)],
)
board.stat(
    "Deadlocks that happened",
    """Errors 1213 that the server sent to clients in the chosen time. If there are any, open the Conflicts dashboard:
    it says on which tables, and whether they were foreseen.""",
    f"sum(increase(interlock_server_deadlocks_total{{{S}}}[$__range]))",
    decimals=0, steps=[(None, GOOD), (1, WARN), (100, BAD)],
)
board.stat(
    "Oldest transaction",
    """Age of the oldest open transaction that has locks. If it grows, some client has forgotten its COMMIT: find it
    under /api/transactions, and end it with KILL if it must go.""",
    f"max(interlock_oldest_transaction_seconds{{{S}}})",
    unit="s", steps=[(None, GOOD), (60, WARN), (600, BAD)],
)
board.stat(
    "Statements without advice",
    """Share of statements that were forwarded although the model lacked something. Under 5 % is usual; if it is more,
    the panel "Forwarded without advice" says what was lacking.""",
    f"""sum(rate(interlock_fail_open_total{{{S}}}{RATE}))
        / clamp_min(sum(rate(interlock_statements_total{{{S}}}{RATE})), 1e-9)""",
    unit="percentunit", steps=[(None, GOOD), (0.05, WARN), (0.25, BAD)],
)

board.row("What it saves")
board.graph(
    "Deadlocks: averted beside happened",
    """Per second. Averted should carry the weight. If "happened" grows while "averted" does not, either action is flag,
    or the model misses a pattern: see "Prediction quality" on the Conflicts dashboard.""",
    [
        (f'sum(rate(interlock_predictions_total{{{S}, kind=~"hazard|deadlock", outcome="averted"}}{RATE}))', "averted"),
        (f'sum(rate(interlock_server_deadlocks_total{{{S}, predicted="yes"}}{RATE}))', "happened, foreseen"),
        (f'sum(rate(interlock_server_deadlocks_total{{{S}, predicted="no"}}{RATE}))', "happened, not foreseen"),
    ],
    unit="ops", colours={"averted": GOOD, "happened, foreseen": WARN, "happened, not foreseen": BAD},
)
board.graph(
    "Errors to clients",
    """Error packets per second by MySQL error number, from the server or from interlock. 1213 deadlock, 1205 lock wait
    timeout, 1062 duplicate key, 1040 too many connections, 2003 server unreachable. A number that appears after a
    release is worth a look at that release.""",
    [(busy(f"sum by (errno) (rate(interlock_errors_total{{{S}}}{RATE}))", "errno"), "{{errno}}")],
    unit="ops",
)

board.row("What it costs")
board.graph(
    "Where the time of statements goes",
    """Seconds per second over all sessions: waiting for the server, interlock's own analysis, being held. Analysis
    should be too thin to see. If "held" dominates, look at "Holds" on the Conflicts dashboard.""",
    [(f"sum by (where) (rate(interlock_statement_seconds_total{{{S}}}{RATE}))", "{{where}}")],
    unit="s", stack=True, colours={"server": "blue", "analysis": WARN, "held": "purple"},
)
board.graph(
    "Own time per statement",
    """Analysis (reading, locks, decision) and whole CPU of the process per command. A few microseconds of analysis are
    usual. If it grows, see "Statements parsed": an application that writes its values into the text in ever new shapes
    defeats the digest cache; raise limits.plans.""",
    [
        (
            f"""sum(rate(interlock_statement_seconds_total{{{S}, where="analysis"}}{RATE}))
                / (sum(rate(interlock_commands_total{{{S}}}{RATE})) > 0)""",
            "analysis",
        ),
        (
            f"""sum(rate(process_cpu_seconds_total{{{S}}}{RATE}))
                / (sum(rate(interlock_commands_total{{{S}}}{RATE})) > 0)""",
            "CPU",
        ),
    ],
    unit="s",
)
board.graph(
    "CPU",
    """Cores used by each instance. At the number of frontend.workers the instance is saturated and every statement
    waits: add workers or instances.""",
    [(f"rate(process_cpu_seconds_total{{{S}}}{RATE})", "{{instance}}")],
    unit="none", width=8,
)
board.graph(
    "Memory",
    """Resident memory of each instance. It grows with sessions, locks and digests, all of which have limits, and then
    stands. If it keeps growing at constant load, report it.""",
    [(f"process_resident_memory_bytes{{{S}}}", "{{instance}}")],
    unit="bytes", width=8,
)
board.graph(
    "File descriptors",
    """Share of the file descriptors that the system allows. Each session needs two. Above 90 % new clients will soon be
    refused: raise LimitNOFILE (systemd) or ulimit -n.""",
    [(f"process_open_fds{{{S}}} / process_max_fds{{{S}}}", "{{instance}}")],
    unit="percentunit", width=8, maximum=1,
)

board.row("Load")
board.graph(
    "Statements",
    """Per second by kind. "opaque" was relayed without being understood; if it is more than a little, its reasons are in
    "Forwarded without advice".""",
    [(f"sum by (kind) (rate(interlock_statements_total{{{S}}}{RATE})) > 0", "{{kind}}")],
    unit="ops", stack=True,
)
board.graph(
    "Commands and bytes",
    """Protocol commands per second, and bytes relayed in both directions (right). Much "prepare" without "execute" is a driver
    that prepares every statement anew.""",
    [
        (f"sum by (command) (rate(interlock_commands_total{{{S}}}{RATE})) > 0", "{{command}}"),
        (f"sum by (direction) (rate(interlock_relayed_bytes_total{{{S}}}{RATE}))", "bytes {{direction}}"),
    ],
    unit="ops", right=("^bytes", "Bps", None),
)
board.graph(
    "Connections that ended",
    """Per second by who or what ended them. "unreachable": the server cannot be reached. "denied": wrong passwords.
    "refused": over frontend.max_connections. "tls", "login": clients that cannot get in.""",
    [(busy(f"sum by (end) (rate(interlock_connections_total{{{S}}}{RATE}))", "end"), "{{end}}")],
    unit="ops", colours={"unreachable": BAD, "refused": BAD, "error": WARN},
)
board.graph(
    "Sessions against their limit",
    """Sessions now, and the share of frontend.max_connections that the fullest instance has reached (right). Plan for
    peaks: a deployment that restarts all clients doubles the number for a moment.""",
    [
        (f"sum(interlock_sessions_open{{{S}}})", "sessions"),
        (f"max(interlock_sessions_open{{{S}}} / interlock_sessions_limit{{{S}}})", "of the limit"),
    ],
    decimals=0, colours={"of the limit": BAD}, right=("of the limit", "percentunit", 1),
)

board.row("What the model knows")
board.graph(
    "Forwarded without advice",
    """Statements per second that went on although the model lacked something, by what it lacked. table_not_loaded:
    check the control account's rights. syntax, shape: statements that interlock cannot read. hold_limit: raise
    reorder.max_held or reorder.max_queue.""",
    [(busy(f"sum by (reason) (rate(interlock_fail_open_total{{{S}}}{RATE}))", "reason"), "{{reason}}")],
    unit="ops",
)
board.graph(
    "Size of the model",
    """Locks, transactions and wait-for edges now. Locks that only grow belong to a transaction that does not end: see
    "Oldest transaction".""",
    [
        (f"sum(interlock_locks{{{S}}})", "locks"),
        (f"sum(interlock_transactions{{{S}}})", "transactions"),
        (f"sum(interlock_wait_edges{{{S}}})", "wait edges"),
        (f"sum(interlock_catalog_tables{{{S}}})", "tables in the catalog"),
    ],
)
board.graph(
    "Statements parsed",
    """Statements per second whose digest was not known. It should fall to zero after warm-up. If it does not, the
    application makes ever new texts, or limits.plans is too small.""",
    [(f"sum(rate(interlock_parses_total{{{S}}}{RATE}))", "parsed")],
    unit="ops", width=8,
)
board.graph(
    "Questions to the server",
    """Loads of table definitions and looks at gaps on control connections, per second by result. "failed" and
    "timed_out" mean that interlock works without that knowledge: check control.url, the account and the server's
    load.""",
    [
        (f"sum by (result) (rate(interlock_catalog_loads_total{{{S}}}{RATE}))", "definition {{result}}"),
        (f"sum by (result) (rate(interlock_probes_total{{{S}}}{RATE}))", "gap {{result}}"),
    ],
    unit="ops", width=8,
)
board.graph(
    "Time of questions",
    """95th percentile. A statement waits for a look at a gap, and for the definition of a table at its first use. If a
    look takes longer than control.probe_timeout it is given up.""",
    [
        (f"histogram_quantile(0.95, sum by (le) (rate(interlock_catalog_load_seconds_bucket{{{S}}}{RATE})))", "definition"),
        (f"histogram_quantile(0.95, sum by (le) (rate(interlock_probe_seconds_bucket{{{S}}}{RATE})))", "gap"),
    ],
    unit="s", width=8,
)
