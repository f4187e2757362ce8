-- What a command-line client can ask for: every kind of result, and errors among them (run with --force).
SELECT 1, 'text', NULL, 1.50, DATE '2020-02-29', TIME '-12:34:56.789', 0x00FF;
CREATE TABLE kinds (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) UNIQUE, body LONGBLOB, amount DECIMAL(20,4),
    moment DATETIME(6), flags SET('a','b','c'), CHECK (amount < 1000000));
INSERT INTO kinds (name, body, amount, moment, flags) VALUES ('one', 'x', 1.5, '2020-01-01 10:00:00.123456', 'a,c'),
    ('two', REPEAT('y', 70000), -2.25, NULL, ''), ('drei ä€😀', NULL, 3, '1970-01-01', 'b');
SELECT id, name, LENGTH(body), amount, moment, flags FROM kinds;
INSERT INTO kinds (name) VALUES ('one');
SELECT * FROM no_such_table;
SELEC 1;
INSERT INTO kinds (name) VALUES ('one') ON DUPLICATE KEY UPDATE amount = amount + 1;
UPDATE kinds SET amount = amount WHERE id = 1;
UPDATE kinds SET amount = 7 WHERE id < 3;
SELECT ROW_COUNT(), FOUND_ROWS();
SELECT CAST('12x' AS SIGNED);
SHOW WARNINGS;
BEGIN;
SELECT id FROM kinds WHERE name = 'missing' FOR UPDATE;
INSERT INTO kinds (name) VALUES ('missing');
SAVEPOINT here;
DELETE FROM kinds WHERE id > 1;
ROLLBACK TO SAVEPOINT here;
COMMIT;
SELECT COUNT(*), SUM(amount) FROM kinds;
SET autocommit = 0;
DELETE FROM kinds WHERE name = 'missing';
ROLLBACK;
SET autocommit = 1;
PREPARE statement FROM 'SELECT ? + ?, (SELECT COUNT(*) FROM kinds WHERE id > ?)';
SET @a = 1, @b = 2.5, @c = 1;
EXECUTE statement USING @a, @b, @c;
DEALLOCATE PREPARE statement;
DELIMITER //
CREATE PROCEDURE several(IN low INT, OUT high INT)
BEGIN
    SELECT id, name FROM kinds WHERE id > low ORDER BY id;
    SELECT 'second result' AS label;
    SET high = (SELECT MAX(id) FROM kinds);
END//
CREATE TRIGGER stamp BEFORE INSERT ON kinds FOR EACH ROW SET NEW.moment = COALESCE(NEW.moment, '2001-01-01')//
DELIMITER ;
CALL several(1, @high);
SELECT @high > 0;
INSERT INTO kinds (name) VALUES ('stamped');
SELECT name, moment FROM kinds WHERE name = 'stamped';
CREATE VIEW names AS SELECT id, name FROM kinds;
SELECT * FROM names ORDER BY id;
CREATE TEMPORARY TABLE scratch SELECT id FROM kinds;
SELECT COUNT(*) FROM scratch;
SELECT LENGTH(REPEAT('z', 5000000)), SHA2(REPEAT('z', 5000000), 256);
SELECT MAX(LENGTH(body)) FROM kinds;
LOCK TABLES kinds WRITE;
UNLOCK TABLES;
EXPLAIN FORMAT=JSON SELECT name FROM kinds WHERE id = 0 AND 1 = 0;
ANALYZE TABLE kinds;
USE information_schema;
SELECT table_name FROM tables WHERE table_schema = 'drivers' ORDER BY table_name;
USE drivers;
SET NAMES latin1;
SELECT 'ä';
SET NAMES utf8mb4;
KILL QUERY 0;
SELECT SLEEP(0.01), GET_LOCK('driver', 0), RELEASE_LOCK('driver');
XA START 'x'; INSERT INTO kinds (name) VALUES ('xa'); XA END 'x'; XA ROLLBACK 'x';
