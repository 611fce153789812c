//! Walks over a syntax tree.
//!
//! sqlparser compiles its walk, which knows every kind of statement, anew for each type of visitor: a third of a megabyte
//! each time. Here one walk hands what it meets to any visitor.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};

/// As [`Visit::visit`].
#[expect(clippy::disallowed_methods, reason = "this is the one walk")]
pub fn visit<V: Visitor>(part: &impl Visit, visitor: &mut V) -> ControlFlow<V::Break> {
    let mut held = Held { visitor, found: None };
    let _ = part.visit(&mut Walk::<dyn Visitor<Break = ()>>(&mut held));
    held.found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// As [`VisitMut::visit`].
#[expect(clippy::disallowed_methods, reason = "this is the one walk")]
pub fn visit_mut<V: VisitorMut>(part: &mut impl VisitMut, visitor: &mut V) -> ControlFlow<V::Break> {
    let mut held = Held { visitor, found: None };
    let _ = part.visit(&mut Walk::<dyn VisitorMut<Break = ()>>(&mut held));
    held.found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// As [`sqlparser::ast::visit_expressions`].
pub fn visit_expressions<B>(part: &impl Visit, see: impl FnMut(&Expr) -> ControlFlow<B>) -> ControlFlow<B> {
    struct Expressions<F>(F);
    impl<B, F: FnMut(&Expr) -> ControlFlow<B>> Visitor for Expressions<F> {
        type Break = B;

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<B> {
            self.0(expr)
        }
    }
    visit(part, &mut Expressions(see))
}

/// As [`sqlparser::ast::visit_relations`].
pub fn visit_relations<B>(part: &impl Visit, see: impl FnMut(&ObjectName) -> ControlFlow<B>) -> ControlFlow<B> {
    struct Relations<F>(F);
    impl<B, F: FnMut(&ObjectName) -> ControlFlow<B>> Visitor for Relations<F> {
        type Break = B;

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<B> {
            self.0(relation)
        }
    }
    visit(part, &mut Relations(see))
}

/// A visitor, and what it has broken the walk off with.
struct Held<'v, V, B> {
    visitor: &'v mut V,
    found: Option<B>,
}

impl<V, B> Held<'_, V, B> {
    fn pass(&mut self, visit: impl FnOnce(&mut V) -> ControlFlow<B>) -> ControlFlow<()> {
        visit(self.visitor).map_break(|found| self.found = Some(found))
    }
}

/// The only type that walks are compiled for.
struct Walk<'v, V: ?Sized>(&'v mut V);

impl<V: ?Sized> Walk<'_, V> {
    fn pass(&mut self, visit: impl FnOnce(&mut V) -> ControlFlow<()>) -> ControlFlow<()> {
        visit(self.0)
    }
}

macro_rules! pass_on {
    ($method:ident, $part:ty) => {
        fn $method(&mut self, part: $part) -> ControlFlow<()> {
            self.pass(|visitor| visitor.$method(part))
        }
    };
}

/// Passes on every method of a visitor.
macro_rules! pass_on_all {
    ($($by:tt)+) => {
        type Break = ();

        pass_on!(pre_visit_query, $($by)+ Query);
        pass_on!(post_visit_query, $($by)+ Query);
        pass_on!(pre_visit_select, $($by)+ Select);
        pass_on!(post_visit_select, $($by)+ Select);
        pass_on!(pre_visit_relation, $($by)+ ObjectName);
        pass_on!(post_visit_relation, $($by)+ ObjectName);
        pass_on!(pre_visit_table_factor, $($by)+ TableFactor);
        pass_on!(post_visit_table_factor, $($by)+ TableFactor);
        pass_on!(pre_visit_expr, $($by)+ Expr);
        pass_on!(post_visit_expr, $($by)+ Expr);
        pass_on!(pre_visit_statement, $($by)+ Statement);
        pass_on!(post_visit_statement, $($by)+ Statement);
        pass_on!(pre_visit_value, $($by)+ ValueWithSpan);
        pass_on!(post_visit_value, $($by)+ ValueWithSpan);
    };
}

impl<V: Visitor> Visitor for Held<'_, V, V::Break> {
    pass_on_all!(&);
}

impl<V: VisitorMut> VisitorMut for Held<'_, V, V::Break> {
    pass_on_all!(&mut);
}

impl<'v> Visitor for Walk<'v, dyn Visitor<Break = ()> + 'v> {
    pass_on_all!(&);
}

impl<'v> VisitorMut for Walk<'v, dyn VisitorMut<Break = ()> + 'v> {
    pass_on_all!(&mut);
}
