//! A call of a window function as it is written, such as `TUMBLE(at, INTERVAL '10 seconds')`.

use std::sync::Arc;

use arrow::datatypes::DataType;
use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned};

use crate::error::{Code, Error, Place, Result, StatementError};
use crate::plan::node::WindowShape;
use crate::sql;
use crate::types::{Interval, Tick, type_name};

/// In how many windows a row may be.
const WINDOWS_MAX: i64 = 100_000;

/// How long a window may be, in units of its time: so that sums of a few lengths and a time can be told from too much.
const LENGTH_MAX: i64 = i64::MAX / 16;

/// Which windows a function makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::plan::planner) enum Kind {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

/// What a call is given beside its lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `GROUP BY TUMBLE(at, …)`
    Key,
    /// `FROM TUMBLE(bids, at, …)`
    Relation,
}

/// A parameter: its names, and whether it may be left out.
struct Parameter {
    names: &'static [&'static str],
    optional: bool,
}

const fn parameter(names: &'static [&'static str]) -> Parameter {
    Parameter { names, optional: false }
}

const OFFSET: Parameter = Parameter { names: &["offset"], optional: true };
const TUMBLE: &[Parameter] = &[parameter(&["size"]), OFFSET];
const HOP: &[Parameter] = &[parameter(&["slide"]), parameter(&["size"]), OFFSET];
const CUMULATE: &[Parameter] = &[parameter(&["step"]), parameter(&["max_size", "size"]), OFFSET];
const SESSION: &[Parameter] = &[parameter(&["gap"])];
const TIME: Parameter = parameter(&["time", "timecol"]);
const DATA: Parameter = parameter(&["data"]);

impl Kind {
    /// What the functions are called, where a name is looked for that is like another.
    pub const NAMES: [&str; 4] = ["tumble", "hop", "cumulate", "session"];

    /// The kind of a function of that name, if it makes windows.
    pub fn of(name: &ast::ObjectName) -> Option<Kind> {
        let [ast::ObjectNamePart::Identifier(name)] = name.0.as_slice() else { return None };
        let kinds = [Kind::Tumble, Kind::Hop, Kind::Cumulate, Kind::Session];
        kinds.into_iter().find(|kind| name.value.eq_ignore_ascii_case(kind.word()))
    }

    /// What the function is called.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Tumble => "TUMBLE",
            Kind::Hop => "HOP",
            Kind::Cumulate => "CUMULATE",
            Kind::Session => "SESSION",
        }
    }

    fn lengths(self) -> &'static [Parameter] {
        match self {
            Kind::Tumble => TUMBLE,
            Kind::Hop => HOP,
            Kind::Cumulate => CUMULATE,
            Kind::Session => SESSION,
        }
    }

    fn hint(self, form: Form) -> String {
        let data = match form {
            Form::Key => "",
            Form::Relation => "TABLE t, ",
        };
        let lengths = match self {
            Kind::Tumble => "INTERVAL '10 seconds' [, offset => INTERVAL '1 second']",
            Kind::Hop => {
                "slide => INTERVAL '2 seconds', size => INTERVAL '10 seconds' [, offset => INTERVAL '1 second']"
            }
            Kind::Cumulate => {
                "step => INTERVAL '1 minute', max_size => INTERVAL '1 hour' [, offset => INTERVAL '1 second']"
            }
            Kind::Session => "gap => INTERVAL '30 seconds'",
        };
        format!("Write {}({data}at, {lengths}).", self.word())
    }
}

/// How long something is, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::plan::planner) struct Length {
    amount: Amount,
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Amount {
    /// Of a time that is a timestamp or a date.
    Time(Interval),
    /// Of a time that is an integer.
    Number(i64),
}

impl Length {
    /// Reads a length.
    pub fn parse(expr: &Expr, text: &Arc<str>) -> Result<Length> {
        let place = sql::place_of(text, expr.span());
        let amount = match whole_number(expr) {
            Some(number) => Amount::Number(number),
            None => Amount::Time(sql::interval_of(text, expr)?),
        };
        Ok(Length { amount, place })
    }

