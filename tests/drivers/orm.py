#!/usr/bin/env python3
"""A Flask-SQLAlchemy application, as people write them: get-or-create with a parent and a child.

    orm.py URL THREADS TRANSACTIONS

Prints what it found as one JSON object; the caller judges.
"""

import json
import sys
import threading
import time

import flask
import flask_sqlalchemy
import sqlalchemy
from sqlalchemy.exc import OperationalError

db = flask_sqlalchemy.SQLAlchemy()


class Batch(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    server_id = db.Column(db.Integer, unique=True, nullable=False)
    cycles = db.relationship("Cycle", back_populates="batch")


class Cycle(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    batch_id = db.Column(db.Integer, db.ForeignKey(Batch.id), nullable=False)
    state = db.Column(db.String(20), nullable=False, default="new")
    batch = db.relationship(Batch, back_populates="cycles")


def number(error):
    """The server's error number of an exception."""
    return error.orig.args[0] if isinstance(error, OperationalError) and error.orig.args else None


def get_or_create(key):
    batch = db.session.query(Batch).filter_by(server_id=key).with_for_update().first()
    if batch is None:
        batch = Batch(server_id=key)
        db.session.add(batch)
    db.session.add(Cycle(batch=batch))
    db.session.commit()


def visibility(app):
    """What an ORM takes for granted: ids from flush, isolation between sessions, visible after commit."""
    with app.app_context():
        batch = Batch(server_id=-1)
        db.session.add(batch)
        db.session.flush()
        other = sqlalchemy.orm.Session(db.engine)
        count = lambda: other.query(Batch).filter_by(server_id=-1).count()  # noqa: E731
        result = {"id_after_flush": batch.id is not None, "seen_before_commit": count()}
        other.rollback()
        db.session.commit()
        result["seen_after_commit"] = count()
        other.close()
        db.session.delete(batch)
        db.session.commit()
        db.session.remove()
    return result


def crowd(app, threads, transactions):
    """Every thread gets or creates new, larger keys; a deadlock is counted, not tried again."""
    counts = {"committed": 0, "deadlocks": 0, "errors": []}
    lock = threading.Lock()
    key = iter(range(1, 1 << 30))
    barrier = threading.Barrier(threads)

    def work():
        barrier.wait()
        for _ in range(transactions):
            with app.app_context():
                try:
                    with lock:
                        mine = next(key)
                    get_or_create(mine)
                    with lock:
                        counts["committed"] += 1
                except Exception as error:  # noqa: BLE001
                    db.session.rollback()
                    with lock:
                        if number(error) == 1213:
                            counts["deadlocks"] += 1
                        else:
                            counts["errors"].append(f"{type(error).__name__}: {error}"[:300])
                finally:
                    db.session.remove()

    started = time.monotonic()
    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    counts["seconds"] = time.monotonic() - started
    counts["errors"] = counts["errors"][:3]
    with app.app_context():
        counts["batches"] = db.session.query(Batch).count()
        counts["cycles"] = db.session.query(Cycle).count()
    return counts


def main():
    url, threads, transactions = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    app = flask.Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": threads, "max_overflow": 4}
    db.init_app(app)
    with app.app_context():
        try:
            db.drop_all()
            db.create_all()
        except OperationalError as error:
            print(json.dumps({"refused": list(error.orig.args)}))
            return
        tables = sorted(sqlalchemy.inspect(db.engine).get_table_names())
    print(json.dumps({"tables": tables, **visibility(app), **crowd(app, threads, transactions)}))


if __name__ == "__main__":
    main()
