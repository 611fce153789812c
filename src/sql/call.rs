//! Calls that are put into the syntax tree.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
};

/// The call of a function with those arguments.
pub fn call(name: Ident, args: impl IntoIterator<Item = Expr>) -> Expr {
    Expr::Function(function(name, args))
}

/// The same, before it is an expression.
pub(super) fn function(name: Ident, args: impl IntoIterator<Item = Expr>) -> Function {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    }
}
