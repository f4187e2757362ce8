//! Expressions that can be computed without the server: what a statement gives a column, what a definition
//! says of a default, a generated column or a functional index.
//!
//! Only what gives the same value here and there is computed. Everything else has no formula, or a formula
//! whose value is `None`: the key that hangs on it is not known.

use super::formula_time::{self, Unit};
use super::value::Value;

/// An expression.
#[derive(Clone, PartialEq, Debug)]
pub enum Formula {
    /// The literal at a slot of the statement.
    Slot(usize),
    /// A literal of a definition.
    Literal(Value<'static>),
    /// A column of the row, as it is named.
    Column(String),
    /// What the new row of an INSERT would have got in a column: `VALUES(c)`.
    Inserted(String),
    /// The moment of the statement: `NOW()`; `false`: its day, `CURRENT_DATE`.
    Now(bool),
    /// `LAST_INSERT_ID()`
    LastInsertId,
    /// A function or operator, and what it is given.
    Call(Function, Vec<Formula>),
}

/// Functions and operators, by what they do (manual, "Built-In Function and Operator Reference").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Function {
    /// `LOWER`, `LCASE`
    Lower,
    /// `UPPER`, `UCASE`
    Upper,
    /// `CONCAT`
    Concat,
    /// `CONCAT_WS`
    ConcatWs,
    /// `TRIM(s)`: spaces at both ends.
    Trim,
    /// `LTRIM`
    TrimStart,
    /// `RTRIM`
    TrimEnd,
    /// `SUBSTRING(s, from[, length])`
    Substring,
    /// `LEFT(s, n)`
    Left,
    /// `RIGHT(s, n)`
    Right,
    /// `REPLACE(s, from, to)`
    Replace,
    /// `CHAR_LENGTH`
    CharLength,
    /// `COALESCE`, `IFNULL`
    Coalesce,
    /// `NULLIF(a, b)`
    NullIf,
    /// `IF(c, a, b)`, `CASE`
    If,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `DIV`
    Divide,
    /// `%`, `MOD`
    Modulo,
    /// `ABS`
    Abs,
    /// `=`
    Equal,
    /// `<=>`
    SameAs,
    /// `<`
    Less,
    /// `IS NULL`
    IsNull,
    /// `NOT`
    Not,
    /// `AND`
    And,
    /// `OR`
    Or,
    /// `CAST(… AS SIGNED)`; `false`: `UNSIGNED`
    Integer(bool),
    /// `CAST(… AS CHAR)`
    Char,
    /// `DATE(…)`, `CAST(… AS DATE)`
    Date,
    /// `YEAR`
    Year,
    /// `MONTH`
    Month,
    /// `… + INTERVAL n unit`, `DATE_ADD`; `false`: `-`, `DATE_SUB`
    Shift(bool, Unit),
}

/// What a formula is computed from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The statement's literals.
    pub slot: &'a dyn Fn(usize) -> Option<Value<'static>>,
    /// The row's columns.
    pub column: &'a dyn Fn(&str) -> Option<Value<'static>>,
    /// When it runs, and where.
    pub moment: Moment,
}

/// What neither a statement's text nor its rows say, but its session: the server's clock, and what it has given.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Moment {
    /// Seconds since 1970 on the server's clock, in its time zone; `None`: not known.
    pub seconds: Option<i64>,
    /// `LAST_INSERT_ID()`; `None`: not known.
    pub last_insert_id: Option<u64>,
}

