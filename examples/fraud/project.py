"""Is this payment stolen? Decided as it is made, from what the bank knew by then; who was robbed is told a week later.

tenfold train examples/fraud/project.py
tenfold run examples/fraud/project.py      # worker and server, everything on this machine
"""

from datetime import datetime

from lightgbm import LGBMClassifier

from tenfold import Entity, Events, FeatureView, Label, Model, Project, Release, checks, col, count

WINDOWS = ("1d", "7d", "30d")

# Sources: what happens, and from when it is known -------------------------------------------------


class Transaction:
    tx_id: int
    customer_id: int
    terminal_id: int
    amount: float
    at: datetime


class Report:
    tx_id: int
    customer_id: int
    terminal_id: int
    fraud: bool
    at: datetime  # of the payment


transactions = Events(
    "transactions", Transaction, time="at", id="tx_id", valid={"amount >= 0": col("amount") >= 0}
)
reports = Events("reports", Report, time="at", delay="7d", id="tx_id")

# Features and model --------------------------------------------------------------------------------

card = Entity("card", key="customer_id")
terminal = Entity("terminal", key="terminal_id")
ESTIMATOR = LGBMClassifier(
    n_estimators=100,
    num_leaves=15,
    learning_rate=0.05,
    min_child_samples=50,
    reg_lambda=10,
    n_jobs=1,  # the second core serves
    deterministic=True,
    force_row_wise=True,
    random_state=7,
    verbosity=-1,
)


def declare(
    transactions: Events, reports: Events, *, offset: str | None = "7d", include_self: bool = False
) -> Model:
    """Return the model over given sources; `offset` and `include_self` say which payments make up a terminal's risk."""
    payment = FeatureView(
        "payment",
        source=transactions,
        features={
            "amount": col("amount"),
            "weekend": col("at").weekday() >= 5,
            "night": col("at").hour() <= 6,
        },
    )
    spending = FeatureView(  # the payment that is asked about is part of it
        "spending",
        entity=card,
        source=transactions,
        features={f"count_{w}": count(window=w, include_self=True) for w in WINDOWS}
        | {f"amount_{w}": col("amount").mean(window=w, include_self=True) for w in WINDOWS},
    )
    risk = FeatureView(  # a week back, so that every payment in the window has been reported
        "risk",
        entity=terminal,
        source=reports,
        features={f"count_{w}": count(window=w, offset=offset, include_self=include_self) for w in WINDOWS}
        | {
            f"fraud_{w}": col("fraud").mean(window=w, offset=offset, include_self=include_self).fill_null(0.0)
            for w in WINDOWS
        },
    )
    return Model(
        "stolen",
        spine=transactions,
        features=[payment, spending, risk],
        label=Label(reports, on="tx_id", value=col("fraud"), horizon="1s"),  # of this very payment
        estimator=ESTIMATOR,
        threshold=0.3,
        metrics=["average_precision", "roc_auc", "log_loss"],
        test_window="7d",
        outputs={  # what becomes of a payment, and why: answered, logged and delivered with the score
            "large": col("amount") > 220,
            "risky": col("decision"),
            "odd": col("amount")
            > 10 * spending["amount_30d"],  # an anomaly: far from what the card is used for
            "loss": col("score") * col("amount"),
            "action": (col("large") | col("risky")).then("block", col("odd").then("review", "pass")),
        },
    )


stolen = declare(transactions, reports)

# Release -------------------------------------------------------------------------------------------

release = Release(
    stolen,
    retrain_every="30d",
    gates=[
        checks.at_least("average_precision", 0.3),
        checks.beats_champion("average_precision", by=-0.05),
    ],
    monitors=[checks.at_least("average_precision", 0.2, window="14d", then="retrain")],
)

project = Project("fraud", releases=[release])
