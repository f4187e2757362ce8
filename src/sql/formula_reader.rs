//! Expressions of the syntax tree, and of definitions, to formulas.

use sqlparser::ast::{
    BinaryOperator, DateTimeField, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Interval,
    SelectItem, SetExpr, Statement, UnaryOperator, Value as Literal,
};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use super::binding::Binding;
use super::digest::Digest;
use super::fold::pieces;
use super::formula::{Formula, Function};
use super::formula_time::Unit;
use super::lexer::Reading;
use super::predicate::variable;
use super::read::{last_part, plain_name};
use super::rewrite::{slot, tokens};
use super::value::Value;

/// Longest definition that is read, in bytes.
const LONGEST: usize = 2_048;

/// How deep parentheses and operators may nest.
const MAX_DEPTH: usize = 50;

/// The formula of an expression as definitions have it, with literals of its own: ``lower(`mail`)``.
pub fn definition(text: &str, reading: Reading) -> Option<Formula> {
    if text.len() > LONGEST {
        return None;
    }
    let text = format!("SELECT {text}");
    let digest = Digest::of(text.as_bytes(), reading);
    if digest.too_long || digest.params > 0 {
        return None;
    }
    let tokens = tokens(&pieces(text.as_bytes(), reading, &digest))?;
    let mut parser = Parser::new(&MySqlDialect {}).with_recursion_limit(MAX_DEPTH).with_tokens(tokens);
    let Statement::Query(query) = parser.parse_statement().ok()? else { return None };
    if parser.peek_token().token != sqlparser::tokenizer::Token::EOF {
        return None;
    }
    let SetExpr::Select(block) = &*query.body else { return None };
    let [SelectItem::UnnamedExpr(expr)] = block.projection.as_slice() else { return None };
    let values = Binding::new(text.as_bytes(), reading, &digest, &[]);
    Some(bound(formula(expr)?, &values))
}

/// The formula with the literals that its slots stand for.
fn bound(formula: Formula, values: &Binding<'_>) -> Formula {
    match formula {
        Formula::Slot(slot) => Formula::Literal(values.value(slot).outliving()),
        Formula::Call(function, given) => {
            Formula::Call(function, given.into_iter().map(|one| bound(one, values)).collect())
        }
        other => other,
    }
}

/// The formula of an expression. `None`: it is not computed.
pub(super) fn formula(expr: &Expr) -> Option<Formula> {
    let of = |function, given: &[&Expr]| {
        let given: Option<Vec<Formula>> = given.iter().map(|expr| formula(expr)).collect();
        Some(Formula::Call(function, given?))
    };
    let not = |formula| Formula::Call(Function::Not, vec![formula]);
    match expr {
        Expr::Value(value) => match &value.value {
            Literal::Number(text, _) | Literal::SingleQuotedString(text) | Literal::Placeholder(text) => {
                slot(text).map(Formula::Slot)
            }
            Literal::Null => Some(Formula::Literal(Value::Null)),
            Literal::Boolean(truth) => Some(Formula::Literal(Value::Int(i128::from(*truth)))),
            _ => None,
        },
        Expr::Identifier(ident) if variable(ident) => None,
        Expr::Identifier(ident) => match ident.value.to_ascii_uppercase().as_str() {
            "CURRENT_DATE" if ident.quote_style.is_none() => Some(Formula::Now(false)),
            "CURRENT_TIMESTAMP" | "LOCALTIME" | "LOCALTIMESTAMP" if ident.quote_style.is_none() => {
                Some(Formula::Now(true))
            }
            "DEFAULT" if ident.quote_style.is_none() => None,
            _ => Some(Formula::Column(ident.value.clone())),
        },
        Expr::CompoundIdentifier(parts) => Some(Formula::Column(parts.last()?.value.clone())),
        Expr::Nested(inner) => formula(inner),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => formula(expr),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            Some(Formula::Call(Function::Subtract, vec![Formula::Literal(Value::Int(0)), formula(expr)?]))
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Some(not(formula(expr)?)),
        Expr::BinaryOp { left, op, right } => operator(left, op, right),
        Expr::IsNull(inner) => of(Function::IsNull, &[inner]),
        Expr::IsNotNull(inner) => Some(not(of(Function::IsNull, &[inner])?)),
        Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => {
            let mut given = vec![&**expr, from];
            given.extend(substring_for.as_deref());
            of(Function::Substring, &given)
        }
        Expr::Trim { trim_where: None, trim_what: None, expr, trim_characters: None } => {
            of(Function::Trim, &[expr])
        }
        Expr::Cast { expr, data_type, .. } => cast(formula(expr)?, &data_type.to_string()),
        Expr::Case { operand, conditions, else_result, .. } => {
            let mut result = match else_result {
                Some(other) => formula(other)?,
                None => Formula::Literal(Value::Null),
            };
            for when in conditions.iter().rev() {
                let condition = match operand {
                    Some(operand) => of(Function::Equal, &[operand, &when.condition])?,
                    None => formula(&when.condition)?,
                };
                result = Formula::Call(Function::If, vec![condition, formula(&when.result)?, result]);
            }
            Some(result)
        }
        Expr::Function(function) => {
            let name = last_part(&function.name)?.to_ascii_uppercase();
            let given = match &function.args {
                FunctionArguments::None => Vec::new(),
                FunctionArguments::List(list) => {
                    let plain = |arg: &FunctionArg| match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                        _ => None,
                    };
                    list.args.iter().map(plain).collect::<Option<Vec<_>>>()?
                }
                FunctionArguments::Subquery(_) => return None,
            };
            named(&name, &given)
        }
        _ => None,
    }
}

