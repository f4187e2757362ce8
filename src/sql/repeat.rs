//! Whether a statement can be run again as if it had never run: read from its words, once for each digest.
//!
//! What a statement does to the rows of tables a rollback undoes, and what it answers can be compared. What it
//! does to the session, to files or to named locks stays; what it takes from the clock, from chance or from a
//! sequence is another value the next time. Functions are told by a list of those that are known to do neither:
//! a stored function may do anything. What can never be run again is run on no other connection either (`plain`).

use super::lexer::{Lexer, Reading, Token, TokenKind};
use super::statement::Statement;

/// How often a statement can be run again after a rollback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeat {
    /// As often as one likes: it depends on the rows of tables only, and changes nothing else.
    Always,
    /// As long as nobody has seen its answer: it takes a value that is another one the next time.
    Unseen,
    /// Never.
    Never,
}

/// Functions that give the same for the same arguments and rows, or for the same connection.
const PURE: &str = " ABS ACOS ADDDATE ADDTIME ANY_VALUE ASCII ASIN ATAN ATAN2 AVG BIN BIT_AND BIT_COUNT BIT_LENGTH \
    BIT_OR BIT_XOR CAST CEIL CEILING CHAR CHARACTER_LENGTH CHARSET CHAR_LENGTH COALESCE COLLATION CONCAT CONCAT_WS \
    CONNECTION_ID CONV CONVERT CONVERT_TZ COS COT COUNT CRC32 CUME_DIST CURRENT_USER DATABASE DATE DATEDIFF DATE_ADD \
    DATE_FORMAT DATE_SUB DAY DAYNAME DAYOFMONTH DAYOFWEEK DAYOFYEAR DEGREES DENSE_RANK ELT EXP EXPORT_SET EXTRACT \
    FIELD FIND_IN_SET FIRST_VALUE FLOOR FORMAT FROM_BASE64 FROM_DAYS FROM_UNIXTIME GREATEST GROUPING GROUP_CONCAT HEX \
    HOUR IF IFNULL INET6_ATON INET6_NTOA INET_ATON INET_NTOA INSTR INTERVAL ISNULL JSON_ARRAY JSON_ARRAYAGG \
    JSON_ARRAY_APPEND JSON_ARRAY_INSERT JSON_CONTAINS JSON_CONTAINS_PATH JSON_DEPTH JSON_EXTRACT JSON_INSERT \
    JSON_KEYS JSON_LENGTH JSON_MERGE JSON_MERGE_PATCH JSON_MERGE_PRESERVE JSON_OBJECT JSON_OBJECTAGG JSON_OVERLAPS \
    JSON_PRETTY JSON_QUOTE JSON_REMOVE JSON_REPLACE JSON_SEARCH JSON_SET JSON_TYPE JSON_UNQUOTE JSON_VALID JSON_VALUE \
    LAG LAST_DAY LAST_VALUE LCASE LEAD LEAST LEFT LENGTH LN LOCATE LOG LOG10 LOG2 LOWER LPAD LTRIM MAKEDATE MAKETIME \
    MAKE_SET MAX MD5 MICROSECOND MID MIN MINUTE MOD MONTH MONTHNAME NTH_VALUE NTILE NULLIF NVL NVL2 OCT \
    OCTET_LENGTH ORD PERCENT_RANK PERIOD_ADD PERIOD_DIFF PI POSITION POW POWER QUARTER QUOTE RADIANS RANK \
    REGEXP_INSTR REGEXP_LIKE REGEXP_REPLACE REGEXP_SUBSTR REPEAT REPLACE REVERSE RIGHT ROUND ROW_NUMBER RPAD RTRIM \
    SCHEMA SECOND SEC_TO_TIME SESSION_USER SHA SHA1 SHA2 SIGN SIN SOUNDEX SPACE SQRT STD STDDEV STDDEV_POP STDDEV_SAMP \
    STRCMP STR_TO_DATE SUBDATE SUBSTR SUBSTRING SUBSTRING_INDEX SUBTIME SUM SYSTEM_USER TAN TIME TIMEDIFF TIMESTAMP \
    TIMESTAMPADD TIMESTAMPDIFF TIME_FORMAT TIME_TO_SEC TO_BASE64 TO_DAYS TO_SECONDS TRIM TRUNCATE UCASE UNHEX UPPER \
    USER VARIANCE VAR_POP VAR_SAMP VERSION WEEK WEEKDAY WEEKOFYEAR WEIGHT_STRING YEAR YEARWEEK BIN_TO_UUID UUID_TO_BIN ";

