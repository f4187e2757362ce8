"""Which conflicts, where, what was done about them, and how good the predictions are."""

board = Board(
    "interlock-conflicts",
    "interlock: conflicts",
    "Lock conflicts by table and pattern, holds and their time, the quality of predictions.",
    tables=True,
)
AVERTED = f'interlock_predictions_total{{{S}, outcome="averted"}}'
DECIDED = f'interlock_predictions_total{{{S}, outcome=~"hit|averted|false_alarm"}}'
FORESEEN = f'interlock_predictions_total{{{S}, outcome=~"hit|averted"}}'
CAME = f'interlock_predictions_total{{{S}, outcome=~"hit|averted|miss"}}'

board.row("Where")
board.table(
    "Top conflicts by table and pattern",
    """In the chosen time. Begin at the top: the pattern says what the statements do to each other, and
    dashboards/README.md what to change in the application. Every statement of both sides is in /api/conflicts. "other" are
    tables over metrics.max_tables, and conflicts that belong to no single index: remembered deadlocks.""",
    [
        (
            f"""topk(20, sum by (schema, table, pattern)
                (increase(interlock_table_conflicts_total{{{T}}}[$__range])))""",
            "conflicts", "short",
        ),
        (
            f"""sum by (schema, table, pattern)
                (increase(interlock_table_conflicts_total{{{T}, action="held"}}[$__range]))""",
            "held", "short",
        ),
        (
            f"""sum by (schema, table, pattern)
                (increase(interlock_table_conflicts_total{{{T}, action="rejected"}}[$__range]))""",
            "rejected", "short",
        ),
    ],
    width=14, height=10, labels=("schema", "table", "pattern"),
)
board.table(
    "Tables: deadlocks and time held",
    """In the chosen time. Deadlocks: what the server still sent. Held: what clients waited in interlock. A table with
    much time held and few deadlocks averted is a hot spot: shorten its transactions.""",
    [
        (f"sum by (schema, table) (increase(interlock_table_deadlocks_total{{{T}}}[$__range]))", "deadlocks", "short"),
        (f"sum by (schema, table) (increase(interlock_table_hold_seconds_total{{{T}}}[$__range]))", "held", "s"),
    ],
    width=10, height=10, labels=("schema", "table"),
)
board.graph(
    "Conflicts by pattern",
    """Per second. gap_then_insert: both found nothing, both will insert (get-or-create). opposite_order: sort the keys.
    hot_row: many change one row, a queue rather than a deadlock. Each has its paragraph in dashboards/README.md.""",
    [(f"sum by (pattern) (rate(interlock_table_conflicts_total{{{T}}}{RATE}))", "{{pattern}}")],
    unit="ops", stack=True,
)
board.graph(
    "Conflicts by table",
    """Per second, the ten worst tables. A table that appears after a release: look at what that release locks.""",
    [
        (
            f"topk(10, sum by (schema, table) (rate(interlock_table_conflicts_total{{{T}}}{RATE})))",
            "{{schema}}.{{table}}",
        ),
    ],
    unit="ops",
)

board.row("What was done")
board.graph(
    "Conflicts by kind and action",
    """Per second. hazard: compatible locks that will collide at the next insert. wait: the statement would wait.
    deadlock: it would close a cycle. With action = flag all are flagged.""",
    [(f"sum by (kind, action) (rate(interlock_conflicts_total{{{S}}}{RATE})) > 0", "{{kind}} {{action}}")],
    unit="ops", width=8, stack=True,
)
board.graph(
    "How sure the model was",
    """Conflicts per second by certainty. Much "likely": indexes or gaps had to be guessed; check that the control
    account may SELECT the tables. Much "unknown": the shape of the statement is not known.""",
    [(f"sum by (certainty) (rate(interlock_conflicts_total{{{S}}}{RATE}))", "{{certainty}}")],
    unit="ops", width=8, stack=True,
)
board.graph(
    "Would hold",
    """Statements per second that were passed on and that action = reorder would have held, by kind of conflict: the
    rehearsal. If it looks right for a day, turn reorder on.""",
    [(f"sum by (kind) (rate(interlock_would_hold_total{{{S}}}{RATE}))", "{{kind}}")],
    unit="ops", width=8,
)