    /// The length in units of a column of time.
    pub fn ticks(&self, time: &DataType) -> Result<i64> {
        let wrong = |message: String| StatementError::new(Code::InvalidArgument, message).at(self.place.clone());
        let tick = Tick::of(time).and_then(Tick::nanos);
        match (self.amount, tick) {
            (Amount::Number(number), None) => Ok(number),
            (Amount::Time(length), Some(tick)) if length.nanos() % tick == 0 => Ok(length.nanos() / tick),
            (Amount::Time(length), Some(tick)) => {
                let (unit, name) = (Interval::from_nanos(tick), type_name(time));
                let error = wrong(format!("{length} is no multiple of {unit}, in which {name} counts"));
                Err(error.hint("Choose such a multiple, or cast the time to a finer type.").into())
            }
            (Amount::Time(_), None) => {
                let error = wrong(format!("the windows of {} are as long as a number says", type_name(time)));
                Err(error.hint("Write a whole number instead of an interval.").into())
            }
            (Amount::Number(_), Some(_)) => {
                let error = wrong(format!("the windows of {} are as long as an interval says", type_name(time)));
                Err(error.hint("Write an interval such as INTERVAL '10 seconds'.").into())
            }
        }
    }

    /// As [`Length::ticks`], longer than nothing.
    fn positive(&self, name: &str, time: &DataType) -> Result<i64> {
        let message = match self.ticks(time)? {
            ticks if ticks > LENGTH_MAX => format!("the {name} of a window is too long"),
            ticks if ticks > 0 => return Ok(ticks),
            _ => format!("the {name} of a window must be longer than nothing"),
        };
        Err(StatementError::new(Code::InvalidArgument, message).at(self.place.clone()).into())
    }
}

fn whole_number(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, _) => digits.to_string().parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => whole_number(expr)?.checked_neg(),
        Expr::Nested(inner) => whole_number(inner),
        _ => None,
    }
}

/// What a call asks for, beside its table and its time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::plan::planner) struct Asked {
    pub kind: Kind,
    /// One for each of [`Kind::lengths`].
    lengths: Vec<Option<Length>>,
    /// For how much longer a window is kept.
    pub lateness: Option<Length>,
    /// Where the call is written.
    pub place: Place,
    /// Where the time is written.
    pub time: Place,
}

/// A call taken apart.
pub(super) struct Call {
    pub asked: Asked,
    /// The relation, of [`Form::Relation`].
    pub data: Option<FunctionArg>,
    pub time: Expr,
}

impl Call {
    /// Reads the arguments of a window function, by position and by name.
    pub fn parse(kind: Kind, args: &[FunctionArg], form: Form, place: Place, text: &Arc<str>) -> Result<Call> {
        let wrong = |message: String| -> Error {
            StatementError::new(Code::InvalidArgument, message).at(place.clone()).hint(kind.hint(form)).into()
        };
        let before: &[Parameter] = match form {
            Form::Key => &[TIME],
            Form::Relation => &[DATA, TIME],
        };
        let parameters: Vec<&Parameter> = before.iter().chain(kind.lengths()).collect();
        let mut given: Vec<Option<&FunctionArg>> = vec![None; parameters.len()];
        for (position, argument) in args.iter().enumerate() {
            let at = match named(argument) {
                None if position < parameters.len() => position,
                None => return Err(wrong(format!("{} takes fewer arguments", kind.word()))),
                Some(name) => {
                    let at = parameters.iter().position(|parameter| parameter.names.contains(&name.as_str()));
                    at.ok_or_else(|| wrong(format!("{} has no argument \"{name}\"", kind.word())))?
                }
            };
            let name = parameters[at].names[0];
            if given[at].replace(argument).is_some() {
                return Err(wrong(format!("\"{name}\" is given twice")));
            }
        }
        if let Some(missing) = (0..parameters.len()).find(|at| given[*at].is_none() && !parameters[*at].optional) {
            return Err(wrong(format!("{} needs its \"{}\"", kind.word(), parameters[missing].names[0])));
        }
        let unknown = || wrong(format!("an argument of {} is not understood", kind.word()));
        let (front, lengths) = given.split_at(before.len());
        let length = |argument: &Option<&FunctionArg>| match argument {
            None => Ok(None),
            Some(argument) => Length::parse(value(argument).ok_or_else(unknown)?, text).map(Some),
        };
        let lengths = lengths.iter().map(length).collect::<Result<Vec<_>>>()?;
        let time = front.last().copied().flatten().and_then(value).map(described).ok_or_else(unknown)?.clone();
        let at = sql::place_of(text, time.span());
        let data = (form == Form::Relation).then(|| front.first().copied().flatten().cloned()).flatten();
        Ok(Call { asked: Asked { kind, lengths, lateness: None, place, time: at }, data, time })
    }
}