impl Formula {
    /// The value; `None` if it is not known here.
    pub fn value(&self, inputs: &Inputs<'_>) -> Option<Value<'static>> {
        let value = match self {
            Formula::Slot(slot) => (inputs.slot)(*slot)?,
            Formula::Literal(value) => value.clone(),
            Formula::Column(name) => (inputs.column)(name)?,
            Formula::Inserted(_) => return None,
            Formula::Now(with_time) => formula_time::moment(inputs.moment.seconds?, *with_time),
            Formula::LastInsertId => Value::Int(inputs.moment.last_insert_id?.into()),
            Formula::Call(function, given) => return call(*function, given, inputs),
        };
        (value != Value::Unknown).then_some(value)
    }

    /// Does its session say what it is? Its time zone may be another than the server's, and `SELECT LAST_INSERT_ID(5)`
    /// goes unseen.
    pub fn is_of_session(&self) -> bool {
        match self {
            Formula::Now(_) | Formula::LastInsertId => true,
            Formula::Call(_, given) => given.iter().any(Formula::is_of_session),
            Formula::Slot(_) | Formula::Literal(_) | Formula::Column(_) | Formula::Inserted(_) => false,
        }
    }

    /// The same with what the new row has; `None`: that is not known.
    pub fn with_inserted(&self, new: &dyn Fn(&str) -> Option<Value<'static>>) -> Option<Formula> {
        Some(match self {
            Formula::Inserted(column) => Formula::Literal(new(column)?),
            Formula::Call(function, given) => {
                let given: Option<Vec<Formula>> = given.iter().map(|one| one.with_inserted(new)).collect();
                Formula::Call(*function, given?)
            }
            other => other.clone(),
        })
    }

    /// The columns that it is computed from.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Formula::Column(name) => vec![name],
            Formula::Call(_, given) => given.iter().flat_map(Formula::columns).collect(),
            Formula::Slot(_)
            | Formula::Literal(_)
            | Formula::Inserted(_)
            | Formula::Now(_)
            | Formula::LastInsertId => Vec::new(),
        }
    }

    /// One spelling for the same expression of columns alone: a functional index is known by it. `None`: it has
    /// literals, whose values a plan does not know.
    pub fn spelling(&self) -> Option<String> {
        match self {
            Formula::Column(name) => Some(name.to_lowercase()),
            Formula::Call(function, given) => {
                let given: Option<Vec<String>> = given.iter().map(Formula::spelling).collect();
                Some(format!("{function:?}({})", given?.join(", ")))
            }
            Formula::Slot(_)
            | Formula::Literal(_)
            | Formula::Inserted(_)
            | Formula::Now(_)
            | Formula::LastInsertId => None,
        }
    }
}