board.row("Holds")
board.graph(
    "Held now",
    """Statements that wait in interlock, and the share of reorder.max_held that the fullest instance has reached (right).
    A plateau at 100 % means that further conflicts are forwarded unheld: shorten transactions first, raise
    reorder.max_held second.""",
    [
        (f"sum(interlock_held_statements{{{S}}})", "held"),
        (f"max(interlock_held_statements{{{S}}} / interlock_held_statements_limit{{{S}}})", "of the limit"),
    ],
    width=8, decimals=0, colours={"of the limit": BAD}, right=("of the limit", "percentunit", 1),
)
board.graph(
    "How holds ended",
    """Per second. released: what stood in the way has gone, as intended. deadline: holding did not help within
    reorder.hold_timeout; the holder's transaction is too long. holder_stalled: ended at once, or nobody would have
    moved. client_gone: the client gave up.""",
    [(f"sum by (end) (rate(interlock_holds_total{{{S}}}{RATE}))", "{{end}}")],
    unit="ops", width=8, colours={"released": GOOD, "deadline": BAD, "holder_stalled": WARN},
)
board.graph(
    "Victims run again",
    """Per second, with reorder.retry. done: the client has noticed nothing but time. Everything else ended with error 1213:
    differs: an answer was another one than the client had seen; not_repeatable: time, chance, user variables, named
    locks, routines, temporary tables; too_large: over reorder.retry_max_bytes; deadlocked_again: three times in
    vain; not_undone: a table of another engine kept its changes.""",
    [(f"sum by (outcome) (rate(interlock_restarts_total{{{S}}}{RATE}))", "{{outcome}}")],
    unit="ops", width=8, colours={"done": GOOD, "deadlocked_again": BAD, "not_undone": BAD},
)
board.graph(
    "Time held by table",
    """Seconds per second, summed over clients: what waiting in interlock costs, by table. 1 means that one client is
    always held.""",
    [
        (
            f"topk(10, sum by (schema, table) (rate(interlock_table_hold_seconds_total{{{T}}}{RATE})))",
            "{{schema}}.{{table}}",
        ),
    ],
    unit="s",
)
board.heatmap(
    "How long statements are held",
    """The dark band should lie at the length of a usual transaction, far from reorder.hold_timeout. If it lies near the
    timeout, transactions are too long to wait for.""",
    f"sum by (le) (increase(interlock_hold_seconds_bucket{{{S}}}{RATE}))",
)
board.graph(
    "Hand-over",
    """From the end of what stood in a held statement's way to its own way on, below 100 microseconds while interlock has
    CPU time. If it rises, interlock's threads wait for a core.""",
    [
        (f"histogram_quantile({q}, sum by (le) (rate(interlock_handover_seconds_bucket{{{S}}}{RATE})))", f"p{int(q * 100)}")
        for q in (0.5, 0.99)
    ],
    unit="s",
)
board.graph(
    "Quantiles of holds",
    """How long statements were held, and with action = flag how long reorder would have held them. The 99th
    percentile is what an unlucky client notices.""",
    [
        (f"histogram_quantile({q}, sum by (le) (rate(interlock_{name}_seconds_bucket{{{S}}}{RATE})))",
         f"{legend}p{int(q * 100)}")
        for name, legend in (("hold", ""), ("would_hold", "would be "))
        for q in (0.5, 0.95, 0.99)
    ],
    unit="s",
)

