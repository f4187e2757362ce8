//! Texts and the plans that they must give: what is read, and under which conditions.

use super::access::{Condition, TableAccess};
use super::sketch::{check, statement_of};
use super::statement::Statement;

#[test]
fn locking_clauses() {
    check("SELECT a FROM t WHERE id=1 LOCK IN SHARE MODE", "select S:t{id=0}");
    check("SELECT a FROM t WHERE id=1 LOCK IN SHARE MODE NOWAIT", "select S!:t{id=0}");
    check("SELECT a FROM t WHERE id=1 LOCK IN SHARE MODE SKIP LOCKED", "select S~:t{id=0}");
    check("SELECT a FROM t WHERE id=1 FOR SHARE", "select S:t{id=0}");
    check("SELECT a FROM t WHERE id=1 FOR UPDATE NOWAIT", "select X!:t{id=0}");
    check("SELECT a FROM t WHERE id=1 FOR UPDATE SKIP LOCKED", "select X~:t{id=0}");
    check("SELECT a FROM t WHERE id=1 FOR UPDATE WAIT 5", "select X:t{id=0}");
    check("SELECT a FROM t WHERE id=1 FOR UPDATE WAIT 0", "select X!:t{id=0}");
    check("SELECT * FROM a JOIN b ON a.id=b.a FOR UPDATE OF a, b NOWAIT", "select X!:a{id=b.a} X!:b{a=a.id}");
    check(
        "SELECT * FROM a JOIN b ON a.id=b.a FOR UPDATE OF a FOR SHARE OF b SKIP LOCKED",
        "select X:a{id=b.a} S~:b{a=a.id}",
    );
    check(
        "SELECT * FROM a JOIN b ON a.id=b.a WHERE b.n = 3 FOR UPDATE OF b",
        "select a{id=b.a} X:b{a=a.id & n=0}",
    );
    check("SELECT id FROM t WHERE id=1 FOR UPDATE INTO @a", "select X:t{id=0}");
    check("SELECT id INTO @a, @b FROM t WHERE id=1 FOR UPDATE", "select X:t{id=0}");
    check("SELECT id FROM t INTO OUTFILE '/tmp/x' FIELDS TERMINATED BY ','", "select t");
    check("(SELECT * FROM t WHERE id=1 FOR UPDATE)", "select X:t{id=0}");
    check("(SELECT * FROM t WHERE id=1) FOR UPDATE", "select X:t{id=0}");
    check(
        "(SELECT * FROM t WHERE id=1 FOR UPDATE) UNION ALL (SELECT * FROM u WHERE id=2)",
        "select X:t{id=0} u{id=1}",
    );
}