/// The value of a call.
fn call(function: Function, given: &[Formula], inputs: &Inputs<'_>) -> Option<Value<'static>> {
    let value = |n: usize| given.get(n)?.value(inputs);
    // Those that NULL does not pass through.
    match function {
        Function::Coalesce => {
            for one in given {
                let value = one.value(inputs)?;
                if value != Value::Null {
                    return Some(value);
                }
            }
            return Some(Value::Null);
        }
        Function::If => return if truth(&value(0)?)? == Some(true) { value(1) } else { value(2) },
        Function::IsNull => return Some(whether(value(0)? == Value::Null)),
        Function::NullIf => {
            let first = value(0)?;
            let same = equal(&first, &value(1)?)? == Some(true);
            return Some(if same { Value::Null } else { first });
        }
        Function::SameAs => {
            let (a, b) = (value(0)?, value(1)?);
            let nulls = [&a, &b].iter().filter(|v| ***v == Value::Null).count();
            return match nulls {
                0 => Some(whether(equal(&a, &b)? == Some(true))),
                nulls => Some(whether(nulls == 2)),
            };
        }
        Function::And | Function::Or => {
            let decides = function == Function::Or;
            let sides = [value(0).map(|v| truth(&v)), value(1).map(|v| truth(&v))].map(Option::flatten);
            if sides.contains(&Some(Some(decides))) {
                return Some(whether(decides));
            }
            return match sides {
                [Some(Some(_)), Some(Some(_))] => Some(whether(!decides)),
                [Some(_), Some(_)] => Some(Value::Null),
                _ => None,
            };
        }
        Function::ConcatWs => {
            let separator = value(0)?;
            if separator == Value::Null {
                return Some(Value::Null);
            }
            let rest: Option<Vec<Value<'static>>> = given.iter().skip(1).map(|v| v.value(inputs)).collect();
            let rest = rest?.into_iter().filter(|v| *v != Value::Null);
            let texts: Option<Vec<String>> = rest.map(|v| text(&v)).collect();
            return Some(of_text(texts?.join(&text(&separator)?)));
        }
        _ => {}
    }
    let given: Vec<Value<'static>> = given.iter().map(|one| one.value(inputs)).collect::<Option<_>>()?;
    if given.contains(&Value::Null) {
        return Some(Value::Null);
    }
    plain(function, &given)
}

/// The value of a function of values that are not NULL.
fn plain(function: Function, given: &[Value<'static>]) -> Option<Value<'static>> {
    let string = |n: usize| text(given.get(n)?);
    let number = |n: usize| integer(given.get(n)?);
    Some(match function {
        Function::Lower => of_text(string(0)?.to_lowercase()),
        Function::Upper => of_text(string(0)?.to_uppercase()),
        Function::Concat => of_text(given.iter().map(text).collect::<Option<String>>()?),
        Function::Trim => of_text(string(0)?.trim_matches(' ').to_owned()),
        Function::TrimStart => of_text(string(0)?.trim_start_matches(' ').to_owned()),
        Function::TrimEnd => of_text(string(0)?.trim_end_matches(' ').to_owned()),
        Function::Substring => {
            let length = if given.len() > 2 { number(2)? } else { i128::MAX };
            of_text(substring(&string(0)?, number(1)?, length))
        }
        Function::Left => of_text(substring(&string(0)?, 1, number(1)?)),
        Function::Right => {
            let (all, wanted) = (string(0)?, number(1)?.max(0));
            let skipped = (all.chars().count() as i128 - wanted).max(0);
            of_text(all.chars().skip(usize::try_from(skipped).ok()?).collect())
        }
        Function::Replace => {
            let (from, to) = (string(1)?, string(2)?);
            if from.is_empty() { of_text(string(0)?) } else { of_text(string(0)?.replace(&from, &to)) }
        }
        Function::CharLength => Value::Int(string(0)?.chars().count() as i128),
        Function::Add => Value::Int(whole(&given[0])?.checked_add(whole(given.get(1)?)?)?),
        Function::Subtract => Value::Int(whole(&given[0])?.checked_sub(whole(given.get(1)?)?)?),
        Function::Multiply => Value::Int(whole(&given[0])?.checked_mul(whole(given.get(1)?)?)?),
        Function::Divide | Function::Modulo if whole(given.get(1)?)? == 0 => Value::Null,
        Function::Divide => Value::Int(whole(&given[0])?.checked_div(whole(given.get(1)?)?)?),
        Function::Modulo => Value::Int(whole(&given[0])?.checked_rem(whole(given.get(1)?)?)?),
        Function::Abs => Value::Int(whole(given.first()?)?.checked_abs()?),
        Function::Equal => whether(equal(given.first()?, given.get(1)?)??),
        Function::Less => whether(whole(given.first()?)? < whole(given.get(1)?)?),
        Function::Not => whether(!truth(given.first()?)??),
        Function::Integer(true) => Value::Int(number(0)?),
        Function::Integer(false) => Value::Int(number(0).filter(|n| *n >= 0)?),
        Function::Char => of_text(string(0)?),
        Function::Date => formula_time::date(&string(0)?)?,
        Function::Year => Value::Int(formula_time::field(&string(0)?, 0..4)?),
        Function::Month => Value::Int(formula_time::field(&string(0)?, 5..7)?),
        Function::Shift(later, unit) => formula_time::shift(&string(0)?, number(1)?, unit, later)?,
        // They are computed where NULL counts.
        Function::Coalesce
        | Function::NullIf
        | Function::If
        | Function::IsNull
        | Function::SameAs
        | Function::And
        | Function::Or
        | Function::ConcatWs => return None,
    })
}

fn of_text(text: String) -> Value<'static> {
    Value::Text(text.into_bytes().into())
}

fn whether(truth: bool) -> Value<'static> {
    Value::Int(i128::from(truth))
}

/// A value as text; bytes in no character set have none.
fn text(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Text(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        Value::Int(n) => Some(n.to_string()),
        Value::Decimal(digits) => Some((*digits).to_owned()),
        Value::Temporal(moment) => Some(moment.clone()),
        Value::Null | Value::Float(_) | Value::Bytes(_) | Value::Unknown => None,
    }
}

/// A whole number.
fn whole(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(n) => Some(*n),
        _ => None,
    }
}

/// A whole number, also from a text that is one.
fn integer(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Text(bytes) => std::str::from_utf8(bytes).ok()?.trim().parse().ok(),
        value => whole(value),
    }
}

/// Outer `None`: not known; inner: NULL.
fn truth(value: &Value<'_>) -> Option<Option<bool>> {
    match value {
        Value::Null => Some(None),
        Value::Int(n) => Some(Some(*n != 0)),
        _ => None,
    }
}

/// The same for `a = b`. Texts that differ in case alone may be equal: their collation says so.
fn equal(a: &Value<'_>, b: &Value<'_>) -> Option<Option<bool>> {
    if *a == Value::Null || *b == Value::Null {
        return Some(None);
    }
    if let (Value::Text(left), Value::Text(right)) = (a, b) {
        let (left, right) = (std::str::from_utf8(left).ok()?, std::str::from_utf8(right).ok()?);
        return match () {
            () if left == right => Some(Some(true)),
            () if !left.is_ascii() || !right.is_ascii() => None,
            () if left.trim_end().eq_ignore_ascii_case(right.trim_end()) => None,
            () => Some(Some(false)),
        };
    }
    Some(Some(integer(a)? == integer(b)?))
}