fn operator(left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Formula> {
    if let (BinaryOperator::Plus | BinaryOperator::Minus, Expr::Interval(interval)) = (op, right) {
        return shifted(left, interval, *op == BinaryOperator::Plus);
    }
    let (left, right) = (formula(left)?, formula(right)?);
    let not = |formula| Formula::Call(Function::Not, vec![formula]);
    let (function, turned, negated) = match op {
        BinaryOperator::Plus => (Function::Add, false, false),
        BinaryOperator::Minus => (Function::Subtract, false, false),
        BinaryOperator::Multiply => (Function::Multiply, false, false),
        BinaryOperator::MyIntegerDivide => (Function::Divide, false, false),
        BinaryOperator::Modulo => (Function::Modulo, false, false),
        BinaryOperator::Eq => (Function::Equal, false, false),
        BinaryOperator::NotEq => (Function::Equal, false, true),
        BinaryOperator::Spaceship => (Function::SameAs, false, false),
        BinaryOperator::Lt => (Function::Less, false, false),
        BinaryOperator::Gt => (Function::Less, true, false),
        BinaryOperator::LtEq => (Function::Less, true, true),
        BinaryOperator::GtEq => (Function::Less, false, true),
        BinaryOperator::And => (Function::And, false, false),
        BinaryOperator::Or => (Function::Or, false, false),
        _ => return None,
    };
    let given = if turned { vec![right, left] } else { vec![left, right] };
    let call = Formula::Call(function, given);
    Some(if negated { not(call) } else { call })
}

/// A function by its name, upper case.
fn named(name: &str, given: &[Expr]) -> Option<Formula> {
    let function = match (name, given.len()) {
        ("LOWER" | "LCASE", 1) => Function::Lower,
        ("UPPER" | "UCASE", 1) => Function::Upper,
        ("CONCAT", 1..) => Function::Concat,
        ("CONCAT_WS", 2..) => Function::ConcatWs,
        ("TRIM", 1) => Function::Trim,
        ("LTRIM", 1) => Function::TrimStart,
        ("RTRIM", 1) => Function::TrimEnd,
        ("SUBSTRING" | "SUBSTR" | "MID", 2 | 3) => Function::Substring,
        ("LEFT", 2) => Function::Left,
        ("RIGHT", 2) => Function::Right,
        ("REPLACE", 3) => Function::Replace,
        ("CHAR_LENGTH" | "CHARACTER_LENGTH", 1) => Function::CharLength,
        ("COALESCE", 1..) | ("IFNULL", 2) => Function::Coalesce,
        ("NULLIF", 2) => Function::NullIf,
        ("IF", 3) => Function::If,
        ("MOD", 2) => Function::Modulo,
        ("ABS", 1) => Function::Abs,
        ("ISNULL", 1) => Function::IsNull,
        ("DATE", 1) => Function::Date,
        ("YEAR", 1) => Function::Year,
        ("MONTH", 1) => Function::Month,
        ("NOW" | "CURRENT_TIMESTAMP" | "LOCALTIME" | "LOCALTIMESTAMP", 0) => return Some(Formula::Now(true)),
        ("LAST_INSERT_ID", 0) => return Some(Formula::LastInsertId),
        ("CURDATE" | "CURRENT_DATE", 0) => return Some(Formula::Now(false)),
        ("DATE_ADD" | "ADDDATE" | "DATE_SUB" | "SUBDATE", 2) => {
            let Expr::Interval(interval) = &given[1] else { return None };
            return shifted(&given[0], interval, name.contains("ADD"));
        }
        ("VALUES" | "VALUE", 1) => return plain_name(&given[0]).map(Formula::Inserted),
        _ => return None,
    };
    let given: Option<Vec<Formula>> = given.iter().map(formula).collect();
    Some(Formula::Call(function, given?))
}

fn shifted(base: &Expr, interval: &Interval, later: bool) -> Option<Formula> {
    let unit = match interval.leading_field.as_ref()? {
        DateTimeField::Second => Unit::Second,
        DateTimeField::Minute => Unit::Minute,
        DateTimeField::Hour => Unit::Hour,
        DateTimeField::Day => Unit::Day,
        DateTimeField::Week(None) => Unit::Week,
        _ => return None,
    };
    Some(Formula::Call(Function::Shift(later, unit), vec![formula(base)?, formula(&interval.value)?]))
}

/// The conversion to a type, as the tree writes it.
fn cast(given: Formula, data_type: &str) -> Option<Formula> {
    let upper = data_type.to_ascii_uppercase();
    let (name, length) = upper.split_once('(').map_or((upper.as_str(), None), |(n, rest)| (n, Some(rest)));
    let function = match name.trim() {
        "SIGNED" | "SIGNED INTEGER" | "SIGNED INT" => Function::Integer(true),
        "UNSIGNED" | "UNSIGNED INTEGER" | "UNSIGNED INT" => Function::Integer(false),
        "CHAR" => Function::Char,
        "DATE" => Function::Date,
        _ => return None,
    };
    let call = Formula::Call(function, vec![given]);
    match length {
        None => Some(call),
        // The length is a literal of the text as well.
        Some(length) if function == Function::Char => {
            let length = Formula::Slot(slot(length.strip_suffix(')')?)?);
            Some(Formula::Call(Function::Left, vec![call, length]))
        }
        Some(_) => None,
    }
}
