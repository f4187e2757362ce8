"""A shop's traffic for the pictures: sessions that meet in gaps, on hot rows, in opposite order and in a queue."""

import random
import threading
import time

import pymysql

TABLES = """
    CREATE DATABASE {0}; USE {0};
    CREATE TABLE batch (id INT AUTO_INCREMENT PRIMARY KEY, server_id INT NOT NULL, UNIQUE KEY by_server (server_id));
    CREATE TABLE orders (id INT PRIMARY KEY, total INT NOT NULL);
    CREATE TABLE stock (id INT PRIMARY KEY, n INT NOT NULL);
    CREATE TABLE customer (id INT PRIMARY KEY, balance INT NOT NULL);
    CREATE TABLE job (id INT PRIMARY KEY, state VARCHAR(10) NOT NULL, KEY by_state (state));
    INSERT INTO batch (server_id) VALUES (7), (12), (30);
    INSERT INTO orders VALUES (1, 10), (2, 20); INSERT INTO stock VALUES (1, 9), (2, 9);
    INSERT INTO customer VALUES (1, 100), (2, 100);
    INSERT INTO job VALUES (1, 'free'), (2, 'free'), (3, 'free');
"""


class Traffic:
    """Clients of one port and schema until stop(); `pace` stretches their pauses."""

    def __init__(self, port, schema):
        self.port, self.schema, self.pace = port, schema, 1.0
        self.over, self.threads = threading.Event(), []

    def start(self, *clients):
        for work in clients:
            thread = threading.Thread(target=self._client, args=(work,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(20)

    def _client(self, work):
        connection = None
        while not self.over.is_set():
            try:
                if connection is None:
                    connection = pymysql.connect(
                        host="127.0.0.1", port=self.port, user="app", password="app", database=self.schema,
                        autocommit=True, program_name=work.__name__,
                    )
                cursor = connection.cursor()
                pause = work(cursor)
            except pymysql.OperationalError as error:
                # A deadlock has ended the transaction; whatever else it is, a new connection gets over it.
                if error.args[0] != 1213:
                    connection = None
                pause = 0.02
            except pymysql.MySQLError:
                connection.close()
                connection, pause = None, 0.02
            self.over.wait(pause * self.pace * random.uniform(0.5, 1.5))


def get_or_create(cursor):
    key = time.monotonic_ns() // 1000 % 2_000_000_000
    cursor.execute("BEGIN")
    cursor.execute(f"SELECT * FROM batch WHERE server_id = {key} FOR UPDATE")
    if not cursor.fetchall():
        cursor.execute(f"INSERT INTO batch (server_id) VALUES ({key})")
    cursor.execute("COMMIT")
    return 0.05


def checkout(cursor):
    one = random.randint(1, 2)
    cursor.execute("BEGIN")
    cursor.execute(f"UPDATE orders SET total = total + 1 WHERE id = {one}")
    time.sleep(0.005)
    cursor.execute(f"UPDATE stock SET n = n - 1 WHERE id = {one}")
    cursor.execute("COMMIT")
    return 0.1


def restock(cursor):
    one = random.randint(1, 2)
    cursor.execute("BEGIN")
    cursor.execute(f"UPDATE stock SET n = n + 1 WHERE id = {one}")
    time.sleep(0.005)
    cursor.execute(f"UPDATE orders SET total = total - 1 WHERE id = {one}")
    cursor.execute("COMMIT")
    return 0.1


def pay(cursor):
    cursor.execute("BEGIN")
    cursor.execute("UPDATE customer SET balance = balance - 1 WHERE id = 1")
    time.sleep(0.004)
    cursor.execute("COMMIT")
    return 0.08


def claim(cursor):
    cursor.execute("BEGIN")
    cursor.execute("SELECT * FROM job WHERE state = 'free' ORDER BY id LIMIT 1 FOR UPDATE")
    time.sleep(0.01)
    cursor.execute("COMMIT")
    return 0.1


def browse(cursor):
    cursor.execute(f"SELECT * FROM orders WHERE id = {random.randint(1, 9)}")
    cursor.execute("SELECT SUM(balance) FROM customer")
    return 0.03


def mistake(cursor):
    """What applications do wrong without any lock, and what no proxy can read; now and then the connection ends."""
    if random.random() < 0.2:
        raise pymysql.InterfaceError
    for wrong in ("INSERT INTO batch (server_id) VALUES (7)", "SELECT * FROM nowhere", "DELETE FROM orders WHERE"):
        try:
            cursor.execute(wrong)
        except pymysql.MySQLError:
            pass
    return 0.5
