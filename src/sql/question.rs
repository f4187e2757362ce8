//! A question to the console: a SELECT from one table, in a form that can be answered row by row.
//!
//! What the console's tables need of SQL, and no more: columns, functions without a table, `COUNT(*)`, WHERE,
//! ORDER BY, LIMIT. Everything else is refused in words.

use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArguments, LimitClause, ObjectName, OrderByKind, OrderBySort, Query,
    SelectItem, SetExpr, Statement, TableFactor, UnaryOperator, Value as Literal,
};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use super::lexer::{Lexer, Reading};

/// A SELECT.
#[derive(Clone, PartialEq, Debug)]
pub struct Question {
    /// Schema (if it was named) and table; `None`: without FROM.
    pub table: Option<(Option<String>, String)>,
    /// What is asked for.
    pub outputs: Vec<Output>,
    /// Rows that count.
    pub filter: Option<Term>,
    /// Keys of the order; true: descending.
    pub order: Vec<(Term, bool)>,
    /// Most rows.
    pub limit: Option<usize>,
    /// Rows left out at the start.
    pub offset: usize,
}

/// One thing of the select list.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// `*`
    All,
    /// `COUNT(*)` and the name of the column.
    Count(String),
    /// A term and the name of the column.
    Term(Term, String),
}

/// Something that has a value for each row.
#[derive(Clone, PartialEq, Debug)]
pub enum Term {
    /// A column.
    Column(String),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// NULL
    Null,
    /// `@@name` and its like, without the scope.
    Variable(String),
    /// A function by its name in small letters.
    Function(String, Vec<Term>),
    /// NOT
    Not(Box<Term>),
    /// AND
    And(Box<Term>, Box<Term>),
    /// OR
    Or(Box<Term>, Box<Term>),
    /// A comparison.
    Compare(Box<Term>, Comparison, Box<Term>),
    /// IN
    In(Box<Term>, Vec<Term>),
    /// LIKE
    Like(Box<Term>, Box<Term>),
    /// IS NULL
    IsNull(Box<Term>),
}

/// How two terms are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// Words and signs of the longest question.
const MAX_TOKENS: usize = 500;

/// Why a text is no question; for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuestionError {
    /// It is no SQL.
    #[error("{0}")]
    Syntax(String),
    /// It is more than the console can do.
    #[error("the console cannot do this: {0}")]
    Beyond(String),
}

type Result<T> = std::result::Result<T, QuestionError>;

/// Reads a SELECT.
pub fn question(text: &str) -> Result<Question> {
    // `1+1+1+…` becomes a tree as deep as it is long, and whatever goes through it goes as deep.
    if Lexer::new(text.as_bytes(), Reading::default()).nth(MAX_TOKENS).is_some() {
        return Err(QuestionError::Beyond(format!("more than {MAX_TOKENS} words")));
    }
    let parsed = Parser::new(&MySqlDialect {}).with_recursion_limit(64).try_with_sql(text);
    let statements = parsed.and_then(|mut parser| parser.parse_statements());
    let mut statements = statements.map_err(|error| QuestionError::Syntax(error.to_string()))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => query_of(*query),
        (Some(other), _) => Err(beyond(&other)),
        (None, _) => Err(QuestionError::Syntax("there is no statement".to_owned())),
    }
}

fn beyond(what: &impl ToString) -> QuestionError {
    QuestionError::Beyond(what.to_string())
}

fn query_of(query: Query) -> Result<Question> {
    let text = query.to_string();
    let (limit, offset) = match &query.limit_clause {
        None => (None, 0),
        Some(LimitClause::LimitOffset { limit, offset, .. }) => (
            limit.as_ref().map(whole).transpose()?,
            offset.as_ref().map(|o| whole(&o.value)).transpose()?.unwrap_or(0),
        ),
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(whole(limit)?), whole(offset)?),
    };
    let order = match query.order_by.map(|by| by.kind) {
        Some(OrderByKind::Expressions(keys)) => keys
            .into_iter()
            .map(|key| Ok((term(key.expr)?, matches!(key.options.sort, Some(OrderBySort::Desc)))))
            .collect::<Result<_>>()?,
        Some(OrderByKind::All(_)) => return Err(beyond(&"ORDER BY ALL")),
        None => Vec::new(),
    };
    let SetExpr::Select(select) = *query.body else { return Err(beyond(&text)) };
    let grouped =
        !matches!(&select.group_by, sqlparser::ast::GroupByExpr::Expressions(keys, _) if keys.is_empty());
    if grouped || select.having.is_some() || select.distinct.is_some() || select.from.len() > 1 {
        return Err(QuestionError::Beyond("only columns of one table, WHERE, ORDER BY and LIMIT".to_owned()));
    }
    let table = match select.from.into_iter().next() {
        None => None,
        Some(from) => match (from.relation, from.joins.is_empty()) {
            (TableFactor::Table { name, .. }, true) => table_name(&name),
            _ => return Err(beyond(&"more than one table")),
        },
    };
    // FROM DUAL is no table.
    let table = table.filter(|(_, name)| !name.eq_ignore_ascii_case("dual"));
    Ok(Question {
        table,
        outputs: select.projection.into_iter().map(output).collect::<Result<_>>()?,
        filter: select.selection.map(term).transpose()?,
        order,
        limit,
        offset,
    })
}