/// The only table of a SELECT.
fn read_table(sql: &str) -> TableAccess {
    match statement_of(sql) {
        Statement::Select(mut select) => select.tables.remove(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_extreme() {
    let extreme = |sql: &str| read_table(sql).extreme.map(|e| (e.column, e.greatest));
    let is = |column: &str, greatest| Some((column.to_owned(), greatest));
    assert_eq!(extreme("SELECT MAX(a) FROM t WHERE b = 1 FOR UPDATE"), is("a", true));
    assert_eq!(extreme("SELECT COALESCE(MIN(t.a), 0) + 1 AS n FROM t"), is("a", false));
    assert_eq!(extreme("SELECT MAX(a), b FROM t"), None);
    assert_eq!(extreme("SELECT MAX(a), MIN(a) FROM t"), None);
    assert_eq!(extreme("SELECT MAX(a), COUNT(*) FROM t"), None);
    assert_eq!(extreme("SELECT MAX(a + 1) FROM t"), None);
    assert_eq!(extreme("SELECT MAX(a) FROM t GROUP BY b"), None);
    assert_eq!(extreme("SELECT MAX(a) FROM t, u"), None);
}

#[test]
fn sides_of_an_or() {
    let sides = |sql: &str| {
        let named = |side: Vec<Condition>| side.into_iter().map(|c| c.column).collect::<Vec<_>>().join(" ");
        read_table(sql).predicate.sides.into_iter().map(named).collect::<Vec<_>>()
    };
    let mut both = sides("SELECT 1 FROM t WHERE (a = 1 AND c > 2 OR b = 2) AND d = 3");
    both.sort();
    assert_eq!(both, ["a c", "b"]);
    // A list on one column is one.
    assert!(sides("SELECT 1 FROM t WHERE a = 1 OR a = 2").is_empty());
    assert!(sides("SELECT 1 FROM t WHERE a = 1 OR NOT b").is_empty());
}

#[test]
fn predicates() {
    check("SELECT 1 FROM t WHERE a=5 AND b<=>'x' AND c IS NULL", "select t{a=1 & b=2 & c null}");
    check("SELECT 1 FROM t WHERE 5 = a AND 6 > b AND (c >= 7)", "select t{a=1 & b<2 & c>=3}");
    check("SELECT 1 FROM t WHERE a BETWEEN 1 AND 2 AND b > 3 AND b <= -4", "select t{a>=1<=2 & b>3 & b<=4}");
    check("SELECT 1 FROM t WHERE a IN (1,2,3) AND b IN (4, NOW())", "select t{a in 1* & b in 2,_}");
    check("SELECT 1 FROM t WHERE a LIKE 'x%' AND b LIKE 'y' ESCAPE '|'", "select t{a like 1 & b?…}");
    check("SELECT 1 FROM t WHERE a NOT LIKE 'x%' AND b <> 3 AND c IS NOT NULL", "select t{a? & b? & c?…}");
    check("SELECT 1 FROM t WHERE a = 1 OR a = 2 OR a IN (3,4)", "select t{a in 1,2,3*}");
    check("SELECT 1 FROM t WHERE (a = 1 OR b = 2) AND c = 3", "select t{c=3…}");
    check("SELECT 1 FROM t WHERE (a,b) = (1,2)", "select t{a=1 & b=2}");
    check("SELECT 1 FROM t WHERE (a,b) IN ((1,2),(3,4))", "select t{a in 1* & b in 2*…}");
    check("SELECT 1 FROM t WHERE (a,b) > (1,2)", "select t{a>=1…}");
    check("SELECT 1 FROM t WHERE 1=1 AND a = 2", "select t{a=3}");
    check("SELECT 1 FROM t WHERE a = NULL AND b = TRUE AND c = -?", "select t{a=1 & b=2 & c=-3}");
    check("SELECT 1 FROM t WHERE a = b", "select t{a? & b?…}");
    check(
        "SELECT 1 FROM t WHERE a = @x AND b = NOW() - INTERVAL 1 DAY AND c = d + 1",
        "select t{a=_ & b=_ & c?…}",
    );
    check("SELECT 1 FROM t WHERE LOWER(a) = 'x'", "select t{Lower(a)=1}");
    check("SELECT 1 FROM t WHERE LEFT(a, 3) = 'x'", "select t{…}");
    check(
        "SELECT 1 FROM t WHERE a = DATE '2020-01-01' AND b = x'4D' AND c = _utf8mb4'x'",
        "select t{a=1 & b=2 & c=3}",
    );
    check("SELECT 1 FROM t WHERE active AND NOT deleted", "select t{active? & deleted?…}");
    check("SELECT 1 FROM t WHERE a = 'x' 'y' AND b = 5 % 2 AND c = 5 MOD 2", "select t{a=1 & b=_ & c=_}");
    check("SELECT 1 FROM t WHERE BINARY a = 'x' AND b = 2", "select t{b=2…}");
    check("SELECT 1 FROM t WHERE a SOUNDS LIKE 'x' AND !b AND !(c = 3)", "select t{a? & b?…}");
    check("SELECT 1 FROM s.t AS x WHERE x.a = 1 AND s.x.b = 2", "select s.t/x{a=1 & b=2}");
    check("SELECT 1 FROM t WHERE `a` = 1 and t.`b` = 2", "select t{a=1 & b=2}");
}

#[test]
fn several_tables() {
    check("SELECT * FROM a, b WHERE a.id = b.a AND a.x = 1", "select a{id=b.a & x=0} b{a=a.id}");
    check("SELECT * FROM a JOIN b USING (id) WHERE a.x = 1", "select a{x=0…} b{…}");
    check(
        "SELECT * FROM a LEFT JOIN b ON a.id = b.a AND b.y = 2 WHERE a.x = 1",
        "select a{x=1} b{a=a.id & y=0}",
    );
    check("SELECT * FROM a RIGHT JOIN b ON a.id = b.a AND b.y = 2", "select a{id=b.a} b");
    check("SELECT * FROM a JOIN b ON a.id = b.a WHERE x = 1", "select a{id=b.a…} b{a=a.id…}");
    check("SELECT * FROM (SELECT * FROM a WHERE id = 1) d JOIN b ON b.id = d.b", "select b{id=d.b} +a{id=0}");
    check(
        "SELECT * FROM a WHERE id IN (SELECT a FROM b WHERE c = 1 FOR UPDATE)",
        "select a{id=b.a} +X:b{c=0}",
    );
    check("SELECT * FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.a = a.id)", "select a{…} +b{a=a.id}");
    check(
        "SELECT (SELECT max(x) FROM b), 1 FROM a WHERE id = (SELECT y FROM c LIMIT 1)",
        "select a{id=_} +b +c",
    );
    check(
        "WITH d AS (SELECT * FROM a WHERE id = 1) SELECT * FROM d JOIN b ON b.id = d.x FOR UPDATE",
        "select +a{id=0} X:b{id=d.x}",
    );
    check("SELECT * FROM a STRAIGHT_JOIN b ON a.i = b.i", "select a{i=b.i} b{i=a.i}");
    check("SELECT * FROM t PARTITION (p0) WHERE id = 1", "select t{id=0}");
    check("SELECT * FROM t USE INDEX (i) WHERE id = 1", "select t{id=0}");
    check("SELECT * FROM { OJ a LEFT OUTER JOIN b ON a.i = b.i }", "select a b{i=a.i}");
    check("TABLE t ORDER BY a LIMIT 5", "select t order a limit");
    check("SELECT 1 FROM dual", "select");
    check("SELECT 1", "select");
    check("SELECT GET_LOCK('a', 1)", "NamedLocks([Get { name: Slot(0), timeout: Slot(1) }])");
    check("SELECT * FROM t ORDER BY a, t.b DESC LIMIT 1 FOR UPDATE", "select X:t order a,b- limit");
    check("VALUES ROW(1,2), ROW(3,4)", "select");
}

#[test]
fn expressions_that_need_rewriting() {
    check("SELECT NOW() + INTERVAL '1:30' MINUTE_SECOND FROM t WHERE id=1", "select t{id=1}");
    check("SELECT EXTRACT(YEAR_MONTH FROM d) FROM t", "select t");
    check("SELECT CAST(k AS CHAR CHARACTER SET utf8mb4) FROM t", "select t");
    check("SELECT CHAR(77 USING utf8mb4) FROM t", "select t");
    check("SELECT @'q', @@x, @a := 5 FROM t", "select t");
    check("SELECT a || b, a && b, a XOR b FROM t", "select t");
    check("SELECT j->'$.a', j->>'$.b' FROM t WHERE 3 MEMBER OF (j)", "select t{…}");
    check(
        "SELECT SQL_CALC_FOUND_ROWS DISTINCT a FROM t GROUP BY a WITH ROLLUP HAVING count(*) > 1",
        "select t",
    );
    check("SELECT HIGH_PRIORITY SQL_NO_CACHE a FROM t", "select t");
    check("SELECT GROUP_CONCAT(DISTINCT a ORDER BY b DESC SEPARATOR ',') FROM t", "select t");
    check(
        "SELECT MATCH (a, b) AGAINST ('x' IN BOOLEAN MODE) FROM t WHERE MATCH (a) AGAINST ('y')",
        "select t{…}",
    );
    check("SELECT CASE WHEN a THEN 1 ELSE -1 END, IF(a, 1, 2) FROM t", "select t");
    check("SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY b) FROM t", "select t");
    check("SELECT /*+ NO_ICP(t) */ a FROM t", "select t");
    check("SELECT a FROM t -- x", "select t");
    check("SELECT 'a' AS 'b', 1 AS \"c\" FROM t", "select t");
    check("SELECT CONVERT(a USING utf8mb4), CONVERT(b, SIGNED) FROM t", "select t");
    check("SELECT a FROM t WHERE a REGEXP '^x' AND b RLIKE 'y' AND c DIV 2 = 1", "select t{a? & b?…}");
    check("SELECT TIMESTAMPDIFF(HOUR, a, b), DATE_ADD(a, INTERVAL 1 YEAR) FROM t", "select t");
    check("SELECT 1 FROM t WHERE a COLLATE utf8mb4_bin = 'x'", "select t{…}");
    check(
        "SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (a INT PATH '$')) AS j JOIN t ON t.id = j.a",
        "select t{id=j.a}",
    );
    check("SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.x = a.x) d", "select a +b{x=a.x}");
    check("SELECT a FROM t GROUP BY k DESC", "select t{…}");
    check("SELECT * FROM t FOR SYSTEM_TIME ALL WHERE id = 1", "select t{…}");
    check("SELECT * FROM t LIMIT ROWS EXAMINED 100", "select t");
}

#[test]
fn what_a_query_block_reads() {
    let columns = |text: &str, n: usize| statement_of(text).accesses()[n].columns.clone();
    let of = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(columns("SELECT id FROM t WHERE a = 1 ORDER BY b", 0), of(&["id", "b"]));
    assert_eq!(columns("SELECT a, COUNT(*) FROM t GROUP BY b", 0), of(&["a", "b"]));
    assert_eq!(columns("(SELECT a FROM t FOR UPDATE) UNION (SELECT b FROM t)", 1), of(&["b"]));
    assert_eq!(columns("SELECT a + 1 FROM t", 0), None);
    assert_eq!(columns("SELECT a FROM t ORDER BY RAND()", 0), None);
    assert_eq!(columns("SELECT a FROM t JOIN u ON t.a = u.a", 0), None);
    // What only says which rows go is not read any further.
    assert_eq!(columns("DELETE t FROM t JOIN u ON t.a = u.a", 0), None);
    assert_eq!(columns("DELETE t FROM t JOIN u ON t.a = u.a", 1), of(&[]));
}

#[test]
fn what_keeps_rows_out() {
    let excludes = |text: &str| statement_of(text).accesses().iter().any(|access| access.excludes);
    assert!(excludes("INSERT INTO t SELECT 1 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM t WHERE id = 1)"));
    assert!(!excludes("INSERT INTO t SELECT 1 FROM DUAL WHERE EXISTS (SELECT 1 FROM t WHERE id = 1)"));
    assert!(!excludes("INSERT INTO t SELECT 1 FROM DUAL WHERE NOT EXISTS (SELECT MAX(a) FROM t)"));
    let either = "INSERT INTO t SELECT 1 FROM DUAL WHERE 1 = 2 OR NOT EXISTS (SELECT 1 FROM t WHERE id = 1)";
    assert!(!excludes(either));
    assert!(excludes(
        "INSERT INTO t SELECT 1 FROM DUAL WHERE 1 = 1 AND (NOT EXISTS (SELECT 1 FROM t WHERE id = 1))"
    ));
    assert!(!excludes("INSERT INTO t SELECT NOT EXISTS (SELECT 1 FROM t WHERE id = 1)"));
    assert!(!excludes("INSERT INTO t SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM t JOIN u ON t.a = u.a)"));
}
