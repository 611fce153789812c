//! A single value, as host programs and user logics write and read it.

/// A single value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL
    Null,
    /// BOOLEAN
    Bool(bool),
    /// Any signed integer type.
    Int(i64),
    /// Any unsigned integer type.
    UInt(u64),
    /// Any floating-point type.
    Float(f64),
    /// VARCHAR
    Text(String),
}