fn table_name(name: &ObjectName) -> Option<(Option<String>, String)> {
    let mut parts: Vec<String> =
        name.0.iter().filter_map(|part| part.as_ident()).map(|ident| ident.value.clone()).collect();
    let table = parts.pop()?;
    Some((parts.pop(), table))
}

fn output(item: SelectItem) -> Result<Output> {
    let (expr, label) = match item {
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => return Ok(Output::All),
        SelectItem::UnnamedExpr(expr) => {
            let label = match &expr {
                Expr::Identifier(ident) => ident.value.clone(),
                Expr::CompoundIdentifier(parts) if !parts[0].value.starts_with("@@") => {
                    parts.last().map(|ident| ident.value.clone()).unwrap_or_default()
                }
                expr => expr.to_string(),
            };
            (expr, label)
        }
        SelectItem::ExprWithAlias { expr, alias } => (expr, alias.value),
        other => return Err(beyond(&other)),
    };
    let counts = matches!(&expr, Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("count"));
    Ok(if counts { Output::Count(label) } else { Output::Term(term(expr)?, label) })
}

fn whole(expr: &Expr) -> Result<usize> {
    expr.to_string().parse().map_err(|_| beyond(&format!("LIMIT {expr}")))
}

fn boxed(expr: Box<Expr>) -> Result<Box<Term>> {
    term(*expr).map(Box::new)
}

fn negate(negated: bool, term: Term) -> Term {
    if negated { Term::Not(Box::new(term)) } else { term }
}

fn term(expr: Expr) -> Result<Term> {
    Ok(match expr {
        Expr::Identifier(ident) if ident.value.starts_with("@@") => variable(&ident.value),
        Expr::Identifier(ident) => Term::Column(ident.value),
        Expr::CompoundIdentifier(parts) if parts[0].value.starts_with("@@") => {
            variable(&parts.iter().map(|p| p.value.as_str()).collect::<Vec<_>>().join("."))
        }
        Expr::CompoundIdentifier(parts) => {
            Term::Column(parts.last().map(|ident| ident.value.clone()).unwrap_or_default())
        }
        Expr::Value(value) => literal(value.value)?,
        Expr::Nested(inner) => term(*inner)?,
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Term::Not(boxed(expr)?),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match term(*expr)? {
            Term::Number(number) => Term::Number(-number),
            _ => return Err(beyond(&"arithmetic")),
        },
        Expr::BinaryOp { left, op, right } => binary(left, &op, right)?,
        Expr::InList { expr, list, negated } => {
            let list = list.into_iter().map(term).collect::<Result<_>>()?;
            negate(negated, Term::In(boxed(expr)?, list))
        }
        Expr::Like { negated, expr, pattern, .. } => {
            negate(negated, Term::Like(boxed(expr)?, boxed(pattern)?))
        }
        Expr::Between { expr, negated, low, high } => {
            let expr = boxed(expr)?;
            let low = Term::Compare(expr.clone(), Comparison::GreaterOrEqual, boxed(low)?);
            let high = Term::Compare(expr, Comparison::LessOrEqual, boxed(high)?);
            negate(negated, Term::And(Box::new(low), Box::new(high)))
        }
        Expr::IsNull(expr) => Term::IsNull(boxed(expr)?),
        Expr::IsNotNull(expr) => Term::Not(Box::new(Term::IsNull(boxed(expr)?))),
        Expr::IsTrue(expr) => term(*expr)?,
        Expr::Function(function) => {
            let arguments = match function.args {
                FunctionArguments::None => Vec::new(),
                FunctionArguments::List(list) => {
                    list.args.iter().map(|argument| Term::Text(argument.to_string())).collect()
                }
                FunctionArguments::Subquery(query) => return Err(beyond(&query)),
            };
            Term::Function(function.name.to_string().to_ascii_lowercase(), arguments)
        }
        other => return Err(beyond(&other)),
    })
}

