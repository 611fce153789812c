//! Values for the parameters of a statement, from Rust.

use crate::plan::Parameters;
use crate::types::Value;

impl From<Vec<Value>> for Parameters {
    /// `$1`, `$2`, …
    fn from(positional: Vec<Value>) -> Self {
        Parameters { positional, ..Parameters::default() }
    }
}

impl<const N: usize> From<[Value; N]> for Parameters {
    /// `$1`, `$2`, …
    fn from(positional: [Value; N]) -> Self {
        Parameters::from(positional.to_vec())
    }
}

impl<const N: usize> From<[(&str, Value); N]> for Parameters {
    /// `$name`
    fn from(named: [(&str, Value); N]) -> Self {
        let named = named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Parameters { named, ..Parameters::default() }
    }
}