fn named(argument: &FunctionArg) -> Option<String> {
    match argument {
        FunctionArg::Named { name, .. } => Some(name.value.to_lowercase()),
        FunctionArg::ExprNamed { name, .. } => Some(name.to_string().to_lowercase()),
        FunctionArg::Unnamed(_) => None,
    }
}

fn value(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value))
        | FunctionArg::Named { arg: FunctionArgExpr::Expr(value), .. }
        | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(value), .. } => Some(value),
        _ => None,
    }
}

/// What a `DESCRIPTOR(…)` names; anything else is itself.
fn described(expr: &Expr) -> &Expr {
    if let Expr::Function(call) = expr
        && call.name.to_string().eq_ignore_ascii_case("descriptor")
        && let FunctionArguments::List(list) = &call.args
        && let [argument] = list.args.as_slice()
    {
        return value(argument).unwrap_or(expr);
    }
    expr
}

impl Asked {
    /// Whether another call makes the same windows.
    pub fn same(&self, other: &Asked) -> bool {
        let amounts = |asked: &Asked| -> Vec<Option<Amount>> {
            asked.lengths.iter().map(|length| length.as_ref().map(|length| length.amount)).collect()
        };
        self.kind == other.kind && amounts(self) == amounts(other)
    }

    /// Fails if what is windowed is no time.
    pub fn check_time(&self, time: &DataType) -> Result<()> {
        if Tick::of(time).is_some() {
            return Ok(());
        }
        let message = format!("{} needs a time, and this is {}", self.kind.word(), type_name(time));
        let error = StatementError::new(Code::Type, message).at(self.time.clone());
        Err(error.hint("A time is a timestamp, a date or an integer.").into())
    }

    /// The windows over a time of that type.
    pub fn shape(&self, time: &DataType) -> Result<WindowShape> {
        self.check_time(time)?;
        let missing = || StatementError::new(Code::InvalidArgument, "a length is missing").at(self.place.clone());
        let length = |nth: usize| -> Result<i64> {
            let length = self.lengths.get(nth).and_then(Option::as_ref).ok_or_else(missing)?;
            length.positive(self.kind.lengths()[nth].names[0], time)
        };
        let offset = |nth: usize, period: i64| -> Result<i64> {
            let offset = self.lengths.get(nth).and_then(Option::as_ref);
            Ok(offset.map(|offset| offset.ticks(time)).transpose()?.unwrap_or(0).rem_euclid(period))
        };
        match self.kind {
            Kind::Tumble => {
                let size = length(0)?;
                Ok(WindowShape::Tumble { size, offset: offset(1, size)? })
            }
            Kind::Hop => {
                let (slide, size) = (length(0)?, length(1)?);
                self.check_windows(size / slide)?;
                Ok(WindowShape::Hop { slide, size, offset: offset(2, slide)? })
            }
            Kind::Cumulate => {
                let (step, size) = (length(0)?, length(1)?);
                if size % step != 0 {
                    let error = StatementError::new(Code::InvalidArgument, "max_size must be a multiple of step");
                    return Err(error.at(self.place.clone()).into());
                }
                self.check_windows(size / step)?;
                Ok(WindowShape::Cumulate { step, size, offset: offset(2, size)? })
            }
            Kind::Session => Ok(WindowShape::Session { gap: length(0)? }),
        }
    }

    fn check_windows(&self, windows: i64) -> Result<()> {
        if windows <= WINDOWS_MAX {
            return Ok(());
        }
        let message = format!("each row would be in {windows} windows, and {WINDOWS_MAX} is the most");
        Err(StatementError::new(Code::InvalidArgument, message).at(self.place.clone()).into())
    }

    /// For how many units of a time a window is kept after its end.
    pub fn kept(lateness: Option<&Length>, time: &DataType) -> Result<i64> {
        let Some(lateness) = lateness else { return Ok(0) };
        match lateness.ticks(time)? {
            ticks if (0..=LENGTH_MAX).contains(&ticks) => Ok(ticks),
            ticks => {
                let wrong = if ticks < 0 { "must not be negative" } else { "is too long" };
                let error = StatementError::new(Code::InvalidArgument, format!("ALLOW LATENESS {wrong}"));
                Err(error.at(lateness.place.clone()).into())
            }
        }
    }
}