fn binary(left: Box<Expr>, op: &BinaryOperator, right: Box<Expr>) -> Result<Term> {
    let comparison = match op {
        BinaryOperator::And => return Ok(Term::And(boxed(left)?, boxed(right)?)),
        BinaryOperator::Or => return Ok(Term::Or(boxed(left)?, boxed(right)?)),
        BinaryOperator::Eq => Comparison::Equal,
        BinaryOperator::NotEq => Comparison::NotEqual,
        BinaryOperator::Lt => Comparison::Less,
        BinaryOperator::LtEq => Comparison::LessOrEqual,
        BinaryOperator::Gt => Comparison::Greater,
        BinaryOperator::GtEq => Comparison::GreaterOrEqual,
        other => return Err(beyond(other)),
    };
    Ok(Term::Compare(boxed(left)?, comparison, boxed(right)?))
}

fn literal(value: Literal) -> Result<Term> {
    Ok(match value {
        Literal::Number(text, _) => Term::Number(text.to_string().parse().map_err(|_| beyond(&text))?),
        Literal::SingleQuotedString(text) | Literal::DoubleQuotedString(text) => Term::Text(text),
        Literal::Boolean(truth) => Term::Number(f64::from(u8::from(truth))),
        Literal::Null => Term::Null,
        other => return Err(beyond(&other)),
    })
}

/// `@@session.autocommit` is `autocommit`.
fn variable(text: &str) -> Term {
    let name = text.trim_start_matches('@').to_ascii_lowercase();
    let scopes = ["session.", "global.", "local."];
    Term::Variable(scopes.iter().find_map(|scope| name.strip_prefix(scope)).unwrap_or(&name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_select_is_taken_apart() {
        let q = question("SELECT session, `user` AS who FROM interlock.locks l WHERE mode = 'X' AND NOT session IN (1, 2) ORDER BY session DESC LIMIT 5 OFFSET 2").unwrap();
        assert_eq!(q.table, Some((Some("interlock".into()), "locks".into())));
        assert_eq!(q.outputs[1], Output::Term(Term::Column("user".into()), "who".into()));
        assert_eq!((q.order.len(), q.order[0].1, q.limit, q.offset), (1, true, Some(5), 2));
        assert!(matches!(q.filter, Some(Term::And(..))));
    }

    #[test]
    fn what_clients_ask_first_is_understood() {
        let first = |text: &str| question(text).unwrap().outputs.remove(0);
        let variable = |name: &str, label: &str| Output::Term(Term::Variable(name.into()), label.into());
        assert_eq!(
            first("select @@version_comment limit 1"),
            variable("version_comment", "@@version_comment")
        );
        assert_eq!(first("SELECT @@session.autocommit"), variable("autocommit", "@@session.autocommit"));
        assert_eq!(first("SELECT COUNT(*) FROM locks"), Output::Count("COUNT(*)".into()));
        assert!(
            matches!(first("SELECT DATABASE()"), Output::Term(Term::Function(name, _), _) if name == "database")
        );
    }

    #[test]
    fn long_chains_are_refused_before_they_become_deep_trees() {
        // The stack of a thread that answers; the tree is shown and dropped on it, too.
        let answering = |text: String| {
            let thread = std::thread::Builder::new().stack_size(2 << 20);
            thread.spawn(move || question(&text).is_ok()).unwrap().join().unwrap()
        };
        for (link, known) in
            [("1+", false), ("a = 1 OR ", true), ("NOT ", true), ("a LIKE 'x' AND ", true), ("(", false)]
        {
            let short = format!("SELECT * FROM t WHERE {}1", link.repeat(3));
            assert_eq!(answering(short), known, "{link}");
            let links = (MAX_TOKENS - 10) / link.split(' ').filter(|word| !word.is_empty()).count().max(2);
            answering(format!("SELECT * FROM t WHERE {}1", link.repeat(links)));
            assert!(!answering(format!("SELECT * FROM t WHERE {}1", link.repeat(100_000))), "{link}");
        }
        let many = vec!["1"; 200].join(", ");
        assert!(answering(format!("SELECT * FROM t WHERE session IN ({many})")));
    }

    #[test]
    fn what_is_beyond_is_refused() {
        let check = |text: &str| assert!(matches!(question(text), Err(QuestionError::Beyond(_))), "{text}");
        check("SELECT * FROM a JOIN b ON a.x = b.x");
        check("SELECT mode, COUNT(*) FROM locks GROUP BY mode");
        check("DELETE FROM locks");
        assert!(matches!(question("SELEKT 1"), Err(QuestionError::Syntax(_))));
        let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
        assert!(question(&deep).is_err());
    }
}