/// `SUBSTRING`: positions count from 1, negative ones from the end.
fn substring(text: &str, from: i128, length: i128) -> String {
    let count = text.chars().count() as i128;
    let first = match from {
        0 => return String::new(),
        from if from < 0 => count + from,
        from => from - 1,
    };
    if first < 0 || length <= 0 {
        return String::new();
    }
    let skip = usize::try_from(first).unwrap_or(usize::MAX);
    text.chars().skip(skip).take(usize::try_from(length).unwrap_or(usize::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::formula_reader::definition;
    use super::super::lexer::Reading;
    use super::*;

    /// A Wednesday: 2026-11-25 10:30:00.
    const NOW: i64 = 1_795_602_600;

    fn value(text: &str) -> Option<Value<'static>> {
        let column = |name: &str| match name {
            "mail" => Some(of_text("Ann@X".to_owned())),
            "n" => Some(Value::Int(7)),
            "gone" => Some(Value::Null),
            _ => None,
        };
        let inputs = Inputs {
            slot: &|_| None,
            column: &column,
            moment: Moment { seconds: Some(NOW), ..Moment::default() },
        };
        definition(text, Reading::default())?.value(&inputs)
    }

    fn check(text: &str, expect: &str) {
        assert_eq!(value(text), Some(of_text(expect.to_owned())), "{text}");
    }

    #[test]
    fn texts() {
        check("lower(`mail`)", "ann@x");
        check("lcase(`mail`)", "ann@x");
        check("concat(`mail`,'-',`n`)", "Ann@X-7");
        check("concat_ws('|',`mail`,`gone`,`n`)", "Ann@X|7");
        check("left(`mail`,3)", "Ann");
        check("right(`mail`,2)", "@X");
        check("substr(`mail`,2,2)", "nn");
        check("substring(`mail`,-1)", "X");
        check("trim('  a ')", "a");
        check("replace(`mail`,'@','.')", "Ann.X");
        check("cast(`n` as char(10))", "7");
        check("cast(`mail` as char(2))", "An");
        check("ifnull(`gone`,'none')", "none");
        check("concat(_utf8mb4'it''s ',`n`)", "it's 7");
        assert_eq!(value("concat(`mail`,`gone`)"), Some(Value::Null));
        assert_eq!(value("uuid()"), None);
        assert_eq!(value("lower(`elsewhere`)"), None);
    }

    #[test]
    fn numbers() {
        assert_eq!(value("((`n` * 2) + 1)"), Some(Value::Int(15)));
        assert_eq!(value("(`n` DIV 2)"), Some(Value::Int(3)));
        assert_eq!(value("(`n` % 4)"), Some(Value::Int(3)));
        assert_eq!(value("abs((1 - `n`))"), Some(Value::Int(6)));
        assert_eq!(value("(`n` DIV 0)"), Some(Value::Null));
        assert_eq!(value("char_length(`mail`)"), Some(Value::Int(5)));
        assert_eq!(value("cast('12' as signed)"), Some(Value::Int(12)));
        // The server would make a number of it.
        assert_eq!(value("(`mail` + 1)"), None);
    }

    #[test]
    fn conditions() {
        check("(case when (`n` = 7) then `mail` end)", "Ann@X");
        assert_eq!(value("(case when (`n` = 8) then `mail` end)"), Some(Value::Null));
        assert_eq!(value("if((`gone` is null),1,2)"), Some(Value::Int(1)));
        assert_eq!(value("if(((`n` < 9) and (`gone` is not null)),1,2)"), Some(Value::Int(2)));
        assert_eq!(value("nullif(`n`,7)"), Some(Value::Null));
        // Whether these are equal is the collation's to say.
        assert_eq!(value("if((`mail` = 'ANN@X'),1,2)"), None);
    }

    #[test]
    fn times() {
        let day = |day: &str| Some(Value::Temporal(day.to_owned()));
        assert_eq!(value("current_date()"), day("2026-11-25"));
        assert_eq!(value("curdate()"), day("2026-11-25"));
        assert_eq!(value("cast(now() as date)"), day("2026-11-25"));
        assert_eq!(value("now()"), day("2026-11-25 10:30:00"));
        assert_eq!(value("(now() - interval 1 day)"), day("2026-11-24 10:30:00"));
        assert_eq!(value("year(now())"), Some(Value::Int(2026)));
    }

    #[test]
    fn one_spelling() {
        let spelling = |text: &str| definition(text, Reading::default()).and_then(|f| f.spelling());
        assert_eq!(spelling("lower(`Mail`)"), spelling("LCASE(mail)"));
        assert_ne!(spelling("lower(`mail`)"), spelling("upper(`mail`)"));
        assert_eq!(spelling("concat(`mail`,'x')"), None);
    }
}