board.row("Prediction quality")
board.stat(
    "Precision",
    """Of the conflicts that were predicted in the chosen time, the share that came, or would have come but for
    interlock. Low: interlock holds or reports more than it must; guessed indexes are the usual reason.""",
    f"sum(increase({FORESEEN}[$__range])) / (sum(increase({DECIDED}[$__range])) > 0)",
    unit="percentunit", width=4, steps=[(None, WARN), (0.8, GOOD)],
)
board.stat(
    "Recall",
    """Of the waits and deadlocks that came or would have come, the share that was predicted. Low: there is a pattern
    that the model does not know; the records with detected = after in /api/conflicts show it.""",
    f"sum(increase({FORESEEN}[$__range])) / (sum(increase({CAME}[$__range])) > 0)",
    unit="percentunit", width=4, steps=[(None, WARN), (0.95, GOOD)],
)
board.stat(
    "Deadlocks not foreseen",
    """Errors 1213 that the server sent without interlock having seen them come. Each has a record in
    /api/conflicts (detected: after), with the server's report. Statements of clients that do not go through interlock are a common reason.""",
    f'sum(increase(interlock_server_deadlocks_total{{{S}, predicted="no"}}[$__range]))',
    width=4, decimals=0, steps=[(None, GOOD), (1, WARN)],
)
board.stat(
    "New lock-order hazards",
    """Cycles in the order in which transactions lock, found since the start, whether or not they ever met. See
    /api/hazards: bring both sides into one order before they meet.""",
    f"sum(interlock_lock_order_hazards_total{{{S}}})",
    width=4, steps=[(None, GOOD), (1, WARN)],
)
board.stat(
    "Cycle search, p99",
    """How long the decision on a statement with conflicts takes. Microseconds; if milliseconds, very many wait for each
    other: look at "Held now" and the wait edges on Overview.""",
    f"histogram_quantile(0.99, sum by (le) (rate(interlock_cycle_search_seconds_bucket{{{S}}}{RATE})))",
    unit="s", width=4, steps=[(None, GOOD), (0.001, WARN)],
)
board.stat(
    "Records lost",
    """Conflict records that could not be written to conflicts.file in the chosen time: check the disk and the file's
    rights. Zero if no file is configured.""",
    f'sum(increase(interlock_conflict_records_total{{{S}, fate="lost"}}[$__range]))',
    width=4, decimals=0, steps=[(None, GOOD), (1, BAD)],
)
board.graph(
    "What came of predictions",
    """Per second. averted: it would have come. hit: it came (with flag, that is the rule). false_alarm: it did not come.
    miss: it came and was not predicted.""",
    [(f'sum by (outcome) (rate(interlock_predictions_total{{{S}}}{RATE}))', "{{outcome}}")],
    unit="ops", width=8, colours={"averted": GOOD, "hit": WARN, "miss": BAD, "false_alarm": "purple"},
)
board.graph(
    "Deadlocks that the server sent",
    """Per second, by whether interlock had predicted them. Foreseen ones are left because action is flag, a hold came to
    its deadline, or the model was not sure enough to reject.""",
    [(f"sum by (predicted) (rate(interlock_server_deadlocks_total{{{S}}}{RATE}))", "predicted: {{predicted}}")],
    unit="ops", width=8, colours={"predicted: yes": WARN, "predicted: no": BAD},
)
board.graph(
    "Records",
    """Conflict records per second by where they went. "pushed_out" as high as "kept" is usual at full load: the memory
    ring holds conflicts.keep of them; set conflicts.file to keep more.""",
    [(f"sum by (fate) (rate(interlock_conflict_records_total{{{S}}}{RATE}))", "{{fate}}")],
    unit="ops", width=8, colours={"lost": BAD},
)
board.graph(
    "Deadlocks remembered",
    """Signatures of deadlocks of the past. The number should level off: each is one pair of transactions of the
    application. If it keeps growing, deadlocks come in ever new shapes; their records are in /api/conflicts.""",
    [(f"sum(interlock_signatures{{{S}}})", "signatures")],
    decimals=0,
)
board.graph(
    "Matches of remembered deadlocks",
    """Statements per second that were about to complete a remembered deadlock, by what was done. Many that are held and
    whose prediction did not happen: the signature is too wide; see Precision.""",
    [(f"sum by (action) (rate(interlock_signature_matches_total{{{S}}}{RATE}))", "{{action}}")],
    unit="ops",
)