/// Words before a bracket that are no function.
const KEYWORDS: &str = " ALL AND ANY AS BETWEEN BINARY BY CASE DECIMAL DATETIME DISTINCT DIV ELSE END EXCEPT EXISTS \
    FROM HAVING IN INDEX INTERSECT INTO IS JOIN KEY LATERAL LIKE LIMIT NCHAR NOT NUMERIC OF OFFSET ON OR OVER \
    PARTITION REGEXP RETURNING RLIKE ROW SELECT SET SOME THEN UNION UPDATE USING VALUE VALUES VARCHAR WHEN WHERE XOR \
    DESC ASC DELETE ";

/// Time, chance and sequences.
const CHANGING: &str = " CURDATE CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURTIME LOCALTIME LOCALTIMESTAMP NEXTVAL \
    NOW RAND RANDOM_BYTES SYSDATE UNIX_TIMESTAMP UTC_DATE UTC_TIME UTC_TIMESTAMP UUID UUID_SHORT UUID_V4 UUID_V7 ";

/// Those of them that need no brackets.
const BARE: &str = " CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP LOCALTIME LOCALTIMESTAMP UTC_DATE UTC_TIME \
    UTC_TIMESTAMP SYSDATE NEXTVAL ";

/// With these a statement that is looked at here begins.
const FIRST: &str = " SELECT INSERT UPDATE DELETE REPLACE WITH VALUES TABLE ";

/// Words of which the rest of the statement need not be read.
const REFUSED: &str = " OUTFILE DUMPFILE PROCEDURE CURRVAL LASTVAL PREVIOUS ";

/// Reads a statement. `text` is what `statement` was read from.
pub(super) fn of(statement: &Statement, text: &[u8], reading: Reading) -> Repeat {
    match statement {
        Statement::Begin { .. }
        | Statement::Savepoint(_)
        | Statement::RollbackTo(_)
        | Statement::ReleaseSavepoint(_) => Repeat::Always,
        Statement::Select(select) if select.user_lock => Repeat::Never,
        Statement::Select(_) => words(text, reading, None),
        Statement::Insert(insert) => words(text, reading, Some(&insert.table.name)),
        Statement::Update(_) | Statement::Delete(_) => words(text, reading, Some("")),
        _ => Repeat::Never,
    }
}

/// `changes`: it is no SELECT; the name of the table whose columns it may list.
fn words(text: &[u8], reading: Reading, changes: Option<&str>) -> Repeat {
    let mut repeat = Repeat::Always;
    let mut lexer = Lexer::new(text, reading);
    let (mut first, mut after_dot) = (true, false);
    while let Some(Token { kind, start, end }) = lexer.next() {
        let word = &text[start..end];
        let called = || lexer.clone().next().is_some_and(|next| &text[next.start..next.end] == b"(");
        match kind {
            TokenKind::UserVariable | TokenKind::Bad => return Repeat::Never,
            TokenKind::SystemVariable if changes.is_some() => return Repeat::Never,
            TokenKind::Quoted if called() && !names(word, changes) => return Repeat::Never,
            TokenKind::Word => {
                let upper = String::from_utf8_lossy(word).to_ascii_uppercase();
                if first && !is_in(FIRST, &upper) || is_in(REFUSED, &upper) {
                    return Repeat::Never;
                }
                if is_in(BARE, &upper) && (!after_dot || upper == "NEXTVAL") {
                    repeat = Repeat::Unseen;
                } else if !first && called() && !(is_in(KEYWORDS, &upper) || names(word, changes)) {
                    match (is_in(CHANGING, &upper), is_in(PURE, &upper)) {
                        (true, _) if !after_dot => repeat = Repeat::Unseen,
                        (_, true) if !after_dot => {}
                        _ => return Repeat::Never,
                    }
                }
                first = false;
            }
            _ => {}
        }
        after_dot = word == b".";
    }
    repeat
}

fn is_in(list: &str, word: &str) -> bool {
    list.split(' ').any(|known| known == word)
}

/// Is it the name of the table that is changed, perhaps in quotes?
fn names(word: &[u8], table: Option<&str>) -> bool {
    let bare = match word {
        [b'`', inner @ .., b'`'] | [b'"', inner @ .., b'"'] => inner,
        word => word,
    };
    table.is_some_and(|table| !table.is_empty() && bare.eq_ignore_ascii_case(table.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::cache::PlanCache;
    use super::super::statement::SqlMode;
    use super::Repeat::{self, *};

    #[track_caller]
    fn check(text: &str, expect: Repeat) {
        let analysed = PlanCache::default().analyse(text.as_bytes(), SqlMode::default());
        assert_eq!(analysed.repeat(text.as_bytes()), expect, "{text}");
    }

    #[test]
    fn what_depends_on_rows_only() {
        for text in [
            "BEGIN",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT",
            "SAVEPOINT a",
            "ROLLBACK TO SAVEPOINT a",
            "SELECT * FROM t WHERE a = 1 FOR UPDATE",
            "SELECT COUNT(*), MAX(a), CONCAT ('x', b) FROM t WHERE a IN (1, 2) AND (b = 3 OR c = 4) LOCK IN SHARE MODE",
            "SELECT 1",
            "SELECT @@transaction_isolation",
            "INSERT INTO t (a, b) VALUES (1, 2), (3, 4) ON DUPLICATE KEY UPDATE a = VALUES(a)",
            "INSERT INTO shop.`t` (a) SELECT a FROM u WHERE EXISTS (SELECT 1 FROM v)",
            "REPLACE t (a) VALUES (1)",
            "UPDATE t USE INDEX (x) SET a = a + 1, now = 3 WHERE b = COALESCE(c, 4)",
            "DELETE FROM t WHERE a BETWEEN 1 AND 5 /* says NOW() and f(x) */",
            "SELECT CAST(a AS DECIMAL(10, 2)) FROM t",
        ] {
            check(text, Always);
        }
    }

    #[test]
    fn time_chance_and_sequences() {
        for text in [
            "INSERT INTO t (a, b) VALUES (1, NOW())",
            "INSERT INTO t VALUES (CURRENT_TIMESTAMP)",
            "UPDATE t SET a = RAND() WHERE b = 1",
            "UPDATE t SET a = sysdate(6)",
            "INSERT INTO t VALUES (UUID())",
            "SELECT NOW()",
            "INSERT INTO t VALUES (NEXTVAL(s))",
            "INSERT INTO t VALUES (s.nextval)",
        ] {
            check(text, Unseen);
        }
    }

    #[test]
    fn what_stays_or_depends_on_the_session() {
        for text in [
            "SELECT GET_LOCK('a', 1)",
            "SELECT a INTO @x FROM t",
            "SELECT a INTO OUTFILE '/x' FROM t",
            "UPDATE t SET a = (@n := @n + 1)",
            "UPDATE t SET a = @@max_connections",
            "INSERT INTO t VALUES (LAST_INSERT_ID())",
            "INSERT INTO t VALUES (shop.f(1))",
            "INSERT INTO t VALUES (shop.abs(1))",
            "INSERT INTO t VALUES (`f`(1))",
            "SELECT f(a) FROM t",
            "SELECT ROW_COUNT()",
            "SELECT SLEEP(1)",
            "CALL p()",
            "SET @x = 1",
            "CREATE TEMPORARY TABLE t (a INT)",
            "LOAD DATA INFILE 'x' INTO TABLE t",
            "SET STATEMENT max_statement_time = 1 FOR SELECT 1 FROM t",
            "UPDATE t SET a = 1; UPDATE t SET a = 2",
            "COMMIT",
        ] {
            check(text, Never);
        }
    }

    #[test]
    fn rows_of_which_only_the_first_is_in_the_digest() {
        check("INSERT INTO t (a) VALUES (1), (f(2))", Never);
    }
}
